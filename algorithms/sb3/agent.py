"""A policy of Stable-Baselines3 with the face of an agent, so that every evaluation works on it, the exact one too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from ...agents import Player
from ...envs import Vocabulary


class SB3Agent(Player):
    """Says tokens with a model of Stable-Baselines3.

    Draws come from a generator of its own, not from the global ones that the model itself would use.

    Args:
        model: an algorithm of Stable-Baselines3 or sb3-contrib.
        vocabulary: the ids that it reads and says.
        max_length: longest sequence that it reads.
        seed: seeds its draws.
        learns_q: whether it learns Qs, and so plays ε-greedily, not a policy.

    Attributes:
        model: as given.
        vocabulary: as given.
        max_length: as given.
    """

    def __init__(
        self, model: BaseAlgorithm, vocabulary: Vocabulary, max_length: int, seed: int, *, learns_q: bool
    ) -> None:
        super().__init__(vocabulary, seed)
        self.model: Any = model
        self._learns_q = learns_q
        self.max_length = max_length

    @property
    def sampling(self) -> str:
        """What it draws tokens from when it samples, in words."""
        return "policy" if self.epsilon is None else f"ε-greedy, ε {self.epsilon:g}"

    @property
    def epsilon(self) -> float | None:
        """Its present share of random tokens; None for one that has a policy."""
        return self.model.exploration_rate if self._learns_q else None

    @torch.no_grad()
    def probabilities(
        self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None, batch_size: int = 4096
    ) -> np.ndarray:
        """What it would say next: the policy's probabilities, or DQN's ε-greedy ones at its present ε.

        Args:
            tokens: int32 (m, K), right-padded; K may be less than the context.
            lengths: int (m,).
            masks: bool (m, A), True where allowed, or None.
            batch_size: rows in one pass.

        Returns:
            float64 (m, A), rows of probabilities.
        """
        lengths = np.asarray(lengths).reshape(-1)
        padded = np.full((len(lengths), self.max_length), self.vocabulary.pad, np.float32)
        padded[:, : tokens.shape[1]] = tokens
        result = np.empty((len(lengths), self.vocabulary.num_actions))
        for first in range(0, len(lengths), batch_size):
            part = slice(first, first + batch_size)
            observation = {
                "tokens": torch.from_numpy(padded[part]).to(self.model.device),
                "length": torch.from_numpy(lengths[part, None].astype(np.float32)).to(self.model.device),
            }
            scores = self._scores(observation)
            if masks is not None:
                scores = scores.masked_fill(~torch.from_numpy(np.asarray(masks[part], bool)).to(scores.device), -np.inf)
            result[part] = self._to_probabilities(scores).cpu().numpy()
        return result

    def _scores(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities or Qs, (m, A)."""
        if self._learns_q:
            return self._values(observation).double()
        return self.model.policy.get_distribution(observation).distribution.logits.double()

    def _values(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Qs, (m, A): DQN's, or the mean of the quantiles, which QR-DQN follows."""
        quantiles = getattr(self.model, "quantile_net", None)
        return self.model.q_net(observation) if quantiles is None else quantiles(observation).mean(dim=1)

    def _to_probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        epsilon = self.epsilon
        if epsilon is None:
            return torch.softmax(scores, -1)
        legal = torch.isfinite(scores)
        greedy = torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1])
        return (1 - epsilon) * greedy + epsilon * legal / legal.sum(-1, keepdim=True)
