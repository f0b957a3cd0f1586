"""The checked call of a reward function: what it is given, and what it may give back."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checking import TokenGymError
from ..columns import Columns, as_column
from .awaiting import await_all


class Scores(NamedTuple):
    """What a checked call gives for m completions."""

    rewards: np.ndarray
    """Float64 (m,): the reward of each completion; the sum of its per-token rewards where it has them."""
    token_rewards: list[np.ndarray | None] | None
    """One float64 (tokens,) array a completion, None where its reward is one number; None if no row has them."""
    abstained: np.ndarray
    """Bool (m,): the function gave None, which counts 0."""
    columns: Columns | None = None
    """What the function logged, by name one column (m,) each; see `Logged`."""


class Logged:
    """What a reward function logs in one call: the `log_metric` and `log_extra` that it is given."""

    def __init__(self) -> None:
        self._metrics: dict[str, list[float]] = {}
        self._extras: dict[str, list[Any]] = {}

    def metric(self, name: str, value: float) -> None:
        """Takes a number that holds for the whole call; of several of one name, their mean counts."""
        self._metrics.setdefault(name, []).append(float(value))

    def extra(self, column: str, values: Sequence[Any]) -> None:
        """Takes one value a completion, at once or in pieces: numbers, texts, None for nothing."""
        as_list: Any = getattr(values, "tolist", lambda: values)  # of an array or a tensor
        self._extras.setdefault(column, []).extend(as_list())

    def columns(self, who: str, size: int) -> Columns | None:
        """Gives the columns of a call for so many completions; a metric stands in every row of its own.

        Raises:
            TokenGymError: If an extra has another number of values, or a name is taken.
        """
        found = {name: as_column(who, name, [float(np.mean(told))] * size) for name, told in self._metrics.items()}
        for name, values in self._extras.items():
            if len(values) != size:
                raise TokenGymError(
                    f"{who} logged {len(values)} values as {name!r} for {size} completions; log_extra takes one a "
                    "completion, None for nothing"
                )
            found[name] = as_column(who, name, values)
        return found or None


@dataclass
class TrainerState:
    """What a reward function that asks for `trainer_state` gets: an environment knows how often it scored, no more."""

    global_step: int = 0
    """Batches scored before this one."""
    max_steps: int = 0
    """Always 0: an environment does not know for how long it will be used."""
    epoch: float = 0.0
    """Always 0, for the same reason."""


class Scorer:
    """Calls a reward function once for a batch and checks what comes back.

    The function gets what it asks for: the three standard arguments, the columns, and `trainer_state`, `log_metric`,
    `log_extra`, which functions written for other trainers may expect; with `**kwargs` it gets everything.

    Attributes:
        function: the reward function.
        name: how errors call it.
        reward_range: lowest and highest reward, the function's own `reward_range` or unbounded.
        takes_prompt_ids: whether the function names `prompt_ids` as an argument, the ids shown before the completion.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = name_of(function)
        self.reward_range = reward_range(function)
        self._state = TrainerState()
        self._logged = Logged()
        self._accepted, self._required = _arguments(function)
        asks = getattr(function, "takes_prompt_ids", None)
        self.takes_prompt_ids: bool = "prompt_ids" in _named(function) if asks is None else asks

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: list[list[int]],
        columns: Mapping[str, Any] | None = None,
        prompt_ids: list[list[int]] | None = None,
    ) -> Scores:
        """Score m completions, texts or lists of messages, in one call. What is async is awaited.

        Raises:
            TokenGymError: if the function raises (the cause is kept), needs an argument that there is not, or gives the
                wrong number of values, a value that is no number, NaN or infinity, or a row of the wrong length.
        """
        value = self.begin(prompts, completions, completion_ids, columns, prompt_ids)
        if inspect.isawaitable(value):
            (value,) = await_all([value])
        return self.finish(value, completions, completion_ids)

    def begin(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: list[list[int]],
        columns: Mapping[str, Any] | None = None,
        prompt_ids: list[list[int]] | None = None,
    ) -> Any:
        """Call the function, and give what it returned, unchecked: where the function is async, an awaitable.

        The ids that were shown before the completion go to those alone that ask for them by name.

        Raises:
            TokenGymError: If the function raises, or needs an argument that there is not.
        """
        self._logged = Logged()
        given: dict[str, Any] = {
            "trainer_state": self._state,
            "log_metric": self._logged.metric,
            "log_extra": self._logged.extra,
            **({"prompt_ids": prompt_ids} if self.takes_prompt_ids and prompt_ids is not None else {}),
            **(columns or {}),
            "prompts": prompts,
            "completions": completions,
            "completion_ids": completion_ids,
        }
        missing = sorted(self._required - given.keys())
        if missing:
            raise TokenGymError(
                f"The reward function {self.name!r} needs {', '.join(missing)}, but the prompts have only the columns "
                f"{sorted(columns or {})}; add the column to each prompt or give the argument a default."
            )
        try:
            return self.function(**self._arguments(given))
        except TokenGymError:
            raise
        except Exception as error:
            raise self._failure(error, completions) from error

    def finish(self, value: Any, completions: Sequence[Any], completion_ids: list[list[int]]) -> Scores:
        """Check what the function returned, or what awaiting it gave: an exception, where it raised.

        Raises:
            TokenGymError: As in the call.
        """
        if isinstance(value, Exception):
            if isinstance(value, TokenGymError):
                raise value
            raise self._failure(value, completions) from value
        if isinstance(value, BaseException):
            raise value
        self._state.global_step += 1
        scores = self._check(value, completions, completion_ids)
        return scores._replace(columns=self._logged.columns(f"The reward function {self.name!r}", len(completions)))

    def _arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give what the function takes of what there is; to a rule of texts, messages as their text."""
        if getattr(self.function, "takes_text", False):
            texts = {name: [text_of(said) for said in given[name]] for name in ("prompts", "completions")}
            given = {**given, **texts}
        if self._accepted is None:
            return given
        return {name: value for name, value in given.items() if name in self._accepted}

    def _failure(self, error: Exception, completions: Sequence[Any]) -> TokenGymError:
        hint = ""
        if isinstance(error, TypeError) and completions and isinstance(completions[0], str):
            hint = " Without a chat template, prompts and completions are strings; with one, lists of messages."
        elif completions and not isinstance(completions[0], str):
            hint = " With a chat template, prompts and completions are lists of messages: completions[0][0]['content']."
        return TokenGymError(
            f"The reward function {self.name!r} raised {type(error).__name__}: {error} "
            f"(on {len(completions)} completions, the first {_short(completions[0])}).{hint}"
        )

    def call_alone(self, step: int, columns: Mapping[str, list[Any]]) -> tuple[Any, list[Any], list[Any]]:
        """Call the function for one completion, unchecked: in a guarded process, whose owner checks.

        Args:
            step: The `global_step` that it is told.
            columns: All arguments of the row, each a list of one.

        Returns:
            Its value, and the metrics and the extra columns that it logged, as pairs of a name and what it logged.
        """
        metrics: list[Any] = []
        extras: list[Any] = []
        given: dict[str, Any] = {
            "trainer_state": TrainerState(step),
            "log_metric": lambda name, value: metrics.append((name, float(value))),
            "log_extra": lambda column, values: extras.append((column, list(values))),
            **columns,
        }
        values = self.function(**self._arguments(given))
        if inspect.isawaitable(values):
            (values,) = await_all([values])
            if isinstance(values, BaseException):
                raise values
        values = values.tolist() if hasattr(values, "tolist") else values
        if not isinstance(values, (list, tuple)) or len(values) != 1:
            raise TokenGymError(f"it must give a list of one reward for one completion, got {_short(values)}")
        value = values[0]
        return (value.tolist() if hasattr(value, "tolist") else value), metrics, extras

    def close(self) -> None:
        """Close what the function holds, such as a guarded reward's process, if it has a `close`."""
        close = getattr(self.function, "close", None)
        if callable(close):
            close()

    def _check(self, values: Any, completions: Sequence[Any], completion_ids: list[list[int]]) -> Scores:
        if hasattr(values, "tolist"):  # a numpy array or a tensor
            values = values.tolist()
        if not isinstance(values, (list, tuple)):
            raise TokenGymError(
                f"The reward function {self.name!r} must give a list of {len(completions)} rewards, one a completion, "
                f"got {type(values).__name__}: {_short(values)}."
            )
        if len(values) != len(completions):
            raise TokenGymError(
                f"The reward function {self.name!r} gave {len(values)} rewards for {len(completions)} completions; "
                f"it must give exactly one a completion, None to abstain."
            )
        if set(map(type, values)) == {float}:  # the usual case, looked at in one go
            given = np.array(values)
            if np.isfinite(given).all():
                return Scores(given, None, np.zeros(len(values), np.bool_))
        rewards = np.zeros(len(values))
        spread: list[np.ndarray | None] = [None] * len(values)
        for row, value in enumerate(values):
            if hasattr(value, "tolist"):
                value = value.tolist()
            if value is None:
                continue
            if isinstance(value, (list, tuple)):
                if len(value) != len(completion_ids[row]):
                    raise TokenGymError(
                        f"The reward function {self.name!r} gave {len(value)} values for row {row}, whose completion "
                        f"has {len(completion_ids[row])} tokens; give one number, or one number a token."
                    )
                parts = [self._number(item, row, completions[row]) for item in value]
                spread[row] = np.array(parts)
                rewards[row] = math.fsum(parts)
            else:
                rewards[row] = self._number(value, row, completions[row])
        any_spread = any(item is not None for item in spread)
        return Scores(
            rewards, spread if any_spread else None, np.array([value is None for value in values], dtype=bool)
        )

    def _number(self, value: Any, row: int, completion: Any) -> float:
        if hasattr(value, "tolist"):
            value = value.tolist()
        try:
            if isinstance(value, (bool, int, float)) and math.isfinite(value):
                return float(value)
        except OverflowError:  # an integer beyond the largest float
            pass
        raise TokenGymError(
            f"The reward function {self.name!r} gave {_short(value)} for row {row} (completion {_short(completion)}); "
            f"expected a finite number or None."
        )


def reward_range(function: Callable[..., Any]) -> tuple[float, float]:
    """Give the lowest and highest reward that a function declares, or minus and plus infinity."""
    low, high = getattr(function, "reward_range", (-math.inf, math.inf))
    return float(low), float(high)


def text_of(said: Any) -> str:
    """Give the text of what was said: of messages that of the last one."""
    return said if isinstance(said, str) else said[-1]["content"]


def name_of(function: Callable[..., Any]) -> str:
    """Give the name that errors use for a reward function: the function's own or its class's."""
    return getattr(function, "__name__", type(function).__name__)


def _arguments(function: Callable[..., Any]) -> tuple[set[str] | None, set[str]]:
    """Give the argument names that a function takes (None: any) and those that it cannot do without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return None, set()
    named = [item for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    required = {item.name for item in named if item.default is item.empty}
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters)
    return (None if takes_any else {item.name for item in named}), required


def _named(function: Callable[..., Any]) -> set[str]:
    """Give the arguments that a function names."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
