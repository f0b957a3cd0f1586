"""What a task says and pays for a batch of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .columns import Columns

Rows = npt.NDArray[np.intp]
"""Indices of rows, shape (m,), strictly increasing: where m equals the number of rows, they are all the rows."""

State = dict[str, np.ndarray]
"""The state of all rows: arrays whose first axis is the row."""


class Reply(NamedTuple):
    """What the task says to m rows.

    Attributes:
        tokens: Token ids, int32 of shape (m, R). A row's ids past its count are ignored.
        counts: How many tokens each row is told, integers of shape (m,), each in 0 … R.
        padded: Whether the ids past the counts are known to be the vocabulary's `pad`, which saves a copy.
    """

    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.integer]
    padded: bool = False


class Outcome(NamedTuple):
    """What one token of m rows led to.

    Attributes:
        rewards: Reward for the token, float64 of shape (m,).
        terminated: Whether the task ended the episode, bool of shape (m,).
        turn_ended: Whether the token ended the agent's turn, bool of shape (m,). A terminated episode has.
        reply: What the task says next, or None where it says nothing to any row. Only rows whose turn ended may have
            a count above 0.
        token_rewards: None, or a list with one entry for each row whose turn ended, in the order of the rows: the
            rewards of the turn's tokens one by one, shape (tokens of the turn,), where the task credits them; they sum
            to all that was paid in the turn. An entry may be None.
        truncated: Whether a time limit cut the episode, bool of shape (m,), or None for nowhere.
        columns: What is reported beside the reward, by name one array of shape (m,) each: numbers, NaN where a row
            reports nothing, or objects with None there; None for nothing. See `Task.columns`.
    """

    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    turn_ended: npt.NDArray[np.bool_]
    reply: Reply | None = None
    token_rewards: list[npt.NDArray[np.float64] | None] | None = None
    truncated: npt.NDArray[np.bool_] | None = None
    columns: Columns | None = None


class RowOutcome(NamedTuple):
    """What one token of a single row led to, in plain Python values: `Outcome` for one row.

    Attributes:
        reward: Reward for the token.
        terminated: Whether the task ended the episode.
        turn_ended: Whether the token ended the agent's turn. A terminated episode has.
        reply: The ids of what the task says next, all of which count; empty where it says nothing.
        token_rewards: The rewards of the turn's tokens one by one, where it ended and the task credits them, else None.
        truncated: Whether a time limit cut the episode.
        columns: What the row reports beside the reward, by name: floats, or what else it is. None for nothing.
    """

    reward: float
    terminated: bool
    turn_ended: bool
    reply: Sequence[int] | npt.NDArray[np.integer] = ()
    token_rewards: npt.NDArray[np.float64] | None = None
    truncated: bool = False
    columns: Mapping[str, Any] | None = None


class TurnResult(NamedTuple):
    """A `TokenTask`'s answer to m finished turns.

    Attributes:
        reply: What the task says next: a `Reply`, ids of shape (m, R) of which every row is told all, or None.
        rewards: Reward for the turn, float64 of shape (m,), paid at its last token.
        terminated: Whether the task ended the episode, bool of shape (m,), or None for nowhere (but see `max_turns`).
        token_rewards: None, or one array (or None) a row with the rewards of the turn's tokens, which sum to `rewards`.
        truncated: Whether a time limit cut the episode, bool of shape (m,), or None for nowhere.
        columns: What is reported beside the reward, as in `Outcome`.
    """

    reply: Reply | npt.NDArray[np.integer] | None
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_] | None = None
    token_rewards: list[npt.NDArray[np.float64] | None] | None = None
    truncated: npt.NDArray[np.bool_] | None = None
    columns: Columns | None = None
