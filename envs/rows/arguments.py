"""What callers give to an engine, checked and brought into the form that it works with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, whole_number
from ..outcomes import Rows
from ..random import are_natural


def read_row(row: Any, num_rows: int) -> int:
    """Returns a single row's number, or raises `TokenGymError` where there is no such row."""
    number = whole_number("row", row)
    if number >= num_rows:
        raise TokenGymError(f"row {number} does not exist: rows of this engine are 0 … {num_rows - 1}")
    return number


def read_rows(rows: npt.ArrayLike, num_rows: int, name: str = "rows") -> tuple[Rows, npt.NDArray[np.intp] | None]:
    """Returns rows in increasing order, and the order that sorts them where they were not sorted."""
    where = as_array(name, rows)
    if where.ndim != 1 or (where.dtype.kind not in "iu" and where.size):
        wanted = " or None" if name == "rows" else ""
        hint = "; np.flatnonzero makes them of a mask" if where.dtype.kind == "b" else ""
        raise TokenGymError(f"{name} must be integers of shape (m,){wanted}, got {where.dtype} {where.shape}{hint}")
    if where.dtype != np.intp:
        if where.dtype.kind == "u" and where.size and where.max() >= num_rows:
            raise TokenGymError(f"{name}={where.tolist()}: rows of this engine are 0 … {num_rows - 1}")
        where = where.astype(np.intp)
    if not where.size:
        return where, None
    order = None
    if not _rising(where):
        order = np.argsort(where)
        where = where[order]
    if where[0] < 0 or where[-1] >= num_rows:
        raise TokenGymError(f"{name}={np.asarray(rows).tolist()}: rows of this engine are 0 … {num_rows - 1}")
    if order is not None and not _rising(where):
        raise TokenGymError(f"{name}={np.asarray(rows).tolist()}: a row may be named only once")
    return where, order


def read_fork(
    sources: npt.ArrayLike, targets: npt.ArrayLike, num_rows: int
) -> tuple[Rows, Rows, npt.NDArray[np.intp] | None]:
    """Returns the rows to copy, those that they are copied to in increasing order, and the order that sorted them.

    Args:
        sources: Rows, shape (m,), which may repeat, or one for all targets.
        targets: Rows, shape (m,), without repetitions. One that is a source as well is its own source only.
        num_rows: How many rows there are.
    """
    to, order = read_rows(targets, num_rows, "targets")
    given = as_array("sources", sources)
    if given.dtype.kind not in "iu" and given.size:
        raise TokenGymError(f"sources must be integers of shape (m,), or one for all targets, got {given.dtype}")
    if given.shape not in ((), (len(to),)):
        raise TokenGymError(f"sources of shape {given.shape} for {len(to)} targets: give one for each, or one for all")
    if given.size and not (0 <= int(given.min()) and int(given.max()) < num_rows):
        raise TokenGymError(f"sources={given.tolist()}: rows of this engine are 0 … {num_rows - 1}")
    from_rows = given.astype(np.intp) if given.ndim else np.full(len(to), given, np.intp)
    if order is not None:
        from_rows = from_rows[order]
    overwritten = np.zeros(num_rows, np.bool_)
    overwritten[to] = True
    wrong = overwritten[from_rows] & (from_rows != to)
    if wrong.any():
        row = int(from_rows[wrong][0])
        raise TokenGymError(
            f"row {row} is a source of row {int(to[wrong][0])} and a target as well: a row that is copied can be the "
            "target of itself only; give other targets, or fork twice"
        )
    return from_rows, to, order


def read_streams(name: str, given: Any, m: int) -> npt.NDArray[np.uint64]:
    """Returns the beginnings of m random streams, uint64 of shape (m,); one that is given serves all."""
    values = as_array(name, given)
    if values.size and not are_natural(values):
        raise TokenGymError(f"{name}={given!r}: give integers in 0 … 2**64 - 1, for example from derive_start")
    if values.shape not in ((), (m,)):
        raise TokenGymError(f"{values.shape} {name} for {m} rows: give one for each row, or one for all")
    return values.astype(np.uint64, copy=False) if values.ndim else np.full(m, values, np.uint64)


def read_turns(tokens: Any, counts: Any, m: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Returns what m rows are to say as an array (m, K) and how many tokens of it each says, (m,).

    Args:
        tokens: An array of shape (m, K), or m lists of ids of any lengths.
        counts: How many tokens each row says, shape (m,), or None for all that it is given.
        m: How many rows.
    """
    given, lengths = _table(tokens, m)
    if counts is None:
        amounts = lengths
    else:
        amounts = as_array("counts", counts)
        if amounts.shape != (m,) or (m and amounts.dtype.kind not in "iu"):
            raise TokenGymError(f"counts={counts!r}: give one integer for each of {m} rows, or None for all tokens")
    if ((amounts < 1) | (amounts > lengths)).any():
        most = sorted(set(lengths.tolist()))
        raise TokenGymError(
            f"counts={amounts.tolist()}: each must be in 1 … {' or '.join(map(str, most))}, the tokens of its row"
        )
    return given, amounts.astype(np.int64)


def as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Returns `value` as an array, or raises `TokenGymError` where NumPy can make none."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise TokenGymError(f"{name}={value!r} cannot be made an array: {error}") from error


def _table(tokens: Any, m: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Returns rows of tokens as an array (m, K), and the length of each row."""
    wanted = f"give tokens of shape ({m}, K), or {m} lists of token ids"
    if isinstance(tokens, (list, tuple)) and all(isinstance(row, (list, tuple, np.ndarray)) for row in tokens):
        rows = [as_array("tokens", row) for row in tokens]
        lengths = np.array([len(row) if row.ndim == 1 else -1 for row in rows], np.int64)
        if len(rows) != m or (lengths < 0).any():
            raise TokenGymError(f"tokens={tokens!r}: {wanted}")
        if len(set(lengths.tolist())) > 1:
            for row in rows:
                if row.size and row.dtype.kind not in "iu":
                    raise TokenGymError(f"tokens={tokens!r}: tokens must be integers, got {row.dtype}")
            table = np.zeros((m, int(lengths.max())), np.int64)
            for place, row in enumerate(rows):
                if row.size and row.max() > np.iinfo(np.int64).max:
                    raise TokenGymError(f"token {int(row.max())} cannot be said: it is too large")
                table[place, : len(row)] = row
            return table, lengths
    given = as_array("tokens", tokens)
    if given.ndim != 2 or len(given) != m:
        raise TokenGymError(f"append got tokens of shape {given.shape}: {wanted}")
    return given, np.full(m, given.shape[1], np.int64)


def _rising(rows: npt.NDArray[np.intp]) -> bool:
    """Whether each row is larger than the one before it."""
    return np.count_nonzero(rows[1:] > rows[:-1]) == len(rows) - 1
