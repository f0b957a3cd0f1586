"""The names of the environments: registered with Gymnasium, and made from JSON-able arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from .catalogue import TASKS
from .env import TokenEnv
from .errors import TokenGymError, unknown_name
from .task import Task
from .transforms import apply_transforms, check_arguments
from .vector_env import TokenVectorEnv

NAMESPACE = "tokengym"


def list_ids() -> list[str]:
    """Returns the ids of all registered environments, such as `tokengym/Lattice-v0`."""
    return [f"{NAMESPACE}/{name}-v0" for name in TASKS]


def make_task(name: str, *, transforms: Sequence[Mapping[str, Any]] = (), **arguments: Any) -> Task:
    """Makes a task by its name.

    Args:
        name: A name such as `"Lattice"`, or an environment's id such as `"tokengym/Lattice-v0"`.
        transforms: Transforms to put around it, as `apply_transforms` takes them.
        **arguments: The task's own arguments, JSON-able; they go before those that a variant brings.

    Raises:
        TokenGymError: For an unknown name or argument, with the nearest ones, a value that the task cannot take, or an
            optional dependency that is not installed, with the command that installs it.
    """
    match = re.fullmatch(rf"(?:{NAMESPACE}:)?(?:{NAMESPACE}/)?(.+?)(?:-v0)?", str(name))
    short = match.group(1) if match else str(name)
    if short not in TASKS:
        base, _, version = short.rpartition("-v")
        if version.isdigit() and base in TASKS:
            raise TokenGymError(f"environment {base!r} has no version {version}: its id is {NAMESPACE}/{base}-v0")
        raise unknown_name("environment", name, TASKS)
    entry = TASKS[short]
    if entry.missing:
        raise TokenGymError(
            f"environment {short!r} needs {', '.join(entry.missing)}, which is not installed: "
            f"pip install 'tokengym[{entry.extra}]'"
        )
    maker = entry.load()
    check_arguments(f"environment {short!r}", maker, (), arguments)
    try:
        task = maker(**{**entry.kwargs, **arguments})
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
        render_mode: `"ansi"`, `"human"`, `"rgb_array"` or None; `gymnasium.make` also takes `"ansi_list"` and
            `"rgb_array_list"`.
        action_masks: Whether infos hold the legal next tokens; see `TokenEnv`.
        **arguments: What `make_task` takes.
    """
    return TokenEnv(make_task(task, **arguments), render_mode=render_mode, action_masks=action_masks)


# Where Gymnasium looks for the render modes, to know which `…_list` it can make of them.
make_env.metadata = TokenEnv.metadata  # pyright: ignore[reportFunctionMemberAccess]


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
        render_mode: `"ansi"`, `"rgb_array"` or None.
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
    for name, entry in TASKS.items():
        environment_id = f"{NAMESPACE}/{name}-v0"
        if environment_id not in gymnasium.registry:
            gymnasium.register(
                id=environment_id,
                entry_point="tokengym.envs.registration:make_env",
                vector_entry_point="tokengym.envs.registration:make_vector_env",
                reward_threshold=entry.reward_threshold,
                kwargs={"task": name},
            )
