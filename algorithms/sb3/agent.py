"""A policy of Stable-Baselines3 with the face of an agent, so that every evaluation works on it, the exact one too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy

from ...agents.policies import Player
from ...envs import Vocabulary


class SB3Agent(Player):
    """Says tokens with a model of Stable-Baselines3.

    Draws come from a generator of its own, not from the global ones that the model itself would use.

    Args:
        model: PPO, A2C or DQN.
        vocabulary: the ids that it reads and says.
        max_length: longest sequence that it reads.
        seed: seeds its draws.

    Attributes:
        model: as given.
        vocabulary: as given.
        max_length: as given.
    """

    def __init__(self, model: BaseAlgorithm, vocabulary: Vocabulary, max_length: int, seed: int) -> None:
        super().__init__(vocabulary, seed)
        self.model = model
        self.max_length = max_length

    @property
    def sampling(self) -> str:
        """What it draws tokens from when it samples, in words."""
        return f"ε-greedy, ε {self.model.exploration_rate:g}" if isinstance(self.model, DQN) else "policy"

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
        if isinstance(self.model, DQN):
            return self.model.q_net(observation).double()
        policy = self.model.policy
        assert isinstance(policy, ActorCriticPolicy)
        distribution: Any = policy.get_distribution(observation).distribution
        return distribution.logits.double()

    def _to_probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.model, DQN):
            return torch.softmax(scores, -1)
        epsilon = self.model.exploration_rate
        legal = torch.isfinite(scores)
        greedy = torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1])
        return (1 - epsilon) * greedy + epsilon * legal / legal.sum(-1, keepdim=True)
