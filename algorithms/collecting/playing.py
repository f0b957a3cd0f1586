"""The one play loop: a queue of starts, worked off by the rows of an engine as they come free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...agents import Act, Policy
from ...envs import AppendResult, Engine, StepResult, TokenGymError

Beginnings = np.ndarray | tuple[np.ndarray, np.ndarray | None]
"""Starts of new episodes, uint64 (m,), and perhaps streams of their own for what is drawn after the start."""

Starts = Callable[[int], Beginnings]
"""Asked with the number of free rows for the beginnings of new episodes, at most one a free row."""


class Step(NamedTuple):
    """One act on m rows and what came of it.

    Attributes:
        rows: int (m,), the rows, in increasing order.
        lengths: int (m,), how long their observations were before.
        masks: bool (m, A), what might be said, or what the policy kept itself to; None where nobody asked.
        act: what the policy said.
        result: what the engine returned: an `AppendResult` where the act was longer than one token.
        over: bool (m,), whether the episode ended, in either way.
    """

    rows: np.ndarray
    lengths: np.ndarray
    masks: np.ndarray | None
    act: Act
    result: StepResult | AppendResult
    over: np.ndarray

    @property
    def said(self) -> np.ndarray:
        """How many tokens each row said, int64 (m,): fewer than the act has where its turn ended before."""
        return self.result.said if isinstance(self.result, AppendResult) else self.act.counts

    @property
    def per_token(self) -> np.ndarray:
        """The reward after each token, float64 (m, K); 0 past the tokens that were said."""
        return self.result.per_token if isinstance(self.result, AppendResult) else self.result.rewards[:, None]


class Observer:
    """Is told what happens on the rows while `play` plays; every method may be left out."""

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """New episodes began on ``rows`` (m,) from ``starts`` uint64 (m,)."""

    def chose(self, rows: np.ndarray, act: Act) -> None:
        """The policy chose what to say on ``rows`` (m,); the engine has not moved yet."""

    def stepped(self, step: Step) -> None:
        """The tokens were said."""


def queue(starts: np.ndarray) -> Starts:
    """Return what gives out these starts in their order, each once."""
    given = 0

    def more(free: int) -> np.ndarray:
        nonlocal given
        given += free
        return starts[given - free : given]

    return more


def play(
    engine: Engine,
    policy: Policy,
    starts: Starts | None,
    observers: Sequence[Observer] = (),
    *,
    action_masks: bool = False,
    deterministic: bool = False,
    until: Callable[[], bool] | None = None,
) -> int:
    """Play episodes until there are no more starts and every episode that began has ended.

    Without starts the episodes that are under way are played to their ends, such as rows that were forked.

    Free rows are given starts in the order of their numbers. Collecting, evaluating, watching and everything else that
    follows episodes does so as an `Observer`.

    Args:
        engine: whose rows are played; where there are starts, whatever was under way there is given up.
        policy: who plays.
        starts: where new episodes begin, asked at the beginning and again whenever an episode has ended; None goes on
            with what is under way.
        observers: who is told, in this order.
        action_masks: ask the task for legal tokens, and let the policy choose among them.
        deterministic: whether the policy says the most probable instead of drawing.
        until: asked before each act; True leaves the episodes that are under way where they are.

    Returns:
        What it cost: the agent tokens that were drawn, those included that were never said.
    """
    under_way = ~engine.over if starts is None else np.zeros(engine.num_rows, bool)
    rows = np.flatnonzero(under_way)
    chosen: np.ndarray | None = rows
    drawn, changed = 0, True
    with policy.playing(engine):
        while True:
            if changed:
                if starts is not None:
                    _begin(engine, starts, under_way, observers)
                rows = np.flatnonzero(under_way)
                # None is every row, for which engine and session need no gathering.
                chosen = None if len(rows) == engine.num_rows else rows
                changed = False
            if not len(rows) or (until is not None and until()):
                return drawn
            lengths = engine.lengths[rows]
            masks = engine.action_mask(chosen) if action_masks else None
            act = policy.act(
                chosen, engine.tokens if chosen is None else engine.tokens[rows], lengths, masks, deterministic
            )
            for observer in observers:
                observer.chose(rows, act)
            if act.tokens.shape[1] == 1:
                result = engine.step(chosen, act.tokens[:, 0])
                drawn += len(rows) if act.drawn is act.counts else int(act.drawn.sum())
            elif masks is not None:
                raise TokenGymError(
                    f"a {type(policy).__name__} says {act.tokens.shape[1]} tokens at once, but action masks hold for "
                    "the next token only: leave action_masks out, or take a policy that says one token at a time"
                )
            else:
                result = engine.append(chosen, act.tokens, act.counts)
                drawn += int(act.drawn.sum())
            over = result.terminated | result.truncated
            step = Step(rows, lengths, masks if act.masks is None else act.masks, act, result, over)
            for observer in observers:
                observer.stepped(step)
            if over.any():
                under_way[rows[over]] = False
                changed = True


def _begin(engine: Engine, starts: Starts, under_way: np.ndarray, observers: Sequence[Observer]) -> None:
    """Begin episodes on free rows, as many as there are starts for."""
    free = np.flatnonzero(~under_way)
    given = starts(len(free))
    begun, streams = given if isinstance(given, tuple) else (given, None)
    if len(begun):
        where = free[: len(begun)]
        engine.reset(where, begun, streams)
        under_way[where] = True
        for observer in observers:
            observer.began(where, begun)
