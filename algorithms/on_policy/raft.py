"""RAFT: sample, keep the best, learn to say that, repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..configs import RAFTConfig
from ..data import Batch, Episodes
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
    from ..configs import RAFTOverrides


class RAFT(Online[RAFTConfig]):
    """Reward-ranked fine-tuning (Dong et al. 2023): of K episodes from each start the best are said more often.

    Loss of a minibatch: −Σ w·log π over the tokens of what was kept. With one of K kept its expected gradient is that
    of the likelihood of the best of K; nothing holds the policy back, so that repeated it ends at the best episode.
    """

    name: ClassVar[str] = "raft"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: RAFTConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[RAFTOverrides],
        ) -> None: ...

    def update(self, batch: Episodes) -> dict[str, float]:
        """Keep the best episodes, and go through them in epochs and minibatches."""
        self.warn_where_tied(batch, compared_within(batch, self.config.best_within), NOTHING_CHOSEN)
        prepared = self.prepare(batch)
        config, steps = self.config, 0
        sums: dict[str, float] = {}
        for _ in range(config.epochs):
            for minibatch in list(prepared.batch.minibatches(config.minibatches, self.generator)):
                parts = minibatch.parts(config.micro_batch_tokens, self.unit)
                step = self.optimise(self.loss(part, prepared) for part in parts)
                steps += 1
                for name, value in {**step.terms, "optim/grad_norm": step.grad_norm}.items():
                    sums[name] = sums.get(name, 0.0) + value
        means = {name: value / steps for name, value in sums.items()}
        return {**prepared.metrics, **means, "optim/learning_rate": self.learning_rate, "optim/steps": float(steps)}

    def prepare(self, batch: Episodes) -> Weighed:
        """Keep the best episodes of a collection, and weigh their tokens."""
        config = self.config
        kept = batch.select(best_episodes(batch, config.best_share, config.best_within))
        metrics = {
            "objective/score": float(batch.returns.mean()),
            "select/return": float(np.mean(kept.returns)),
            "select/episodes": float(len(kept)),
        }
        return weigh(kept, config.loss_aggregation, self.agent, metrics)

    def loss(self, part: Batch, prepared: Weighed) -> Loss:
        """−Σ w·log π over the tokens of ``part``."""
        return negative_log_likelihood(self.agent, part, prepared)
