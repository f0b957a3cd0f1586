"""Spaces of text: any text as an observation, and texts that tokens can make as actions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from ..checking import TokenGymError, unknown_name
from ..task import Task
from .task import TextTask


class AnyText(spaces.Text):
    """All strings: what a task renders may hold any character.

    Attributes:
        max_length: Characters of the longest text that tokens' names make; samples keep to it.
    """

    def __init__(self, task: Task) -> None:
        """Makes the space of a task's texts."""
        names = token_texts(task)
        separator = task.vocabulary.separator
        longest = task.max_length * (max(map(len, names)) + len(separator))
        super().__init__(
            max(1, longest), min_length=0, charset=frozenset("".join([*names, separator])) or frozenset(" ")
        )

    def contains(self, x: Any) -> bool:
        """Returns whether `x` is a string."""
        return isinstance(x, str)


class Phrases(spaces.Text):
    """The texts that stand for one token of the agent's, or for a whole turn.

    Attributes:
        end: The token that ends a turn early, or None where the task has none.
    """

    def __init__(self, task: Task, unit: Literal["token", "turn"]) -> None:
        """Makes the space of what can be said in a task.

        Args:
            task: The task.
            unit: Whether a text stands for one token or for a turn.
        """
        self.task, self.unit = task, unit
        inner = task.unwrapped
        self._text = inner if isinstance(inner, TextTask) else None
        self.end: int | None = task.vocabulary.eos
        if self.end is None:
            self.end = getattr(inner, "end_of_turn", None)
        self._names = token_texts(task)[: task.vocabulary.num_actions]
        self._most = 1 if unit == "token" else task.max_turn_tokens
        separator = "" if self._text is not None else task.vocabulary.separator
        self._separator = separator
        longest = self._most * (max(map(len, self._names)) + len(separator))
        super().__init__(max(1, longest), min_length=0, charset=frozenset("".join(self._names)) or frozenset(" "))

    def parse(self, text: Any) -> list[int]:
        """Returns the ids of a text: one, or those of a turn, which the end token may complete.

        Raises:
            TokenGymError: If it is no string, is no single token or does not fit a turn, or holds an unknown name.
        """
        if not isinstance(text, str):
            raise TokenGymError(f"the action {text!r} is no string: TextAction takes text")
        vocabulary = self.task.vocabulary
        if text in vocabulary.ids:
            ids = [vocabulary.ids[text]]
        elif self._text is not None:
            ids = list(self._text.codec.encode(text))
        else:
            ids = self._read_names(text)
        for token in ids:
            if token >= vocabulary.num_actions:
                raise TokenGymError(f"the agent cannot say {vocabulary.tokens[token]!r}: only the task does")
        if self.unit == "token":
            if len(ids) != 1:
                raise TokenGymError(
                    f"{text!r} is {len(ids)} tokens: with unit='token' an action is one; unit='turn' takes whole turns"
                )
            return ids
        if not ids and self.end is not None:
            ids = [self.end]
        if not 1 <= len(ids) <= self._most or (len(ids) < self._most and self.end is None):
            expected = f"{self._most}" if self.end is None else f"1 … {self._most}"
            raise TokenGymError(f"{text!r} has {len(ids)} tokens: a turn of task {self.task.name} has {expected}")
        return ids

    def _read_names(self, text: str) -> list[int]:
        """Returns the ids of names that stand one after the other, parted as the vocabulary renders them."""
        names = self._names
        if self._separator:
            return self.task.vocabulary.encode(text.split(None if self._separator.isspace() else self._separator))
        ids, place = [], 0
        by_length = sorted(range(len(names)), key=lambda token: -len(names[token]))
        while place < len(text):
            found = next((token for token in by_length if names[token] and text.startswith(names[token], place)), None)
            if found is None:
                raise unknown_name("token", text[place : place + 20], names)
            ids.append(found)
            place += len(names[found])
        return ids

    def contains(self, x: Any) -> bool:
        """Returns whether `x` is a text that `parse` takes."""
        try:
            self.parse(x)
        except TokenGymError:
            return False
        return True

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Returns the text of randomly chosen tokens; there are no masks for texts.

        Raises:
            TokenGymError: If a mask or a probability is given.
        """
        if mask is not None or probability is not None:
            raise TokenGymError("texts are sampled without a mask: read info['action_mask'] and name a token of it")
        for _ in range(100):
            # Under a tokenizer a text may come back as other, and more, tokens than it was made of.
            count = self._most if self.end is None else int(self.np_random.integers(1, self._most + 1))
            chosen = self.np_random.integers(len(self._names), size=count)
            if self._text is not None:
                text = self._text.decode([chosen.tolist()])[0]
            else:
                text = self._separator.join(self._names[token] for token in chosen)
            if text in self:
                return text
        return self.task.vocabulary.tokens[0 if self.end is None else self.end]

    def __eq__(self, other: object, /) -> bool:
        """Returns whether `other` holds the same texts."""
        return isinstance(other, Phrases) and (self.unit, self._names, self._most, self.end) == (
            other.unit,
            other._names,
            other._most,
            other.end,
        )


def token_texts(task: Task) -> list[str]:
    """Returns the text of every token by itself: decoded under a tokenizer, else its name."""
    inner = task.unwrapped
    if isinstance(inner, TextTask):
        return inner.decode(np.arange(inner.vocabulary.size)[:, None].tolist())
    return list(task.vocabulary.tokens)
