"""Transforms: tasks made from other tasks, so that the engine and every face have them.

A transform is named in JSON, `{"name": "time_limit", "max_tokens": 50}`, so that an environment's specification can be
written down and read back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import TokenGymError, positive_int, unknown_name
from .finite import FiniteTask, Initial, Transition
from .picture import Picture
from .random import CounterRandom
from .task import Outcome, Reply, Rows, State, Task
from .vocabulary import Vocabulary


class Transform(Task):
    """A task around another one, to which everything is handed on that a subclass does not change.

    A transform has one number a row of its own, kept in the state beside the inner task's arrays.

    Attributes:
        task: The task inside.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.vocabulary = task.vocabulary
        self.name = task.name
        self.family = task.family
        self.context = task.context
        self.max_length = task.max_length
        self.max_turn_tokens = task.max_turn_tokens
        self.max_episode_tokens = task.max_episode_tokens
        self.reward_range = task.reward_range
        self.deterministic = task.deterministic
        self.can_save_state = task.can_save_state
        self.has_action_mask = task.has_action_mask
        self.isolates, self.mirrors = task.isolates, task.mirrors
        # Transforms nest, and each needs a key of its own.
        self._key = f"transform_{_depth(task)}"

    def make_state(self, num_rows: int) -> State:
        """Returns the inner task's state and the transform's number for each row."""
        return self.task.make_state(num_rows) | {self._key: np.zeros(num_rows)}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the inner task's episodes."""
        state[self._key][rows] = 0
        return self.task.start(self._inner(state), rows, random)

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns the inner task's mask."""
        return self.task.action_mask(self._inner(state), rows)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the inner task's expert tokens."""
        return self.task.expert(self._inner(state), rows)

    def save(self, state: State, row: int) -> dict[str, Any]:
        """Saves the inner task's row and the transform's number."""
        return {"own": float(state[self._key][row]), "task": self.task.save(self._inner(state), row)}

    def restore(self, state: State, row: int, saved: dict[str, Any]) -> None:
        """Restores what `save` returned."""
        state[self._key][row] = saved["own"]
        self.task.restore(self._inner(state), row, saved["task"])

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does."""
        return self.task.render_tokens(tokens)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return self.task.picture(self._inner(state), row, tokens)

    def frame(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8] | None:
        """Draws as the inner task does."""
        return self.task.frame(self._inner(state), row, tokens)

    def _inner(self, state: State) -> State:
        """Returns the state as the inner task made it: the same arrays, without the transform's."""
        return {key: array for key, array in state.items() if key != self._key}


class TimeLimit(Transform):
    """Truncates an episode after a number of the agent's tokens.

    It is a user's limit, not a rule of the task: a learner bootstraps past it. The exact solver does not take it.
    """

    def __init__(self, task: Task, max_tokens: int) -> None:
        """Puts the limit around `task`.

        Args:
            task: The task inside.
            max_tokens: The most tokens that the agent says in an episode, at least 1.
        """
        super().__init__(task)
        self.max_tokens = positive_int("time_limit: max_tokens", max_tokens)
        self.max_episode_tokens = min(task.max_episode_tokens, self.max_tokens)
        if self.max_tokens >= task.max_episode_tokens:
            self.random_return, self.optimal_return = task.random_return, task.optimal_return

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and counts it."""
        outcome = self.task.advance(self._inner(state), rows, actions, random)
        elapsed = state[self._key][rows] + 1
        state[self._key][rows] = elapsed
        truncated = elapsed >= self.max_tokens
        return outcome._replace(truncated=truncated if outcome.truncated is None else truncated | outcome.truncated)


class PotentialShaping(Transform):
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
        self.weights, self.gamma = _token_weights(task.vocabulary, weights), _discount(gamma)
        # Φ lies between the extremes that the longest episode can sum up to.
        low, high = _potential_range(self.weights, task.max_episode_tokens)
        low, high = min(self.gamma * low - high, low - high), max(self.gamma * high - low, high - low)
        self.reward_range = task.reward_range[0] + low, task.reward_range[1] + high
        if self.gamma == 1:
            self.random_return, self.optimal_return = task.random_return, task.optimal_return

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and shapes its reward."""
        outcome = self.task.advance(self._inner(state), rows, actions, random)
        before = state[self._key][rows]
        after = np.where(outcome.terminated, 0.0, before + self.weights[actions])
        state[self._key][rows] = after
        # A turn's rewards one by one no longer sum to its reward, so they are not handed on.
        return outcome._replace(rewards=outcome.rewards + self.gamma * after - before, token_rewards=None)


class FinitePotentialShaping(FiniteTask):
    """`PotentialShaping` of a finite task, which stays one for the exact solver: the potential joins the state."""

    def __init__(self, task: FiniteTask, weights: Mapping[str, float], gamma: float = 1.0) -> None:
        """Puts the shaping around `task`; the arguments are those of `PotentialShaping`."""
        self.task = task
        self.weights, self.gamma = _token_weights(task.vocabulary, weights), _discount(gamma)
        self.vocabulary = task.vocabulary
        self.name = task.name
        self.family = task.family
        self.context = task.context
        self.turn_tokens = task.turn_tokens
        self.max_length = task.max_length
        self.max_episode_tokens = task.max_episode_tokens
        self.isolates, self.mirrors = task.isolates, task.mirrors
        if self.gamma == 1:
            self.random_return, self.optimal_return = task.random_return, task.optimal_return

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's initial states, at potential 0."""
        for probability, state, shown in self.task.initial():
            yield Initial(probability, (state, 0.0), shown)

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes with shaped rewards."""
        inner, before = state
        for probability, following, reward, shown, noise in (
            Transition(*outcome) for outcome in self.task.transitions(inner, action)
        ):
            # Rounded, so that sums of the same weights in another order meet in one state.
            after = 0.0 if following is None else round(before + float(self.weights[action]), 12)
            shaped = reward + self.gamma * after - before
            yield Transition(probability, None if following is None else (following, after), shaped, shown, noise)

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns what the inner task allows."""
        return self.task.legal(state[0])

    def expert_action(self, state: Any) -> int | None:
        """Returns the inner task's expert token."""
        return self.task.expert_action(state[0])

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does."""
        return self.task.render_tokens(tokens)

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return self.task.picture_of(None if state is None else state[0], tokens)


def potential_shaping(task: Task, weights: Mapping[str, float], gamma: float = 1.0) -> Task:
    """Shapes a task's rewards by a potential; what is finite stays finite. See `PotentialShaping`."""
    if isinstance(task, FiniteTask):
        return FinitePotentialShaping(task, weights, gamma)
    return PotentialShaping(task, weights, gamma)


TRANSFORMS: dict[str, Callable[..., Task]] = {"potential_shaping": potential_shaping, "time_limit": TimeLimit}
"""The transforms by the names that they have in JSON."""


def apply_transforms(task: Task, transforms: Sequence[Mapping[str, Any]]) -> Task:
    """Puts transforms around a task, the first one innermost.

    Args:
        task: The task.
        transforms: For each transform a mapping with its `name` and its arguments, as
            `{"name": "time_limit", "max_tokens": 50}`.

    Raises:
        TokenGymError: For an unknown name, with the nearest ones, or arguments that the transform does not take.
    """
    if not isinstance(transforms, Sequence) or isinstance(transforms, str):
        raise TokenGymError(f"transforms={transforms!r}: give a list of mappings, each with a name and its arguments")
    for transform in transforms:
        if not isinstance(transform, Mapping) or "name" not in transform:
            raise TokenGymError(f"transform {transform!r}: give a mapping with a name and its arguments")
        arguments = {key: value for key, value in transform.items() if key != "name"}
        name = transform["name"]
        if name not in TRANSFORMS:
            raise unknown_name("transform", name, TRANSFORMS)
        check_arguments(f"transform {name!r}", TRANSFORMS[name], (task,), arguments)
        task = TRANSFORMS[name](task, **arguments)
    return task


def check_arguments(what: str, maker: Callable[..., Any], given: tuple[Any, ...], arguments: Mapping[str, Any]) -> None:
    """Raises `TokenGymError`, with the nearest names, if `maker` cannot be called with the arguments."""
    signature = inspect.signature(maker)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        known = list(signature.parameters)[len(given) :]
        for name in arguments:
            if name not in known:
                raise unknown_name(f"argument of {what}:", name, known)
    try:
        signature.bind(*given, **arguments)
    except TypeError as error:
        raise TokenGymError(f"{what}: {error}; its arguments are {signature}") from None


def _depth(task: Task) -> int:
    return 1 + _depth(task.task) if isinstance(task, Transform) else 0


def _token_weights(vocabulary: Vocabulary, weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Returns the weight of each of the agent's tokens, shape (A,)."""
    values = np.zeros(vocabulary.num_actions)
    for name, weight in weights.items():
        token = vocabulary.encode([name])[0]
        if token >= vocabulary.num_actions:
            raise TokenGymError(f"potential_shaping: the agent cannot say {name!r}: name tokens that it can")
        if not np.isfinite(weight):
            raise TokenGymError(f"potential_shaping: the weight of {name!r} is {weight}: give a finite number")
        values[token] = weight
    return values


def _discount(gamma: float) -> float:
    if not 0 < gamma <= 1:
        raise TokenGymError(f"potential_shaping: gamma={gamma} must be in (0, 1]")
    return float(gamma)


def _potential_range(weights: npt.NDArray[np.float64], tokens: int) -> tuple[float, float]:
    """Returns the lowest and highest sum of at most `tokens` weights."""
    return tokens * min(0.0, float(weights.min())), tokens * max(0.0, float(weights.max()))
