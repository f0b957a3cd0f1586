"""Cloning: say what the episodes of a dataset say, by the likelihood of the agent's tokens."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from ..configs import CloningConfig
from ..data import Batch, Episodes
from ..parts import Loss, Weighed, negative_log_likelihood, weigh
from .demonstrations import held_out_by_prompt
from .of_episodes import OfEpisodes

CloningConfigT = TypeVar("CloningConfigT", bound=CloningConfig)


class Cloning(OfEpisodes[CloningConfigT]):
    """Maximises the likelihood of what others said: −Σ w·log π over the agent's tokens, never over a prompt's.

    Hook: `kept` (which episodes are learnt from).
    """

    def held(self, episodes: Episodes) -> np.ndarray:
        """Return the episodes of the prompts that are held out."""
        return held_out_by_prompt(episodes, self.config.held_out)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take one step on a batch, and look at what is held out when it is time."""
        metrics = super().update(batch)
        held = self.data.held_out
        if len(held) and (self.num_updates + 1) % self.config.held_out_every == 0:
            metrics["held_out/loss"] = self.nll(self.data.dataset.episodes.select(held))
        return metrics

    def prepare(self, batch: Episodes) -> Weighed:
        """Weigh the tokens of some episodes."""
        return weigh(batch, self.config.loss_aggregation, self.agent, {"data/return": float(batch.returns.mean())})

    def loss(self, part: Batch, prepared: Weighed) -> Loss:
        """−Σ w·log π over the tokens of ``part``."""
        return negative_log_likelihood(self.agent, part, prepared)

    @torch.no_grad()
    def nll(self, episodes: Episodes) -> float:
        """Return the loss of some episodes under the agent as it is."""
        prepared = self.prepare(episodes)
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit)
        return sum(float(self.loss(part, prepared).total) for part in parts)
