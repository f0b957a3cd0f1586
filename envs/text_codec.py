"""Between the strings of a `TextTask` and the tokens of its tokenizer, also where the tokenizer does not keep all.

Many tokenizers give back another text than they were given: those of the BERT family drop newlines, lower the case and
put spaces around signs; others start every text with a space. Two rules make a task independent of this:

- a turn ends at a stop string only if the tokenizer can write it; after a text whose stop it drops, the end token does;
- a turn that reads as a legal text would read is heard as that legal text, in the author's own spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import TokenGymError
from .vocabulary import Vocabulary

_CACHE_LIMIT = 4096
"""How many texts and sets of legal texts keep their encodings; past it the cache starts anew."""


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
        tokenizer: A `transformers` tokenizer or an object like it.
        vocabulary: Its vocabulary.
        stop: The stop strings.
        max_turn_tokens: The most tokens of a turn.
    """

    def __init__(
        self, name: str, tokenizer: Any, vocabulary: Vocabulary, stop: Sequence[str], max_turn_tokens: int
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.stop = tuple(stop)
        self.max_turn_tokens = max_turn_tokens
        self._encodings: dict[str, list[int]] = {}
        self._legal: dict[tuple[str, ...], LegalTexts] = {}

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text of the task's, without special tokens. The list is shared: do not change it."""
        if not isinstance(text, str):
            raise TokenGymError(f"task {self.name}: prompts, replies and legal moves are strings, got {text!r}")
        ids = self._encodings.get(text)
        if ids is None:
            if len(self._encodings) >= _CACHE_LIMIT:
                self._encodings.clear()
            ids = self._encodings[text] = list(self.tokenizer.encode(text, add_special_tokens=False))
        return ids

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
        if not ids:
            return []
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return backend.decode_batch(ids, skip_special_tokens=True)
        return [self.tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in ids]

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
        if len(self._legal) >= _CACHE_LIMIT:
            self._legal.clear()
        made = {beginning: np.array(sorted(tokens), np.intp) for beginning, tokens in following.items()}
        self._legal[texts] = LegalTexts(made, heard)
        return self._legal[texts]

    def _legal_ids(self, text: str) -> tuple[int, ...]:
        ids = tuple(self.encode(text))
        if not ids or len(ids) > self.max_turn_tokens:
            raise TokenGymError(
                f"task {self.name}: the legal text {text!r} has {len(ids)} tokens, but a turn has 1 … "
                f"{self.max_turn_tokens}: raise max_turn_tokens"
            )
        cut = self.cut(text)
        if cut is not None and not any(text == cut + stop for stop in self.stop):
            raise TokenGymError(f"task {self.name}: the legal text {text!r} goes on after a stop string")
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        if unknown is not None and unknown != self.vocabulary.eos and unknown in ids:
            raise TokenGymError(
                f"task {self.name}: the tokenizer cannot write the legal text {text!r}: it has no token for a part of "
                "it. Train it on a corpus that holds all legal texts, or take a byte-level one ({'kind': 'bpe'})"
            )
        return ids
