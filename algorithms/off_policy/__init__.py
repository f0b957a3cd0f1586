"""Learning from a replay of whole episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .apo import APO
    from .base import OffPolicy
    from .dqn import DQN
    from .path_consistency import PathConsistency
    from .paths import PathMethod
    from .qrpo import QRPO
    from .reading import Reading
    from .replayed import Replayed
    from .sac import SAC
    from .slow_copy import SlowCopy
    from .tbrm import TBRM
    from .trajectory_balance import TrajectoryBalance

__all__ = [
    "APO",
    "DQN",
    "OffPolicy",
    "PathConsistency",
    "PathMethod",
    "QRPO",
    "Reading",
    "Replayed",
    "SAC",
    "SlowCopy",
    "TBRM",
    "TrajectoryBalance",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "APO": "apo",
        "DQN": "dqn",
        "OffPolicy": "base",
        "PathConsistency": "path_consistency",
        "PathMethod": "paths",
        "QRPO": "qrpo",
        "Reading": "reading",
        "Replayed": "replayed",
        "SAC": "sac",
        "SlowCopy": "slow_copy",
        "TBRM": "tbrm",
        "TrajectoryBalance": "trajectory_balance",
    },
)
