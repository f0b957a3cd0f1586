"""Who acts: the one protocol that collecting, evaluating, watching and playing drive, and what an act consists of."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from typing_extensions import Self

from ...envs import Engine, TokenGymError
from ...envs.checking import Count, Seed, checked

if TYPE_CHECKING:
    from torch import Tensor

_NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


class Act(NamedTuple):
    """What a policy says on m rows: one token each, or the tokens of a turn as far as the policy knows them.

    Attributes:
        tokens: int64 (m, K); what stands past a row's count is ignored.
        counts: int64 (m,), how many of them each row is to say, at least 1. The turn may end earlier.
        log_probs: float (m, K), the log-probability of each token under the distribution that it was drawn from; NaN
            where nobody knows it. A tensor stays on its device, so that acting waits for the device only once.
        drawn: int64 (m,), what the act cost: all agent tokens that were drawn for it, those included that are not said.
        probabilities: float64 (m, A), the distribution that one token was drawn from, where it is at hand; else None.
        columns: what was measured on the way, by name, (m,) each: ``"entropy"`` of the distribution in nats.
        masks: bool (m, A), what the policy kept itself to when it drew one token, where that is less than it might say:
            whoever learns from it renormalises over the same. None where it is what it was given.
    """

    tokens: np.ndarray
    counts: np.ndarray
    log_probs: np.ndarray | Tensor
    drawn: np.ndarray
    probabilities: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = _NOTHING
    masks: np.ndarray | None = None

    @classmethod
    def of_one(
        cls,
        tokens: np.ndarray,
        log_probs: np.ndarray | Tensor,
        probabilities: np.ndarray | None = None,
        columns: Mapping[str, np.ndarray] = _NOTHING,
    ) -> Self:
        """Return the act of one token a row: int64 (m,) tokens and their log-probabilities (m,)."""
        ones = _ones(len(tokens))
        return cls(tokens[:, None], ones, log_probs[:, None], ones, probabilities, columns)


@lru_cache(maxsize=256)
def _ones(count: int) -> np.ndarray:
    """Return int64 ones (count,), the same array each time: every step of a rollout asks for them."""
    ones = np.ones(count, np.int64)
    ones.setflags(write=False)
    return ones


@runtime_checkable
class Policy(Protocol):
    """Who acts.

    A policy is asked within ``with policy.playing(engine):``, as `tokengym.algorithms.collecting.play` does. Between
    such blocks it holds nothing that belongs to a row: what it was shown is the truth, whatever it keeps is a cache.
    Subclasses need to write `act` alone.
    """

    @property
    def sampling(self) -> str:
        """What it draws tokens from when it samples, in words; ``"policy"`` where that is what it learnt."""
        return "policy"

    @property
    def on_policy(self) -> bool:
        """Whether it draws from the agent's own distribution, so that a teacher-forced pass gives its `log_probs`."""
        return False

    def playing(self, engine: Engine) -> AbstractContextManager[object]:
        """Enter a block within which the policy plays the rows of an engine and does not change."""
        return nullcontext()

    @abstractmethod
    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Choose what to say.

        Args:
            rows: int (m,) row numbers without repeats, in increasing order, or None for all rows.
            tokens: int32 (m, L), what each row has been shown and has said, right-padded; not to be written or kept.
            lengths: int (m,), at least 1.
            masks: bool (m, A) of what may be said, or None. They hold for the next token only, so with masks an act is
                one token long.
            deterministic: say the most probable instead of drawing.
        """
        ...

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> Policy:
        """Return the same policy with a generator of its own, so that its draws move no generator of this one.

        Args:
            seed: of the draws.
            measured: give the entropy of every distribution that a token is drawn from as a column, where it can.
        """
        return self

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (named tensors, JSON-able data) from which `load_state` goes on with the same draws."""
        return {}, {}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        return None


def no_masks(name: str, masks: np.ndarray | None) -> None:
    """Refuse masks for a policy that says whole turns: they say nothing about the tokens after the next.

    Raises:
        TokenGymError: there are masks.
    """
    if masks is not None:
        raise TokenGymError(
            f"{name} says whole turns, but action masks hold for the next token only: leave action_masks out"
        )


SessionT = TypeVar("SessionT")


def under_way(session: SessionT | None) -> SessionT:
    """Return what a policy decodes with while it plays.

    Raises:
        TokenGymError: it plays nothing.
    """
    if session is None:
        raise TokenGymError("this policy plays no rows yet: call act within `with policy.playing(engine):`")
    return session


def draw_actions(probabilities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw an action from each row of probabilities (m, A), which need not sum to exactly 1; int64 (m,)."""
    cumulative = probabilities.cumsum(axis=1)
    # Times the last sum, so that rounding never reaches beyond the last action that can be said.
    draws = generator.random((len(probabilities), 1)) * cumulative[:, -1:]
    return (cumulative <= draws).sum(axis=1)


@checked
def certain(actions: np.ndarray, num_actions: Count) -> np.ndarray:
    """Return float64 (m, A) probabilities, all on one action a row."""
    probabilities = np.zeros((len(actions), num_actions))
    probabilities[np.arange(len(actions)), actions] = 1.0
    return probabilities


class ProbabilityPolicy(Policy):
    """A policy of which the whole distribution is known: subclasses write `probabilities`.

    Args:
        seed: starts the generator that tokens are drawn with.
    """

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)

    @abstractmethod
    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Probabilities of the next token, float64 (m, A), for tokens (m, L), lengths (m,) and masks (m, A) or None."""

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Draw a token for each row; see `Policy.act`."""
        given = self.probabilities(tokens, lengths, masks)
        said = given.argmax(axis=1) if deterministic else draw_actions(given, self._generator)
        chosen = np.take_along_axis(given, said[:, None], axis=1)[:, 0]
        with np.errstate(divide="ignore"):
            return Act.of_one(said, np.log(chosen), given)

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> Self:
        """Return the same policy with a generator of its own; its acts hold their distributions anyway."""
        other = copy.copy(self)
        other._generator = np.random.default_rng(seed)
        return other

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator's state."""
        return {}, {"generator": self._generator.bit_generator.state}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Go on with the same draws."""
        self._generator.bit_generator.state = data["generator"]
