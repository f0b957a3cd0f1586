"""ExpertIteration: sample, keep the good ones of all collections, learn to say them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from ..configs import ExpertIterationConfig
from ..data import Batch, Episodes, columns_of, episodes_of
from ..online import Online
from ..parts import (
    NOTHING_CHOSEN,
    Loss,
    Weighed,
    best_episodes,
    compared_within,
    negative_log_likelihood,
    weigh,
)

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import ExpertIterationOverrides


class ExpertIteration(Online[ExpertIterationConfig]):
    """Expert iteration on samples (Anthony et al. 2017; ReST, Gulcehre et al. 2023; STaR, Zelikman et al. 2022).

    The expert is the agent with a choice among its samples. What it kept, the best of each group or whatever is good
    enough, is remembered over collections, and the agent learns from draws of it: −Σ w·log π.
    """

    name: ClassVar[str] = "expert-iteration"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: ExpertIterationConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[ExpertIterationOverrides],
        ) -> None: ...

    def setup(self) -> None:
        """Begin with an empty memory."""
        self.memory: Episodes | None = None
        self.num_draws = 0

    def update(self, batch: Episodes) -> dict[str, float]:
        """Remember the good episodes, and take steps on draws from all that are remembered."""
        config = self.config
        kept = self.kept(batch)
        self.remember(batch, kept)
        metrics = {
            "objective/score": float(batch.returns.mean()),
            "select/episodes": float(len(kept)),
            "select/memory": float(0 if self.memory is None else len(self.memory)),
        }
        if len(kept):
            metrics["select/return"] = float(batch.returns[kept].mean())
        if self.memory is None:
            return metrics
        sums: dict[str, float] = {}
        for _ in range(config.updates_per_collection):
            prepared = self.prepare(self.draw())
            parts = prepared.batch.parts(config.micro_batch_tokens, self.unit)
            step = self.optimise(self.loss(part, prepared) for part in parts)
            for name, value in {**step.terms, "optim/grad_norm": step.grad_norm}.items():
                sums[name] = sums.get(name, 0.0) + value / config.updates_per_collection
        return {**metrics, **sums, "optim/learning_rate": self.learning_rate}

    def kept(self, batch: Episodes) -> np.ndarray:
        """Return which episodes of a collection are good enough, int64 (k,); perhaps none."""
        config = self.config
        if config.least_return is not None:
            return np.flatnonzero(batch.returns >= config.least_return)
        self.warn_where_tied(batch, compared_within(batch, config.best_within), NOTHING_CHOSEN)
        return best_episodes(batch, config.best_share, config.best_within)

    def remember(self, batch: Episodes, kept: np.ndarray) -> None:
        """Take episodes into the memory, from which the oldest go."""
        if not len(kept):
            return
        new = batch.select(kept)
        joined = new if self.memory is None else Episodes.concat([self.memory, new])
        most = self.config.memory_episodes
        self.memory = joined if len(joined) <= most else joined.select(np.arange(len(joined) - most, len(joined)))

    def draw(self) -> Episodes:
        """Draw a batch from the memory, keyed by the number of the draw, so that there is no generator to save."""
        assert self.memory is not None
        generator = np.random.default_rng([self.seed, self.num_draws])
        self.num_draws += 1
        return self.memory.select(generator.integers(len(self.memory), size=self.config.batch_episodes))

    def prepare(self, batch: Episodes) -> Weighed:
        """Weigh the tokens of some episodes."""
        return weigh(batch, self.config.loss_aggregation, self.agent)

    def loss(self, part: Batch, prepared: Weighed) -> Loss:
        """−Σ w·log π over the tokens of ``part``."""
        return negative_log_likelihood(self.agent, part, prepared)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the memory and the number of draws."""
        if self.memory is None:
            return {}, {"draws": self.num_draws}
        columns = columns_of(self.memory)
        columns["starts"] = columns["starts"].view(np.int64)
        return columns, {"draws": self.num_draws}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        self.num_draws = int(data["draws"])
        if tensors:
            columns = {name: value.cpu().numpy() for name, value in tensors.items()}
            columns["starts"] = columns["starts"].view(np.uint64)
            vocabulary = self.task.vocabulary
            self.memory = episodes_of(columns, vocabulary.num_actions, vocabulary.size, vocabulary.pad)
