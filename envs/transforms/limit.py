"""A user's time limit as a transform."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checking import positive_int
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Rows, State, Task
from .base import Transform


class TimeLimit(Transform):
    """Truncates an episode after a number of the agent's tokens.

    It is a user's limit, not a rule of the task: a learner bootstraps past it. The exact solver does not take it.
    """

    def __init__(self, task: Task, max_tokens: int) -> None:
        """Puts the limit around `task`.

        Args:
            task: The task inside.
            max_tokens: The most tokens that the agent says in an episode, at least 1.
        """
        super().__init__(task)
        self.max_tokens = positive_int("time_limit: max_tokens", max_tokens)
        self.max_episode_tokens = min(task.max_episode_tokens, self.max_tokens)
        if self.max_tokens >= task.max_episode_tokens:
            self.return_factor = 1.0

    def own_arrays(self, num_rows: int) -> State:
        """Returns how many tokens were said."""
        return {"elapsed": np.zeros(num_rows, np.int64)}

    def own_limits(self, over: bool) -> Limits:
        """Returns how many tokens can have been said."""
        return {"elapsed": (0, self.max_tokens - (not over))}

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and counts it."""
        outcome = super().advance(state, rows, actions, random)
        counter = self.own(state, "elapsed")
        elapsed = counter[rows] + 1
        counter[rows] = elapsed
        truncated = elapsed >= self.max_tokens
        return outcome._replace(truncated=truncated if outcome.truncated is None else truncated | outcome.truncated)
