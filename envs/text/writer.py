"""Text as ids with nothing lost and nothing gained: what is text stays text, and what cannot be written is refused.

A tokenizer reads the names of its control tokens (`<eos>`, the role markers of a chat) out of any text, and puts one
unknown token, or nothing at all, where it has no token. Both would change what a task says without a word. So text that
a task says goes through a `TextWriter`: the names of control tokens are spelt in characters where the tokenizer can do
so, and what cannot be written stops with the piece that is the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..checking import TokenGymError
from .remembering import remember

_NAMED = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id")
_MARKER = re.compile(r"<\|.*\|>")
"""What markers of roles look like, be they special tokens or merely added ones."""


class TextWriter:
    """Writes text under a tokenizer, and reads it back.

    Attributes:
        tokenizer: A `transformers` tokenizer or an object like it.
        controls: The control tokens, text by id: special ones, and added ones by which a chat template marks roles.
        marks: Their ids, without the unknown token's.
    """

    def __init__(self, tokenizer: Any, scaffold: str | None = None) -> None:
        """Finds the control tokens.

        Args:
            tokenizer: The tokenizer.
            scaffold: What a chat template writes around messages; added tokens in it are control tokens. By default
                what the tokenizer's own template writes, if it has one.
        """
        self.tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self.controls = _control_tokens(tokenizer, _own_scaffold(tokenizer) if scaffold is None else scaffold)
        self._unknown = getattr(tokenizer, "unk_token_id", None)
        self.marks = frozenset(self.controls) - {self._unknown}
        self._literal: Any = None
        self._written: dict[str, list[int]] = {}
        self._read: dict[str, str] = {}

    def ids(self, text: str, what: str = "the text", whole: bool = True) -> list[int]:
        """Gives the ids of a text, without special tokens.

        Args:
            text: The text.
            what: What it is, for messages, such as `"the prompt"`.
            whole: Whether to refuse a text of which something is lost; control tokens are never taken for text.

        Raises:
            TokenGymError: If the tokenizer cannot write it; the message says which piece, and how to mend it.
        """
        known = self._written.get(text) if isinstance(text, str) else None
        if known is not None:
            return known.copy()
        _check_text(text, what)
        ids, offsets = self._encode(text)
        lost = self._lost(text, ids, offsets)
        marker = self.control_in(text, ids) if lost or not self.controls.keys().isdisjoint(ids) else None
        if marker is not None:
            ids, offsets = self._spell(text)
            lost = self._lost(text, ids, offsets)
        if not lost:
            return remember(self._written, text, ids).copy()
        if not whole and self.marks.isdisjoint(ids):
            return ids
        pieces = ", ".join(map(repr, lost[:8])) + (", …" if len(lost) > 8 else "")
        if marker is not None:
            raise TokenGymError(
                f"the tokenizer cannot write {what} {_short(text)}: it contains {marker!r}, which would be read as the "
                f"special token, and cannot be spelt in characters (no token for {pieces}). Take it out, or take a "
                "byte-level tokenizer ({'kind': 'bpe'})"
            )
        raise TokenGymError(
            f"the tokenizer cannot write {what} {_short(text)}: it has no token for {pieces}. Train it on a corpus "
            "that holds all that is said, {'kind': 'words', 'corpus': [...]}, or take one of bytes ({'kind': 'bpe'})"
        )

    def can_write(self, text: str) -> bool:
        """Tells whether `ids` gives the ids of a text."""
        try:
            self.ids(text)
        except TokenGymError:
            return False
        return True

    def read(self, text: str) -> str:
        """Gives a text as it reads after the tokenizer, in its normal form and spacing; what it cannot write stays.

        What an agent says is such a text, so whatever is compared with it must be one, too.
        """
        known = self._read.get(text)
        if known is None:
            known = remember(self._read, text, self.decode([self.ids(text)])[0] if self.can_write(text) else text)
        return known

    def normal(self, text: str) -> str:
        """Gives the normal form into which the tokenizer brings a text before it cuts it into tokens."""
        if self._backend is None or self._backend.normalizer is None:
            return text
        normal = self._backend.normalizer.normalize_str(text)
        if "▁" in normal and "▁" not in text:  # the sign for a space, which may be put in front of a text
            normal = normal.replace("▁", " ").removeprefix("" if text[:1] == " " else " ")
        return normal

    def raw(self, text: str) -> list[int]:
        """Gives the ids of a text in which names of control tokens are control tokens, as a template's are."""
        return self._encode(text)[0]

    def lost(self, text: str) -> list[str]:
        """Gives the pieces of a text, control tokens apart, for which there is no token."""
        ids, offsets = self._encode(text)
        kept = (
            [(token, place) for token, place in zip(ids, offsets, strict=True) if token == self._unknown]
            if offsets
            else []
        )
        unknown = [text[place[0] : place[1]] for _, place in kept]
        return [
            *(piece for piece in unknown if piece not in self.controls.values()),
            *self._dropped(text, ids, offsets),
        ]

    def control_in(self, text: str, ids: Sequence[int] | None = None) -> str | None:
        """Gives the first control token that a text contains by name, or that the tokenizer reads in it, or None."""
        named = next((token for token in self.controls.values() if token in text), None)
        read = self.raw(text) if ids is None else ids
        found = (token for token in read if token in self.marks)
        return named or next((self.controls[token] for token in found), None)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Gives the texts of several rows of ids, without special tokens."""
        if not ids:
            return []
        if self._backend is not None:
            return self._backend.decode_batch(ids, skip_special_tokens=True)
        return [self.tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in ids]

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
        """Gives the ids of a text, and the characters that each stands for where the tokenizer knows."""
        if self._backend is None:
            return list(self.tokenizer.encode(text, add_special_tokens=False)), None
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(encoding["input_ids"]), list(encoding["offset_mapping"])

    def _spell(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
        """Gives the ids of a text in which names of control tokens are characters like any."""
        if self._backend is None:
            try:
                return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)), None
            except TypeError:  # an object that knows of no such argument
                return self._encode(text)
        if self._literal is None:
            self._literal = _without_controls(self._backend, self.controls)
        encoding = self._literal.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def _lost(self, text: str, ids: list[int], offsets: list[tuple[int, int]] | None) -> list[str]:
        """Gives the pieces of a text that became control tokens or nothing."""
        bad = [place for place, token in enumerate(ids) if token in self.controls]
        if offsets is not None:
            pieces = [text[offsets[place][0] : offsets[place][1]] or self.controls[ids[place]] for place in bad]
        elif bad:
            words = [word for word in text.split() if not self.controls.keys().isdisjoint(self._encode(word)[0])]
            pieces = words or [text]
        else:
            pieces = []
        return list(dict.fromkeys([*pieces, *self._dropped(text, ids, offsets)]))

    def _dropped(self, text: str, ids: list[int], offsets: list[tuple[int, int]] | None) -> list[str]:
        """Gives the characters, white space apart, for which there is no id at all."""
        if offsets is None or self._backend is None:
            return []
        missing = _uncovered(text, offsets)
        if missing and self._backend.normalizer is not None:
            # What the normal form joins or leaves out is no loss; what is missing of the normal form is.
            normal = self._backend.normalizer.normalize_str(text)
            missing = _uncovered(normal, self._encode(normal)[1] or [])
        if missing:
            # Places are counted without what was dropped, so they tell that something is, but not what.
            missing = [one for one in text if not one.isspace() and not self._encode(one)[0]] or missing
        if not missing and not text.isascii() and "\ufffd" not in text and "\ufffd" in self.decode([ids])[0]:
            # A byte-level tokenizer that lacks some bytes keeps parts of a character.
            missing = [one for one in text if not one.isascii() and "\ufffd" in self.decode([self._encode(one)[0]])[0]]
        return missing


def _uncovered(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    covered = bytearray(len(text))
    for begin, end in offsets:
        covered[begin:end] = b"\1" * (end - begin)
    return [one for one, seen in zip(text, covered, strict=True) if not seen and not one.isspace()]


def _control_tokens(tokenizer: Any, scaffold: str) -> dict[int, str]:
    special: dict[int, str] = dict(
        zip(getattr(tokenizer, "all_special_ids", ()), getattr(tokenizer, "all_special_tokens", ()), strict=True)
    )
    for name in _NAMED:
        token_id = getattr(tokenizer, name, None)
        if token_id is not None and token_id not in special:
            special[token_id] = (
                getattr(tokenizer, name.removesuffix("_id"), None) or f"<{name.removesuffix('_token_id')}>"
            )
    for token_id, token in getattr(tokenizer, "added_tokens_decoder", {}).items():
        content = str(token)
        # Words and white space may be added tokens, too, and stand in a template without meaning a role.
        marks = len(content.strip()) > 2 and not content.isalnum() and content in scaffold
        if getattr(token, "special", False) or marks or _MARKER.fullmatch(content):
            special[token_id] = content
    return special


def _own_scaffold(tokenizer: Any) -> str:
    """Gives what the tokenizer's own chat template writes around a message, "" where it has none to be rendered."""
    if not isinstance(getattr(tokenizer, "chat_template", None), str):
        return ""
    try:
        hello = [{"role": "user", "content": "hello"}]
        return str(tokenizer.apply_chat_template(hello, tokenize=False, add_generation_prompt=True))
    except Exception:  # whatever a template raises; who talks through it is told by `ChatTemplate`
        return ""


def _without_controls(backend: Any, controls: dict[int, str]) -> Any:
    """Gives a copy of a fast tokenizer that finds no control tokens in a text, with all ids as they were."""
    from tokenizers import Tokenizer

    data = json.loads(backend.to_str())
    for token in data["added_tokens"]:
        token["special"] |= token["id"] in controls
    copy = Tokenizer.from_str(json.dumps(data))
    copy.encode_special_tokens = True
    copy.no_truncation()
    copy.no_padding()
    return copy


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise TokenGymError(f"prompts, replies and legal moves are strings, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenGymError(f"{what} {_short(text)} is no text: it holds half of a surrogate pair") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
