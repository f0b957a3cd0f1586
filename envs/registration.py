"""The names of the environments: registered with Gymnasium, and made from JSON-able arguments."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from .env import TokenEnv
from .errors import TokenGymError, unknown_name
from .task import Task
from .transforms import apply_transforms, check_arguments
from .vector_env import TokenVectorEnv

NAMESPACE = "tokengym"

TASKS: dict[str, str] = {
    "TokenBandit": "tokengym.envs.tasks.diagnostics:TokenBandit",
    "Probe1": "tokengym.envs.tasks.probes:Probe1",
    "Probe2": "tokengym.envs.tasks.probes:Probe2",
    "Probe3": "tokengym.envs.tasks.probes:Probe3",
    "Probe4": "tokengym.envs.tasks.probes:Probe4",
    "Probe5": "tokengym.envs.tasks.probes:Probe5",
    "Copy": "tokengym.envs.tasks.diagnostics:Copy",
    "KLTree": "tokengym.envs.tasks.tree:KLTree",
    "KeywordCover": "tokengym.envs.tasks.keywords:KeywordCover",
    "TextGeneration": "tokengym.envs.tasks.text_generation:TextGeneration",
    "WordleMini": "tokengym.envs.tasks.wordle:WordleMini",
    "Lattice": "tokengym.envs.tasks.lattice:Lattice",
    "Gym": "tokengym.envs.tasks.gym_task:Gym",
    "CartPole": "tokengym.envs.tasks.cartpole:CartPole",
}
"""Where the task of every environment lives, loaded when it is first made."""

_REWARD_THRESHOLDS = {
    "TokenBandit": 0.95,
    "Probe1": 1.0,
    "Probe3": 1.0,
    "Probe4": 0.99,
    "Probe5": 0.99,
    "Copy": 0.95,
    "KLTree": 0.95,
    "KeywordCover": 0.95,
    "WordleMini": -1.5,
    "Lattice": -0.5,
    "CartPole": 475.0,
}


def list_ids() -> list[str]:
    """Returns the ids of all registered environments, such as `tokengym/Lattice-v0`."""
    return [f"{NAMESPACE}/{name}-v0" for name in TASKS]


def make_task(name: str, *, transforms: Sequence[Mapping[str, Any]] = (), **arguments: Any) -> Task:
    """Makes a task by its name.

    Args:
        name: A name such as `"Lattice"`, or an environment's id such as `"tokengym/Lattice-v0"`.
        transforms: Transforms to put around it, as `apply_transforms` takes them.
        **arguments: The task's own arguments, JSON-able.

    Raises:
        TokenGymError: For an unknown name or argument, with the nearest ones, or a value that the task cannot take.
    """
    match = re.fullmatch(rf"(?:{NAMESPACE}:)?(?:{NAMESPACE}/)?(.+?)(?:-v0)?", str(name))
    short = match.group(1) if match else str(name)
    if short not in TASKS:
        raise unknown_name("environment", name, TASKS)
    module, _, attribute = TASKS[short].partition(":")
    maker = getattr(importlib.import_module(module), attribute)
    check_arguments(f"environment {short!r}", maker, (), arguments)
    try:
        task = maker(**arguments)
    except TokenGymError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise TokenGymError(
            f"environment {short!r} cannot be made with {arguments}: {error}; see the arguments that it takes in "
            f"help({maker.__module__}.{maker.__name__})"
        ) from error
    task = apply_transforms(task, transforms)
    given = {"transforms": [dict(transform) for transform in transforms]} if transforms else {}
    task.spec = {"id": f"{NAMESPACE}/{short}-v0", "kwargs": arguments | given}
    return task


def make_env(
    task: str,
    *,
    render_mode: str | None = None,
    action_masks: bool = False,
    **arguments: Any,
) -> TokenEnv:
    """Makes the single environment: the entry point that `gymnasium.make` calls.

    Args:
        task: The task's name.
        render_mode: `"ansi"`, `"human"` or None.
        action_masks: Whether infos hold the legal next tokens; see `TokenEnv`.
        **arguments: What `make_task` takes.
    """
    return TokenEnv(make_task(task, **arguments), render_mode=render_mode, action_masks=action_masks)


def make_vector_env(
    task: str,
    *,
    num_envs: int = 1,
    render_mode: str | None = None,
    action_masks: bool = False,
    max_episode_steps: int | None = None,
    **arguments: Any,
) -> TokenVectorEnv:
    """Makes the vector environment: the entry point that `gymnasium.make_vec` calls.

    Args:
        task: The task's name.
        num_envs: The number of environments.
        render_mode: `"ansi"` or None.
        action_masks: Whether infos hold the legal next tokens; see `TokenVectorEnv`.
        max_episode_steps: A user's time limit, after which an episode is truncated.
        **arguments: What `make_task` takes.
    """
    return TokenVectorEnv(
        num_envs,
        make_task(task, **arguments),
        render_mode=render_mode,
        action_masks=action_masks,
        max_episode_steps=max_episode_steps,
    )


def register_all() -> None:
    """Registers every environment with Gymnasium; `import tokengym` calls it. Calling it again changes nothing."""
    for name in TASKS:
        environment_id = f"{NAMESPACE}/{name}-v0"
        if environment_id not in gymnasium.registry:
            gymnasium.register(
                id=environment_id,
                entry_point="tokengym.envs.registration:make_env",
                vector_entry_point="tokengym.envs.registration:make_vector_env",
                reward_threshold=_REWARD_THRESHOLDS.get(name),
                kwargs={"task": name},
            )
