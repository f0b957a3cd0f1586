"""Ring: columns of rows, first in, first out, without a Python object a row."""

from __future__ import annotations

from typing import Any

import numpy as np


class Ring:
    """Rows of some columns, first in, first out, each addressed by a position that never changes.

    Positions count up for ever; row ``p`` lies at ``p`` modulo the allocated size, which doubles when it is full.
    """

    def __init__(self, **columns: tuple[Any, int | None]):
        """Columns by name: their dtype, and their width or None for scalars."""
        self.begin = self.end = 0
        self.columns = {
            name: np.zeros((64,) if width is None else (64, width), dtype) for name, (dtype, width) in columns.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the rows held."""
        return sum(column.itemsize * int(np.prod(column.shape[1:])) for column in self.columns.values()) * len(self)

    def __len__(self) -> int:
        return self.end - self.begin

    def _slots(self, positions: np.ndarray) -> np.ndarray:
        return positions % len(next(iter(self.columns.values())))

    def get(self, name: str, positions: np.ndarray | None = None) -> np.ndarray:
        """The rows of a column at ``positions``, or all of them, oldest first."""
        if positions is None:
            positions = np.arange(self.begin, self.end)
        return self.columns[name][self._slots(positions)]

    def put(self, name: str, positions: np.ndarray, values: np.ndarray) -> None:
        """Overwrite the rows of a column at ``positions``."""
        self.columns[name][self._slots(positions)] = values

    def append(self, **columns: np.ndarray) -> None:
        """Add rows behind the newest."""
        count = len(next(iter(columns.values())))
        size = len(next(iter(self.columns.values())))
        if len(self) + count > size:
            held = {name: self.get(name) for name in self.columns}
            size = max(2 * size, len(self) + count)
            slots = np.arange(self.begin, self.end) % size
            for name, column in self.columns.items():
                self.columns[name] = np.zeros((size, *column.shape[1:]), column.dtype)
                self.columns[name][slots] = held[name]
        positions = np.arange(self.end, self.end + count)
        self.end += count
        for name in self.columns:
            self.put(name, positions, columns[name])


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``starts[0], starts[0] + 1, …`` (``counts[0]`` of them), then those of ``starts[1]``, and so on."""
    begins = np.cumsum(counts) - counts
    return np.repeat(starts - begins, counts) + np.arange(int(counts.sum()))
