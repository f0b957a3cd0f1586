"""The global generators of Python, NumPy and torch, lent to code that draws from them and put back as they were."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from ..branching import Reseedable


class GlobalDraws(Reseedable):
    """States of the global generators that belong to one owner, such as an episode of somebody else's environment.

    What runs within `lent` draws from the owner's states, wherever they were left, and leaves everybody else's alone.
    Copies go on by themselves.
    """

    _lending = False

    def __init__(self, seed: int) -> None:
        """Begins the owner's states.

        Args:
            seed: Below 2^32.
        """
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Begins the owner's states anew, with a seed below 2^32."""
        self._seed = seed
        self._own: _States | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within it, `random`, `numpy.random` and, where it is imported, torch's generator are the owner's."""
        outer = None if GlobalDraws._lending else _States.current()
        torch: Any = sys.modules.get("torch")
        if torch is not None and (self._own is None or self._own.torch is None):
            torch.set_rng_state(torch.Generator().manual_seed(self._seed).get_state())
        if self._own is None:
            bits = _unseeded()
            np.random.RandomState(bits).seed(self._seed)
            _States(random.Random(self._seed).getstate(), bits, None, None).install()
        else:
            self._own.install()
        try:
            yield
        finally:
            self._own = _States.current()
            if outer is not None:
                outer.install()

    @staticmethod
    @contextmanager
    def put_back_once() -> Iterator[None]:
        """Within it, nothing is put back after each of many that are `lent` to, but all at the end.

        Nothing else must draw within it.
        """
        outer = _States.current()
        GlobalDraws._lending = True
        try:
            yield
        finally:
            GlobalDraws._lending = False
            outer.install()


class _States:
    """The states of the global generators at one moment.

    Attributes:
        python: Python's.
        bits: NumPy's bit generator itself, which is taken out and put in.
        spare: The second of a pair of normal numbers, which NumPy keeps outside its bit generator, or None.
        torch: Torch's, or None where it was not imported: who draws from it has imported it, this package's `envs` do
            not.
    """

    def __init__(self, python: Any, bits: np.random.BitGenerator, spare: float | None, torch: Any) -> None:
        self.python, self.bits, self.spare, self.torch = python, bits, spare, torch

    @classmethod
    def current(cls) -> _States:
        """Gives what the generators are at."""
        bits = np.random.get_bit_generator()  # pyright: ignore[reportAttributeAccessIssue]
        own = bits if isinstance(bits, _Bits) else None
        if own is not None:
            own.tells_words = False
        try:
            told: Any = np.random.get_state(legacy=False)
        finally:
            if own is not None:
                own.tells_words = True
        torch: Any = sys.modules.get("torch")
        return cls(
            random.getstate(),
            bits,
            told["gauss"] if told.get("has_gauss") else None,
            None if torch is None else torch.get_rng_state(),
        )

    def install(self) -> None:
        """Puts the generators there."""
        random.setstate(self.python)
        np.random.set_bit_generator(self.bits)  # pyright: ignore[reportAttributeAccessIssue]
        if self.spare is not None:
            state: Any = np.random.get_state(legacy=False)
            np.random.set_state({**state, "has_gauss": 1, "gauss": self.spare})
        torch: Any = sys.modules.get("torch")
        if torch is not None and self.torch is not None:
            torch.set_rng_state(self.torch)

    def __deepcopy__(self, memo: dict[int, Any]) -> _States:
        """Copies the bit generator, which draws move on; the others are values that nobody changes."""
        return _States(self.python, copy.deepcopy(self.bits, memo), self.spare, self.torch)


class _Bits(np.random.MT19937):
    """The bit generator of NumPy's global generator, which may leave out the words of its state.

    Reading them takes longer than many a step of an environment; whether there is a spare normal number, which only
    `get_state` tells, does not need them.
    """

    tells_words = True

    @property
    def state(self) -> Any:
        """The state, a dictionary."""
        return {**(super().state if self.tells_words else {}), "bit_generator": "MT19937"}

    @state.setter
    def state(self, value: Any) -> None:
        # NumPy compares the state's name with the class's.
        np.random.MT19937.state.__set__(self, {**value, "bit_generator": type(self).__name__})  # pyright: ignore

    def __reduce__(self) -> Any:
        return _bits_at, (self.state,)


class _SeededLater(ISeedSequence):
    """What a bit generator takes that is seeded, or put to a state, after it was made: working out words is slow."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Returns words, uint32 (n_words,)."""
        return np.zeros(n_words, dtype)


def _unseeded() -> _Bits:
    return _Bits(_SeededLater())  # pyright: ignore[reportArgumentType]


def _bits_at(state: Any) -> _Bits:
    bits = _unseeded()
    bits.state = state
    return bits
