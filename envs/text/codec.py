"""Between the strings of a `TextTask` and the tokens of its tokenizer, also where the tokenizer does not keep all.

Many tokenizers give back another text than they were given: those of the BERT family drop newlines, lower the case and
put spaces around signs; others start every text with a space. Two rules make a task independent of this:

- a turn ends at a stop string only if the tokenizer can write it; after a text whose stop it drops, the end token does;
- a turn that reads as a legal text would read is heard as that legal text, in the author's own spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError
from ..vocabulary import Vocabulary
from .remembering import remember
from .writer import TextWriter


class LegalTexts(NamedTuple):
    """A set of legal texts under a tokenizer.

    Attributes:
        following: For every beginning of a legal text's ids, the ids that may come next, intp of shape (n,).
        heard: For every legal text as it reads after the tokenizer, up to the stop string: the text as its author wrote
            it, up to the stop string.
    """

    following: Mapping[tuple[int, ...], npt.NDArray[np.intp]]
    heard: Mapping[str, str]


class TextCodec:
    """Encodes what a task says, decodes what the agent said, and knows which tokens continue a legal text.

    Args:
        name: The task's name, for messages.
        writer: What writes and reads text under the tokenizer.
        vocabulary: The tokenizer's vocabulary.
        stop: The stop strings.
        max_turn_tokens: The most tokens of a turn.
    """

    def __init__(
        self, name: str, writer: TextWriter, vocabulary: Vocabulary, stop: Sequence[str], max_turn_tokens: int
    ) -> None:
        self.name = name
        self.writer = writer
        self.vocabulary = vocabulary
        self.stop = tuple(stop)
        self.max_turn_tokens = max_turn_tokens
        self._legal: dict[tuple[str, ...], LegalTexts] = {}
        # An end token that the tokenizer has as a merely added one would be shown as text.
        special = getattr(writer.tokenizer, "all_special_ids", (vocabulary.eos,))
        self._hidden = None if vocabulary.eos in special else vocabulary.eos

    def encode(self, text: str, what: str = "the text") -> list[int]:
        """Returns the ids of a text of the task's, without special tokens.

        Names of control tokens in it are spelt in characters, as `TextWriter.ids` does it.

        Args:
            text: The text.
            what: What it is, for messages.

        Raises:
            TokenGymError: If it is no string, or the tokenizer cannot write it.
        """
        try:
            return self.writer.ids(text, what)
        except TokenGymError as error:
            raise TokenGymError(f"task {self.name}: {error}") from None

    def encode_turn(self, text: str) -> list[int]:
        """Returns the ids that say a text as a whole turn: with the end token where neither a stop nor length ends it.

        Raises:
            TokenGymError: If the text is longer than a turn can be.
        """
        ids = self.encode(text)
        if len(ids) > self.max_turn_tokens:
            raise TokenGymError(
                f"task {self.name}: the text {text[:60]!r} has {len(ids)} tokens, but a turn at most "
                f"{self.max_turn_tokens}: shorten it, or raise max_turn_tokens"
            )
        ended = len(ids) == self.max_turn_tokens or self.cut(self.decode([ids])[0]) is not None
        return ids if ended or self.vocabulary.eos is None else [*ids, self.vocabulary.eos]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Returns the texts of several rows of ids, without special tokens."""
        if self._hidden is not None:
            ids = [[token for token in row if token != self._hidden] for row in ids]
        return self.writer.decode(ids)

    def cut(self, text: str) -> str | None:
        """Returns the text before the first stop string, or None where there is no stop string."""
        places = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None

    def tokens_that_may_stop(self) -> npt.NDArray[np.bool_] | None:
        """Returns which tokens can complete a stop string, bool (A,): only after these need a turn be decoded.

        The last character of a stop string comes from the token said last. A token whose own text shares no character
        with the stop strings is therefore safe, unless it is part of a character (shown as U+FFFD or not at all) or
        the tokenizer puts spaces between tokens and a stop string has one. None without stop strings.
        """
        if not self.stop:
            return None
        characters = set("".join(self.stop)) | {"\ufffd"}
        size = self.vocabulary.num_actions
        if any(character.isspace() and character != "\n" for character in characters):
            return np.ones(size, np.bool_)
        texts = self.decode([[index] for index in range(size)])
        return np.array([not text or not characters.isdisjoint(text) for text in texts])

    def legal(self, texts: tuple[str, ...]) -> LegalTexts:
        """Returns what legal texts are under the tokenizer.

        Raises:
            TokenGymError: For no text at all, or one that the tokenizer cannot write, that is longer than a turn, goes
                on after a stop string, or reads like another one.
        """
        known = self._legal.get(texts)
        if known is not None:
            return known
        if not texts:
            raise TokenGymError(f"task {self.name}: legal gave no text: end the episode, or return None to allow all")
        following: dict[tuple[int, ...], set[int]] = {}
        heard: dict[str, str] = {}
        for text in texts:
            ids = self._legal_ids(text)
            for length, token in enumerate(ids):
                following.setdefault(ids[:length], set()).add(token)
            written = self.decode([ids])[0]
            before_stop = self.cut(written)
            if before_stop is None and self.vocabulary.eos is not None:
                following.setdefault(ids, set()).add(self.vocabulary.eos)
            cut = self.cut(text)
            meant = text if cut is None else cut
            other = heard.setdefault(written if before_stop is None else before_stop, meant)
            if other != meant:
                raise TokenGymError(
                    f"task {self.name}: the legal texts {other!r} and {meant!r} both read {written!r} under this "
                    "tokenizer, so they cannot be told apart: take another tokenizer, or other texts"
                )
        made = {beginning: np.array(sorted(tokens), np.intp) for beginning, tokens in following.items()}
        return remember(self._legal, texts, LegalTexts(made, heard))

    def _legal_ids(self, text: str) -> tuple[int, ...]:
        ids = tuple(self.encode(text, "the legal text"))
        if not ids or len(ids) > self.max_turn_tokens:
            raise TokenGymError(
                f"task {self.name}: the legal text {text!r} has {len(ids)} tokens, but a turn has 1 … "
                f"{self.max_turn_tokens}: raise max_turn_tokens"
            )
        cut = self.cut(text)
        if cut is not None and not any(text == cut + stop for stop in self.stop):
            raise TokenGymError(f"task {self.name}: the legal text {text!r} goes on after a stop string")
        return ids
