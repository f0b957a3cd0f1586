"""The named reward rules, each a frozen dataclass whose fields are its parameters.

Each is a reward function in the sense of `envs/rewards.py`: called once for a batch, it gives one number a completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

from .errors import TokenGymError, unknown_name


class NamedRule:
    """A reward function by name and parameters: its dataclass's fields."""

    name: ClassVar[str]
    """What it is called in a specification."""

    def to_spec(self) -> dict[str, Any]:
        """Give the specification that `build_reward` makes it from: its name, and what differs from the defaults."""
        given = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if item.init}
        defaults = {item.name: item.default for item in fields(cast(Any, self))}
        return {"name": self.name, **{key: value for key, value in given.items() if value != defaults[key]}}


@dataclass(frozen=True)
class Keyword(NamedRule):
    """Fraction of the wanted words that the completion uses at least once, from 0 to 1.

    Words are found whole: "sea" is not in "season". Give `words`, or `column` where each prompt has its own.
    """

    words: tuple[str, ...] = ()
    """The wanted words, the same for every prompt."""
    column: str | None = None
    """The column that holds each prompt's words: a list of strings, or one string split at spaces."""
    ignore_case: bool = True
    """Whether "Sea" counts for "sea"."""
    name: ClassVar[str] = "keyword"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check that exactly one of `words` and `column` is given."""
        object.__setattr__(self, "words", _strings("words", self.words))
        _one_of("keyword", words=self.words or None, column=self.column)

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give the fraction of the wanted words found in each completion."""
        wanted = _column(columns, self.column, "keyword") if self.column else [self.words] * len(completions)
        flags = re.IGNORECASE if self.ignore_case else 0
        rewards = []
        for words, text in zip(wanted, completions, strict=True):
            words = words.split() if isinstance(words, str) else words
            if not words:
                raise TokenGymError(f"The keyword rule found no words in column {self.column!r}; give at least one.")
            found = sum(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags) is not None for word in words)
            rewards.append(found / len(words))
        return rewards


@dataclass(frozen=True)
class Length(NamedRule):
    """Closeness to a target length: 1 at the target, falling by 1/target a unit to 0."""

    target: int
    """The wanted length, at least 1."""
    unit: str = "tokens"
    """What is counted: `"tokens"` (the end token included), `"words"` (split at spaces) or `"characters"`."""
    name: ClassVar[str] = "length"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check the target and the unit."""
        _positive("length", "target", self.target)
        if self.unit not in ("tokens", "words", "characters"):
            raise unknown_name("unit of length", self.unit, ("tokens", "words", "characters"))

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give max(0, 1 - |length - target| / target) of each completion."""
        if self.unit == "tokens":
            lengths = [len(ids) for ids in completion_ids]
        elif self.unit == "words":
            lengths = [len(text.split()) for text in completions]
        else:
            lengths = [len(text) for text in completions]
        return [max(0.0, 1.0 - abs(length - self.target) / self.target) for length in lengths]


@dataclass(frozen=True)
class Regex(NamedRule):
    """1 where the completion matches a regular expression (Python's `re`), else 0."""

    pattern: str
    """The expression."""
    full: bool = False
    """Whether the whole completion must match, or any part of it is enough."""
    name: ClassVar[str] = "regex"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check that the expression compiles."""
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise TokenGymError(f"{self.pattern!r} is not a regular expression: {error}.") from error

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give 1.0 to each completion that matches and 0.0 to the others."""
        expression = re.compile(self.pattern)
        match = expression.fullmatch if self.full else expression.search
        return [float(match(text) is not None) for text in completions]


@dataclass(frozen=True)
class ExactMatch(NamedRule):
    """1 where the completion is the answer, spaces around it apart, else 0."""

    answer: str | None = None
    """The answer, the same for every prompt."""
    column: str | None = None
    """The column that holds each prompt's answer."""
    ignore_case: bool = False
    """Whether "Yes" is the answer "yes"."""
    name: ClassVar[str] = "exact_match"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check that exactly one of `answer` and `column` is given."""
        _one_of("exact_match", answer=self.answer, column=self.column)

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give 1.0 to each completion that is its prompt's answer and 0.0 to the others."""
        answers = _column(columns, self.column, "exact_match") if self.column else [self.answer] * len(completions)
        return [
            float(self._normal(text) == self._normal(str(answer)))
            for text, answer in zip(completions, answers, strict=True)
        ]

    def _normal(self, text: str) -> str:
        return text.strip().casefold() if self.ignore_case else text.strip()


@dataclass(frozen=True)
class RepetitionPenalty(NamedRule):
    """Minus the share of n-grams that repeat an earlier one: 0 without repetition, towards -1 with nothing but."""

    ngram: int = 2
    """The n of the n-grams, at least 1; a completion shorter than n has none and gives 0."""
    unit: str = "words"
    """What an n-gram is made of: `"words"` (split at spaces) or `"tokens"`."""
    name: ClassVar[str] = "repetition_penalty"
    reward_range: ClassVar[tuple[float, float]] = (-1.0, 0.0)

    def __post_init__(self) -> None:
        """Check n and the unit."""
        _positive("repetition_penalty", "ngram", self.ngram)
        if self.unit not in ("tokens", "words"):
            raise unknown_name("unit of repetition", self.unit, ("tokens", "words"))

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give distinct n-grams / all n-grams - 1 of each completion."""
        sequences: Sequence[Sequence[Any]] = (
            completion_ids if self.unit == "tokens" else [text.split() for text in completions]
        )
        rewards = []
        for sequence in sequences:
            total = len(sequence) - self.ngram + 1
            grams = {tuple(sequence[i : i + self.ngram]) for i in range(max(total, 0))}
            rewards.append(len(grams) / total - 1.0 if total > 0 else 0.0)
        return rewards


def _column(columns: dict[str, Any], name: str | None, rule: str) -> Sequence[Any]:
    if name not in columns:
        raise TokenGymError(
            f"The {rule} rule reads column {name!r}, which the prompts do not have; give each prompt as "
            f"{{'prompt': ..., {name!r}: ...}}."
        )
    return columns[name]


def _strings(label: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
        raise TokenGymError(f"{label} must be a list of non-empty strings, got {values!r}.")
    return tuple(values)


def _one_of(rule: str, **options: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        raise TokenGymError(
            f"The {rule} rule needs exactly one of {' and '.join(options)}, got {' and '.join(given) or 'neither'}."
        )


def _positive(rule: str, label: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TokenGymError(f"{label} of the {rule} rule must be an integer of at least 1, got {value!r}.")
