"""Rewards in a guarded process: for reward functions that run, or may trip over, what an agent says."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..checking import TokenGymError
from ..sandbox import TROUBLES, Guard
from .functions import REWARDS, build_reward
from .rules import NamedRule
from .scorer import Logged, Scorer, TrainerState, name_of, reward_range, text_of


@dataclass(frozen=True)
class GuardedReward(NamedRule):
    """A reward function called in a process apart, once for each completion, with a time limit and no way to write.

    A completion on which the function takes too long, takes too much memory, ends the process or tries what is refused
    gets 0, and the columns `guard/time`, `guard/memory`, `guard/crash` and `guard/refused` log 1 for it and 0 for all
    others: their means are shares of the completions. What the function itself raises stops the step, as it does
    without a guard.
    """

    reward: Any
    """The reward function or its specification; a function of an importable module, as the process imports it."""
    seconds: float = 2.0
    """Computing time that one completion may take; by the clock three times that and a second more."""
    memory_mb: int = 1024
    """Megabytes that a call may take beside what the function had when it was loaded."""
    name: ClassVar[str] = "guarded"
    takes_text: ClassVar[bool] = False
    guard: Guard = field(init=False, repr=False, compare=False)
    _name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the reward here, too, for what is wrong with it to be told at the door, and set up its guard."""
        function = build_reward(self.reward)
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            raise TokenGymError(
                f"The reward function {name_of(function)!r} is async, and a guarded process lets nothing wait for a "
                "server: give it unguarded, or a plain function."
            )
        given = self.reward if isinstance(self.reward, (str, Mapping, list, tuple)) else function
        set_up = {
            "guard": Guard(_Row(given), seconds=self.seconds, memory_mb=self.memory_mb),
            "_name": name_of(function),
            # What the function asks for by name, with the limits of what it gives.
            "__signature__": _signature(function),
            "reward_range": _with_zero(reward_range(function)),
        }
        for name, value in set_up.items():
            object.__setattr__(self, name, value)

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: TrainerState | None = None,
        log_metric: Any = None,
        log_extra: Any = None,
        **columns: Any,
    ) -> list[Any]:
        """Give the function's value for each completion, which it sees alone, and 0 where it came to grief."""
        by_row = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids, **columns}
        by_row = {name: values for name, values in by_row.items() if values is not None}
        step = 0 if trainer_state is None else trainer_state.global_step
        size = len(next(iter(by_row.values()), []))
        calls = [(step, {name: [values[row]] for name, values in by_row.items()}) for row in range(size)]
        rewards: list[Any] = []
        logged: dict[str, list[Any]] = {f"guard/{trouble}": [0.0] * size for trouble in TROUBLES if trouble != "error"}
        for row, verdict in enumerate(self.guard.calls(calls)):
            if verdict.trouble == "error":
                said = "" if completions is None else f" (on the completion {text_of(completions[row])[:60]!r})"
                raise TokenGymError(f"The guarded reward function {self._name!r} raised {verdict.message}{said}.")
            if verdict.trouble is not None:
                logged[f"guard/{verdict.trouble}"][row] = 1.0
                rewards.append(0.0)
                continue
            value, metrics, extras = _parts(verdict.value)
            rewards.append(value)
            told = Logged()
            for name, number in metrics:
                told.metric(name, number)
            for name, values in extras:
                told.extra(name, values)
            for name, values in (told.columns(f"The guarded reward function {self._name!r}", 1) or {}).items():
                logged.setdefault(name, [None] * size)[row] = values[0]
        for name, values in logged.items() if log_extra else ():
            log_extra(name, values)
        return rewards

    def close(self) -> None:
        """End the process; the next completion starts another one."""
        self.guard.close()


REWARDS[GuardedReward.name] = GuardedReward


class _Row:
    """The reward function as the guarded process has it: built there from what was given, called for one completion."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def __call__(self, step: int, columns: dict[str, Any]) -> Any:
        """Nothing: only what comes out of the pipe is called."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return (_loaded, (self.given,))


class _LoadedRow:
    def __init__(self, given: Any) -> None:
        self.scorer = Scorer(build_reward(given))

    def __call__(self, step: int, columns: dict[str, Any]) -> tuple[Any, list[Any], list[Any]]:
        """Give the value, the metrics and the extra columns that the function gave for one completion."""
        return self.scorer.call_alone(step, columns)


def _loaded(given: Any) -> _LoadedRow:
    return _LoadedRow(given)


def _parts(value: Any) -> tuple[Any, list[Any], list[Any]]:
    """Read what came out of the process, which is not trusted."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[1], list) and isinstance(value[2], list):
        pairs = [*value[1], *value[2]]
        if all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            return value[0], value[1], value[2]
    return 0.0, [], []


def _with_zero(ends: tuple[float, float]) -> tuple[float, float]:
    return min(0.0, ends[0]), max(0.0, ends[1])


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return None
