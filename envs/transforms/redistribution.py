"""The reward of a turn, credited to its tokens one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number
from ..finite import FiniteArrays, FiniteTask, Transition, share_reward
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Rows, State, Task
from ..text import TextTask
from .base import FiniteTransform, Transform
from .shaping import token_weights


class Redistribution(Transform):
    """Spreads the reward of a turn's last token over the turn's tokens: alike, or by weights of tokens or keywords.

    When it is paid does not change, nor does any return: the amount is known only at the end of the turn. The parts are
    handed to the learner as `token_rewards`, which learners credit to the tokens (their option `token_rewards`). What
    earlier tokens of the turn were paid stays theirs. A credit of the inner task's own is replaced.
    """

    def __init__(self, task: Task, weights: Mapping[str, float] | None = None, other: float = 0.0) -> None:
        """Puts the redistribution around `task`.

        Args:
            task: The task inside.
            weights: The weights of single tokens by name, at least 0; in a `TextTask` of whole words or phrases of the
                turn's text, whose tokens each get the weight. None for the same weight for all.
            other: The weight of all other tokens, at least 0. Where all weights of a turn are 0, all share alike.
        """
        super().__init__(task)
        self.return_factor = 1.0
        self._text: TextTask | None = None
        text = task.unwrapped
        if isinstance(text, TextTask) and weights is not None:
            self._text = text
            self._keywords = [
                (_whole(_as_read(text, word)), _weight(word, weight)) for word, weight in _mapping(weights).items()
            ]
            self._other = _weight("other", other)
            self._weights = np.ones(task.vocabulary.num_actions)
        else:
            self._weights = credit_weights(task, weights, other)

    def own_arrays(self, num_rows: int) -> State:
        """Returns the rewards, the weights and the ids of the turn under way."""
        shape = num_rows, self.max_turn_tokens
        own: State = {"paid": np.zeros(shape), "weights": np.zeros(shape), "said": np.zeros(num_rows, np.int64)}
        if self._text is not None:
            own["tokens"] = np.zeros(shape, np.int32)
        return own

    def own_limits(self, over: bool) -> Limits:
        """Returns how far a turn can be, and what can be said."""
        return {"said": (0, self.max_turn_tokens - 1), "tokens": (0, self.vocabulary.num_actions - 1)}

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and where it ended a turn credits the turn's tokens."""
        outcome = super().advance(state, rows, actions, random)
        paid, weights, said = (self.own(state, name) for name in ("paid", "weights", "said"))
        columns = said[rows]
        paid[rows, columns], weights[rows, columns] = outcome.rewards, self._weights[actions]
        if self._text is not None:
            self.own(state, "tokens")[rows, columns] = actions
        said[rows] = np.where(outcome.turn_ended, 0, columns + 1)
        ended = np.flatnonzero(outcome.turn_ended)
        if not len(ended):
            return outcome
        counts, ending = columns[ended] + 1, rows[ended]
        if self._text is not None:
            turns = self.own(state, "tokens")[ending]
            for row, turn, count in zip(ending.tolist(), turns, counts.tolist(), strict=True):
                weights[row, :count] = self._keyword_weights(self._text, turn[:count].tolist())
        return outcome._replace(token_rewards=share_reward(paid[ending], weights[ending], counts))

    def _keyword_weights(self, text_task: TextTask, ids: Sequence[int]) -> npt.NDArray[np.float64]:
        """Returns the weights of a turn's tokens: the largest of those of the keywords that a token is part of."""
        texts = text_task.decode([ids[:count] for count in range(1, len(ids) + 1)])
        ends = np.array([len(text) for text in texts])
        starts = np.concatenate([[0], ends[:-1]])
        weights = np.full(len(ids), self._other)
        found = np.zeros(len(ids), np.bool_)
        for pattern, weight in self._keywords:
            for match in pattern.finditer(texts[-1]):
                part = (starts < match.end()) & (ends > match.start())
                weights[part] = np.where(found[part], np.maximum(weights[part], weight), weight)
                found |= part
        return weights


class FiniteRedistribution(FiniteTransform):
    """`Redistribution` of a finite task, which stays one: the same arrays, and a credit when they are stepped."""

    def __init__(self, task: FiniteTask, weights: Mapping[str, float] | None = None, other: float = 0.0) -> None:
        """Puts the redistribution around `task`; the arguments are those of `Redistribution`."""
        super().__init__(task)
        self.return_factor = 1.0
        self.credit_weights = credit_weights(task, weights, other)

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The inner task's arrays."""
        return self.task.arrays

    def transitions(self, state: object, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes."""
        return self.outcomes_of(state, action)


def redistribute(task: Task, weights: Mapping[str, float] | None = None, other: float = 0.0) -> Task:
    """Credits a turn's reward to its tokens; what is finite stays finite. See `Redistribution`."""
    if isinstance(task, FiniteTask):
        return FiniteRedistribution(task, weights, other)
    return Redistribution(task, weights, other)


def credit_weights(task: Task, weights: Mapping[str, float] | None, other: float) -> npt.NDArray[np.float64]:
    """Returns the weight of each of the agent's tokens, at least 0, shape (A,); see `Redistribution`."""
    if weights is None:
        return np.ones(task.vocabulary.num_actions)
    for word, weight in _mapping(weights).items():
        _weight(word, weight)
    return token_weights("redistribute", task.vocabulary, weights, _weight("other", other))


def _mapping(weights: Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(weights, Mapping):
        raise TokenGymError(f"redistribute: weights={weights!r}: give a mapping from tokens to numbers, or None")
    return weights


def _weight(name: str, value: object) -> float:
    weight = finite_number(f"redistribute: the weight of {name!r}", value)
    if weight < 0:
        raise TokenGymError(f"redistribute: the weight of {name!r} is {value}: give at least 0")
    return weight


def _as_read(task: TextTask, word: str) -> str:
    """Returns a word as the agent's text shows it, or raises if it can never be in it."""
    if not isinstance(word, str):
        return word
    task.codec.encode(word, "the word")
    return task.writer.read(word).strip() or word


def _whole(word: str) -> re.Pattern[str]:
    """Returns the pattern of a word or phrase that is no part of a longer word."""
    if not isinstance(word, str) or not word.strip():
        raise TokenGymError(f"redistribute: the keyword {word!r} is empty: give a word or a phrase")
    return re.compile(rf"(?<!\w){re.escape(word.strip())}(?!\w)")
