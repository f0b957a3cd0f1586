"""Reward functions for text: the protocol, the named rules, and reward functions from specifications.

A reward function scores every completion that finished in a step **in one call**:

    reward(prompts, completions, completion_ids, **columns) -> sequence of float | None

This is the signature that reward functions in the language-model ecosystem already have, so theirs work unchanged, also
those that are `async`.
`None` abstains ("this prompt is not mine") and adds nothing. In place of a number a row may give one number a token of
its completion, including the end token: a per-token reward.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np

from ..checking import TokenGymError, call_entry_point, load_entry_point, unknown_name
from ..text import TextWriter
from .awaiting import await_all, drop
from .learned import LearnedReward
from .rules import ExactMatch, Keyword, Length, Lexicon, NamedRule, Regex, RepetitionPenalty
from .scorer import Scorer, Scores, name_of, reward_range


@runtime_checkable
class RewardFunction(Protocol):
    """What scores completions; any callable with this signature, with fewer of its arguments, or with `**kwargs`."""

    def __call__(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
    ) -> Sequence[Any]:
        """Score m completions.

        Args:
            prompts: the m prompts, as text; with a chat template, as lists of messages.
            completions: the m completions, as text without special tokens and without a stop string; with a chat
                template, as lists of one message of the assistant's.
            completion_ids: the ids that were sampled, the end token included.
            **columns: the further columns of the prompt data, one list of m values each.

        Returns:
            m values: a finite float, None to abstain, or one finite float a token of the completion.
        """
        ...


@dataclass(frozen=True)
class WeightedSum(NamedRule):
    """The sum of rewards, each times its weight; a term that abstains adds nothing, and if all abstain so does the sum.

    A per-token term makes the sum per-token, and the other terms then pay at the last token. What each term gave,
    before its weight, is logged as `reward/<its name>`, beside what the terms log themselves.
    """

    terms: tuple[tuple[float, Callable[..., Any]], ...]
    """Pairs of weight and reward function; in JSON a list of `{"weight": 1.0, "reward": ...}`."""
    name: ClassVar[str] = "weighted_sum"
    takes_text: ClassVar[bool] = False
    scorers: tuple[Scorer, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the terms and check the weights."""
        terms = tuple(_term(term) for term in self.terms)
        if not terms:
            raise TokenGymError("A weighted_sum needs at least one term, got none.")
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "scorers", tuple(Scorer(function) for _, function in terms))

    def to_spec(self) -> dict[str, Any]:
        """Give the specification; terms that are no rules are in it as the functions that they are."""
        return {"name": self.name, "terms": [{"weight": weight, "reward": term} for weight, term in self.terms]}

    def under(self, writer: TextWriter) -> WeightedSum:
        """Give the same sum for completions under a tokenizer."""
        return WeightedSum(tuple((weight, read_under(term, writer)) for weight, term in self.terms))

    @property
    def takes_prompt_ids(self) -> bool:
        """Whether a term asks for the ids that were shown before the completion."""
        return any(scorer.takes_prompt_ids for scorer in self.scorers)

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible sum."""
        ends = [[weight * end for end in reward_range(function)] for weight, function in self.terms if weight]
        return sum(min(pair) for pair in ends), sum(max(pair) for pair in ends)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What the terms are called in logs, each otherwise."""
        found: list[str] = []
        for _, function in self.terms:
            name = label = function.name if isinstance(function, NamedRule) else name_of(function)
            while label in found:
                label = f"{name}_{sum(taken.startswith(name) for taken in found) + 1}"
            found.append(label)
        return tuple(found)

    def __call__(
        self,
        prompts: list[str],
        completions: list[str],
        completion_ids: list[list[int]],
        trainer_state: Any = None,
        log_metric: Any = None,
        log_extra: Any = None,
        prompt_ids: Any = None,
        **columns: Any,
    ) -> list[Any]:
        """Give the weighted sum of each row's terms, and log the terms; they are told of a state of their own."""
        total = np.zeros(len(completions))
        abstained = np.ones(len(completions), dtype=bool)
        tokens: dict[int, np.ndarray] = {}
        given = self._scores(prompts, completions, completion_ids, columns, prompt_ids)
        if log_extra is not None:
            for name, values in self._columns(given).items():
                log_extra(name, values)
        for (weight, _), scores in zip(self.terms, given, strict=True):
            abstained &= scores.abstained
            if scores.token_rewards is None:
                total += weight * scores.rewards
                continue
            for row, spread in enumerate(scores.token_rewards):
                if spread is None:
                    total[row] += weight * scores.rewards[row]
                else:
                    tokens[row] = tokens.get(row, 0.0) + weight * spread
        rewards: list[Any] = [
            None if none else value for none, value in zip(abstained.tolist(), total.tolist(), strict=True)
        ]
        for row, spread in tokens.items():
            spread[-1] += total[row]
            rewards[row] = spread.tolist()
        return rewards

    def _columns(self, given: Sequence[Scores]) -> dict[str, np.ndarray]:
        """Give what each term gave and logged; of numbers that several log under one name, the sum."""
        found: dict[str, np.ndarray] = {}
        for label, scores in zip(self.labels, given, strict=True):
            found[f"reward/{label}"] = np.where(scores.abstained, np.nan, scores.rewards)
            for name, values in (scores.columns or {}).items():
                held = found.get(name)
                if held is not None and held.dtype.kind == values.dtype.kind == "f":
                    values = np.where(np.isnan(values), held, np.where(np.isnan(held), values, held + values))
                found[name] = values
        return found

    def close(self) -> None:
        """Close the terms that can be closed."""
        for scorer in self.scorers:
            scorer.close()

    def _scores(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: list[list[int]],
        columns: Any,
        prompt_ids: Any,
    ) -> list[Scores]:
        """Call every term, and await together those that are async."""
        values: list[Any] = []
        try:
            for scorer in self.scorers:
                values.append(scorer.begin(prompts, completions, completion_ids, columns, prompt_ids))
        except BaseException:
            drop(values)
            raise
        waiting = [place for place, value in enumerate(values) if inspect.isawaitable(value)]
        for place, value in zip(waiting, await_all([values[place] for place in waiting]), strict=True):
            values[place] = value
        pairs = zip(self.scorers, values, strict=True)
        return [scorer.finish(value, completions, completion_ids) for scorer, value in pairs]


REWARDS: dict[str, Callable[..., Any]] = {
    rule.name: rule
    for rule in (Keyword, Lexicon, Length, Regex, ExactMatch, RepetitionPenalty, LearnedReward, WeightedSum)
}
"""The named rules: name to class, whose fields are the parameters. `GuardedReward` adds itself."""


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
        return spec
    if isinstance(spec, str):
        return load_entry_point("reward", spec) if ":" in spec else build_reward({"name": spec})
    if isinstance(spec, Mapping):
        if "entry_point" in spec:
            return call_entry_point("reward", spec)
        return _build_rule(spec)
    if isinstance(spec, (list, tuple)):
        return WeightedSum(tuple((1.0, build_reward(term)) for term in spec))
    raise TokenGymError(
        f"Expected a reward specification such as {{'name': 'keyword', 'words': ['sea']}}, 'module:callable' or a "
        f"callable, got {type(spec).__name__}: {spec!r}."
    )


def reward_of_functions(functions: Any, weights: Any = None) -> Any:
    """Give the specification of several reward functions and their weights, in the terms of other trainers.

    Args:
        functions: A reward function or its specification, or a list of them.
        weights: None for 1 each, or a finite number for each function.

    Raises:
        TokenGymError: For no function, or another number of weights than of functions.
    """
    listed = list(functions) if isinstance(functions, (list, tuple)) else [functions]
    numbers = [1.0] * len(listed) if weights is None else weights
    if not isinstance(numbers, (list, tuple)) and hasattr(numbers, "tolist"):
        numbers = numbers.tolist()
    if not listed or not isinstance(numbers, (list, tuple)) or len(numbers) != len(listed):
        raise TokenGymError(
            f"reward_weights={weights!r} for {len(listed)} reward_funcs: give one function or more, and a weight each"
        )
    terms = [{"weight": weight, "reward": function} for weight, function in zip(numbers, listed, strict=True)]
    return {"name": "weighted_sum", "terms": terms}


def read_under(function: Callable[..., Any], writer: TextWriter) -> Callable[..., Any]:
    """Give a rule that compares in the normal form of a tokenizer; other functions are given back as they are."""
    return cast(Any, function).under(writer) if isinstance(function, NamedRule) else function


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
