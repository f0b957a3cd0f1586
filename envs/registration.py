"""The names of the environments: registered with Gymnasium, and made from JSON-able arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from .catalogue import FAMILIES, TASKS, Entry
from .checking import TokenGymError, finite_number, import_module, unknown_name
from .env import TokenEnv
from .specification import record, resolve
from .task import Task
from .transforms import TRANSFORMS, apply_transforms, check_arguments, check_transforms, types_fit
from .vector_env import TokenVectorEnv

NAMESPACE = "tokengym"


def list_ids() -> list[str]:
    """Returns the ids of all registered environments, such as `tokengym/Lattice-v0`."""
    return [f"{NAMESPACE}/{name}-v0" for name in TASKS]


def make_task(name: str, *, transforms: Sequence[Mapping[str, Any]] = (), **arguments: Any) -> Task:
    """Makes a task by its name.

    Args:
        name: A name such as `"Lattice"`, or an environment's id such as `"tokengym/Lattice-v0"`. One of your own may
            have its module in front, as `"my_module:tokengym/Lamp-v0"`, which is then imported to register it.
        transforms: Transforms to put around it, as `apply_transforms` takes them.
        **arguments: The task's own arguments; they go before those that a variant brings. The task's `spec` records
            them, functions and objects by the name that imports them; see `envs/specification.py`.

    Raises:
        TokenGymError: For an unknown name or argument, with the nearest ones, a value that the task cannot take, or an
            optional dependency that is not installed, with the command that installs it.
    """
    short, entry = _find(name)
    maker = _maker(short, entry, arguments)
    try:
        task = maker(**{**entry.kwargs, **resolve(arguments, f"environment {short!r}")})
    except TokenGymError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise TokenGymError(
            f"environment {short!r} cannot be made with {arguments}: {error}; see the arguments that it takes in "
            f"help({maker.__module__}.{maker.__qualname__})"
        ) from error
    if entry.registered_by is not None:
        task = _named(short, task)
    task = apply_transforms(task, resolve({"transforms": transforms}, f"environment {short!r}")["transforms"])
    given = {"transforms": [dict(transform) for transform in transforms]} if transforms else {}
    task.spec = {
        "id": _qualified(short, entry),
        "kwargs": record(arguments | given, getattr(maker, "entry_point_arguments", ())),
    }
    return task


def check_task(name: str, *, transforms: Sequence[Mapping[str, Any]] = (), **arguments: Any) -> None:
    """Checks what `make_task` is given as far as can be told in a moment: a task that is right is not made.

    Names are looked at, and the types of plain values that the suite's tasks and transforms take. No module but the
    suite's is imported.

    Raises:
        TokenGymError: As `make_task`.
    """
    check_transforms(transforms)
    makers = [(TRANSFORMS[transform["name"]], transform) for transform in transforms]
    module, short = _parts(name)
    if module not in (None, NAMESPACE) and (short not in TASKS or TASKS[short].registered_by != module):
        return  # to be imported by whoever makes it
    short, entry = _find(name)
    if entry.registered_by is None:
        makers.append((_maker(short, entry, arguments), arguments))
        if not all(types_fit(maker, values) for maker, values in makers):
            make_task(name, transforms=transforms, **arguments)  # which refuses it in its own words
    elif callable(entry.task):
        _maker(short, entry, arguments)


def register_task(
    name: str,
    task: str | Callable[..., Task],
    *,
    kwargs: Mapping[str, Any] | None = None,
    reward_threshold: float | None = None,
    family: str = Task.family,
) -> None:
    """Registers a task of your own, here and with Gymnasium, as `tokengym/<name>-v0`.

    It is then made, listed, trained and compared as those of the suite. Another process, such as the command line,
    finds it by its module: `my_module:tokengym/<name>-v0` imports `my_module`, which must be where this is called.

        tokengym.register_task("Lamp", Lamp)
        tokengym.register_task("Lamp-long", "my_module:Lamp", kwargs={"steps": 9})
        tokengym.register_task("Shout", "TextGeneration", kwargs={"prompts": ["say it"], "reward": shout})

    Registering again from the same module replaces what was there.

    Args:
        name: The name: capital first, letters and digits; a variant is `<Base>-<what differs>`.
        task: The task class, or a function that makes a task; or where that is, `"module:Class"`, to be imported when
            the environment is first made; or the name of a registered environment, of which this is a variant.
        kwargs: Arguments in which it differs from the class's defaults, or from the environment's that it varies.
        reward_threshold: Mean return from which it counts as solved.
        family: The family to list it under.

    Raises:
        TokenGymError: For a name that is not well formed or belongs to another task, a task that is none, or arguments
            that it does not take.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Z][A-Za-z0-9]*(-[a-z0-9]+)*", name):
        raise TokenGymError(f"name={name!r}: give a capital first, then letters and digits, as 'Lamp' or 'Lamp-long'")
    if not isinstance(family, str) or not family:
        raise TokenGymError(f"family={family!r}: give a name, one of {', '.join(FAMILIES)} or your own")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TokenGymError(f"kwargs={kwargs!r}: give a mapping from names of arguments to their values")
    if reward_threshold is not None:
        reward_threshold = finite_number("reward_threshold", reward_threshold)
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    if name in TASKS and TASKS[name].registered_by != module:
        owner = TASKS[name].registered_by
        raise TokenGymError(
            f"name={name!r} belongs to {'the suite' if owner is None else f'module {owner!r}'} already: take another"
        )
    arguments = dict(kwargs or {})
    if isinstance(task, str) and ":" not in task:
        varied = _find(task)[1]
        task = varied.load() if varied.registered_by is None else varied.task
        arguments = {**varied.kwargs, **arguments}
    elif isinstance(task, str):
        if not re.fullmatch(r"[\w.]+:[\w.]+", task):
            raise TokenGymError(f"task={task!r}: give 'module:Class', importable from here")
    elif not callable(task) or (isinstance(task, type) and not issubclass(task, Task)):
        raise TokenGymError(f"task={task!r} is neither a Task class nor a function that makes a task")
    if callable(task):
        check_arguments(f"task {name!r}", task, (), arguments)
    entry = Entry(task, arguments, reward_threshold, registered_by=module)
    for members in FAMILIES.values():
        if name in members:
            del members[name]
    FAMILIES.setdefault(family, {})[name] = TASKS[name] = entry
    gymnasium.registry.pop(f"{NAMESPACE}/{name}-v0", None)
    _register(name, entry)


def _parts(name: str) -> tuple[str | None, str]:
    """Returns the module in front of an environment's name, or None, and the short name."""
    match = re.fullmatch(rf"(?:([\w.]+):)?(?:{NAMESPACE}/)?(.+?)(?:-v0)?", str(name))
    return match.groups() if match else (None, str(name))  # pyright: ignore[reportReturnType]


def _maker(short: str, entry: Entry, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Returns what makes an environment's task, after checking that it takes the arguments."""
    if entry.missing:
        raise TokenGymError(
            f"environment {short!r} needs {', '.join(entry.missing)}, which is not installed: {entry.install_command}"
        )
    maker = entry.load()
    check_arguments(f"environment {short!r}", maker, (), {**entry.kwargs, **arguments})
    return maker


def _find(name: str) -> tuple[str, Entry]:
    """Returns the short name and the entry of an environment, after importing the module in front of the name."""
    module, short = _parts(name)
    if module not in (None, NAMESPACE) and (short not in TASKS or TASKS[short].registered_by != module):
        import_module(module, "environment", name)
        if short not in TASKS:
            of_module = [known for known, entry in TASKS.items() if entry.registered_by == module]
            raise unknown_name(f"environment of module {module!r}", short, of_module)
    if short not in TASKS:
        base, _, version = short.rpartition("-v")
        if version.isdigit() and base in TASKS:
            raise TokenGymError(f"environment {base!r} has no version {version}: its id is {NAMESPACE}/{base}-v0")
        raise unknown_name("environment", short, TASKS)  # beside a whole id no name of the known is near
    return short, TASKS[short]


def _named(short: str, task: Any) -> Task:
    """Returns a registered task, after giving it the name and the family of its entry where it has none of its own."""
    if not isinstance(task, Task):
        raise TokenGymError(f"environment {short!r}: what was registered made {task!r}, which is no Task")
    if task.name == Task.name:
        task.name = short
    if task.family == Task.family:
        task.family = next(family for family, members in FAMILIES.items() if short in members)
    return task


def _qualified(short: str, entry: Entry) -> str:
    """Returns an id that finds the environment from any process; a script's own is known in that process alone."""
    module = entry.registered_by
    return f"{NAMESPACE}/{short}-v0" if module in (None, "__main__") else f"{module}:{NAMESPACE}/{short}-v0"


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
        if f"{NAMESPACE}/{name}-v0" not in gymnasium.registry:
            _register(name, entry)


def _register(name: str, entry: Entry) -> None:
    gymnasium.register(
        id=f"{NAMESPACE}/{name}-v0",
        entry_point="tokengym.envs.registration:make_env",
        vector_entry_point="tokengym.envs.registration:make_vector_env",
        reward_threshold=entry.reward_threshold,
        kwargs={"task": name if entry.registered_by is None else _qualified(name, entry)},
    )
