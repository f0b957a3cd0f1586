"""Observations as they are given to `predict`: one or a batch of them, checked and made into rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..envs import TokenGymError
from ..envs.checking import shown

if TYPE_CHECKING:
    import torch

    from .agent import Agent


@dataclass(frozen=True)
class Rows:
    """Observations of m rows."""

    tokens: np.ndarray
    """int32 (m, L), right-padded."""
    lengths: np.ndarray
    """int64 (m,)."""
    masks: np.ndarray | None
    """bool (m, A), True where allowed, or None."""
    single: bool
    """Whether one observation was given, and no batch."""


def rows_of(observation: Any, action_masks: Any, num_actions: int) -> Rows:
    """Return the rows of an observation.

    Args:
        observation: `tokens` (L,) or (m, L) and `length` (1,) or (m, 1).
        action_masks: bool (A,) or (m, A), or None.
        num_actions: A.

    Raises:
        TokenGymError: something else, or shapes that do not fit together.
    """
    if not isinstance(observation, Mapping) or not {"tokens", "length"} <= set(observation):
        raise TokenGymError(
            f"observation is {shown(observation)}; expected what the environment returned: a mapping with 'tokens' and "
            "'length'."
        )
    tokens = _whole("tokens", observation["tokens"])
    lengths = _whole("length", observation["length"]).astype(np.int64).reshape(-1)
    if tokens.ndim not in (1, 2) or len(lengths) != (1 if tokens.ndim == 1 else len(tokens)):
        raise TokenGymError(
            f"the observation has tokens of shape {tokens.shape} and {len(lengths)} lengths; expected (L,) and (1,), "
            "or (m, L) and (m, 1)."
        )
    rows = np.atleast_2d(tokens).astype(np.int32, copy=False)
    return Rows(rows, lengths, _masks(action_masks, len(rows), num_actions), tokens.ndim == 1)


def _whole(name: str, given: Any) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    # Whole floats are what networks are fed with.
    if array.dtype.kind not in "iuf" or not (np.isfinite(array) & (np.trunc(array) == array)).all():
        raise TokenGymError(f"{name} of the observation is {shown(given)}; expected an array of whole numbers.")
    return array


def _masks(given: Any, rows: int, num_actions: int) -> np.ndarray | None:
    if given is None:
        return None
    try:
        masks = np.atleast_2d(np.asarray(given))
    except ValueError:
        masks = np.array(None)
    if masks.dtype.kind not in "biu" or masks.shape != (rows, num_actions):
        raise TokenGymError(
            f"action_masks is {shown(given)} of shape {masks.shape}; expected ({rows}, {num_actions}), 1 where allowed."
        )
    return masks.astype(bool)


def states_of(
    tokens: Any,
    lengths: Any,
    rows: Any,
    columns: Any,
    final_rows: Any,
    agent: Agent,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the states that `Agent.evaluate` is asked for, on the agent's device.

    Returns:
        int64: the sequences, cut behind the longest state (B, L'), their lengths (B,), and of each state, final ones
        behind the others, the row and the column of the last token (N + F,).

    Raises:
        TokenGymError: no states, one outside its row or the agent's context, or a token outside the vocabulary.
    """
    import torch

    def moved(given: Any) -> torch.Tensor:
        return torch.as_tensor(given, device=agent.device).long()

    tokens, lengths, rows, last = moved(tokens), moved(lengths), moved(rows), moved(columns) - 1
    if final_rows is not None:
        final_rows = moved(final_rows)
        rows, last = torch.cat([rows, final_rows]), torch.cat([last, lengths[final_rows] - 1])
    if rows.numel() == 0 or tokens.numel() == 0:
        raise TokenGymError(f"nothing to evaluate: {len(tokens)} sequences, {rows.numel()} states")
    longest = int(last.max()) + 1
    if int(last.min()) < 0:
        raise TokenGymError("column 0 has no state: every sequence starts with the begin token, states from column 1")
    if longest > tokens.shape[1] or longest > agent.max_length:
        raise TokenGymError(
            f"a state of {longest} tokens does not fit sequences of {tokens.shape[1]} columns and the agent's "
            f"context of {agent.max_length}"
        )
    low, high, size = int(tokens.min()), int(tokens.max()), agent.vocabulary.size
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise TokenGymError(f"token {wrong} is outside the vocabulary; expected ids from 0 to {size - 1}")
    return tokens[:, :longest], lengths, rows, last
