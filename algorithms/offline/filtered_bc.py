"""FilteredBC: behaviour cloning of the episodes with the highest returns."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...envs import TokenGymError
from ..configs import FilteredBCConfig
from ..data import EpisodeDataset, Episodes, require_finite_rewards
from .cloning import Cloning

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import FilteredBCOverrides


class FilteredBC(Cloning[FilteredBCConfig]):
    """Behaviour cloning of the best episodes alone: those of the highest return, or of at least a given one."""

    name: ClassVar[str] = "filtered-bc"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: FilteredBCConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[FilteredBCOverrides],
        ) -> None: ...

    def refuse(self, dataset: EpisodeDataset) -> None:
        """Refuse returns that are not finite, of which none is the best."""
        require_finite_rewards(dataset.episodes)

    def kept(self, episodes: Episodes) -> np.ndarray:
        """Return the episodes that are good enough; of equal returns at the edge the earlier ones."""
        config, returns = self.config, episodes.returns
        if config.least_return is not None:
            good = returns >= config.least_return
            if not good.any():
                raise TokenGymError(
                    f"least_return is {config.least_return:g}, and the best of {len(returns)} episodes has "
                    f"{returns.max():g}: lower it, or give better data"
                )
            return good
        if len(returns) > 1 and config.best_share < 1 and not np.ptp(returns):
            warnings.warn(
                f"{self.name}: all {len(returns)} episodes have the return {returns[0]:g}, so that none is better than "
                f"another, and the first {config.best_share:g} of them are learnt from: give data whose returns differ "
                "(texts a 'return' a line), or clone all of them (bc, sft)",
                RuntimeWarning,
                stacklevel=2,
            )
        good = np.zeros(len(returns), bool)
        good[np.argsort(-returns, kind="stable")[: max(1, round(config.best_share * len(returns)))]] = True
        return good
