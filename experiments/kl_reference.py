"""The KL of a policy to a reference while it plays, for evaluations that are not exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..agents import Act, Policy, policy_of
from ..algorithms.collecting import Observer
from ..envs import Engine, Task, TokenGymError

NUMBERS = 1 << 20
"""Probabilities of one policy that are held at a time: with wide vocabularies it bounds the memory."""


class KLReference(Observer):
    """What the KL of a policy is measured to, and what it comes to while it plays.

    Distributions are asked for anew in every state, without a cache: it takes a pass of both for every token.

    Args:
        player: the reference: an agent, an algorithm, or what gives probabilities.
        policy: whose KL it is.
        task: what is played.
        action_masks: whether it is taken over the legal tokens alone.
        deterministic: whether the policy always says the most probable token.

    Raises:
        TokenGymError: If either gives no probabilities, or the reference is of another vocabulary.
    """

    def __init__(self, player: Any, policy: Policy, task: Task, action_masks: bool, deterministic: bool) -> None:
        self._player: Any = policy_of(player)
        self._policy: Any = policy
        for name, one in (("reference", self._player), ("player", policy)):
            if not hasattr(one, "probabilities"):
                kind = type(getattr(one, "player", one)).__name__
                raise TokenGymError(
                    f"the KL to a reference needs probabilities of both, and the {name}, {kind}, has none"
                )
        own, wanted = getattr(getattr(self._player, "agent", None), "vocabulary", None), task.vocabulary
        if own is not None and (own.num_actions, own.size) != (wanted.num_actions, wanted.size):
            raise TokenGymError(
                f"the reference says {own.num_actions} of {own.size} tokens, and {task.name} has {wanted.num_actions} "
                f"of {wanted.size}: give an agent of the same vocabulary"
            )
        self._action_masks, self._deterministic = action_masks, deterministic
        self._engine: Engine | None = None
        self.total = 0.0
        """The sum of the divergences of all tokens so far, in nats."""

    def on(self, engine: Engine) -> KLReference:
        """Begin anew, on an engine that is to be played, and return this."""
        self._engine, self.total = engine, 0.0
        return self

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the reference's distributions (m, A)."""
        return self._player.probabilities(tokens, lengths, None)

    def chose(self, rows: np.ndarray, act: Act) -> None:
        """Add the divergences in the states in which something is said."""
        assert self._engine is not None
        if act.tokens.shape[1] > 1:
            raise TokenGymError("the KL to a reference is measured token by token; this policy says several at once")
        tokens, lengths = self._engine.tokens[rows], self._engine.lengths[rows]
        masks = self._engine.action_mask(rows) if self._action_masks else None
        most = max(1, NUMBERS // self._engine.task.vocabulary.num_actions)
        for first in range(0, len(rows), most):
            part = slice(first, first + most)
            legal = None if masks is None else masks[part]
            prior = self._player.probabilities(tokens[part], lengths[part], legal)
            if self._deterministic:
                with np.errstate(divide="ignore"):
                    self.total -= float(np.log(prior[np.arange(len(prior)), act.tokens[part, 0]]).sum())
                continue
            if act.probabilities is None:
                given = self._policy.probabilities(tokens[part], lengths[part], legal)
            else:
                given = act.probabilities[part]
            said = given > 0
            with np.errstate(divide="ignore"):
                ratio = np.log(np.where(said, given, 1.0)) - np.log(np.where(said, prior, 1.0))
            self.total += float((given * ratio).sum())


def reference_of(algorithm: Any) -> Any:
    """Return the agent that an algorithm measures its KL to, or None where that is the uniform policy or nothing."""
    return getattr(getattr(algorithm, "reference", None), "agent", None)
