"""Policies that follow a script: tokens that were said before, and the exact optimum, which remembers the episode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from ..agents import Act, Policy
from ..algorithms.collecting import Observer, Step
from ..envs import Engine, Solution


class Script(Policy):
    """Says given tokens one after the other, the same on every row.

    Args:
        tokens: ids; no more acts can be asked for than there are.
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens = iter(tokens)

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Say the next token; see `Policy.act`."""
        return Act.of_one(np.full(len(lengths), next(self._tokens)), np.zeros(len(lengths)))


class Following(Observer):
    """Follows the rows of an engine through the information states of a solved task.

    Args:
        solution: of the engine's task.
        engine: whose rows are played.
    """

    def __init__(self, solution: Solution, engine: Engine) -> None:
        self.engine = engine
        self.follower = solution.follower(engine.num_rows)

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Take the first observations."""
        self.follower.begin(rows, self.engine.tokens[rows], self.engine.lengths[rows])

    def stepped(self, step: Step) -> None:
        """Take what was said and what was shown, where the episode goes on."""
        rows = step.rows[~step.over]
        if len(rows):
            said = step.act.tokens[~step.over, 0]
            self.follower.follow(rows, said, self.engine.tokens[rows], self.engine.lengths[rows])


class Optimum(Policy, Observer):
    """Plays a solved task exactly, clock and memory included; of equally good tokens it says the first.

    It acts by what it follows, so it has to be among the observers of the loop that it plays in.

    Args:
        solution: of the task.
    """

    def __init__(self, solution: Solution) -> None:
        self._solution = solution
        # Rounded, so that equally good tokens are equal on every machine.
        self._best = [np.round(values, 9).argmax(axis=1) for values in solution.optimal_q]
        self._following: Following | None = None

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Enter a block within which the rows of an engine are followed from their beginnings."""
        self._following = Following(self._solution, engine)
        yield

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Follow; see `Following`."""
        assert self._following is not None
        self._following.began(rows, starts)

    def stepped(self, step: Step) -> None:
        """Follow; see `Following`."""
        assert self._following is not None
        self._following.stepped(step)

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Say the best token; see `Policy.act`."""
        assert self._following is not None
        where = np.arange(len(lengths)) if rows is None else rows
        return Act.of_one(self._following.follower.gather(self._best, where), np.zeros(len(where)))
