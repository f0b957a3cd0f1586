"""Tokenizers from a JSON-able specification: a folder, or one trained on the spot from a corpus.

Nothing is downloaded. A specification is one of

- a path to a folder that holds a `tokenizer.json` (as `save_pretrained` writes it);
- `{"kind": "chars" | "words" | "bpe", "corpus": ..., "vocab_size": ..., "special_tokens": [...]}`, where `corpus` is a
  list of strings, the path of a UTF-8 text file, or left out for the small corpus bundled here, and `special_tokens`
  are further tokens such as the role markers of a chat template, numbered after all others;
- a ready tokenizer object, which is returned as it is (and which no longer round-trips through JSON).

The same specification gives the same ids on every machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..checking import TokenGymError, unknown_name

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIALS = (PAD, BOS, EOS, UNKNOWN)
KINDS = ("bpe", "chars", "words")

CORPUS = (
    "the sea is wide and the waves carry salt to the shore",
    "a small boat waits on the shore for the wind",
    "in the wood the old trees drop a leaf on the moss",
    "the owl sings in the dark wood and the moss is soft",
    "snow falls on the hill and the stone is cold",
    "a stone rolls from the hill to the sea",
    "at night the moon and a star light the sky",
    "the sky is dark and the moon is cold",
)
"""The bundled corpus: eight plain sentences, small enough that a random agent meets every word."""


def build_tokenizer(spec: Any) -> Any:
    """Give the tokenizer that a specification names.

    Args:
        spec: a folder, a mapping with `kind` (`"chars"`, `"words"`, `"bpe"`) and optional `corpus`, `vocab_size` and
            `special_tokens`, or a tokenizer object with `encode`, `decode` and `eos_token_id`.

    Returns:
        A `transformers.PreTrainedTokenizerFast` (or the object given). Specifications are trained once a process and
        shared, so a tokenizer must not be changed after it was built.

    Raises:
        TokenGymError: if the folder or the kind does not exist, a key is unknown, the corpus is empty, or the
            vocabulary cannot be as small as asked.
    """
    if isinstance(spec, (str, Path)):
        return _load_folder(str(spec))
    if isinstance(spec, Mapping):
        try:
            key = json.dumps(dict(spec), sort_keys=True)
        except TypeError as error:
            raise TokenGymError(f"A tokenizer specification must be JSON-able, got {spec!r}: {error}.") from error
        return _train(key)
    if all(hasattr(spec, name) for name in ("encode", "decode", "eos_token_id")):
        return spec
    if type(spec).__module__ == "tokenizers":
        raise TokenGymError(
            "A bare tokenizer of the package tokenizers does not say which of its tokens are special: wrap it, "
            'transformers.PreTrainedTokenizerFast(tokenizer_object=..., eos_token="...", pad_token="...").'
        )
    raise TokenGymError(
        f"Expected a tokenizer folder, a mapping such as {{'kind': 'words'}} or a tokenizer object, "
        f"got {type(spec).__name__}: {spec!r}."
    )


def read_corpus(corpus: Any = None) -> list[str]:
    """Give the texts of a corpus: a list of strings, the path of a text file, or None for the bundled one."""
    if corpus is None:
        return list(CORPUS)
    if isinstance(corpus, (str, Path)):
        path = Path(corpus)
        if not path.is_file():
            raise TokenGymError(f"The corpus file {str(corpus)!r} does not exist; give its path or a list of strings.")
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
    else:
        texts = list(corpus)
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise TokenGymError(f"A corpus is a list of strings, but holds {wrong!r} ({type(wrong).__name__}).")
    if not any(text.strip() for text in texts):
        raise TokenGymError("The corpus holds no text; give at least one non-empty string.")
    return texts


def _load_folder(folder: str) -> Any:
    path = Path(folder)
    if not path.is_dir():
        raise TokenGymError(
            f"The tokenizer folder {folder!r} does not exist. Give a folder written by `save_pretrained`, "
            f"or train one on the spot with {{'kind': 'bpe', 'corpus': [...]}}."
        )
    if not (path / "tokenizer.json").is_file():
        raise TokenGymError(
            f"The folder {folder!r} holds no tokenizer.json; save a fast tokenizer there with `save_pretrained`."
        )
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise TokenGymError(
            f"The tokenizer in the folder {folder!r} cannot be read: {error}. Save it there again with "
            "`save_pretrained`."
        ) from error


@lru_cache(maxsize=64)
def _train(key: str) -> Any:
    spec = json.loads(key)
    kind = spec.pop("kind", None)
    corpus = spec.pop("corpus", None)
    vocab_size = spec.pop("vocab_size", None)
    special_tokens = spec.pop("special_tokens", [])
    if kind not in KINDS:
        raise unknown_name("tokenizer kind", str(kind), KINDS)
    if spec:
        raise unknown_name("tokenizer key", next(iter(spec)), ("kind", "corpus", "vocab_size", "special_tokens"))
    if not isinstance(special_tokens, list) or not all(isinstance(token, str) and token for token in special_tokens):
        raise TokenGymError(f"special_tokens={special_tokens!r}: give a list of non-empty strings.")
    if vocab_size is not None and (not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or vocab_size < 1):
        raise TokenGymError(f"vocab_size must be a positive integer, got {vocab_size!r}.")
    texts = read_corpus(corpus)
    build = {"chars": _chars, "words": _words, "bpe": _bpe}[kind]
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build(texts, vocab_size),
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=None if kind == "bpe" else UNKNOWN,
        clean_up_tokenization_spaces=False,
    )
    if special_tokens:
        tokenizer.add_special_tokens({"additional_special_tokens": special_tokens})
    return tokenizer


def _ranked(pieces: Iterable[str], vocab_size: int | None, specials: tuple[str, ...]) -> dict[str, int]:
    """Number the specials and then the pieces, the commonest first and ties in code point order."""
    counts = Counter(pieces)
    for special in specials:
        counts.pop(special, None)
    ranked = sorted(counts, key=lambda piece: (-counts[piece], piece))
    if vocab_size is not None:
        if vocab_size <= len(specials):
            raise TokenGymError(
                f"vocab_size {vocab_size} leaves no room beside the {len(specials)} special tokens "
                f"{' '.join(specials)}; give at least {len(specials) + 1}."
            )
        ranked = ranked[: vocab_size - len(specials)]
    return {piece: index for index, piece in enumerate((*specials, *ranked))}


def _words(texts: list[str], vocab_size: int | None) -> Any:
    """Build a word tokenizer: runs of word characters and runs of punctuation, joined by spaces when decoded."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    splitter = pre_tokenizers.Whitespace()
    pieces = (piece for text in texts for piece, _ in splitter.pre_tokenize_str(text))
    tokenizer = Tokenizer(models.WordLevel(_ranked(pieces, vocab_size, SPECIALS), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = splitter
    return tokenizer


def _chars(texts: list[str], vocab_size: int | None) -> Any:
    """Build a character tokenizer: one token a character, spaces and newlines among them."""
    from tokenizers import Tokenizer, decoders, models

    vocab = _ranked((character for text in texts for character in text), vocab_size, SPECIALS)
    # A BPE without merges leaves the text cut into characters.
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNKNOWN))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _bpe(texts: list[str], vocab_size: int | None) -> Any:
    """Build a byte-level BPE tokenizer, which encodes any text and so needs no unknown token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = [PAD, BOS, EOS]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = len(specials) + len(alphabet)
    size = smallest + 61 if vocab_size is None else vocab_size
    if size < smallest:
        raise TokenGymError(
            f"vocab_size {size} is too small for byte-level BPE, which needs {smallest} "
            f"({len(alphabet)} bytes and {len(specials)} special tokens); give more, or use kind 'words' or 'chars'."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
