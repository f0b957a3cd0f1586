"""What an engine returns for the tokens that were said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..columns import Columns


class StepResult(NamedTuple):
    """What one token of each of m rows led to.

    Attributes:
        rewards: Rewards, float64 of shape (m,).
        terminated: Whether the task ended the episode, bool of shape (m,).
        truncated: Whether a full context or a time limit cut the episode, bool of shape (m,).
        turn_ended: Whether the agent's turn ended, bool of shape (m,). A terminated episode's has.
        token_rewards: None, or a list with one entry for each row whose turn ended, in the order of the rows: the
            rewards of the turn's tokens one by one, or None where the task does not credit them.
        columns: None, or what the task reports beside the reward: by name one array of shape (m,) each, float64 with
            NaN where a row reports nothing, or objects with None there.
    """

    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    turn_ended: npt.NDArray[np.bool_]
    token_rewards: list[npt.NDArray[np.float64] | None] | None = None
    columns: Columns | None = None


class RowResult(NamedTuple):
    """What one token of a single row led to, in plain Python values: `StepResult` for one row.

    Attributes:
        reward: Reward for the token.
        terminated: Whether the task ended the episode.
        truncated: Whether a full context or a time limit cut the episode.
        turn_ended: Whether the agent's turn ended. A terminated episode's has.
        token_rewards: The rewards of the turn's tokens one by one, where it ended and the task credits them, else None.
        columns: What the row reports beside the reward, by name: floats, or what else it is. None for nothing.
    """

    reward: float
    terminated: bool
    truncated: bool
    turn_ended: bool
    token_rewards: npt.NDArray[np.float64] | None = None
    columns: Mapping[str, Any] | None = None


class AppendResult(NamedTuple):
    """What several tokens of each of m rows, said one after the other, led to.

    Attributes:
        rewards: Sum of each row's rewards, float64 of shape (m,).
        terminated: Whether the task ended the episode, bool of shape (m,).
        truncated: Whether a full context or a time limit cut the episode, bool of shape (m,).
        turn_ended: Whether the agent's turn ended, bool of shape (m,).
        token_rewards: As in `StepResult`, for the rows whose turn ended.
        per_token: The reward after each token, float64 of shape (m, K); 0 past the tokens that were said.
        said: How many tokens each row said, int64 of shape (m,): fewer than were given where the turn or the episode
            ended before.
        columns: None, or what the task reports after each token, as in `StepResult` but of shape (m, K).
    """

    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    turn_ended: npt.NDArray[np.bool_]
    token_rewards: list[npt.NDArray[np.float64] | None] | None
    per_token: npt.NDArray[np.float64]
    said: npt.NDArray[np.int64]
    columns: Columns | None = None


def reordered(result: StepResult, order: npt.NDArray[np.intp]) -> StepResult:
    """Puts results of sorted rows back into the caller's order; `order` is what sorted the rows."""
    back = np.argsort(order)
    turn_ended = result.turn_ended[back]
    token_rewards = result.token_rewards
    if token_rewards is not None:
        credited = dict(zip(np.flatnonzero(result.turn_ended).tolist(), token_rewards, strict=True))
        token_rewards = [credited[position] for position in back[turn_ended].tolist()]
    columns = None if result.columns is None else {name: values[back] for name, values in result.columns.items()}
    return StepResult(
        result.rewards[back], result.terminated[back], result.truncated[back], turn_ended, token_rewards, columns
    )
