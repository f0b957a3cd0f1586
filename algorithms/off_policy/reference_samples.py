"""What the path methods share that hold an episode against the reference's own episodes from the same start."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from ...agents import AgentPolicy, Policy, RandomPlayer, Sampler
from ..configs import SampledReferenceConfig
from ..data import Episodes
from ..parts import AgentReference, derive_seed, returns_to_go
from ..runs import take
from .paths import PathMethod

ConfigT = TypeVar("ConfigT", bound=SampledReferenceConfig)


class ReferenceSampled(PathMethod[ConfigT]):
    """Lets the reference speak from each start that is learnt from; its tokens are asked of the environment, and count.

    Attributes:
        start_returns: what the reference earned from the starts of the present collection, float64 (N,) each, in the
            task's units.
    """

    def setup(self) -> None:
        """Build who speaks for the reference."""
        super().setup()
        seed = derive_seed(self.seed, "reference samples")
        self.reference_policy: Policy = (
            AgentPolicy(self.reference.agent, Sampler(seed))
            if isinstance(self.reference, AgentReference)
            else RandomPlayer(self.task.vocabulary, seed)
        )
        self.start_returns: dict[int, np.ndarray] = {}

    def update(self, batch: Episodes) -> dict[str, float]:
        """Ask the reference anew about the starts of a collection, then learn from it."""
        self.start_returns = {}
        return super().update(batch)

    def samples_of(self, starts: np.ndarray) -> dict[int, np.ndarray]:
        """Return what the reference earned from each of some starts, uint64 (m,); it speaks once a start."""
        missing = [start for start in np.unique(starts).tolist() if start not in self.start_returns]
        if missing:
            returns = self.reference_returns(np.array(missing, np.uint64))
            self.start_returns |= dict(zip(missing, returns, strict=True))
        return self.start_returns

    def reference_returns(self, starts: np.ndarray) -> np.ndarray:
        """Return what fresh episodes of the reference earn from starts, float64 (m, N), in the task's units."""
        count = self.config.reference_samples
        said = self.collector.collect_from(self.reference_policy, starts, count)
        return self.returns_of(said).reshape(-1, count)

    def returns_of(self, episodes: Episodes) -> np.ndarray:
        """Return what is learnt from of whole episodes, float64 (E,), in the task's units."""
        flat = episodes.flat
        returns = returns_to_go(flat, self.config.gamma, self.learning_rewards(episodes))
        return returns[flat.episode_offsets[:-1]].astype(np.float64) * self.reward_scale

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator of who speaks for the reference, too."""
        arrays, data = super().extra_state()
        own, told = self.reference_policy.state()
        return arrays | {f"reference_policy.{name}": value for name, value in own.items()}, {**data, "reference": told}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        super().load_extra_state(tensors, data)
        self.reference_policy.load_state(take(tensors, "reference_policy."), data["reference"])
