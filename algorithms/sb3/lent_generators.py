"""Process-wide random generators, lent to a library that draws from no other."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class LentGenerators:
    """Lends the process's global random generators to a library that draws from no other.

    Within the block they stand where the last block left them; after it they stand where the others left them.
    """

    def __init__(self) -> None:
        self._own: tuple[Any, ...] | None = None
        self._others: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        self._others = self._states()
        if self._own is not None:
            self._restore(self._own)

    def __exit__(self, *exception: object) -> None:
        assert self._others is not None
        self._own = self._states()
        self._restore(self._others)

    @staticmethod
    def _states() -> tuple[Any, ...]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda

    @staticmethod
    def _restore(states: tuple[Any, ...]) -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if states[3]:
            torch.cuda.set_rng_state_all(states[3])
