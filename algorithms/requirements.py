"""Doors: what comes into an algorithm is made into a task, and checked against what the algorithm requires."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium

from ..agents import Agent
from ..envs import Task, TokenGymError, make_task
from ..envs.checking import shown
from ..envs.transforms import apply_transforms
from .configs import Config, LearningConfig, RewardConfig, RolloutConfig

Requirement = tuple[Callable[[Task], bool], str, str]

REQUIREMENTS: dict[str, Requirement] = {
    "deterministic": (
        lambda task: task.deterministic,
        "deterministic transitions",
        "choose a task whose replies follow from what was said, or an algorithm without this requirement",
    ),
    "save_state": (
        lambda task: task.can_save_state,
        "states that can be saved and restored",
        "choose a task with can_save_state",
    ),
    "whole_completions": (
        lambda task: task.context == "episode",
        "whole completions (context 'episode')",
        "choose a task whose context is 'episode'",
    ),
    "eos": (
        lambda task: task.vocabulary.eos is not None,
        "a vocabulary with an end token",
        "give the vocabulary an eos",
    ),
}
"""What an algorithm may name in `requires`: a test of the task, what it says, and how to mend it."""


_NEUTRAL_WRAPPERS = (
    gymnasium.wrappers.OrderEnforcing,
    gymnasium.wrappers.PassiveEnvChecker,
    gymnasium.wrappers.TimeLimit,
    gymnasium.wrappers.RecordEpisodeStatistics,
)


def resolve_task(env: Any) -> tuple[Task, dict[str, Any] | None]:
    """Return the task of ``env`` and, where there is one, the id and arguments to make it again.

    Args:
        env: an environment id, a `Task`, or a Gymnasium environment or vector environment of this library, wrapped or
            not.

    Raises:
        TokenGymError: an unknown id, or something else.
    """
    if isinstance(env, str):
        task = make_task(env)
        return task, task.spec
    if isinstance(env, Task):
        return env, env.spec
    base = getattr(env, "unwrapped", env)
    task = getattr(base, "task", None)
    if not isinstance(task, Task):
        raise TokenGymError(
            f"Cannot learn in {env!r}; expected an environment id, a TokenEnv, a TokenVectorEnv or a Task. "
            "Other Gymnasium environments come in through 'tokengym/Gym-v0' with their id as env_id."
        )
    _check_wrappers(env)
    limit = getattr(base, "max_episode_steps", None) or getattr(getattr(env, "spec", None), "max_episode_steps", None)
    if limit is None:
        return task, task.spec
    transforms = [{"name": "time_limit", "max_tokens": limit}]
    spec = task.spec
    if spec is not None:
        kwargs = spec["kwargs"]
        spec = {**spec, "kwargs": {**kwargs, "transforms": [*kwargs.get("transforms", ()), *transforms]}}
    return apply_transforms(task, transforms), spec


def _check_wrappers(env: Any) -> None:
    """Refuse wrappers that change what happens: learning runs on the engine underneath and would not see them."""
    while isinstance(env, gymnasium.Wrapper):
        if not isinstance(env, _NEUTRAL_WRAPPERS):
            raise TokenGymError(
                f"The environment is wrapped in {type(env).__name__}, which learning would not see: it runs on the "
                "batched engine inside. Say the same as a task transform, make_task(…, transforms=[…]), or unwrap it."
            )
        env = env.env


def check_task(name: str, requires: tuple[str, ...], task: Task, config: LearningConfig) -> None:
    """Raise a `TokenGymError` unless ``task`` has everything that the algorithm ``name`` and its config require."""
    needed = list(requires)
    if isinstance(config, RewardConfig) and config.missing_eos_penalty and "eos" not in needed:
        needed.append("eos")
    for requirement in needed:
        met, what, remedy = REQUIREMENTS[requirement]
        if not met(task):
            raise TokenGymError(f"{name} requires {what}, which {task.name!r} does not have; {remedy}.")


def check_micro_batches(unit: str, task: Task, config: LearningConfig) -> None:
    """Raise a `TokenGymError` where ``micro_batch_tokens`` is smaller than what an episode of ``task`` may fill."""
    limit, length = config.micro_batch_tokens, task.max_length
    members = config.group_size if isinstance(config, RolloutConfig) else 2
    turns = 1 if task.context == "episode" else -(-task.max_episode_tokens // task.max_turn_tokens)
    sequences = {"sequence": 1, "episode": turns, "group": members}[unit]
    needed = length * sequences
    if limit is not None and limit < needed:
        what = f"one {unit} of" if sequences == 1 else f"one {unit} with {sequences} sequences of"
        raise TokenGymError(
            f"micro_batch_tokens is {limit}; {what} {task.name!r} may take {needed} tokens and cannot be cut: give at "
            f"least {needed}, or None for whole batches."
        )


def chosen_config(algorithm: Any, config: Any, overrides: dict[str, Any]) -> Config:
    """Return the configuration of an algorithm: the given one or its defaults, with some fields changed.

    Args:
        algorithm: has a `Config`.
        config: of that class, or None.
        overrides: fields by name.

    Raises:
        TokenGymError: a configuration of another class, or something else; an unknown field, or a wrong value.
    """
    kind = algorithm.Config
    if config is None:
        return kind().replace(**overrides)
    if not isinstance(config, kind):
        name = type(algorithm).__name__
        raise TokenGymError(
            f"config is {shown(config)}; expected a {kind.__name__} or None. Its fields may be given by name, too: "
            f"{name}(env, learning_rate=…), or {name}(env, **fields) for those of a dict."
        )
    return config.replace(**overrides)


def warn_of_budget(name: str, config: Config, spent: int, total: int) -> None:
    """Warn where a budget of ``total``, of which ``spent`` is spent, leaves nothing to learn, or is all waited away."""
    told = [
        f"{field} is {delay:,} and the budget {total:,} {config.budget}, so {consequence} before the last collection, "
        f"if at all: give a larger budget, or a {field} of at most a tenth of it."
        for field, consequence in config.delays()
        if (delay := getattr(config, field)) >= total
    ]
    if spent >= total:
        told = [
            f"the budget of {total:,} {config.budget} was spent before, so nothing is learnt: a budget counts from the "
            f"very first update on; {spent + total:,} is as much again."
        ]
    for text in told:
        warnings.warn(f"{name}: {text}", RuntimeWarning, stacklevel=3)


def check_reference(reference: Agent | None, task: Task) -> None:
    """Raise a `TokenGymError` unless a given reference has a policy over the task's tokens, of its whole episodes."""
    if reference is None:
        return
    if "policy" not in reference.heads:
        raise TokenGymError(
            f"reference has no policy, but the heads {', '.join(reference.heads)}; expected an agent with a head "
            "'policy', such as build_agent makes by default"
        )
    theirs, wanted = reference.vocabulary, task.vocabulary
    if (theirs.size, theirs.num_actions) != (wanted.size, wanted.num_actions):
        raise TokenGymError(
            f"reference is an agent of {theirs.size} tokens, {theirs.num_actions} of them sayable; {task.name!r} has "
            f"{wanted.size} and {wanted.num_actions}: give one of the vocabulary of the task"
        )
    if reference.max_length < task.max_length:
        raise TokenGymError(
            f"reference reads {reference.max_length} tokens, and {task.name!r} shows up to {task.max_length}: give one "
            "with a longer context"
        )


def check_agent(name: str, heads: tuple[str, ...], agent: Agent, task: Task) -> None:
    """Raise a `TokenGymError` unless ``agent`` has the heads of the algorithm ``name`` and the task's vocabulary."""
    missing = [head for head in heads if head not in agent.heads]
    if missing:
        raise TokenGymError(
            f"{name} needs the heads {list(heads)}; the agent has {list(agent.heads)}. "
            f"Build it with heads={tuple(heads)!r}, or give a specification and let {name} build it."
        )
    if (agent.vocabulary.size, agent.vocabulary.num_actions) != (task.vocabulary.size, task.vocabulary.num_actions):
        raise TokenGymError(
            f"The agent was built for {agent.vocabulary.size} tokens, {agent.vocabulary.num_actions} of them sayable; "
            f"{task.name!r} has {task.vocabulary.size} and {task.vocabulary.num_actions}. Build it with the "
            "vocabulary of the task."
        )
