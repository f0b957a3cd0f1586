"""Potentials that shape rewards, by name: the registered ones, and functions of the user's own; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ...envs import TokenGymError
from ...envs.checking import checked, load_entry_point, shown, trusted, unknown_name

if TYPE_CHECKING:
    import numpy as np

    from ...envs import Task
    from ..data import Episodes

    Potential = Callable[[Episodes], "np.ndarray | tuple[np.ndarray, np.ndarray | None]"]
    """From episodes to Φ before each token of the agent's, (N,), and in each episode's final state, (E,) or None."""
    MakesPotential = Callable[[Task], Potential]
    """From a task to its potential; called once, when an algorithm is made."""

_OWN = {"optimal": "tokengym.algorithms.parts.rewards.potentials:optimal_values"}
_registered: dict[str, Any] = {}


@checked
def register_potential(name: str, make: Any) -> None:
    """Register a potential of your own, for the field ``potentials`` of configurations.

        register_potential("progress", lambda task: lambda episodes: episodes.flat.step / task.max_episode_tokens)

    Other processes do not know it: there, and in files, name it as "module:function".

    Args:
        name: small letters and digits, parted by "-".
        make: from the task to what gives Φ before each token of the agent's in `Episodes`, float (N,); or that and Φ
            in the final states, float (E,), which counts where an episode was truncated.

    Raises:
        TokenGymError: a name that is not well formed or one of the package's own, or what cannot be called.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or name in _OWN:
        raise TokenGymError(
            f"name={name!r}: give small letters and digits, parted by '-', and none of the package's own: "
            f"{', '.join(_OWN)}"
        )
    if not callable(make):
        raise TokenGymError(f"make={shown(make)} cannot be called; give a function from a task to its potential")
    _registered[name] = make


def check_potential(name: str) -> None:
    """Look whether there may be a potential of a name; imports nothing.

    Raises:
        TokenGymError: it is no registered one (the nearest are listed), and no "module:function".
    """
    if name not in _OWN and name not in _registered and not re.fullmatch(r"[\w.]+:[\w.]+", name):
        error = unknown_name("potential", name, [*_OWN, *_registered])
        raise TokenGymError(f"{error} One of your own is registered, or named as 'module:function'.")


def make_potential(name: str, task: Task) -> Potential:
    """Return the potential of a name for a task.

    Raises:
        TokenGymError: there is none, the file that names it may not import it, or it fails.
    """
    check_potential(name)
    if name in _OWN:
        with trusted():
            make = load_entry_point("potential", _OWN[name])
    else:
        make = _registered[name] if name in _registered else load_entry_point("potential", name)
    with telling_failure(name, "given the task"):
        potential = make(task)
    if not callable(potential):
        raise TokenGymError(
            f"potentials is {name!r}, which made {shown(potential)} of the task; expected a function of episodes"
        )
    return cast("Potential", potential)


@contextmanager
def telling_failure(name: str, given: str) -> Iterator[None]:
    """Say which potential raised an error, and what it had been given: it is the user's own code."""
    try:
        yield
    except TokenGymError:
        raise
    except Exception as error:
        raise TokenGymError(
            f"potentials {name!r}, {given}, raised {type(error).__name__}: {error}. Expected a function from a task to "
            "a function of episodes that gives Φ before each token: mend it."
        ) from error
