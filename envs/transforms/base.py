"""What transforms are built on: a task that hands everything on to the one inside."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..branching import copy_arrays, reseed_arrays
from ..drawing import Picture
from ..finite import FiniteTask, Initial, Transition
from ..random import CounterRandom
from ..saved_state import Limits, check_arrays, check_keys
from ..task import Outcome, Reply, Rows, State, Task


class Around:
    """What every transform has: the task inside, and its declared returns where they stay true.

    Attributes:
        task: The task inside.
        return_factor: What the inner task's returns are multiplied by, or None where they are no longer known.
    """

    task: Task
    return_factor: float | None = None

    @property
    def unwrapped(self) -> Task:
        """The task under all transforms."""
        return self.task.unwrapped

    @cached_property
    def random_return(self) -> float | None:
        """The inner task's, in this one's unit, or None."""
        # Read when it is asked for: the inner task may have to be solved first.
        inner = None if self.return_factor is None else self.task.random_return
        return None if inner is None or self.return_factor is None else self.return_factor * inner

    @cached_property
    def optimal_return(self) -> float | None:
        """The inner task's, in this one's unit, or None."""
        inner = None if self.return_factor is None else self.task.optimal_return
        return None if inner is None or self.return_factor is None else self.return_factor * inner


class Transform(Around, Task):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A task around another one, to which everything is handed on that a subclass does not change.

    A transform's own numbers, which `own_arrays` declares, are kept in the state beside the inner task's arrays.

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
        self.isolates, self.mirrors, self.columns = task.isolates, task.mirrors, task.columns
        # Transforms nest, and each needs keys of its own.
        self._prefix = f"transform_{_depth(task)}."

    def own_arrays(self, num_rows: int) -> State:
        """Returns the transform's own arrays, whose first axis is the row. A row that starts is set to 0."""
        return {}

    def own(self, state: State, name: str) -> np.ndarray:
        """Returns one of the transform's own arrays, all rows of it, to be changed in place."""
        return state[self._prefix + name]

    def make_state(self, num_rows: int) -> State:
        """Returns the inner task's state and the transform's own arrays."""
        own = {self._prefix + name: array for name, array in self.own_arrays(num_rows).items()}
        return self.task.make_state(num_rows) | own

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the inner task's episodes."""
        for array in self._own(state).values():
            array[rows] = 0
        return self.task.start(self.inner(state), rows, random)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task."""
        return self.task.advance(self.inner(state), rows, actions, random)

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns the inner task's mask."""
        return self.task.action_mask(self.inner(state), rows)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the inner task's expert tokens."""
        return self.task.expert(self.inner(state), rows)

    def save(self, state: State, row: int) -> dict[str, Any]:
        """Saves the inner task's row and the transform's own numbers."""
        own = {key.removeprefix(self._prefix): copy.deepcopy(array[row]) for key, array in self._own(state).items()}
        return {"own": own, "task": self.task.save(self.inner(state), row)}

    def fork(self, state: State, sources: Rows, targets: Rows) -> None:
        """Copies the transform's own numbers, and lets the inner task copy its rows."""
        if type(self).save is Transform.save and type(self).restore is Transform.restore:
            copy_arrays(self.name, self._own(state), sources, targets)
            self.task.fork(self.inner(state), sources, targets)
        else:
            self.fork_by_saving(state, sources, targets)

    def reseed(self, state: State, rows: Rows, random: CounterRandom) -> None:
        """Begins the generators anew that the transform's own objects hold, and the inner task's."""
        reseed_arrays(self.name, self._own(state), rows, random)
        self.task.reseed(self.inner(state), rows, random)

    def check_saved(self, state: State, saved: Any, over: bool) -> None:
        """Checks the transform's own numbers, and lets the inner task check its own."""
        if type(self).save is not Transform.save:
            return
        check_keys(f"a state of {self.name} under a transform", saved, {"own", "task"})
        own = {key.removeprefix(self._prefix): array for key, array in self._own(state).items()}
        counted = (0, max(self.max_episode_tokens, self.max_length))
        limits = {name: counted for name in own} | dict(self.own_limits(over))
        check_arrays(f"a transform of {self.name}", saved["own"], own, limits)
        self.task.check_saved(self.inner(state), saved["task"], over)

    def own_limits(self, over: bool) -> Limits:
        """Returns the limits of own arrays of integers that hold something else than a count of an episode's tokens."""
        return {}

    def restore(self, state: State, row: int, saved: dict[str, Any]) -> None:
        """Restores what `save` returned."""
        for name, value in saved["own"].items():
            self.own(state, name)[row] = value
        self.task.restore(self.inner(state), row, saved["task"])

    def close(self) -> None:
        """Closes the inner task."""
        self.task.close()

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does."""
        return self.task.render_tokens(tokens)

    def legend(self, tokens: npt.NDArray[np.integer]) -> list[str]:
        """Explains as the inner task does."""
        return self.task.legend(tokens)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return self.task.picture(self.inner(state), row, tokens)

    def frame(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8] | None:
        """Draws as the inner task does."""
        return self.task.frame(self.inner(state), row, tokens)

    def inner(self, state: State) -> State:
        """Returns the state as the inner task made it: the same arrays, without the transform's."""
        return {key: array for key, array in state.items() if not key.startswith(self._prefix)}

    def _own(self, state: State) -> State:
        """Returns the transform's own arrays, under the names that they have in the state."""
        return {key: array for key, array in state.items() if key.startswith(self._prefix)}


class RewardTransform(Transform):
    """A transform that changes nothing but the rewards: write `rewards`.

    Where the inner task credits the tokens of a turn one by one, what the transform added to each is added there, too,
    so that the parts go on summing to what the turn paid.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._turns_of_one = task.max_turn_tokens == 1

    @abstractmethod
    def rewards(
        self, state: State, rows: Rows, actions: npt.NDArray[np.integer], outcome: Outcome, random: CounterRandom
    ) -> npt.NDArray[np.float64]:
        """Returns what each of `rows` is paid, float64 of shape (m,), for the inner task's outcome of `actions`."""

    def own_arrays(self, num_rows: int) -> State:
        """Returns what was added to the rewards of the turn under way, and how many tokens it has so far."""
        if self._turns_of_one:
            return {}
        return {"added": np.zeros((num_rows, self.max_turn_tokens)), "said": np.zeros(num_rows, np.int64)}

    def own_limits(self, over: bool) -> Limits:
        """Returns how far a turn can be."""
        return {"said": (0, self.max_turn_tokens - 1)}

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and pays what `rewards` gives for it."""
        outcome = self.task.advance(self.inner(state), rows, actions, random)
        rewards = self.rewards(state, rows, actions, outcome, random)
        added = rewards - outcome.rewards
        if self._turns_of_one:
            credited = outcome.token_rewards
            if credited is not None:
                amounts = added[outcome.turn_ended]
                credited = [
                    None if parts is None else parts + amount for parts, amount in zip(credited, amounts, strict=True)
                ]
            return outcome._replace(rewards=rewards, token_rewards=credited)
        ledger, said = self.own(state, "added"), self.own(state, "said")
        counts = said[rows]
        ledger[rows, counts] = added
        counts += 1
        said[rows] = np.where(outcome.turn_ended, 0, counts)
        credited = outcome.token_rewards
        if credited is not None:
            ended = np.flatnonzero(outcome.turn_ended).tolist()
            credited = [
                None if parts is None else parts + ledger[rows[place], : counts[place]]
                for parts, place in zip(credited, ended, strict=True)
            ]
        return outcome._replace(rewards=rewards, token_rewards=credited)


class FiniteTransform(Around, FiniteTask):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A finite task around another one, from whose declaration it makes its own; the exact solver takes it as any.

    A state is the inner task's, or where a subclass needs more a pair (inner state, own part): it then says so in
    `inner`, `initial` and `transitions`.

    Attributes:
        task: The task inside.
    """

    def __init__(self, task: FiniteTask) -> None:
        self.task: FiniteTask = task  # pyright: ignore[reportIncompatibleVariableOverride]
        self.vocabulary = task.vocabulary
        self.name = task.name
        self.family = task.family
        self.context = task.context
        self.turn_tokens = task.turn_tokens
        self.max_states = task.max_states
        self.isolates, self.mirrors, self.columns = task.isolates, task.mirrors, task.columns
        self.credit_weights = task.credit_weights

    @cached_property
    def max_length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner task's."""
        return self.task.max_length

    @cached_property
    def max_episode_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner task's."""
        return self.task.max_episode_tokens

    def inner(self, state: Any) -> Any:
        """Returns the inner task's part of a state."""
        return state

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's ways to start."""
        return [Initial(*entry) for entry in self.task.initial()]

    def outcomes_of(self, state: Any, action: int) -> Iterator[Transition]:
        """Yields the inner task's outcomes of a token in an inner state."""
        return (Transition(*outcome) for outcome in self.task.transitions(state, action))

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns what the inner task allows."""
        return self.task.legal(self.inner(state))

    def expert_action(self, state: Any) -> int | None:
        """Returns the inner task's expert token."""
        return self.task.expert_action(self.inner(state))

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does."""
        return self.task.render_tokens(tokens)

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return self.task.picture_of(None if state is None else self.inner(state), tokens)


def _depth(task: Task) -> int:
    return 1 + _depth(task.task) if isinstance(task, Transform) else 0
