"""A policy that looks at what another agent would say, to explore by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ...envs import Engine, derive_start
from ...envs.checking import Seed, checked
from ..agent import Agent
from ..decoding import Exploring, own_logits
from ..sampling import Sampler
from ..session import StepOutput
from .of_agents import AgentPolicy
from .policy import Act


class ReferenceExploring(AgentPolicy):
    """Explores by sampling a reference: ``(1 − ε) · policy + ε · reference``, of which the reference is read beside.

    Uniform tokens hit a useful one once in A; a language model says what makes sense, so that what explores there is
    tried out of all that it might say.

    Args:
        agent: who learns.
        reference: whose tokens explore. Both are decoded side by side, which takes the time of two.
        sampler: draws the tokens.
        rule: mixes.
        measured: see `AgentPolicy`.
    """

    @checked
    def __init__(
        self, agent: Agent, reference: Agent, sampler: Sampler, rule: Exploring, measured: bool = False
    ) -> None:
        super().__init__(agent, sampler, rule=rule, measured=measured)
        self.reference = AgentPolicy(reference, sampler, heads=("policy",))
        self.mixing = rule
        self._said: Tensor | None = None

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Enter a block within which no weight of either changes."""
        with super().playing(engine), self.reference.playing(engine):
            yield
        self._said = None

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Let the reference read what the agent is about to, and draw from both; see `Policy.act`."""
        self._said = own_logits(self.reference.read(tokens, lengths, rows))
        return super().act(rows, tokens, lengths, masks, deterministic)

    def logits(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return the log-probabilities (m, A) of the mixture."""
        return self.mixing(output, masks, self._said)

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return what it would say next, float64 (m, A), for whole sequences and without a cache."""
        own, epsilon = Exploring(self.mixing.policy, lambda: 0.0, None, self.mixing.top_p), self.mixing.epsilon()
        said = self.agent.probabilities(tokens, lengths, masks, rule=own, heads=self.heads)
        share = Exploring(_of_reference, lambda: 0.0, None, self.mixing.top_p)
        other = self.reference.agent.probabilities(tokens, lengths, masks, rule=share, heads=("policy",))
        return (1 - epsilon) * said + epsilon * other

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> ReferenceExploring:
        """Return the same policy with a generator and sessions of its own."""
        sampler = Sampler(derive_start(seed, 0) >> 1)
        return ReferenceExploring(self.agent, self.reference.agent, sampler, self.mixing, measured)


def _of_reference(output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
    logits = own_logits(output)
    legal = logits if masks is None else logits.masked_fill(~masks, -torch.inf)
    return torch.softmax(legal, -1), logits
