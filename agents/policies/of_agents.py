"""Policies of agents: their own distribution or another decoding rule, a lagged copy, a restriction to some tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...envs import Engine, TokenGymError, derive_start
from ...envs.checking import Seed, Share, checked
from ..agent import Agent
from ..decoding import OwnDistribution, Rule
from ..sampling import Sampler, entropy, log_softmax, masks_on
from ..session import Rows, Session, StepOutput
from .policy import Act, Policy, under_way


class AgentPolicy(Policy):
    """Draws tokens from what an agent says, by incremental decoding.

    Args:
        agent: who acts.
        sampler: draws the tokens; None takes the agent's own, which `Agent.predict` draws with.
        rule: makes logits of the agent's output; None is the agent's own distribution. See `agents.decoding`.
        heads: what the rule reads; None for the heads that the agent acts with.
        measured: give the entropy of every distribution that a token is drawn from as a column.
    """

    @checked
    def __init__(
        self,
        agent: Agent,
        sampler: Sampler | None = None,
        *,
        rule: Rule | None = None,
        heads: tuple[str, ...] | None = None,
        measured: bool = False,
    ) -> None:
        self.agent = agent
        self.sampler = agent.sampler if sampler is None else sampler
        self.rule = rule
        self.heads = agent.acting_heads if heads is None else heads
        self.measured = measured
        self._own = OwnDistribution(agent.temperature)
        self._session: Session | None = None

    @property
    def sampling(self) -> str:
        """What it draws tokens from when it samples, in words."""
        return self.agent.sampling if self.rule is None else type(self.rule).__name__

    @property
    def on_policy(self) -> bool:
        """Whether it draws from the agent's own policy."""
        return self.rule is None and "policy" in self.heads

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Enter a block within which no weight changes; what the rows have read is kept in a session until it ends."""
        session = self.session(engine.num_rows)
        try:
            with session.fixed_weights():
                yield
        finally:
            # An update follows, and needs the memory; and whatever is played next begins anew.
            session.release()

    @checked
    def session(self, num_rows: Rows) -> Session:
        """Return the session that it decodes with; the same one as long as the number of rows is the same."""
        if self._session is None or self._session.num_rows != num_rows:
            self._session = self.agent.session(num_rows, self.heads)
        return self._session

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Draw a token for each row; see `Policy.act`."""
        output = self.read(tokens, lengths, rows)
        allowed = None if masks is None else masks_on(self.agent.device, masks)
        logits = self.logits(output, allowed)
        said, log_probs = self.sampler.draw(logits, allowed, deterministic)
        if not self.measured:
            return Act.of_one(said, log_probs)
        spread = np.zeros(len(said)) if deterministic else _entropies(logits, allowed)
        return Act.of_one(said, log_probs, columns={"entropy": spread})

    def read(self, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray | None) -> StepOutput:
        """Bring rows up to date and return what the agent says of them; within `playing`."""
        return under_way(self._session).step(tokens, lengths, rows)

    def logits(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return the logits (m, A) that a token is drawn from, after the masks are applied once more."""
        return (self._own if self.rule is None else self.rule)(output, masks)

    def choose(
        self, output: StepOutput, masks: Tensor | None = None, deterministic: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw from an output of the agent's: int64 (m,) tokens and their log-probabilities (m,)."""
        return self.sampler.sample(self.logits(output, masks), masks, deterministic)

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return what it would say next, float64 (m, A), for whole sequences and without a cache."""
        return self.agent.probabilities(tokens, lengths, masks, rule=self.rule, heads=self.heads)

    @checked
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[Any, Session]:
        """Choose actions for observations; see `Agent.predict`, with whose generator it draws."""
        return self.agent.predict(
            observation, state, episode_start, deterministic, action_masks, rule=self.rule, heads=self.heads
        )

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> AgentPolicy:
        """Return the same policy with a generator and a session of its own."""
        sampler = Sampler(derive_start(seed, 0) >> 1)
        return AgentPolicy(self.agent, sampler, rule=self.rule, heads=self.heads, measured=measured)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator's state; the agent's weights belong to who made the policy."""
        return {"generator": self.sampler.get_state()}, {}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Go on with the same draws."""
        self.sampler.set_state(tensors["generator"])


def _entropies(logits: Tensor, masks: Tensor | None) -> np.ndarray:
    return entropy(log_softmax(logits.double(), masks)).cpu().numpy()


class LaggedPolicy(AgentPolicy):
    """Acts with a copy of an agent that moves only when it is told to: delayed actors, opponents, slow behaviours.

    Args:
        agent: what is copied.
        sampler: draws the tokens.
        rule: see `AgentPolicy`.
        heads: see `AgentPolicy`.
    """

    def __init__(
        self,
        agent: Agent,
        sampler: Sampler,
        *,
        rule: Rule | None = None,
        heads: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(agent.clone_frozen(), sampler, rule=rule, heads=heads)

    @property
    def on_policy(self) -> bool:
        """It draws from what the agent was."""
        return False

    @checked
    @torch.no_grad()
    def catch_up(self, agent: Agent, share: Share = 1.0) -> None:
        """Move the copy's weights towards an agent's by ``share`` of the way; not while it plays."""
        for slow, fast in zip(self.agent.parameters(), agent.parameters(), strict=True):
            if slow is fast:  # frozen weights under adapters, which both stand on
                continue
            if share == 1.0:
                slow.copy_(fast)
            else:
                slow.lerp_(fast, share)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator's state and the copy's weights."""
        weights = {f"agent.{name}": tensor for name, tensor in self.agent.state_dict().items()}
        return {"generator": self.sampler.get_state(), **weights}, {}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.sampler.set_state(tensors["generator"])
        self.agent.load_state_dict(
            {name.removeprefix("agent."): value for name, value in tensors.items() if name.startswith("agent.")}
        )


Allowed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From tokens (m, L) and lengths (m,) to bool (m, A), what may be said there; at least one token a row."""


class MaskedPolicy(Policy):
    """Keeps another policy to tokens of one's choice, on top of what the task calls legal.

    Args:
        policy: who acts.
        allowed: what it may say where.
    """

    def __init__(self, policy: Policy, allowed: Allowed) -> None:
        self.policy = policy
        self.allowed = allowed

    @property
    def sampling(self) -> str:
        """What the policy within draws from, and that it is restricted."""
        return f"{self.policy.sampling}, restricted"

    def playing(self, engine: Engine) -> AbstractContextManager[object]:
        """Let the policy within play the rows."""
        return self.policy.playing(engine)

    def _masks(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        allowed = np.asarray(self.allowed(tokens, lengths), bool)
        both = allowed if masks is None else allowed & masks
        if not both.any(axis=1).all():
            row = int(np.flatnonzero(~both.any(axis=1))[0])
            seen = tokens[row, : lengths[row]].tolist()
            raise TokenGymError(f"the policy is left nothing to say after {seen}: allow a token that is legal there")
        return both

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Let the policy within choose among what is allowed; see `Policy.act`."""
        return self.policy.act(rows, tokens, lengths, self._masks(tokens, lengths, masks), deterministic)

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return what it would say next, float64 (m, A), where the policy within can tell."""
        inner: Any = self.policy
        return inner.probabilities(tokens, lengths, self._masks(tokens, lengths, masks))

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> MaskedPolicy:
        """Return the same policy with draws of its own."""
        return MaskedPolicy(self.policy.seeded(seed, measured), self.allowed)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state of the policy within."""
        return self.policy.state()

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Give the policy within its state back."""
        self.policy.load_state(tensors, data)
