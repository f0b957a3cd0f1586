"""What learns: one file an algorithm, and the few parts that they share.

`ALGORITHMS` names them all. Classes are imported when they are first asked for: each needs torch, which takes seconds,
and listing their names does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..envs.lazy import lazy_names
from .registry import ALGORITHMS, check_config, load_algorithm

if TYPE_CHECKING:
    from .a2c import A2C
    from .base import Algorithm
    from .callbacks import Callback, SaveEvery, StopAfter
    from .dqn import DQN
    from .episodes import Episodes
    from .milestones import SaveBest, StopWhen
    from .ppo import PPO
    from .sac import SAC
    from .self_play import FrozenPolicy, SelfPlay

__all__ = [
    "A2C",
    "ALGORITHMS",
    "Algorithm",
    "Callback",
    "DQN",
    "Episodes",
    "FrozenPolicy",
    "PPO",
    "SAC",
    "SaveBest",
    "SaveEvery",
    "SelfPlay",
    "StopAfter",
    "StopWhen",
    "check_config",
    "load_algorithm",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "a2c",
        "Algorithm": "base",
        "Callback": "callbacks",
        "DQN": "dqn",
        "Episodes": "episodes",
        "FrozenPolicy": "self_play",
        "PPO": "ppo",
        "SAC": "sac",
        "SaveBest": "milestones",
        "SaveEvery": "callbacks",
        "SelfPlay": "self_play",
        "StopAfter": "callbacks",
        "StopWhen": "milestones",
    },
)
