"""Reward functions for text: the protocol, the registry of named rules, and the checked call.

A reward function scores every completion that finished in a step **in one call**:

    reward(prompts, completions, completion_ids, **columns) -> sequence of float | None

This is the signature that reward functions in the language-model ecosystem already have, so theirs work unchanged.
`None` abstains ("this prompt is not mine") and adds nothing. In place of a number a row may give one number a token of
its completion, including the end token: a per-token reward.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .errors import TokenGymError, unknown_name
from .reward_rules import ExactMatch, Keyword, Length, Regex, RepetitionPenalty


@runtime_checkable
class RewardFunction(Protocol):
    """What scores completions; any callable with this signature, with fewer of its arguments, or with `**kwargs`."""

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> Sequence[Any]:
        """Score m completions.

        Args:
            prompts: the m prompts, as text.
            completions: the m completions, as text without special tokens and without a stop string.
            completion_ids: the ids that were sampled, the end token included.
            **columns: the further columns of the prompt data, one list of m values each.

        Returns:
            m values: a finite float, None to abstain, or one finite float a token of the completion.
        """
        ...


class Scores(NamedTuple):
    """What a checked call gives for m completions."""

    rewards: np.ndarray
    """Float64 (m,): the reward of each completion; the sum of its per-token rewards where it has them."""
    token_rewards: list[np.ndarray | None] | None
    """One float64 (tokens,) array a completion, None where its reward is one number; None if no row has them."""
    abstained: np.ndarray
    """Bool (m,): the function gave None, which counts 0."""


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
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = name_of(function)
        self.reward_range = reward_range(function)
        self._state = TrainerState()
        self._metrics: dict[str, list[float]] = {}
        self._extras: dict[str, list[Any]] = {}
        self._accepted, self._required = _arguments(function)

    def __call__(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        columns: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Score m completions in one call.

        Raises:
            TokenGymError: if the function raises (the cause is kept), needs an argument that there is not, or gives the
                wrong number of values, a value that is no number, NaN or infinity, or a row of the wrong length.
        """
        given: dict[str, Any] = {
            "trainer_state": self._state,
            "log_metric": self._log_metric,
            "log_extra": self._log_extra,
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
        if self._accepted is not None:
            given = {name: value for name, value in given.items() if name in self._accepted}
        try:
            values = self.function(**given)
        except TokenGymError:
            raise
        except Exception as error:
            raise TokenGymError(
                f"The reward function {self.name!r} raised {type(error).__name__}: {error} "
                f"(on {len(completions)} completions, the first {_short(completions[0])})."
            ) from error
        self._state.global_step += 1
        return self._check(values, completions, completion_ids)

    def take_metrics(self) -> dict[str, float]:
        """Give the mean of each metric that the function logged since the last call, and forget them."""
        means = {name: float(np.mean(values)) for name, values in self._metrics.items()}
        self._metrics.clear()
        return means

    def take_extras(self) -> dict[str, list[Any]]:
        """Give the columns that the function logged with `log_extra` since the last call, and forget them."""
        extras, self._extras = self._extras, {}
        return extras

    def _log_metric(self, name: str, value: float) -> None:
        self._metrics.setdefault(name, []).append(float(value))

    def _log_extra(self, column: str, values: Sequence[Any]) -> None:
        self._extras.setdefault(column, []).extend(values)

    def _check(self, values: Any, completions: list[str], completion_ids: list[list[int]]) -> Scores:
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

    def _number(self, value: Any, row: int, completion: str) -> float:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (bool, int, float)) and math.isfinite(value):
            return float(value)
        raise TokenGymError(
            f"The reward function {self.name!r} gave {_short(value)} for row {row} (completion {_short(completion)}); "
            f"expected a finite number or None."
        )


@dataclass(frozen=True)
class WeightedSum:
    """The sum of rewards, each times its weight; a term that abstains adds nothing, and if all abstain so does the sum.

    A per-token term makes the sum per-token, and the other terms then pay at the last token.
    """

    terms: tuple[tuple[float, Callable[..., Any]], ...]
    """Pairs of weight and reward function; in JSON a list of `{"weight": 1.0, "reward": ...}`."""
    scorers: tuple[Scorer, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the terms and check the weights."""
        terms = tuple(_term(term) for term in self.terms)
        if not terms:
            raise TokenGymError("A weighted_sum needs at least one term, got none.")
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "scorers", tuple(Scorer(function) for _, function in terms))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible sum."""
        ends = [[weight * end for end in reward_range(function)] for weight, function in self.terms if weight]
        return sum(min(pair) for pair in ends), sum(max(pair) for pair in ends)

    def __call__(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any
    ) -> list[Any]:
        """Give the weighted sum of each row's terms."""
        total = np.zeros(len(completions))
        abstained = np.ones(len(completions), dtype=bool)
        tokens: dict[int, np.ndarray] = {}
        for (weight, _), scorer in zip(self.terms, self.scorers, strict=True):
            scores = scorer(prompts, completions, completion_ids, columns)
            abstained &= scores.abstained
            for row in range(len(completions)):
                spread = None if scores.token_rewards is None else scores.token_rewards[row]
                if spread is None:
                    total[row] += weight * scores.rewards[row]
                else:
                    tokens[row] = tokens.get(row, 0.0) + weight * spread
        rewards: list[Any] = [None if none else float(value) for none, value in zip(abstained, total, strict=True)]
        for row, spread in tokens.items():
            spread[-1] += total[row]
            rewards[row] = spread.tolist()
        return rewards


REWARDS: dict[str, Callable[..., Any]] = {
    "keyword": Keyword,
    "length": Length,
    "regex": Regex,
    "exact_match": ExactMatch,
    "repetition_penalty": RepetitionPenalty,
    "weighted_sum": WeightedSum,
}
"""The named rules: name to class, whose fields are the parameters."""


def build_reward(spec: Any) -> Callable[..., Any]:
    """Give the reward function that a specification names.

    Args:
        spec: one of

            - `{"name": "keyword", "words": ["sea"]}`: a named rule and its parameters;
            - `"module:callable"`: an importable reward function, imported now. This runs code of that module, so a
              specification is as trusted as a program: build none from a stranger's file;
            - `{"entry_point": "module:callable", "kwargs": {...}}`: the same, where the callable is called with the
              kwargs and what it returns is the reward function (a learned reward model with its weights, say);
            - a list of these: their plain sum;
            - a callable, given back as it is.

    Raises:
        TokenGymError: for an unknown rule or parameter, a bad value, or an entry point that cannot be loaded.
    """
    if callable(spec):
        if inspect.iscoroutinefunction(spec):
            raise TokenGymError(f"The reward function {name_of(spec)!r} is a coroutine; give a plain function.")
        return spec
    if isinstance(spec, str):
        return _load(spec) if ":" in spec else build_reward({"name": spec})
    if isinstance(spec, Mapping):
        if "entry_point" in spec:
            return _build_entry_point(spec)
        return _build_rule(spec)
    if isinstance(spec, (list, tuple)):
        return WeightedSum(tuple((1.0, build_reward(term)) for term in spec))
    raise TokenGymError(
        f"Expected a reward specification such as {{'name': 'keyword', 'words': ['sea']}}, 'module:callable' or a "
        f"callable, got {type(spec).__name__}: {spec!r}."
    )


def reward_range(function: Callable[..., Any]) -> tuple[float, float]:
    """Give the lowest and highest reward that a function declares, or minus and plus infinity."""
    low, high = getattr(function, "reward_range", (-math.inf, math.inf))
    return float(low), float(high)


def name_of(function: Callable[..., Any]) -> str:
    """Give the name that errors use for a reward function: the rule's, the function's or the class's."""
    for name, rule in REWARDS.items():
        if type(function) is rule:
            return name
    return getattr(function, "__name__", type(function).__name__)


def _build_rule(spec: Mapping[str, Any]) -> Callable[..., Any]:
    parameters = dict(spec)
    name = parameters.pop("name", None)
    if name not in REWARDS:
        raise unknown_name("reward rule", str(name), tuple(REWARDS))
    rule: Any = REWARDS[name]
    known = [item.name for item in fields(rule) if item.init]
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of reward rule {name!r}", parameter, known)
    try:
        return rule(**parameters)
    except TypeError as error:
        raise TokenGymError(f"The reward rule {name!r} cannot be built from {parameters!r}: {error}.") from error


def _term(term: Any) -> tuple[float, Callable[..., Any]]:
    if isinstance(term, Mapping):
        for key in term:
            if key not in ("weight", "reward"):
                raise unknown_name("key of a weighted_sum term", key, ("weight", "reward"))
        if "reward" not in term:
            raise TokenGymError(f"A term of a weighted_sum is {{'weight': 1.0, 'reward': ...}}, got {dict(term)!r}.")
        weight, function = term.get("weight", 1.0), term["reward"]
    elif isinstance(term, (list, tuple)) and len(term) == 2:
        weight, function = term
    else:
        raise TokenGymError(f"A term of a weighted_sum is {{'weight': 1.0, 'reward': ...}}, got {term!r}.")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise TokenGymError(f"A weight of a weighted_sum must be a finite number, got {weight!r}.")
    return float(weight), build_reward(function)


def _build_entry_point(spec: Mapping[str, Any]) -> Callable[..., Any]:
    for key in spec:
        if key not in ("entry_point", "kwargs"):
            raise unknown_name("key of a reward entry point", key, ("entry_point", "kwargs"))
    target = _load(spec["entry_point"])
    if "kwargs" not in spec:
        return target
    function = target(**spec["kwargs"])
    if not callable(function):
        raise TokenGymError(
            f"The reward entry point {spec['entry_point']!r}, called with its kwargs, must give a reward function, "
            f"got {type(function).__name__}."
        )
    return function


def _load(entry_point: Any) -> Callable[..., Any]:
    module, _, attribute = str(entry_point).partition(":")
    try:
        target: Any = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise TokenGymError(
            f"The reward entry point {entry_point!r} cannot be loaded: {error}. Expected 'module:callable', "
            f"importable from here."
        ) from error
    if not callable(target):
        raise TokenGymError(f"The reward entry point {entry_point!r} is a {type(target).__name__}, not a callable.")
    return target


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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
