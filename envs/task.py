"""What a task is: everything outside the agent, for a batch of rows.

A task shows a prompt, replies to every finished turn, pays rewards and says when the episode ends. It holds no
episode itself: the state of all rows is a dictionary of arrays that `make_state` creates and the engine keeps, so that
one task object can serve any number of engines.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .branching import copy_arrays, reseed_arrays
from .checking import TokenGymError, positive_int
from .columns import How, check_declared, only_columns
from .describing import Made, noting
from .drawing import Picture
from .outcomes import Outcome, Reply, RowOutcome, Rows, State
from .random import CounterRandom
from .saved_state import Limits, check_arrays
from .vocabulary import Vocabulary

_MOST_LENGTH = 1_000_000


def _definers(cls: type, name: str) -> list[int]:
    """Returns which classes of a class's order of resolution define a name, the nearest first."""
    return [place for place, base in enumerate(cls.__mro__) if name in vars(base)]


class Task(ABC):
    """A token-level task for a batch of rows.

    Write a `FiniteTask` for what can be enumerated, a `TokenTask` for token ids in arrays, a `TextTask` for strings;
    subclass `Task` itself only for what fits none of them. The attributes are class attributes or set by `__init__`.

    Attributes:
        vocabulary: The tokens.
        name: The task's name, as in `tokengym/<name>-v0`.
        family: The family that it is listed under.
        context: `"episode"` where the observation is everything said so far, `"turn"` where it is only the task's last
            reply and the agent's tokens since.
        max_length: The context window (L): the most tokens that an observation can have.
        max_turn_tokens: The most tokens of the agent's in a turn.
        max_episode_tokens: The most tokens of the agent's in an episode.
        reward_range: Lowest and highest reward of a token.
        deterministic: Whether an action has only one outcome (noise in the reward apart).
        finite: Whether the task is a `FiniteTask` under all its transforms, which the exact solver can take.
        can_save_state: Whether `save` and `restore` work.
        has_action_mask: Whether `action_mask` ever forbids anything.
        random_return: Mean return of uniformly random actions, where known without solving.
        optimal_return: Highest mean return, where known without solving.
        isolates: The one ability that it asks for, a few words for the table of the suite.
        mirrors: The benchmark or the problem outside that it is modelled on, a few words.
        columns: How what the task reports beside the reward (`Outcome.columns`) is summed up in logs and evaluations,
            by name: `"mean"` over all that was reported, `"sum"` over an episode and then the mean over episodes, as a
            return is. What is reported and not declared here is a mean.
        spec: What makes the task again, `make_task(spec["id"], **spec["kwargs"])`; None if `make_task` did not make it.
            Its arguments are JSON data; `specification.missing_arguments` names those that JSON cannot hold.
        entry_point_arguments: The arguments that take the name `"module:callable"` in place of a callable.
        single_ways: Methods for batches of rows, and what does the same for one row in plain Python. Where a subclass
            overrides the former alone, the latter goes through it.
    """

    vocabulary: Vocabulary
    name: str = "Task"
    family: str = "custom"
    context: Literal["episode", "turn"] = "episode"
    max_length: int
    max_turn_tokens: int = 1
    max_episode_tokens: int
    reward_range: tuple[float, float] = (-np.inf, np.inf)
    deterministic: bool = False
    finite: bool = False
    can_save_state: bool = True
    has_action_mask: bool = False
    random_return: float | None = None
    optimal_return: float | None = None
    isolates: str = ""
    mirrors: str = ""
    columns: Mapping[str, How] = {}
    spec: dict[str, Any] | None = None
    entry_point_arguments: ClassVar[tuple[str, ...]] = ()
    single_ways: ClassVar[dict[str, str]] = {"start": "start_row", "advance": "advance_row"}
    _made: Made = Made.of((), {})

    def __init_subclass__(cls, **options: Any) -> None:
        """Has the class's constructor note what it is given, in words, for the `repr`."""
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = noting(cls.__init__)
        for batched, single in cls.single_ways.items():
            # One that was overridden for batches only is not to be bypassed: the first of all goes through it.
            if _definers(cls, batched)[0] < _definers(cls, single)[0]:
                setattr(cls, single, vars(cls.__mro__[_definers(cls, single)[-1]])[single])

    def __repr__(self) -> str:
        """Returns the class and the arguments that differ from its defaults."""
        return self._made.text(type(self))

    @property
    def unwrapped(self) -> Task:
        """The task under all transforms; for a task without any, itself."""
        return self

    @abstractmethod
    def make_state(self, num_rows: int) -> State:
        """Returns the arrays that hold the state of `num_rows` rows, before any episode."""

    @abstractmethod
    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins an episode in each of `rows`.

        Args:
            state: The state of all rows, to be changed in place.
            rows: The rows, shape (m,).
            random: The rows' random streams, freshly begun from the episodes' starts.

        Returns:
            What is shown first, after the `bos` token that begins every observation.
        """

    @abstractmethod
    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in each of `rows`.

        Args:
            state: The state of all rows, to be changed in place.
            rows: The rows, shape (m,), whose episodes are under way.
            actions: Token ids in 0 … A − 1, shape (m,).
            random: The rows' random streams.

        Returns:
            Rewards, ends and replies, in fresh arrays: they are handed on to the caller.
        """

    def start_row(self, state: State, row: int, random: CounterRandom) -> Sequence[int] | npt.NDArray[np.integer]:
        """Begins an episode in one row, as `start` does, and returns the ids that are shown after `bos`."""
        reply = self.start(state, np.array([row]), random)
        return reply.tokens[0, : int(reply.counts[0])]

    def advance_row(self, state: State, row: int, action: int, random: CounterRandom) -> RowOutcome:
        """Says one token in one row, as `advance` does: a single environment takes this way.

        A task that knows a way without arrays of one number overrides it; what it does must be the same to the bit.
        """
        outcome = self.advance(state, np.array([row]), np.array([action]), random)
        reply, credited, truncated = outcome.reply, outcome.token_rewards, outcome.truncated
        return RowOutcome(
            reward=float(outcome.rewards[0]),
            terminated=bool(outcome.terminated[0]),
            turn_ended=bool(outcome.turn_ended[0]),
            reply=() if reply is None else reply.tokens[0, : int(reply.counts[0])],
            token_rewards=credited[0] if credited else None,
            truncated=truncated is not None and bool(truncated[0]),
            columns=None if outcome.columns is None else only_columns(f"task {self.name}", outcome.columns),
        )

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which tokens each row may say next: bool of shape (m, A), a fresh array. By default, all."""
        return np.ones((len(rows), self.vocabulary.num_actions), np.bool_)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns good next tokens, shape (m,), or None where the task knows none (the default)."""
        return None

    def save(self, state: State, row: int) -> dict[str, Any]:
        """Returns a copy of one row's state, from which `restore` can continue the episode."""
        return {key: copy.deepcopy(array[row]) for key, array in state.items()}

    def restore(self, state: State, row: int, saved: dict[str, Any]) -> None:
        """Puts one row back to what `save` returned."""
        for key, value in saved.items():
            state[key][row] = copy.deepcopy(value)

    def fork(self, state: State, sources: Rows, targets: Rows) -> None:
        """Copies rows to other rows, so that the copies go on as the originals would, and apart from them.

        By default the arrays are copied at once, and objects one by one by `copy.deepcopy`; where a subclass has a
        `save` and `restore` of its own, by them.

        Args:
            state: The state of all rows, to be changed in place.
            sources: The rows to copy, shape (m,), which may repeat.
            targets: The rows that become copies, shape (m,), none of which is a source.
        """
        if type(self).save is Task.save and type(self).restore is Task.restore:
            copy_arrays(self.name, state, sources, targets)
        else:
            self.fork_by_saving(state, sources, targets)

    def fork_by_saving(self, state: State, sources: Rows, targets: Rows) -> None:
        """Copies rows to other rows one by one, by `save` and `restore`; the arguments are those of `fork`."""
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            self.restore(state, target, self.save(state, source))

    def reseed(self, state: State, rows: Rows, random: CounterRandom) -> None:
        """Lets the generators that rows hold in their state draw from fresh streams; what was drawn stays.

        By default those of NumPy's and Python's that objects in the state hold, however deep. A task that draws from
        `random` alone holds none.

        Args:
            state: The state of all rows, to be changed in place.
            rows: The rows, shape (m,).
            random: The rows' random streams, freshly begun.
        """
        reseed_arrays(self.name, state, rows, random)

    def check_saved(self, state: State, saved: Any, over: bool) -> None:
        """Raises `TokenGymError` where `restore` would be given what is no state of this task; changes nothing.

        Args:
            state: The state of all rows.
            saved: What was given in the place of what `save` returned.
            over: Whether the row is to have no episode under way.
        """
        if type(self).save is Task.save:  # a format of a subclass's own is the subclass's to check
            check_arrays(self.name, saved, state, self.state_limits(over))

    def state_limits(self, over: bool) -> Limits:
        """Returns the lowest and the highest value of the state's arrays of integers, as far as they are known.

        Args:
            over: Whether it is asked for a row without an episode under way.
        """
        return {}

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Returns an observation's tokens, shape (length,), as text for people."""
        return self.vocabulary.render(tokens.tolist())

    def legend(self, tokens: npt.NDArray[np.integer]) -> list[str]:
        """Returns what an observation's tokens stand for, for people, where their names do not tell; [] by default.

        Args:
            tokens: The observation, `bos` included, shape (length,).

        Returns:
            One line on what is seen, and where there is something to tell one on what is to be said next.
        """
        return []

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Returns one row's board or grid for people, or None where there is nothing to draw (the default).

        Args:
            state: The state of all rows, not to be changed.
            row: The row.
            tokens: The row's observation, `bos` included, shape (length,).
        """
        return None

    def frame(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8] | None:
        """Returns one row in pixels, or None where there is nothing to draw; by default, `picture` drawn.

        Args:
            state: The state of all rows, not to be changed.
            row: The row.
            tokens: The row's observation, `bos` included, shape (length,).

        Returns:
            uint8 of shape (height, width, 3), of one size throughout.
        """
        picture = self.picture(state, row, tokens)
        return None if picture is None else picture.to_rgb()

    def close(self) -> None:  # noqa: B027 - most tasks hold nothing
        """Lets go of what the task holds outside, such as a process; what is needed again is begun again.

        An environment calls it when it is closed, and others may go on with the same task.
        """

    def check(self) -> None:
        """Raises `TokenGymError` if the task's attributes do not fit together. An engine calls it once."""
        if not isinstance(getattr(self, "vocabulary", None), Vocabulary):
            raise TokenGymError(f"task {self.name}: `vocabulary` must be set to a Vocabulary")
        if self.context not in ("episode", "turn"):
            raise TokenGymError(f"task {self.name}: context={self.context!r} must be 'episode' or 'turn'")
        for attribute in ("max_length", "max_turn_tokens", "max_episode_tokens"):
            positive_int(f"task {self.name}: {attribute}", getattr(self, attribute, None))
        check_declared(f"task {self.name}", self.columns)
        if self.max_length < 2:
            raise TokenGymError(f"task {self.name}: max_length={self.max_length} leaves no room for a token after bos")
        if self.max_length > _MOST_LENGTH:
            raise TokenGymError(
                f"task {self.name}: max_length={self.max_length} is more than the {_MOST_LENGTH} tokens "
                "for which a row keeps room: shorten the prompts, the turns or their number"
            )
