"""The tokens of an environment: those that the agent can say and those that only the task can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .checking import TokenGymError, unknown_name
from .describing import brief

_MOST_SHOWN = 6


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """An ordered set of named tokens.

    Ids `0 … num_actions − 1` can be said by the agent; ids `num_actions … size − 1` are said by the task only
    (observations, feedback, padding). A language model over a tokenizer has `num_actions == size`.

    Attributes:
        tokens: The tokens' names, in the order of their ids. Names are unique.
        num_actions: How many of them the agent can say (A).
        bos: Id of the token that begins every observation.
        pad: Id that fills an observation's columns past its length.
        eos: Id of the action that ends a text early, or None where there is none.
        separator: What `render` puts between two names.
    """

    tokens: tuple[str, ...]
    num_actions: int
    bos: int
    pad: int
    eos: int | None = None
    separator: str = " "

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        size = len(self.tokens)
        if not all(isinstance(token, str) for token in self.tokens):
            raise TokenGymError(f"token names must be strings, got {self.tokens!r}")
        if len(set(self.tokens)) != size:
            twice = sorted(token for token, count in Counter(self.tokens).items() if count > 1)
            raise TokenGymError(f"token names must be unique, but these are repeated: {', '.join(twice[:5])}")
        if not 1 <= self.num_actions <= size:
            raise TokenGymError(
                f"num_actions={self.num_actions} does not fit a vocabulary of {size} tokens: give 1 … {size}"
            )
        for name, token_id in (("bos", self.bos), ("pad", self.pad)):
            if not 0 <= token_id < size:
                raise TokenGymError(f"{name}={token_id} is not an id of this vocabulary: give 0 … {size - 1}")
        if self.eos is not None and not 0 <= self.eos < self.num_actions:
            raise TokenGymError(
                f"eos={self.eos} cannot be said by the agent: give an id in 0 … {self.num_actions - 1}, or None"
            )

    def __repr__(self) -> str:
        """Returns the number of tokens, the first of them, and the special ones."""
        first = " ".join(self.tokens[:_MOST_SHOWN]) + (" …" if self.size > _MOST_SHOWN else "")
        specials = ", ".join(
            f"{name}={self.tokens[token]!r}"
            for name, token in (("bos", self.bos), ("pad", self.pad), ("eos", self.eos))
            if token is not None
        )
        return f"Vocabulary({self.size} tokens, {self.num_actions} sayable: {first}; {specials})"

    @property
    def size(self) -> int:
        """The number of tokens (V)."""
        return len(self.tokens)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every name."""
        return {token: token_id for token_id, token in enumerate(self.tokens)}

    def encode(self, names: Iterable[str]) -> list[int]:
        """Returns the ids of the names; raises `TokenGymError` with the nearest names for an unknown one."""
        try:
            return [self.ids[name] for name in names]
        except KeyError as error:
            raise unknown_name("token", error.args[0], self.tokens) from None

    def render(self, ids: Iterable[int]) -> str:
        """Returns the names of the ids, joined by the separator; padding and `bos` are left out."""
        return self.separator.join(self.names(token for token in ids if token not in (self.pad, self.bos)))

    def decode(self, ids: Any, *, specials: bool = False) -> str | list[str]:
        """Returns what ids stand for, as text: their names, joined by the separator.

        For a tokenizer's vocabulary these are its pieces as they stand in it; a text task's `render_tokens` decodes.

        Args:
            ids: One id; a list, an array or a tensor of ids; several of these, or an array of two axes; or an
                observation, of one row or of many, which is read up to its length.
            specials: Whether `bos`, `pad` and `eos` are shown, too.

        Returns:
            The text, or a list of texts for more than one row.

        Raises:
            TokenGymError: For an id outside of the vocabulary, or what is no whole number.
        """
        if isinstance(ids, Mapping):
            return self._decode_observation(ids, specials)
        if isinstance(ids, (list, tuple)) and any(np.ndim(_array(row)) for row in ids):
            return [self._text(_array(row), specials) for row in ids]
        array = _array(ids)
        if array.ndim == 2:
            return [self._text(row, specials) for row in array]
        return self._text(array, specials)

    def _decode_observation(self, observation: Mapping[str, Any], specials: bool) -> str | list[str]:
        if not {"tokens", "length"} <= set(observation):
            raise TokenGymError(f"an observation has 'tokens' and 'length', got {', '.join(map(repr, observation))}")
        tokens, lengths = _array(observation["tokens"]), _array(observation["length"]).reshape(-1)
        rows = np.atleast_2d(tokens)
        if rows.ndim != 2 or len(rows) != len(lengths):
            raise TokenGymError(f"tokens of shape {tokens.shape} do not fit {len(lengths)} lengths")
        texts = [self._text(row[:length], specials) for row, length in zip(rows, lengths, strict=True)]
        return texts[0] if tokens.ndim == 1 else texts

    def _text(self, ids: npt.NDArray[Any], specials: bool) -> str:
        if ids.ndim > 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise TokenGymError(f"token ids are whole numbers, one after another, got {brief(ids.tolist())}")
        hidden = () if specials else (self.bos, self.pad, self.eos)
        names = zip(ids.reshape(-1).tolist(), self.names(ids.reshape(-1).tolist()), strict=True)
        return self.separator.join(name for token, name in names if token not in hidden)

    def names(self, ids: Iterable[int]) -> list[str]:
        """Returns the name of every id; raises `TokenGymError` for an id outside of the vocabulary."""
        names = []
        for token_id in ids:
            if not 0 <= token_id < self.size:
                raise TokenGymError(f"token {token_id} is outside of the vocabulary: ids are 0 … {self.size - 1}")
            names.append(self.tokens[token_id])
        return names

    @classmethod
    def of(cls, sayable: Sequence[str], shown: Sequence[str] = (), eos: str | None = None) -> Vocabulary:
        """Builds a vocabulary from names, and adds `<bos>` and `<pad>` as tokens that only the task says.

        Args:
            sayable: What the agent can say, in the order of the actions.
            shown: What only the task can say. A name that is already sayable must not be repeated here.
            eos: The name, among the sayable ones, that ends a text early.
        """
        tokens = (*sayable, *shown, "<bos>", "<pad>")
        return cls(
            tokens=tokens,
            num_actions=len(sayable),
            bos=len(tokens) - 2,
            pad=len(tokens) - 1,
            eos=None if eos is None else list(sayable).index(eos),
        )

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> Vocabulary:
        """Builds the vocabulary of a `transformers` tokenizer: every id, added tokens included, can be said.

        Args:
            tokenizer: A `transformers` tokenizer with an end-of-sequence token, or like BERT's with a separator and a
                class token in place of end and beginning. Where it has no token for the beginning or for padding, the
                end token takes that place.

        Raises:
            TokenGymError: If the tokenizer has no end-of-sequence token and no separator.
        """
        eos = _first_id(tokenizer, "eos_token_id", "sep_token_id")
        if eos is None:
            raise TokenGymError(
                f"the tokenizer {type(tokenizer).__name__} has no end-of-sequence token (eos_token is None): "
                'set one, for example tokenizer.add_special_tokens({"eos_token": "<eos>"})'
            )
        by_id = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
        size = max(by_id) + 1  # ids may have holes, which models nevertheless give a logit
        bos = _first_id(tokenizer, "bos_token_id", "cls_token_id")
        pad = _first_id(tokenizer, "pad_token_id")
        return cls(
            tokens=tuple(by_id.get(token_id, f"<unused {token_id}>") for token_id in range(size)),
            num_actions=size,
            bos=eos if bos is None else bos,
            pad=eos if pad is None else pad,
            eos=eos,
            separator="",
        )


def _array(ids: Any) -> npt.NDArray[Any]:
    """Returns ids as an array; those of a tensor, which may be on another device, too."""
    try:
        return np.asarray(ids.detach().cpu() if hasattr(ids, "detach") else ids)
    except (ValueError, TypeError):
        raise TokenGymError(f"token ids are whole numbers, one after another, got {brief(ids)}") from None


def _first_id(tokenizer: Any, *attributes: str) -> int | None:
    """Returns the first of the tokenizer's special ids that is set."""
    ids = (getattr(tokenizer, attribute, None) for attribute in attributes)
    return next((token_id for token_id in ids if token_id is not None), None)
