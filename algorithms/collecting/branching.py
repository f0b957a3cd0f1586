"""Branches: states that were played through, entered again and played to the end, each on its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ...agents import Act, Policy
from ...envs import Engine, derive_start
from ..data import Episodes
from .playing import Beginnings, Observer, Step


class Branches(Policy, Observer):
    """Says again what episodes said until a state, then lets a policy go on; the rows draw afresh from there.

    It is both who acts and who follows what happens, as an observer behind a recording.

    Args:
        engine: whose rows are played.
        policy: who goes on.
        episodes: what was played.
        episode: int (m,), the episode that each branch leaves.
        step: int (m,), after how many of its tokens: less than it has.
        number: int (m,), tells the branches of a state apart.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        episodes: Episodes,
        episode: np.ndarray,
        step: np.ndarray,
        number: np.ndarray,
    ) -> None:
        self.engine = engine
        self.policy = policy
        self.flat = episodes.flat
        self.first = self.flat.episode_offsets[episode]
        self.step = np.asarray(step)
        self.starts = episodes.starts[episode]
        self.streams = None if episodes.streams is None else episodes.streams[episode]
        origin = self.starts if self.streams is None else self.streams
        # Of the episode, the state and the number alone, so that nothing is to be remembered between collections.
        self.fresh = derive_start(derive_start(derive_start(origin, np.uint64(2**32)), self.step), number)
        self._given = self._begun = 0
        self._branch = np.full(engine.num_rows, -1)
        self._said = np.zeros(engine.num_rows, np.int64)

    @property
    def sampling(self) -> str:
        """What the policy that goes on draws from."""
        return self.policy.sampling

    def playing(self, engine: Engine) -> AbstractContextManager[object]:
        """Let the policy that goes on play the rows."""
        return self.policy.playing(engine)

    def more(self, free: int) -> Beginnings:
        """Give out the beginnings of the next branches, each once."""
        chosen = slice(self._given, self._given + free)
        self._given += free
        return self.starts[chosen], None if self.streams is None else self.streams[chosen]

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Note which branches began; those that leave at the very start do so at once."""
        self._branch[rows] = np.arange(self._begun, self._begun + len(rows))
        self._begun += len(rows)
        self._said[rows] = 0
        self._leave(rows)

    def stepped(self, step: Step) -> None:
        """Let rows that have come to their state draw afresh from there."""
        self._said[step.rows] += step.said
        self._leave(step.rows[~step.over])

    def _leave(self, rows: np.ndarray) -> None:
        there = rows[self._said[rows] == self.step[self._branch[rows]]]
        if len(there):
            self.engine.fork(there, there, self.fresh[self._branch[there]])

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Say what was said, at no cost, or let the policy go on."""
        of = np.arange(len(lengths)) if rows is None else rows
        again = self._said[of] < self.step[self._branch[of]]
        if not again.any():
            return self.policy.act(rows, tokens, lengths, masks, deterministic)
        place = (self.first[self._branch[of]] + self._said[of])[again]
        said = np.empty(len(of), np.int64)
        log_probs = np.empty(len(of), self.flat.log_prob.dtype)
        drawn = np.zeros(len(of), np.int64)
        said[again], log_probs[again] = self.flat.action[place], self.flat.log_prob[place]
        on = ~again
        if on.any():
            allowed = None if masks is None else masks[on]
            act = self.policy.act(of[on], tokens[on], lengths[on], allowed, deterministic)
            said[on], drawn[on] = act.tokens[:, 0], act.drawn
            given: Any = act.log_probs
            log_probs[on] = given[:, 0] if isinstance(given, np.ndarray) else given[:, 0].float().cpu().numpy()
        return Act(said[:, None], np.ones(len(of), np.int64), log_probs[:, None], drawn)
