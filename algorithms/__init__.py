"""What learns: one file an algorithm, and the few parts that they share.

`ALGORITHMS` names them all. Classes are imported when they are first asked for: each needs torch, which takes seconds,
and listing their names does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..envs.lazy import lazy_names
from .configs import Schedule, register_potential
from .registry import ALGORITHMS, check_config, load_algorithm, register_algorithm

if TYPE_CHECKING:
    from .base import Algorithm
    from .data import EpisodeDataset, Episodes, PreferenceDataset, PreferencePairs, Ranks
    from .learner import Learner
    from .off_policy import APO, DQN, QRPO, SAC, TBRM, OffPolicy, PathConsistency, TrajectoryBalance
    from .offline import BC, CQL, ILQL, SFT, FilteredBC, MCReturns, Offline, OfflineQRPO, QSharp
    from .on_policy import (
        A2C,
        GRPO,
        PPO,
        RAFT,
        RLOO,
        TOPR,
        AsymRE,
        ExpertIteration,
        OnPolicy,
        Reinforce,
        ReinforcePP,
        VTrace,
    )
    from .online import Online
    from .preferences import DPO, RRHF, OnlineDPO, Preferences
    from .runs import Callback, RecordEpisodes, SaveBest, SaveEvery, StopAfter, StopWhen
    from .self_play import FrozenPolicy, SelfPlay
    from .turns import NLPO, Distill, GiGPO, VinePPO

__all__ = [
    "A2C",
    "ALGORITHMS",
    "APO",
    "QRPO",
    "Algorithm",
    "AsymRE",
    "BC",
    "CQL",
    "Callback",
    "DPO",
    "DQN",
    "Distill",
    "EpisodeDataset",
    "Episodes",
    "ExpertIteration",
    "FilteredBC",
    "FrozenPolicy",
    "GRPO",
    "GiGPO",
    "ILQL",
    "Learner",
    "MCReturns",
    "NLPO",
    "QSharp",
    "OffPolicy",
    "Offline",
    "OfflineQRPO",
    "OnPolicy",
    "Online",
    "OnlineDPO",
    "PPO",
    "PathConsistency",
    "PreferenceDataset",
    "PreferencePairs",
    "Preferences",
    "RAFT",
    "RLOO",
    "RRHF",
    "Ranks",
    "RecordEpisodes",
    "Reinforce",
    "ReinforcePP",
    "SAC",
    "SFT",
    "SaveBest",
    "SaveEvery",
    "Schedule",
    "SelfPlay",
    "StopAfter",
    "StopWhen",
    "TBRM",
    "TOPR",
    "TrajectoryBalance",
    "VTrace",
    "VinePPO",
    "check_config",
    "load_algorithm",
    "register_algorithm",
    "register_potential",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "on_policy.a2c",
        "APO": "off_policy.apo",
        "QRPO": "off_policy.qrpo",
        "Algorithm": "base",
        "AsymRE": "on_policy.asymre",
        "BC": "offline.bc",
        "CQL": "offline.cql",
        "ILQL": "offline.ilql",
        "MCReturns": "offline.mc_returns",
        "OfflineQRPO": "offline.offline_qrpo",
        "QSharp": "offline.q_sharp",
        "Callback": "runs.callbacks",
        "DPO": "preferences.dpo",
        "DQN": "off_policy.dqn",
        "EpisodeDataset": "data.dataset",
        "Episodes": "data.episodes",
        "ExpertIteration": "on_policy.expert_iteration",
        "FilteredBC": "offline.filtered_bc",
        "FrozenPolicy": "self_play",
        "GRPO": "on_policy.grpo",
        "Learner": "learner",
        "OffPolicy": "off_policy.base",
        "Offline": "offline.base",
        "OnPolicy": "on_policy.base",
        "Online": "online",
        "OnlineDPO": "preferences.online_dpo",
        "PPO": "on_policy.ppo",
        "PathConsistency": "off_policy.path_consistency",
        "PreferenceDataset": "data.comparisons",
        "PreferencePairs": "data.preferences",
        "Preferences": "preferences.base",
        "RAFT": "on_policy.raft",
        "RLOO": "on_policy.rloo",
        "Distill": "turns.distill",
        "GiGPO": "turns.gigpo",
        "NLPO": "turns.nlpo",
        "VinePPO": "turns.vine_ppo",
        "RRHF": "preferences.rrhf",
        "Ranks": "data.preferences",
        "RecordEpisodes": "runs.record_episodes",
        "Reinforce": "on_policy.reinforce",
        "ReinforcePP": "on_policy.reinforce_pp",
        "SAC": "off_policy.sac",
        "SFT": "offline.sft",
        "SaveBest": "runs.milestones",
        "SaveEvery": "runs.callbacks",
        "SelfPlay": "self_play",
        "StopAfter": "runs.callbacks",
        "StopWhen": "runs.milestones",
        "TOPR": "on_policy.topr",
        "VTrace": "on_policy.vtrace",
        "TBRM": "off_policy.tbrm",
        "TrajectoryBalance": "off_policy.trajectory_balance",
    },
)
