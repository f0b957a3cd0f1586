"""Potential-based shaping, which changes rewards and leaves the best policies alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError
from ..finite import FiniteTask, Initial, Transition
from ..random import CounterRandom
from ..task import Outcome, Rows, State, Task
from ..vocabulary import Vocabulary
from .base import FiniteTransform, RewardTransform


class PotentialShaping(RewardTransform):
    """Adds γΦ(s′) − Φ(s) to every reward, which leaves the optimal policies as they are (Ng, Harada and Russell, 1999).

    The potential Φ is the sum of the weights of the tokens that the agent said in the episode; it is 0 at the start and
    at the end. With γ = 1 every episode's return stays what it was.
    """

    def __init__(self, task: Task, weights: Mapping[str, float], gamma: float = 1.0) -> None:
        """Puts the shaping around `task`.

        Args:
            task: The task inside.
            weights: Potential of each token by its name; 0 for those left out.
            gamma: The learner's discount γ, in (0, 1].
        """
        super().__init__(task)
        self.weights, self.gamma = token_weights("potential_shaping", task.vocabulary, weights), _discount(gamma)
        # Φ lies between the extremes that the longest episode can sum up to.
        low, high = _potential_range(self.weights, task.max_episode_tokens)
        low, high = min(self.gamma * low - high, low - high), max(self.gamma * high - low, high - low)
        self.reward_range = task.reward_range[0] + low, task.reward_range[1] + high
        if self.gamma == 1:
            self.return_factor = 1.0

    def own_arrays(self, num_rows: int) -> State:
        """Returns each row's potential beside the arrays of every change of rewards."""
        return super().own_arrays(num_rows) | {"potential": np.zeros(num_rows)}

    def rewards(
        self, state: State, rows: Rows, actions: npt.NDArray[np.integer], outcome: Outcome, random: CounterRandom
    ) -> npt.NDArray[np.float64]:
        """Returns the shaped rewards."""
        potential = self.own(state, "potential")
        before = potential[rows]
        after = np.where(outcome.terminated, 0.0, before + self.weights[actions])
        potential[rows] = after
        return outcome.rewards + self.gamma * after - before


class FinitePotentialShaping(FiniteTransform):
    """`PotentialShaping` of a finite task, which stays one for the exact solver: the potential joins the state."""

    def __init__(self, task: FiniteTask, weights: Mapping[str, float], gamma: float = 1.0) -> None:
        """Puts the shaping around `task`; the arguments are those of `PotentialShaping`."""
        super().__init__(task)
        self.weights, self.gamma = token_weights("potential_shaping", task.vocabulary, weights), _discount(gamma)
        if self.gamma == 1:
            self.return_factor = 1.0

    def inner(self, state: Any) -> Any:
        """Returns the inner state of (inner state, potential)."""
        return state[0]

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's initial states, at potential 0."""
        return [entry._replace(state=(entry.state, 0.0)) for entry in super().initial()]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes with shaped rewards."""
        inner, before = state
        for outcome in self.outcomes_of(inner, action):
            over = outcome.state is None
            # Rounded, so that sums of the same weights in another order meet in one state.
            after = 0.0 if over else round(before + float(self.weights[action]), 12)
            following = None if over else (outcome.state, after)
            yield outcome._replace(state=following, reward=outcome.reward + self.gamma * after - before)


def potential_shaping(task: Task, weights: Mapping[str, float], gamma: float = 1.0) -> Task:
    """Shapes a task's rewards by a potential; what is finite stays finite. See `PotentialShaping`."""
    if isinstance(task, FiniteTask):
        return FinitePotentialShaping(task, weights, gamma)
    return PotentialShaping(task, weights, gamma)


def token_weights(
    what: str, vocabulary: Vocabulary, weights: Mapping[str, float], other: float = 0.0
) -> npt.NDArray[np.float64]:
    """Returns the weight of each of the agent's tokens, shape (A,).

    Args:
        what: The transform that asks, for its messages.
        vocabulary: The tokens.
        weights: Finite weights by the tokens' names.
        other: The weight of the tokens left out.

    Raises:
        TokenGymError: For a name that is unknown or that the agent cannot say, or a weight that is no finite number.
    """
    if not isinstance(weights, Mapping):
        raise TokenGymError(f"{what}: weights={weights!r}: give a mapping from tokens to numbers")
    values = np.full(vocabulary.num_actions, float(other))
    for name, weight in weights.items():
        token = vocabulary.encode([name])[0]
        if token >= vocabulary.num_actions:
            raise TokenGymError(f"{what}: the agent cannot say {name!r}: name tokens that it can")
        if not isinstance(weight, (int, float)) or not np.isfinite(weight):
            raise TokenGymError(f"{what}: the weight of {name!r} is {weight}: give a finite number")
        values[token] = weight
    return values


def _discount(gamma: float) -> float:
    if not isinstance(gamma, (int, float)) or not 0 < gamma <= 1:
        raise TokenGymError(f"potential_shaping: gamma={gamma} must be in (0, 1]")
    return float(gamma)


def _potential_range(weights: npt.NDArray[np.float64], tokens: int) -> tuple[float, float]:
    """Returns the lowest and highest sum of at most `tokens` weights."""
    return tokens * min(0.0, float(weights.min())), tokens * max(0.0, float(weights.max()))
