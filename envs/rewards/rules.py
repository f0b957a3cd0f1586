"""The named reward rules, each a frozen dataclass whose fields are its parameters.

Each is a reward function in the sense of `envs/rewards/functions.py`: called once for a batch, it gives one number a
completion.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, cast

from typing_extensions import Self

from ..checking import TokenGymError, unknown_name
from ..text import TextWriter


class NamedRule:
    """A reward function by name and parameters: its dataclass's fields.

    What an agent says is in the normal form of its tokenizer, which may be of lower case, of composed letters, or with
    spaces around signs. `under` gives the rule that compares in that form.
    """

    name: ClassVar[str]
    """What it is called in a specification."""
    takes_text: ClassVar[bool] = True
    """Whether it is called with texts, also where prompts and completions are messages."""
    _writer: ClassVar[TextWriter | None] = None

    def to_spec(self) -> dict[str, Any]:
        """Give the specification that `build_reward` makes it from: its name, and what differs from the defaults."""
        given = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if item.init}
        defaults = {item.name: item.default for item in fields(cast(Any, self))}
        return {"name": self.name, **{key: value for key, value in given.items() if value != defaults[key]}}

    def under(self, writer: TextWriter) -> Self:
        """Give the same rule for completions under a tokenizer."""
        rule = copy.copy(self)
        object.__setattr__(rule, "_writer", writer)
        return rule

    def _said(self, text: str) -> set[str]:
        """Give what an agent said, as it is and in the tokenizer's normal form."""
        return {text.strip(), (text if self._writer is None else self._writer.normal(text)).strip()}

    def _wanted(self, text: str) -> set[str]:
        """Give a text to compare with, as it is and as it reads when an agent says it."""
        return {text.strip(), (text if self._writer is None else self._writer.read(text)).strip()}


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
            said = self._said(text)
            found = sum(any(_holds(said, form, flags) for form in self._wanted(word)) for word in words)
            rewards.append(found / len(words))
        return rewards


@dataclass(frozen=True)
class Lexicon(NamedRule):
    """How many different words of one list a completion uses beyond those of another, in parts of `most`, −1 to 1.

    Words are found whole, and one that is said again counts once, so that repeating it earns nothing.
    """

    positive: tuple[str, ...]
    """The words that count for it."""
    negative: tuple[str, ...] = ()
    """The words that count against it."""
    most: int = 3
    """How many words more give 1, or as many less −1."""
    ignore_case: bool = True
    """Whether "Good" counts for "good"."""
    name: ClassVar[str] = "lexicon"

    def __post_init__(self) -> None:
        """Check that there are words, each on one side."""
        for label in ("positive", "negative"):
            object.__setattr__(self, label, _strings(label, getattr(self, label)))
        if not self.positive:
            raise TokenGymError("The lexicon rule needs positive words, got none.")
        both = sorted(set(self.positive) & set(self.negative))
        if both:
            raise TokenGymError(f"The lexicon rule has {both[0]!r} among positive and negative; leave one out.")
        _positive("lexicon", "most", self.most)

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible score."""
        return (-1.0 if self.negative else 0.0), 1.0

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        """Give the balance of each completion's words, cut off at `most` to both sides."""
        flags = re.IGNORECASE if self.ignore_case else 0
        rewards = []
        for text in completions:
            said = self._said(text)
            found = [
                sum(any(_holds(said, form, flags) for form in self._wanted(word)) for word in words)
                for words in (self.positive, self.negative)
            ]
            rewards.append(max(-1.0, min(1.0, (found[0] - found[1]) / self.most)))
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
        normal = None if self._writer is None else _normal_expression(self.pattern, self._writer.normal)
        return [float(self._matches(expression, text) or self._matches(normal, text)) for text in completions]

    def _matches(self, expression: re.Pattern[str] | None, text: str) -> bool:
        if expression is None:
            return False
        return (expression.fullmatch(text) if self.full else expression.search(text)) is not None


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
        return [float(self._equal(text, str(answer))) for text, answer in zip(completions, answers, strict=True)]

    def _equal(self, text: str, answer: str) -> bool:
        said, wanted = self._said(text), self._wanted(answer)
        if self.ignore_case:
            said, wanted = {form.casefold() for form in said}, {form.casefold() for form in wanted}
        return not said.isdisjoint(wanted)


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


def _holds(texts: Iterable[str], word: str, flags: int) -> bool:
    whole = _whole(word, flags)
    return any(whole.search(text) is not None for text in texts)


@lru_cache(maxsize=4096)
def _whole(word: str, flags: int) -> re.Pattern[str]:
    """Give the expression that finds a word where it stands whole; the same few are asked for in every batch."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", flags)


def _normal_expression(pattern: str, normal: Callable[[str], str]) -> re.Pattern[str] | None:
    """Give the expression whose own letters are in a tokenizer's normal form, or None where it is the same one.

    Only letters beyond ASCII are rewritten, since the others may be part of the expression's syntax; where the normal
    form has no capitals, capitals match small letters.
    """
    parts = []
    in_class = escaped = False
    for letter in re.findall(r"[\s\S][\u0300-\u036f]*", pattern):
        if not letter.isascii():
            written = re.escape(normal(letter))
            letter = f"(?:{written})" if len(written) > 1 and not in_class else written
        elif not escaped and letter in "[]":
            in_class = letter == "["
        escaped = letter == "\\" and not escaped
        parts.append(letter)
    flags = re.IGNORECASE if normal("A") == "a" else 0
    rewritten = "".join(parts)
    try:
        return None if rewritten == pattern and not flags else re.compile(rewritten, flags)
    except re.error:  # what the normal form makes of it is no expression
        return None


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
