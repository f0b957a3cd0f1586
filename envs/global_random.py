"""The global generators of Python and NumPy, lent to code that draws from them and put back as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class GlobalDraws:
    """States of the global generators that belong to one owner, such as an episode of somebody else's environment.

    What runs within `lent` draws from the owner's states, wherever they were left, and leaves everybody else's alone.
    Copies go on by themselves.
    """

    def __init__(self, seed: int) -> None:
        """Begins the owner's states.

        Args:
            seed: Below 2^32.
        """
        self._states: tuple[Any, Any] = (
            random.Random(seed).getstate(),
            np.random.RandomState(seed).get_state(),
        )

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within it, `random` and `numpy.random` are the owner's."""
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        try:
            yield
        finally:
            self._states = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])
