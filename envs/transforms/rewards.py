"""Rewards in another unit, and rewards with noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number
from ..finite import FiniteArrays, FiniteTask, Initial, Transition, compile_task
from ..random import CounterRandom
from ..task import Outcome, Rows, State, Task
from .base import FiniteTransform, RewardTransform, Transform


class RewardScale(Transform):
    """Pays scale · reward + shift for every token.

    A positive scale changes no preference; a learner that depends on the unit of rewards shows it here (bsuite's
    "reward scale"). The shift is paid for every token: below 0 a cost of speaking, above 0 a bonus for going on, and
    where episodes differ in length it changes which policy is best.
    """

    def __init__(self, task: Task, scale: float = 1.0, shift: float = 0.0) -> None:
        """Puts the scale around `task`.

        Args:
            task: The task inside.
            scale: Factor of every reward, finite and not 0. Below 0 the best becomes the worst.
            shift: Added to every token's reward, finite.
        """
        super().__init__(task)
        self.scale, self.shift = _scale(scale), finite_number("reward_scale: shift", shift)
        ends = sorted(self.scale * end for end in task.reward_range)
        self.reward_range = ends[0] + self.shift, ends[1] + self.shift
        self.return_factor = self.scale if self.scale > 0 and self.shift == 0 else None

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token; what the inner task credits token by token is scaled part by part."""
        outcome = super().advance(state, rows, actions, random)
        credited = outcome.token_rewards
        if credited is not None:
            credited = [None if parts is None else self.scale * parts + self.shift for parts in credited]
        return outcome._replace(rewards=self.scale * outcome.rewards + self.shift, token_rewards=credited)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the inner task's expert tokens where they stay good."""
        return super().expert(state, rows) if self.scale > 0 and self.shift == 0 else None


class FiniteRewardScale(FiniteTransform):
    """`RewardScale` of a finite task, which stays one."""

    def __init__(self, task: FiniteTask, scale: float = 1.0, shift: float = 0.0) -> None:
        """Puts the scale around `task`; the arguments are those of `RewardScale`."""
        super().__init__(task)
        self.scale, self.shift = _scale(scale), finite_number("reward_scale: shift", shift)
        self.return_factor = self.scale if self.scale > 0 and self.shift == 0 else None

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes with rewards in the new unit."""
        for outcome in self.outcomes_of(state, action):
            yield outcome._replace(
                reward=self.scale * outcome.reward + self.shift, noise=abs(self.scale) * outcome.noise
            )

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The inner task's arrays in the new unit: exactly what compiling `transitions` gives, sooner."""
        inner = self.task.arrays
        possible = inner.probability > 0
        reward = np.where(possible, self.scale * inner.reward + self.shift, 0.0)
        return replace(inner, reward=reward, noise=abs(self.scale) * inner.noise)

    def expert_action(self, state: Any) -> int | None:
        """Returns the inner task's expert token where it stays good."""
        return super().expert_action(state) if self.scale > 0 and self.shift == 0 else None


class RewardNoise(RewardTransform):
    """Adds normal noise to the rewards: the mean return stays what it was, its variance grows (bsuite's "noise")."""

    def __init__(self, task: Task, sigma: float, at: Literal["token", "turn"] = "token") -> None:
        """Puts the noise around `task`.

        Args:
            task: The task inside.
            sigma: Standard deviation σ, at least 0.
            at: `"token"` for noise with every token, `"turn"` for noise with the last token of every turn, as a judge
                of whole turns has it.
        """
        super().__init__(task)
        self.sigma, self.at = _sigma(sigma), _place(at)
        if self.sigma:
            self.reward_range = -np.inf, np.inf
        self.return_factor = 1.0

    def rewards(
        self, state: State, rows: Rows, actions: npt.NDArray[np.integer], outcome: Outcome, random: CounterRandom
    ) -> npt.NDArray[np.float64]:
        """Returns the rewards with noise from the rows' own streams."""
        if self.at == "token":
            return outcome.rewards + self.sigma * random.normal(rows, 1)[:, 0]
        rewards = outcome.rewards.copy()
        ended = np.flatnonzero(outcome.turn_ended)
        rewards[ended] += self.sigma * random.normal(rows[ended], 1)[:, 0]
        return rewards


class FiniteRewardNoise(FiniteTransform):
    """`RewardNoise` of a finite task, which stays one: variances add up."""

    def __init__(self, task: FiniteTask, sigma: float, at: Literal["token", "turn"] = "token") -> None:
        """Puts the noise around `task`; the arguments are those of `RewardNoise`."""
        super().__init__(task)
        self.sigma, self.at = _sigma(sigma), _place(at)
        # Only inside of a longer turn does it matter which token it is.
        self._counts = at == "turn" and task.turn_tokens > 1
        self.return_factor = 1.0

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The inner task's arrays with more noise, where every token has the same: what compiling gives, sooner."""
        if self.at == "turn" and self.turn_tokens > 1:
            return compile_task(self)
        inner = self.task.arrays
        return replace(inner, noise=np.where(inner.probability > 0, np.hypot(inner.noise, self.sigma), 0.0))

    def inner(self, state: Any) -> Any:
        """Returns the inner state of (inner state, tokens of the turn under way), or the state as it is."""
        return state[0] if self._counts else state

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's ways to start."""
        entries = super().initial()
        return [entry._replace(state=(entry.state, 0)) for entry in entries] if self._counts else entries

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes with more noise."""
        position = (state[1] + 1) % self.turn_tokens if self._counts else 0
        for outcome in self.outcomes_of(self.inner(state), action):
            following = outcome.state
            noise = outcome.noise
            if position == 0 or following is None:
                noise = math.hypot(noise, self.sigma)
            if self._counts and following is not None:
                following = (following, position)
            yield outcome._replace(state=following, noise=noise)


def reward_scale(task: Task, scale: float = 1.0, shift: float = 0.0) -> Task:
    """Pays scale · reward + shift for every token; what is finite stays finite. See `RewardScale`."""
    if isinstance(task, FiniteTask):
        return FiniteRewardScale(task, scale, shift)
    return RewardScale(task, scale, shift)


def reward_noise(task: Task, sigma: float, at: Literal["token", "turn"] = "token") -> Task:
    """Adds normal noise to the rewards; what is finite stays finite. See `RewardNoise`."""
    if isinstance(task, FiniteTask):
        return FiniteRewardNoise(task, sigma, at)
    return RewardNoise(task, sigma, at)


def _scale(value: Any) -> float:
    scale = finite_number("reward_scale: scale", value)
    if scale == 0:
        raise TokenGymError("reward_scale: scale=0 would leave no reward: give another number")
    return scale


def _sigma(value: Any) -> float:
    sigma = finite_number("reward_noise: sigma", value)
    if sigma < 0:
        raise TokenGymError(f"reward_noise: sigma={value!r}: a standard deviation is at least 0")
    return sigma


def _place(at: Any) -> Literal["token", "turn"]:
    if at not in ("token", "turn"):
        raise TokenGymError(f"reward_noise: at={at!r}: give 'token' or 'turn'")
    return at
