"""Labellers who read: functions of strings, people, language models. They see texts, and never a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...agents import build_agent
from ...envs import ChatTemplate, TokenGymError, Vocabulary, build_tokenizer
from ...envs.checking import Count, checked
from ...envs.text import TextWriter
from ..data import Said, TextEncoder
from .asking import Comparisons

QUESTION = """Two answers to the same prompt follow. Which one is better?

Prompt: {prompt}

Answer A: {first}

Answer B: {second}

Say A or B, and nothing else."""
"""What a language model is asked; `{prompt}`, `{first}` and `{second}` are filled in."""


class Question(NamedTuple):
    """Two answers to a prompt, each a text or messages.

    Attributes:
        prompt: what was asked.
        first, second: the answers.
    """

    prompt: Said
    first: Said
    second: Said

    def swapped(self) -> Question:
        """Return it with the answers the other way round."""
        return Question(self.prompt, self.second, self.first)


Answer = Callable[[list[Question]], Sequence[float | None]]
"""From questions to one number each: 1 where the first is better, 0 where the second is, in between how probable it is
that the first is, None for no answer."""


class TextJudge:
    """A labeller of texts: whatever answers questions is asked about episodes.

        shorter = TextJudge(lambda asked: [float(len(q.first) < len(q.second)) for q in asked], task)
        labelled = label_episodes(episodes, task.vocabulary, shorter, 100)

    Args:
        answer: what is asked.
        text: whose text the episodes are, as in `TextEncoder`: a task, a tokenizer, a vocabulary.
        template: the chat template under which a tokenizer writes messages.
    """

    @checked
    def __init__(self, answer: Answer, text: Any, template: str | None = None) -> None:
        self.answer = answer
        self.encoder = TextEncoder(text, template is not None, template)

    def __repr__(self) -> str:
        name = getattr(self.answer, "__name__", None) or repr(self.answer)
        return f"TextJudge({name})"

    def label(self, asked: Comparisons) -> npt.NDArray[np.float64]:
        """Answer comparisons of episodes by their texts; see `Labeller.label`.

        Raises:
            TokenGymError: an episode cannot be told as text, or an answer is none.
        """
        return numbers_of(self.answer(self.questions(asked)), len(asked))

    def questions(self, asked: Comparisons) -> list[Question]:
        """Return comparisons as texts."""
        indices = np.unique([asked.first, asked.second]).tolist()
        told = {index: self.encoder.read(asked.episodes, index) for index in indices}
        pairs = zip(asked.first.tolist(), asked.second.tolist(), strict=True)
        return [Question(*told[first], told[second][1]) for first, second in pairs]


class ModelJudge:
    """A language model that answers questions with its next token, each in both orders.

    How probable it is that the first is better is the share of "A" in the probability of "A" and "B", averaged with
    that of "B" where the answers are the other way round, so that a liking for one of the letters cancels.

        judge = TextJudge(ModelJudge("models/smollm2"), task)

    Args:
        model: a checkpoint folder of transformers, or a causal LM instance.
        tokenizer: its tokenizer or what names it; None takes the one in the folder.
        question: what it is asked, with `{prompt}`, `{first}` and `{second}` in it.
        max_length: the most tokens of a question.
        batch_size: questions that it reads at once.

    Raises:
        TokenGymError: the folder is no causal LM with a tokenizer, or the tokenizer has no one token for A and for B.
    """

    @checked
    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        question: str = QUESTION,
        max_length: Count = 1024,
        batch_size: Count = 8,
    ) -> None:
        if tokenizer is None and not isinstance(model, (str, Path)):
            raise TokenGymError("The model is no folder, in which its tokenizer would lie; give tokenizer.")
        missing = [name for name in ("{prompt}", "{first}", "{second}") if name not in question]
        if missing:
            raise TokenGymError(f"The question has no {', '.join(missing)}; expected all three to be filled in.")
        self.tokenizer = build_tokenizer(model if tokenizer is None else tokenizer)
        in_roles = isinstance(getattr(self.tokenizer, "chat_template", None), str)
        self.chat = ChatTemplate(self.tokenizer) if in_roles else None
        self.writer = TextWriter(self.tokenizer) if self.chat is None else self.chat.writer
        self.vocabulary = Vocabulary.from_tokenizer(self.tokenizer)
        self.question = question
        self.batch_size = batch_size
        self.letters = _letters(self.writer)
        self.agent = build_agent(str(model) if isinstance(model, Path) else model, self.vocabulary, max_length)

    def __repr__(self) -> str:
        return f"ModelJudge({self.agent!r})"

    def __call__(self, asked: list[Question]) -> Sequence[float | None]:
        """Answer questions; see `Answer`.

        Raises:
            TokenGymError: a question is longer than max_length, or cannot be written under the tokenizer.
        """
        return both_orders(self._first_is_better)(asked)

    def _first_is_better(self, asked: list[Question]) -> list[float]:
        rows = [[self.vocabulary.bos, *self._ids(question)] for question in asked]
        longest = max(map(len, rows), default=0)
        if longest > self.agent.max_length:
            raise TokenGymError(
                f"A question has {longest} tokens, and max_length is {self.agent.max_length}; raise it, or ask about "
                "shorter answers."
            )
        tokens = np.full((len(rows), longest), self.vocabulary.pad, np.int32)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = row
        lengths = np.array([len(row) for row in rows])
        said = self.agent.probabilities(tokens, lengths, batch_size=self.batch_size)
        first, second = (said[:, ids].sum(axis=1) + 1e-30 for ids in self.letters)
        return (first / (first + second)).tolist()

    def _ids(self, question: Question) -> list[int]:
        text = self.question
        # One pass, so that braces in a text are never filled in themselves.
        parts = {f"{{{name}}}": written(said) for name, said in zip(Question._fields, question, strict=True)}
        pieces = [text]
        for mark in parts:
            pieces = [cut for piece in pieces for cut in _cut(piece, mark)]
        text = "".join(parts.get(piece, piece) for piece in pieces)
        if self.chat is not None:
            return self.chat.opening([{"role": "user", "content": text}])
        return self.writer.ids(f"{text}\n", "the question")


def both_orders(answer: Answer) -> Answer:
    """Return what asks each question in both orders and averages, so that a liking for a place cancels."""

    def ask(asked: list[Question]) -> list[float | None]:
        told = list(answer([*asked, *(question.swapped() for question in asked)]))
        half = numbers_of(told, 2 * len(asked))
        mean = (half[: len(asked)] + 1 - half[len(asked) :]) / 2
        return [None if np.isnan(value) else float(value) for value in mean]

    return ask


def written(said: Said) -> str:
    """Return a text, or messages as lines that begin with their roles."""
    if isinstance(said, str):
        return said
    return "\n".join(f"{message['role']}: {message['content']}" for message in said)


def numbers_of(answers: Sequence[float | None], count: int) -> npt.NDArray[np.float64]:
    """Return answers as float64 (P,), NaN where there is none.

    Raises:
        TokenGymError: they are no numbers, or not one a question.
    """
    try:
        values = np.array([np.nan if answer is None else float(answer) for answer in answers], np.float64)
    except (TypeError, ValueError):
        raise TokenGymError(
            f"A judge answered {str(answers)[:80]}; expected a number from 0 to 1, or None, each."
        ) from None
    if values.shape != (count,):
        raise TokenGymError(f"A judge gave {len(values)} answers to {count} questions; expected one each.")
    return values


def _letters(writer: TextWriter) -> tuple[list[int], list[int]]:
    """Return the tokens with which A and B begin, with and without a space before them.

    Raises:
        TokenGymError: they begin with the same.
    """
    ways = [(writer.raw(f"{space}A"), writer.raw(f"{space}B")) for space in ("", " ")]
    begun = [(first[0], second[0]) for first, second in ways if first and second and first[0] != second[0]]
    if not begun:
        raise TokenGymError("The tokenizer begins A and B with the same token, so that they cannot be told apart.")
    return sorted({first for first, _ in begun}), sorted({second for _, second in begun})


def _cut(piece: str, mark: str) -> list[str]:
    """Return a text in pieces, the marks in it among them."""
    if mark not in piece:
        return [piece]
    before, _, behind = piece.partition(mark)
    return [before, mark, *_cut(behind, mark)]
