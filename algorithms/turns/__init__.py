"""Methods that know more of a state than one episode tells: by branches, by other visits, by an older self."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .distill import Distill
    from .gigpo import GiGPO
    from .nlpo import NLPO
    from .vine_ppo import VinePPO

__all__ = ["NLPO", "Distill", "GiGPO", "VinePPO"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Distill": "distill", "GiGPO": "gigpo", "NLPO": "nlpo", "VinePPO": "vine_ppo"}
)
