"""Rows copied to other rows, and the generators that they hold begun anew: what `Task.fork` and `reseed` do."""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np

from .checking import TokenGymError
from .outcomes import Rows, State
from .random import CounterRandom


class Reseedable(ABC):
    """What draws from random numbers that NumPy's and Python's generators do not tell of, and can begin them anew."""

    @abstractmethod
    def reseed(self, seed: int) -> None:
        """Begins the random numbers anew.

        Args:
            seed: At least 0 and below 2^32.
        """


_Generator: TypeAlias = "np.random.Generator | np.random.RandomState | random.Random | Reseedable"
_KINDS = (np.random.Generator, np.random.RandomState, random.Random, Reseedable)


def copy_arrays(name: str, arrays: State, sources: Rows, targets: Rows) -> None:
    """Copies rows of arrays to other rows: numbers at once, objects one by one by `copy.deepcopy`.

    Args:
        name: Whose arrays they are, for the messages.
        arrays: The arrays, to be changed in place.
        sources: The rows to copy, shape (m,), which may repeat.
        targets: The rows that become copies, shape (m,), none of which is a source.
    """
    # Objects first, since a stranger's may fail: nothing has changed then.
    objects = {
        key: [_copied(name, key, value) for value in array[sources]]
        for key, array in arrays.items()
        if array.dtype == object
    }
    for key, array in arrays.items():
        if key not in objects:
            array[targets] = array[sources]
    for key, values in objects.items():
        for target, value in zip(targets.tolist(), values, strict=True):
            arrays[key][target] = value


def reseed_arrays(name: str, arrays: State, rows: Rows, streams: CounterRandom) -> None:
    """Begins the generators anew that objects in rows of arrays hold, however deep, from the rows' random streams."""
    for key, array in arrays.items():
        if array.dtype != object:
            continue
        for row, seed in zip(rows.tolist(), streams.bits(rows)[:, 0].tolist(), strict=True):
            for place, generator in enumerate(_generators(name, key, array[row])):
                _reseed(generator, [seed, place])


def _generators(name: str, key: str, value: Any) -> list[_Generator]:
    """Finds the generators that an object holds, however deep, in the order in which they are met."""
    memo: dict[int, Any] = {}
    _copied(name, key, value, memo)
    # A copy keeps all that it has copied alive, in this list.
    return [found for found in memo.get(id(memo), ()) if isinstance(found, _KINDS)]


def _reseed(generator: _Generator, entropy: list[int]) -> None:
    """Puts a generator to the beginning of another stream, in place: others may hold it, too."""
    sequence = np.random.SeedSequence(entropy)
    if isinstance(generator, Reseedable):
        generator.reseed(int(sequence.generate_state(1)[0]))
    elif isinstance(generator, random.Random):
        generator.seed(int.from_bytes(sequence.generate_state(8).tobytes(), "little"))
    elif isinstance(generator, np.random.RandomState):
        generator.seed(sequence.generate_state(624))
    else:
        bits = generator.bit_generator
        bits.state = type(bits)(sequence).state


def _copied(name: str, key: str, value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Copies an object of a row."""
    try:
        return copy.deepcopy(value, memo)
    except Exception as error:  # any failure of a stranger's code
        raise TokenGymError(
            f"task {name}: the {key!r} of a row, a {type(value).__name__}, cannot be copied, so that the row can "
            f"be neither forked nor given a random stream of its own: {type(error).__name__}: {error}; make it an "
            "object that copy.deepcopy copies, or write the task's fork and reseed"
        ) from error
