"""What a study names, checked as `train` checks it, before anything of it is run: in a moment and without torch.

Algorithms and their configurations, environments and their arguments, and specifications of agents are looked at by
name, type and range. What shows only when a task or an agent is built, which may take long or never end, is left to the
study's first jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...agents import check_agent_spec
from ...agents.specs import check_agent_dtype, check_lora
from ...algorithms import ALGORITHMS, check_config
from ...envs import TokenGymError
from ...envs.registration import check_task
from .spec import AlgorithmSpec, EnvironmentSpec, Study, budget_of

_OUTSIDE = "sb3-"
_OUTSIDE_AGENTS = ("mlp",)
"""Agents that Stable-Baselines3's algorithms take besides ours."""


def check_study(study: Study) -> None:
    """Check everything that a study names.

    Raises:
        TokenGymError: An unknown name (the nearest are listed), or a value of a wrong type or out of range; says where
            in the study it stands.
    """
    for environment in study.environments:
        with at_place(f"environment {environment.name!r}"):
            check_task(environment.task_id, **environment.kwargs)
            check_agent_spec(environment.agent, also=_OUTSIDE_AGENTS)
    for algorithm in study.algorithms:
        with at_place(f"algorithm {algorithm.name!r}"):
            _check_budget(algorithm)
            if not ALGORITHMS.is_to_be_imported(algorithm.registered_name):  # else by whoever makes it
                ALGORITHMS.config(algorithm.registered_name)
            if algorithm.agent is not None:
                _check_agent(algorithm, algorithm.agent)
        for environment in study.environments:
            _check_cell(study, algorithm, environment)


def _check_cell(study: Study, algorithm: AlgorithmSpec, environment: EnvironmentSpec) -> None:
    """Check an algorithm as it is on an environment; overrides also where it does not run."""
    overrides = algorithm.overrides.get(environment.name, {})
    if study.covers(algorithm, environment) or overrides:
        with at_place(f"algorithm {algorithm.name!r}" + (f" on environment {environment.name!r}" if overrides else "")):
            if not ALGORITHMS.is_to_be_imported(algorithm.registered_name):
                check_config(algorithm.registered_name, {**algorithm.config, **overrides})
    if study.covers(algorithm, environment):
        with at_place(f"algorithm {algorithm.name!r} on environment {environment.name!r}"):
            agent = environment.agent if algorithm.agent is None else algorithm.agent
            if algorithm.agent is None:
                _check_agent(algorithm, agent)
            check_agent_dtype(agent, algorithm.dtype or study.dtype)
            _check_adapters(algorithm, {**algorithm.config, **overrides}, agent)


def _check_budget(algorithm: AlgorithmSpec) -> None:
    """Refuse a budget in tokens for what plays nothing, and one in updates for what plays."""
    name = algorithm.registered_name
    if name not in ALGORITHMS.built_in:
        return
    if budget_of(name) == "updates" and not algorithm.total_updates:
        raise TokenGymError(f"{name} plays nothing, so that tokens are no budget of it: give it total_updates, as 1000")
    if budget_of(name) == "tokens" and algorithm.total_updates:
        raise TokenGymError(
            f"total_updates is {algorithm.total_updates}, and the budget of {name} is the environment's total_tokens: "
            "leave it out"
        )


def _check_agent(algorithm: AlgorithmSpec, agent: Any) -> None:
    outside = algorithm.registered_name.startswith(_OUTSIDE)
    check_agent_spec(agent, also=_OUTSIDE_AGENTS if outside else ())


def _check_adapters(algorithm: AlgorithmSpec, values: dict[str, Any], agent: Any) -> None:
    """Check that adapters fit the kind of model, where an algorithm of this package has some."""
    if not ALGORITHMS.is_to_be_imported(algorithm.registered_name):
        config = check_config(algorithm.registered_name, values)
        check_lora(agent, getattr(config, "lora", None))


@contextmanager
def at_place(place: str) -> Iterator[None]:
    """Say where in a study or a pipeline an error stands, unless it says so itself."""
    try:
        yield
    except TokenGymError as error:
        text = str(error)
        raise error if text.startswith(place) else TokenGymError(f"{place}: {text}") from error
