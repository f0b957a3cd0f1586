"""Acting where nothing was tried yet: a behaviour that says what was never said in a state before anything else."""

from __future__ import annotations

import numpy as np

from ...agents import MaskedPolicy, Policy
from ..parts import VisitCounts


class UntriedFirst(MaskedPolicy):
    """Keeps a behaviour to the tokens that were never said in a state, as long as there are such that may be said.

    A bonus is paid for what was said; of what was not, a learner knows nothing, and where what it knows looks better it
    never finds out. To take what is untried first is how optimism ends that, as in the search by Kocsis and Szepesvári
    (2006, UCT).

    Args:
        policy: who acts, within what is left.
        visits: what was said where.
        num_actions: A.
    """

    def __init__(self, policy: Policy, visits: VisitCounts, num_actions: int) -> None:
        self.visits = visits
        self.num_actions = num_actions
        super().__init__(policy, self._untried)

    @property
    def sampling(self) -> str:
        """What the policy within draws from, and what comes first."""
        return f"{self.policy.sampling}, the untried first"

    def _untried(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return self.visits.after(tokens, lengths, self.num_actions) == 0

    def _masks(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        untried = self._untried(tokens, lengths)
        legal = np.ones_like(untried) if masks is None else masks
        left = untried & legal
        return np.where(left.any(axis=1, keepdims=True), left, legal)

    def seeded(self, seed: int, measured: bool = False) -> UntriedFirst:
        """Return the same policy with draws of its own."""
        return UntriedFirst(self.policy.seeded(seed, measured), self.visits, self.num_actions)
