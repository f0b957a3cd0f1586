"""A finite task as arrays: as its declaration gives them, and laid out for stepping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FiniteArrays:
    """A finite task as arrays, for S states, A actions, at most K outcomes of an action and I ways to start.

    Attributes:
        next: Next state, int32 of shape (S, A, K); the value S stands for the end.
        probability: Probability of the outcome, float64 of shape (S, A, K); 0 where there are fewer than K.
        reward: Expected reward of the outcome, float64 of shape (S, A, K).
        noise: Standard deviation of the reward's noise, float64 of shape (S, A, K).
        reply: What is shown: index into `reply_tokens`, int32 of shape (S, A, K). Index 0 is the empty reply.
        reply_tokens: The different replies, int32 of shape (R, Lr), padded.
        reply_counts: Their lengths, int32 of shape (R,).
        initial_state: States that episodes start in, int32 of shape (I,).
        initial_probability: Their probabilities, float64 of shape (I,).
        initial_reply: What is shown at the start: index into `reply_tokens`, int32 of shape (I,).
        legal: Which tokens may be said, bool of shape (S, A), or None where all may everywhere.
        states: The author's state objects, in the order of their indices.
        columns: What is reported beside the reward, by name: float64 of shape (S, A, K), NaN where nothing is.
    """

    next: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float64]
    reward: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    reply: npt.NDArray[np.int32]
    reply_tokens: npt.NDArray[np.int32]
    reply_counts: npt.NDArray[np.int32]
    initial_state: npt.NDArray[np.int32]
    initial_probability: npt.NDArray[np.float64]
    initial_reply: npt.NDArray[np.int32]
    legal: npt.NDArray[np.bool_] | None
    states: list[Any] = field(repr=False)
    columns: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def num_states(self) -> int:
        """The number of states (S), the end not counted."""
        return self.next.shape[0]

    @property
    def num_actions(self) -> int:
        """The number of actions (A)."""
        return self.next.shape[1]

    @property
    def outcomes(self) -> int:
        """The largest number of outcomes of an action (K)."""
        return self.next.shape[2]


@dataclass(frozen=True)
class FiniteTables:
    """`FiniteArrays` laid out for stepping: flat, with what is constant left out."""

    num_actions: np.ndarray  # numbers that meet arrays are arrays, too: numpy takes them in half the time
    end: np.ndarray
    width: int
    """The number of actions, for plain Python."""
    num_states: int
    outcomes: int
    next: npt.NDArray[np.int64]  # (S·A·K,)
    reward: npt.NDArray[np.float64]  # (S·A·K,)
    noise: npt.NDArray[np.float64] | None  # (S·A·K,)
    cumulative: npt.NDArray[np.float64] | None  # (S·A, K)
    reply: npt.NDArray[np.int64] | None  # (S·A·K,)
    reply_tokens: npt.NDArray[np.int32]
    reply_counts: npt.NDArray[np.int32]
    initial_state: npt.NDArray[np.int32]
    initial_cumulative: npt.NDArray[np.float64]
    initial_thresholds: list[float]
    """The same numbers, which plain Python searches sooner."""
    initial_reply: npt.NDArray[np.int32]
    legal: npt.NDArray[np.bool_] | None  # (S + 1, A)
    columns: dict[str, npt.NDArray[np.float64]] | None  # (S·A·K,) each
    columns_at_ends: bool
    """Whether only transitions that end the episode report something, so that other steps need not look."""

    @classmethod
    def of(cls, arrays: FiniteArrays) -> FiniteTables:
        """Returns the tables of a task's arrays."""
        cumulative = None
        if arrays.outcomes > 1:
            cumulative = _thresholds(arrays.probability.reshape(-1, arrays.outcomes))
        initial_cumulative = _thresholds(arrays.initial_probability[None])[0]
        legal = None
        if arrays.legal is not None:
            legal = np.concatenate([arrays.legal, np.ones((1, arrays.num_actions), np.bool_)])
        return cls(
            num_actions=np.array(arrays.num_actions),
            end=np.array(arrays.num_states),
            width=arrays.num_actions,
            num_states=arrays.num_states,
            outcomes=arrays.outcomes,
            next=arrays.next.ravel().astype(np.int64),
            reward=arrays.reward.ravel(),
            noise=arrays.noise.ravel() if arrays.noise.any() else None,
            cumulative=cumulative,
            reply=arrays.reply.ravel().astype(np.int64) if arrays.reply.any() else None,
            reply_tokens=arrays.reply_tokens,
            reply_counts=arrays.reply_counts,
            initial_state=arrays.initial_state,
            initial_cumulative=initial_cumulative,
            initial_thresholds=initial_cumulative.tolist(),
            initial_reply=arrays.initial_reply,
            legal=legal,
            columns={name: values.ravel() for name, values in arrays.columns.items()} or None,
            columns_at_ends=all(
                np.isnan(values[arrays.next < arrays.num_states]).all() for values in arrays.columns.values()
            ),
        )

    def said(self, reply: int) -> npt.NDArray[np.int32]:
        """Returns the ids of a reply, without padding, as a view."""
        return self.reply_tokens[reply, : self.reply_counts.item(reply)]


def _thresholds(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns, for rows of probabilities (m, K), what a uniform draw must reach to pass each outcome, (m, K).

    An outcome of probability 0 is passed by whatever reaches it, and nothing passes the last one of a row that has any:
    so rounding never draws what cannot happen.
    """
    cumulative = probability.cumsum(axis=1)
    last = probability.shape[1] - 1 - (probability[:, ::-1] > 0).argmax(axis=1)
    cumulative[np.arange(probability.shape[1]) >= last[:, None]] = 2.0
    return cumulative
