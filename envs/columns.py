"""Columns: what a task or a reward function reports beside the reward, such as a gold reward or how often a rule holds.

A column is an array over rows: float64 with NaN where a row reports nothing, or objects (texts, say) with None there.
Numbers are summed up in logs and evaluations; objects are in step infos only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .checking import TokenGymError

Columns: TypeAlias = "Mapping[str, npt.NDArray[Any]]"
"""By name, one array over the rows each."""

How = Literal["mean", "sum"]
"""How a column's numbers are summed up: the mean over all that was reported, or the mean over the episodes of what each
reported in all (0 where it reported nothing), as a return is."""

RESERVED = (
    "action_mask",
    "token_rewards",
    "final_obs",
    "final_info",
    "final_observation",
    "terminal_observation",
    "episode",
    "TimeLimit.truncated",
)
"""Keys of an info that mean something else."""


class CheckedColumns(dict[str, npt.NDArray[Any]]):
    """Columns that need no look any more: those of a compiled task, looked at when it was compiled."""


@lru_cache(4096)
def check_name(who: str, name: Any) -> None:
    """Raises `TokenGymError` where a column cannot be called so, since infos have it under its name."""
    if not isinstance(name, str) or not name or name.startswith("_") or name in RESERVED:
        raise TokenGymError(
            f"{who} reports a column {name!r}: expected a name of its own, which is not empty, begins with no "
            f"underscore (in infos that marks which rows report) and is none of {', '.join(RESERVED)}"
        )


def check_declared(who: str, declared: Any) -> None:
    """Raises `TokenGymError` where `Task.columns` is no mapping of names to how they are summed up."""
    if not isinstance(declared, Mapping) or any(how not in ("mean", "sum") for how in declared.values()):
        raise TokenGymError(f"{who}: columns={declared!r}: give a mapping of names to 'mean' or 'sum'")
    for name in declared:
        check_name(who, name)


def check_columns(who: str, columns: Columns, num_rows: int) -> dict[str, npt.NDArray[Any]] | None:
    """Returns what a task reports as float64 or object arrays over its rows, or None for nothing.

    Raises:
        TokenGymError: If a name is taken, an array is not of shape (num_rows,), or a number is infinite.
    """
    if type(columns) is CheckedColumns:
        return columns
    found = {}
    for name, values in columns.items():
        check_name(who, name)
        array = np.asarray(values)
        if array.shape != (num_rows,):
            raise TokenGymError(
                f"{who} reports the column {name!r} with shape {array.shape} for {num_rows} rows: give one value a "
                "row, NaN (of texts None) where it reports nothing"
            )
        if array.dtype.kind in "biuf":
            array = array.astype(np.float64, copy=False)
            if np.count_nonzero(np.isinf(array)):
                raise TokenGymError(f"{who} reports infinity in the column {name!r}: give finite numbers, NaN for none")
        elif array.dtype.kind != "O":
            array = array.astype(object)
        found[name] = array
    return found or None


def as_column(who: str, name: str, values: Sequence[Any]) -> npt.NDArray[Any]:
    """Returns one value a row as a column: float64 where all are numbers or None, else objects.

    Raises:
        TokenGymError: If the name is taken or a number is infinite.
    """
    check_name(who, name)
    if {float, type(None)}.issuperset(map(type, values)):  # the usual case, in a fraction of the time
        numbers = np.array([math.nan if value is None else value for value in values], np.float64)
        return _finite(who, name, numbers)
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not all(value is None or isinstance(value, (bool, int, float)) for value in plain):
        column = np.empty(len(plain), object)
        column[:] = plain
        return column
    try:
        column = np.array([math.nan if value is None else float(value) for value in plain], np.float64)
    except OverflowError:  # an integer beyond the largest float
        column = np.array([math.inf])
    return _finite(who, name, column)


def _finite(who: str, name: str, column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if np.isinf(column).any():
        raise TokenGymError(f"{who} reports infinity in the column {name!r}: give finite numbers, None for none")
    return column


def of_rows(who: str, rows: Sequence[Mapping[str, Any] | None]) -> dict[str, npt.NDArray[Any]] | None:
    """Returns the columns of rows that each report a mapping of names to one value, or None where none reports."""
    names = dict.fromkeys(name for row in rows if row for name in row)
    return {name: as_column(who, name, [row.get(name) if row else None for row in rows]) for name in names} or None


def as_rows(columns: Columns | None, num_rows: int) -> list[dict[str, Any] | None]:
    """Returns what each row reports, as `row_columns` does, or None for nothing; one look at each column for all."""
    if columns is None:
        return [None] * num_rows
    listed = {name: values.tolist() for name, values in columns.items()}
    return [
        {
            name: value
            for name, values in listed.items()
            if not ((value := values[row]) is None or (isinstance(value, float) and value != value))
        }
        for row in range(num_rows)
    ]


def empty_like(column: npt.NDArray[Any], shape: int | tuple[int, ...]) -> npt.NDArray[Any]:
    """Returns a column of this kind that reports nothing yet."""
    return np.full(shape, np.nan if column.dtype.kind == "f" else None, column.dtype)


def put(into: dict[str, npt.NDArray[Any]], columns: Columns | None, place: Any, shape: int | tuple[int, ...]) -> None:
    """Writes columns into some places of larger ones, which are made where they are missing.

    Args:
        into: The larger columns, changed in place.
        columns: What is written, or None for nothing.
        place: The index of the places in an array of `shape`.
        shape: The shape of the larger columns.
    """
    for name, values in (columns or {}).items():
        held = into.get(name)
        if held is None:
            held = into[name] = empty_like(values, shape)
        elif held.dtype != values.dtype:  # texts now and numbers then
            held = into[name] = _objects(held)
            values = _objects(values)
        held[place] = values


def spread(who: str, columns: Columns | None, where: npt.NDArray[np.intp], num_rows: int) -> Columns | None:
    """Returns what a task reports of some rows as columns of all, of which the others report nothing."""
    if columns is None or len(where) == num_rows:
        return columns  # the engine checks them
    checked = check_columns(who, columns, len(where))
    if checked is None:
        return None
    found: dict[str, npt.NDArray[Any]] = {}
    put(found, checked, where, num_rows)
    return found


def _objects(column: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
    found = np.full(column.shape, None, object)
    found[reported(column)] = column[reported(column)]
    return found


def reported(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Returns which entries report something: bool of the column's shape."""
    if column.dtype.kind == "f":
        return column == column  # only NaN differs from itself
    return np.array([value is not None for value in column.ravel()], np.bool_).reshape(column.shape)


def row_columns(columns: Columns, row: int) -> dict[str, Any]:
    """Returns what one row reports: floats, and objects as they are."""
    told = {name: values[row] for name, values in columns.items()}
    return {
        name: float(value) if isinstance(value, np.floating) else value
        for name, value in told.items()
        if not (value is None or (isinstance(value, np.floating) and np.isnan(value)))
    }


def only_columns(who: str, columns: Columns) -> dict[str, Any] | None:
    """Returns what the only row of a task's columns reports, or None for nothing; raises as `check_columns`."""
    checked = check_columns(who, columns, 1)
    return (row_columns(checked, 0) or None) if checked else None


class ColumnTotals:
    """Sums columns of numbers up, step by step, to one number each; see `How`."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, columns: Columns | None) -> None:
        """Takes what one step reported; objects are left out."""
        for name, values in (columns or {}).items():
            if values.dtype.kind == "f":
                there = reported(values)
                self.sums[name] = self.sums.get(name, 0.0) + float(values[there].sum())
                self.counts[name] = self.counts.get(name, 0.0) + float(np.count_nonzero(there))

    def add_weighted(self, name: str, values: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> None:
        """Takes numbers of one column, each with the probability that it is reported."""
        there = reported(values) & (weight > 0)
        if there.any():
            self.sums[name] = self.sums.get(name, 0.0) + float(weight[there] @ values[there])
            self.counts[name] = self.counts.get(name, 0.0) + float(weight[there].sum())

    def summary(self, how: Mapping[str, How], episodes: float) -> dict[str, float]:
        """Returns one number a column, in the order of their names; what nobody reported is left out.

        Args:
            how: What a task declares; the others are means.
            episodes: How many episodes it was.
        """
        found = {}
        for name in sorted(self.sums):
            count = episodes if how.get(name) == "sum" else self.counts[name]
            if self.counts[name] and count:
                found[name] = self.sums[name] / count
        return found
