"""The global generators of Python, NumPy and torch, lent to code that draws from them and put back as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..branching import Reseedable


class GlobalDraws(Reseedable):
    """States of the global generators that belong to one owner, such as an episode of somebody else's environment.

    What runs within `lent` draws from the owner's states, wherever they were left, and leaves everybody else's alone.
    Copies go on by themselves.
    """

    def __init__(self, seed: int) -> None:
        """Begins the owner's states.

        Args:
            seed: Below 2^32.
        """
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Begins the owner's states anew, with a seed below 2^32."""
        self._seed = seed
        self._torch: Any = None
        self._states: tuple[Any, Any] = (
            random.Random(seed).getstate(),
            np.random.RandomState(seed).get_state(),
        )

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within it, `random`, `numpy.random` and, where it is imported, torch's generator are the owner's."""
        torch: Any = sys.modules.get("torch")  # who draws from it has imported it; this package's `envs` do not
        outer = random.getstate(), np.random.get_state()
        outer_torch = None if torch is None else torch.get_rng_state()
        if torch is not None:
            if self._torch is None:
                self._torch = torch.Generator().manual_seed(self._seed).get_state()
            torch.set_rng_state(self._torch)
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        try:
            yield
        finally:
            self._states = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])
            if torch is not None:
                self._torch = torch.get_rng_state()
                torch.set_rng_state(outer_torch)
