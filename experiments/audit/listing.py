"""All episodes of a finite task as tensors over a table policy: one vector of logits a state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...envs import FiniteTask, TokenGymError
from .enumeration import all_episodes
from .tables import state_numbers


@dataclass(frozen=True, eq=False)
class Listing:
    """All E episodes of a task from one start, whose longest has T columns after the first token.

    Attributes:
        task: whose they are.
        state: int64 (E, T), the row of the table of each of the agent's tokens; 0 elsewhere.
        action: int64 (E, T), what was said; 0 elsewhere.
        mask: bool (E, T), where the agent spoke.
        token_rewards: float64 (E, T).
        names: of the S states, what had been read there, in the tokens' names.
    """

    task: FiniteTask
    state: Tensor
    action: Tensor
    mask: Tensor
    token_rewards: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, task: FiniteTask, max_episodes: int = 20_000) -> Listing:
        """List a task; it must begin in one way and take no chances, so that an episode is what was said."""
        episodes, _ = all_episodes(task, max_episodes=max_episodes)
        if not task.deterministic or len(np.unique(episodes.starts)) > 1:
            raise TokenGymError(
                f"{task.name} begins in several ways or takes chances; losses are audited on tasks whose episodes are "
                "what was said, such as KLTree or LeafTree."
            )
        flat, mask = episodes.flat, episodes.agent_mask[:, 1:]
        state, action = (np.zeros(mask.shape, np.int64) for _ in range(2))
        numbers = state_numbers(episodes)
        state[flat.row, flat.column - 1] = numbers
        action[flat.row, flat.column - 1] = flat.action
        tokens = task.vocabulary.tokens
        names = [""] * (int(numbers.max()) + 1)
        for number, row, column in zip(numbers.tolist(), flat.row.tolist(), flat.column.tolist(), strict=True):
            names[number] = " ".join(tokens[token] for token in episodes.tokens[row, 1:column].tolist())
        return cls(
            task=task,
            state=torch.from_numpy(state),
            action=torch.from_numpy(action),
            mask=torch.from_numpy(mask),
            token_rewards=torch.from_numpy(episodes.rewards[:, 1:].astype(np.float64)),
            names=tuple(names),
        )

    @property
    def rewards(self) -> Tensor:
        """float64 (E,)."""
        return self.token_rewards.sum(1)

    @property
    def lengths(self) -> Tensor:
        """How many tokens the agent said, int64 (E,)."""
        return self.mask.sum(1)

    def uniform(self) -> Tensor:
        """The logits (S, A) of the uniform policy."""
        return torch.zeros(len(self.names), self.task.vocabulary.num_actions, dtype=torch.float64)

    def moved(self, scale: float = 0.3, seed: int = 0, logits: Tensor | None = None) -> Tensor:
        """Logits that a normal number of this scale was added to, each."""
        logits = self.uniform() if logits is None else logits
        return logits + scale * torch.from_numpy(np.random.default_rng(seed).normal(size=tuple(logits.shape)))

    def log_probs(self, logits: Tensor) -> Tensor:
        """Of each token of the agent's, (E, T); 0 elsewhere. Differentiable."""
        return torch.where(self.mask, torch.log_softmax(logits, 1)[self.state, self.action], 0.0)

    def entropies(self, logits: Tensor) -> Tensor:
        """Of the policy at each token of the agent's, (E, T); 0 elsewhere. Differentiable."""
        log_probs = torch.log_softmax(logits, 1)
        return torch.where(self.mask, -(log_probs.exp() * log_probs).sum(1)[self.state], 0.0)

    def chances(self, logits: Tensor) -> Tensor:
        """The probability of each episode, (E,). Differentiable."""
        return self.log_probs(logits).sum(1).exp()

    def reached(self, logits: Tensor) -> Tensor:
        """How often an episode passes through each state, (S,)."""
        chances = self.chances(logits.detach())[:, None].expand_as(self.state)[self.mask]
        return torch.zeros(len(self.names), dtype=torch.float64).index_add(0, self.state[self.mask], chances)

    def values(self, logits: Tensor) -> Tensor:
        """What the policy earns from before each token of the agent's on, (E, T); 0 elsewhere."""
        chances = self.chances(logits.detach())[:, None].expand_as(self.state)[self.mask]
        to_go = self.token_rewards.flip(1).cumsum(1).flip(1)[self.mask]
        zeros = torch.zeros(len(self.names), dtype=torch.float64)
        state = self.state[self.mask]
        mean = zeros.index_add(0, state, chances * to_go) / zeros.index_add(0, state, chances)
        return torch.where(self.mask, mean[self.state], 0.0)
