"""A policy of Stable-Baselines3 with the face of an agent, so that every evaluation works on it, the exact one too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy

from ..envs.vocabulary import Vocabulary


class SB3Agent:
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
        self.model = model
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.generator = np.random.default_rng(seed)

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

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[Any, None]:
        """Choose a token for one observation or a batch of them.

        Args:
            observation: ``tokens`` int (L,) or (n, L) and ``length`` int (1,) or (n, 1).
            state: ignored: nothing is remembered.
            episode_start: ignored.
            deterministic: say the likeliest token instead of a random one.
            action_masks: bool (A,) or (n, A), True where allowed, or None.

        Returns:
            An int64 token, or int64 (n,), and None.
        """
        tokens = np.atleast_2d(observation["tokens"])
        masks = None if action_masks is None else np.atleast_2d(action_masks)
        probabilities = self.probabilities(tokens, np.asarray(observation["length"]).reshape(-1), masks)
        if deterministic:
            actions = probabilities.argmax(axis=1)
        else:
            # Dividing by the last sum keeps rounding from reaching beyond the last token that can be said.
            sums = probabilities.cumsum(axis=1)
            draws = self.generator.random(len(tokens)) * sums[:, -1]
            actions = (sums <= draws[:, None]).sum(axis=1)
        return (actions if np.ndim(observation["tokens"]) == 2 else actions[0]), None

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
