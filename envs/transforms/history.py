"""Tasks that know what was shown and said: a transform keeps the episode's ids and who said each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number, positive_int
from ..outcomes import Outcome, Reply, Rows, State
from ..random import CounterRandom
from ..rewards import ids_fit, open_reward_model, refusal
from ..saved_state import Limits
from ..task import Task
from .base import Transform


class HistoryTransform(Transform):
    """Keeps each episode's ids from `bos` on, across turns, and which of them the agent said.

    `Task.advance` is told the action alone, so whatever judges a whole episode needs this. Where the task shows each
    turn by itself (context `"turn"`), the turns follow one another, with `bos` once. A subclass reads
    `history(state, rows)` after `super().advance(…)`.

    Attributes:
        max_history: The most ids of an episode that are kept; what comes after them is not.
    """

    def __init__(self, task: Task, max_history: int | None = None) -> None:
        """Puts the transform around `task`.

        Args:
            task: The task inside.
            max_history: The most ids that are kept; None is all that an episode can have.
        """
        super().__init__(task)
        most = task.max_length
        if task.context == "turn":
            most += task.max_episode_tokens * task.max_length
        self.max_history = most if max_history is None else min(most, positive_int("max_history", max_history))

    def own_arrays(self, num_rows: int) -> State:
        """Returns the ids, who said them, and how many there are."""
        shape = (num_rows, self.max_history)
        return {"ids": np.zeros(shape, np.int32), "said": np.zeros(shape, np.bool_), "count": np.zeros(num_rows, int)}

    def own_limits(self, over: bool) -> Limits:
        """Returns the limits of ids and of their number."""
        return {"ids": (0, self.vocabulary.size - 1), "count": (0, self.max_history)}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the inner task's episodes and the histories with what they show."""
        reply = super().start(state, rows, random)
        self.own(state, "ids")[rows, 0] = self.vocabulary.bos
        self.own(state, "count")[rows] = 1
        self._show(state, rows, reply)
        return reply

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and keeps it and the reply."""
        outcome = super().advance(state, rows, actions, random)
        counts = self.own(state, "count")
        at = counts[rows]
        room = at < self.max_history
        self.own(state, "ids")[rows[room], at[room]] = actions[room]
        self.own(state, "said")[rows[room], at[room]] = True
        counts[rows[room]] += 1
        reply = outcome.reply
        if reply is not None:
            if self.context == "turn" and outcome.terminated.any():  # what is shown after the end is no turn
                reply = Reply(reply.tokens, np.where(outcome.terminated, 0, reply.counts))
            self._show(state, rows, reply)
        return outcome

    def history(
        self, state: State, rows: Rows
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Returns ids (m, H) as wide as the longest, how many each row has (m,), and which the agent said (m, H)."""
        counts = self.own(state, "count")[rows].astype(np.int64)
        width = int(counts.max(initial=1))
        return self.own(state, "ids")[rows, :width], counts, self.own(state, "said")[rows, :width]

    def full(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which rows have no room in the context, by which the engine ends an episode: bool (m,)."""
        if self.context == "turn":
            return np.zeros(len(rows), np.bool_)
        return self.own(state, "count")[rows] >= self.max_length

    def _show(self, state: State, rows: Rows, reply: Reply) -> None:
        """Keeps as much of a reply as there is room for."""
        counts, width = self.own(state, "count"), reply.tokens.shape[1]
        columns = np.arange(width)
        places = counts[rows][:, None] + columns
        shown = (columns < np.asarray(reply.counts)[:, None]) & (places < self.max_history)
        row, column = np.nonzero(shown)
        self.own(state, "ids")[rows[row], places[row, column]] = reply.tokens[row, column]
        counts[rows] += shown.sum(axis=1)


class RewardModelTransform(HistoryTransform):
    """Pays a reward model's score of the whole episode at its end, in place of the task's rewards.

    The rows that end together are scored in one batch. A model that scores every token pays at the end of each turn,
    and credits its tokens. What the task would have paid is the column `gold`, and what was paid the column `proxy`;
    an ensemble reports the standard deviation of its members' scores as `disagreement`.

    Attributes:
        model: The reward model.
    """

    def __init__(self, task: Task, path: str, combine: str | None = None, scale: float = 1.0) -> None:
        """Puts the reward model around `task`.

        Args:
            task: The task inside, of the vocabulary that the model reads.
            path: The model's folder.
            combine: How an ensemble's scores are combined (`"mean"`, `"worst"`, `"variance"`); None as it was fitted.
            scale: What the score is multiplied by.

        Raises:
            TokenGymError: No such model, or one for another vocabulary or for shorter sequences.
        """
        self.model: Any = open_reward_model(path, combine)
        if not ids_fit(self.model, task.vocabulary):
            raise refusal(path, self.model, task.vocabulary)
        if task.context == "episode" and self.model.max_length < task.max_length:
            raise TokenGymError(
                f"the reward model {path} reads {self.model.max_length} tokens, and an episode of {task.name} can have "
                f"{task.max_length}: fit one that reads them, fit_reward_model(…, max_length={task.max_length})"
            )
        super().__init__(task)
        self.scale = finite_number("reward_model: scale", scale)
        self.reward_range = -np.inf, np.inf
        self._many = len(getattr(self.model, "members", ())) > 1
        self.columns = {"gold": "sum", **task.columns, "proxy": "sum"}
        if self._many:
            self.columns = {**self.columns, "disagreement": "mean"}
        self._reports_gold = "gold" in task.columns

    def own_arrays(self, num_rows: int) -> State:
        """Returns the histories, and where the turn under way began."""
        return {**super().own_arrays(num_rows), "turn_at": np.zeros(num_rows, int)}

    def own_limits(self, over: bool) -> Limits:
        """Returns the limits of the histories and of the beginning of a turn."""
        return {**super().own_limits(over), "turn_at": (0, self.max_history)}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the episodes, and their first turns."""
        reply = super().start(state, rows, random)
        self.own(state, "turn_at")[rows] = self.own(state, "count")[rows]
        return reply

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token, and pays the model's scores of what that ended."""
        outcome = super().advance(state, rows, actions, random)
        over = outcome.terminated | self.full(state, rows)
        if outcome.truncated is not None:
            over = over | outcome.truncated
        paid = np.zeros(len(rows))
        credited, spread = None, None
        if self.model.process:
            credited = self._pay_steps(state, rows, outcome.turn_ended, over, paid)
        elif over.any():
            ended = np.flatnonzero(over)
            tokens, lengths, _ = self.history(state, rows[ended])
            if not getattr(self.model, "reads_bos", True):
                tokens, lengths = tokens[:, 1:], lengths - 1
            if self._many:
                scores = self.model.score_members(tokens, lengths)
                paid[ended] = self.scale * self.model.combined(scores)
                spread = np.full(len(rows), np.nan)
                spread[ended] = abs(self.scale) * scores.std(axis=0)
            else:
                paid[ended] = self.scale * self.model.score(tokens, lengths)
        turn_ended = np.flatnonzero(outcome.turn_ended)
        self.own(state, "turn_at")[rows[turn_ended]] = self.own(state, "count")[rows[turn_ended]]
        columns: dict[str, Any] = dict(outcome.columns or {})
        if not self._reports_gold:
            columns["gold"] = outcome.rewards
        columns["proxy"] = paid
        if spread is not None:
            columns["disagreement"] = spread
        return outcome._replace(rewards=paid, token_rewards=credited, columns=columns)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns None: what is good for the task need not be for the model."""
        return None

    def _pay_steps(
        self,
        state: State,
        rows: Rows,
        turn_ended: npt.NDArray[np.bool_],
        over: npt.NDArray[np.bool_],
        paid: npt.NDArray[np.float64],
    ) -> list[npt.NDArray[np.float64] | None] | None:
        """Pays the turns that ended, or were cut, the sum of their tokens' scores; returns the scores of the former."""
        ended = np.flatnonzero(turn_ended | over)
        if not len(ended):
            return None
        tokens, lengths, said = self.history(state, rows[ended])
        steps = self.scale * self.model.score_steps(tokens, lengths, said)
        began = self.own(state, "turn_at")[rows[ended]]
        now = said & (np.arange(said.shape[1]) >= began[:, None])
        paid[ended] = np.where(now, steps, 0.0).sum(axis=1)
        whole = turn_ended[ended]
        return [steps[place, now[place]] for place in np.flatnonzero(whole).tolist()]


def reward_model(task: Task, path: str, combine: str | None = None, scale: float = 1.0) -> Task:
    """Pays a reward model's score of the whole episode at its end. See `RewardModelTransform`."""
    return RewardModelTransform(task, path, combine, scale)
