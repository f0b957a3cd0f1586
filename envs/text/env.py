"""Somebody else's environment of strings, whatever interface it has, under one: made, called and checked."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ..checking import TokenGymError, check_import, import_module, load_entry_point
from .global_random import GlobalDraws

LEGAL_KEYS = ("legal_actions", "legal_texts", "admissible_commands", "valid_actions", "available_actions")
"""Where environments tell what may be said: a key of the info, or an attribute or method of the environment."""


class Told(NamedTuple):
    """What an environment tells after a reset or a step.

    Attributes:
        text: The observation.
        reward: Of the step; 0 after a reset.
        terminated: Whether it ended.
        truncated: Whether a time limit of its own cut it.
        legal: The texts that may be said next, or None for any.
    """

    text: str
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    legal: tuple[str, ...] | None = None


class TextEnvMaker:
    """Makes environments of one kind.

    Args:
        env: A Gymnasium id (`"module:id"` imports the module first), `"textarena/id"`, an entry point
            `"module:callable"`, or a callable that returns an environment.
        kwargs: Its arguments.
        legal: Whether the environments' legal texts are asked for.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, env: Any, kwargs: Mapping[str, Any], legal: bool = True) -> None:
        self.name = env if isinstance(env, str) else getattr(env, "__qualname__", repr(env))
        self.kwargs = dict(kwargs)
        self.asks_legal = legal
        self._make: Callable[..., Any]
        if isinstance(env, str) and env.startswith("textarena/"):
            from .textarena import TextArenaEnv

            self._make = TextArenaEnv
            self.kwargs = {"env_id": env.removeprefix("textarena/"), "kwargs": self.kwargs}
        elif isinstance(env, str) and re.search(r"-v\d+$", env):
            module, _, inner = env.rpartition(":")
            if module:
                import_module(module, "environment", env)
            if inner not in gymnasium.registry:
                raise TokenGymError(f"env={env!r}: no environment of that id is registered with Gymnasium")
            entry_point = gymnasium.registry[inner].entry_point
            maker = entry_point if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
            if maker and maker.partition(".")[0] != "gymnasium":
                check_import("environment", env, maker.partition(":")[0])
            self._make = gymnasium.make
            self.kwargs = {"id": inner, "disable_env_checker": True, **self.kwargs}
        elif isinstance(env, str) and ":" in env:
            self._make = load_entry_point("environment", env)
        elif callable(env):
            self._make = env
        else:
            raise TokenGymError(
                f"env={env!r}: give a Gymnasium id such as 'Name-v0', 'textarena/Name-v0', an entry point "
                "'module:callable', or a class or function that makes an environment"
            )

    def begin(self, seed: int) -> tuple[TextEpisode, Told]:
        """Makes an environment and resets it; equal seeds give equal episodes if it draws as it should."""
        episode = TextEpisode(self, seed)
        return episode, episode.reset(seed)

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Gives a context for what follows one another in many episodes: the global generators are put back once."""
        return GlobalDraws.put_back_once()

    def make(self) -> Any:
        """Makes an environment.

        Raises:
            TokenGymError: If that fails, or what is made is none.
        """
        try:
            env = self._make(**self.kwargs)
        except TokenGymError:
            raise
        except Exception as error:  # a stranger's constructor may raise anything
            raise TokenGymError(
                f"environment {self.name!r} cannot be made with {self.kwargs}: {type(error).__name__}: {error}"
            ) from error
        for method in ("reset", "step"):
            if not callable(getattr(env, method, None)):
                raise TokenGymError(f"environment {self.name!r}: {env!r} has no method {method}: it is no environment")
        for kind in ("observation_space", "action_space"):
            space = getattr(env, kind, None)
            if isinstance(space, gymnasium.Space) and not isinstance(space, gymnasium.spaces.Text):
                raise TokenGymError(
                    f"environment {self.name!r}: its {kind} is {space}, not Text: TextGym is for strings; the "
                    "environment 'Gym' takes Discrete and Box spaces and what is made of them"
                )
        return env


class TextEpisode:
    """One episode of an environment of strings; a deep copy goes on by itself, where the environment can be copied."""

    def __init__(self, maker: TextEnvMaker, seed: int) -> None:
        self.maker = maker
        self.draws = GlobalDraws(seed)
        self.env: Any = None
        self.legal: tuple[str, ...] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TextEpisode:
        """Copies the environment and the states of its draws; what makes environments is shared."""
        twin = TextEpisode.__new__(TextEpisode)
        memo[id(self)] = twin
        for name, value in vars(self).items():
            setattr(twin, name, value if name == "maker" else copy.deepcopy(value, memo))
        return twin

    def reset(self, seed: int) -> Told:
        """Makes the environment and begins it."""
        with self.draws.lent():
            self.env = self.maker.make()
            takes = _parameters(self.env.reset)
            given = self._call("reset", self.env.reset, **({"seed": seed} if takes is None or "seed" in takes else {}))
            if isinstance(given, tuple):
                if len(given) != 2 or not isinstance(given[1], Mapping):
                    raise self._wrong("reset", f"gave {_short(given)}: expected a string, or a string and an info")
                text, info = given
            else:
                text, info = given, {}
            return self._told("reset", text, info)

    def step(self, text: str) -> Told:
        """Says a text to the environment."""
        with self.draws.lent():
            given: Any = self._call("step", self.env.step, text)
            size = len(given) if isinstance(given, tuple) else 0
            if size not in (3, 4, 5):
                raise self._wrong(
                    "step",
                    f"gave {_short(given)}: expected (text, reward, terminated, truncated, info), "
                    "(text, reward, done, info) or (text, reward, done)",
                )
            info = given[-1] if size > 3 else {}
            if info is None:
                info = {}
            if not isinstance(info, Mapping):
                raise self._wrong("step", f"gave the info {_short(info)}: expected a mapping")
            ended = self._flag(given[2])
            if size == 5:
                terminated, truncated = ended, self._flag(given[3])
            else:
                truncated = ended and bool(info.get("TimeLimit.truncated", False))
                terminated = ended and not truncated
            told = self._told("step", given[0], info, over=terminated or truncated)
            if terminated or truncated:
                self._close()
            return told._replace(reward=self._reward(given[1]), terminated=terminated, truncated=truncated)

    def _close(self) -> None:
        """Closes the environment, which serves one episode."""
        close = getattr(self.env, "close", None)
        if callable(close):
            with contextlib.suppress(Exception):  # a stranger's code may raise anything; the episode is over
                close()

    def _told(self, call: str, text: Any, info: Mapping[str, Any], over: bool = False) -> Told:
        if not isinstance(text, str):
            raise self._wrong(call, f"gave the observation {_short(text)} ({type(text).__name__}): expected a string")
        self.legal = None if over or not self.maker.asks_legal else self._find_legal(info)
        return Told(str(text), legal=self.legal)

    def _find_legal(self, info: Mapping[str, Any]) -> tuple[str, ...] | None:
        env = getattr(self.env, "unwrapped", self.env)
        for key in LEGAL_KEYS:
            found = info.get(key)
            if found is None:
                found = getattr(env, key, None)
                found = self._call(key, found) if callable(found) else found
            if found is None:
                continue
            if isinstance(found, str) or not all(isinstance(item, str) for item in found):
                if key in ("legal_texts", "admissible_commands"):
                    raise self._wrong(key, f"is {_short(found)}: expected a list of strings")
                continue  # numbers of actions, say
            if not found:
                raise self._wrong(key, "is empty: an episode that goes on needs something to say")
            return tuple(found)
        return None

    def _reward(self, value: Any) -> float:
        if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)) or (
            isinstance(value, np.ndarray) and value.size == 1
        ):
            try:
                number = float(value.item() if isinstance(value, np.ndarray) else value)
            except (OverflowError, TypeError, ValueError):
                number = math.nan
            if math.isfinite(number):
                return number
        raise self._wrong("step", f"paid the reward {_short(value)}: expected a finite number")

    def _flag(self, value: Any) -> bool:
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
            return bool(value)
        raise self._wrong("step", f"gave {_short(value)} for whether the episode is over: expected True or False")

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        try:
            return method(*arguments, **keywords)
        except TokenGymError:
            raise
        except Exception as error:  # a stranger's code may raise anything
            said = f" on {_short(arguments[0])}" if arguments else ""
            raise TokenGymError(
                f"environment {self.maker.name!r}: {name}{said} raised {type(error).__name__}: {error}"
            ) from error

    def _wrong(self, call: str, what: str) -> TokenGymError:
        return TokenGymError(f"environment {self.maker.name!r}: {call} {what}")


def _parameters(function: Callable[..., Any]) -> frozenset[str] | None:
    """Gives the names of what a function takes, or None where it takes any."""
    plain = getattr(function, "__func__", function)  # the same one for all objects of a class
    return _parameters_of(plain) if isinstance(plain, types.FunctionType) else _parameters_of.__wrapped__(function)


@functools.lru_cache(64)
def _parameters_of(function: Callable[..., Any]) -> frozenset[str] | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
