"""Environments that no library can copy, copied all the same: by playing a fresh one to the same place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np


class ReplayedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Remembers the seed and the actions of the episode under way; its copies, pickled ones too, are played from them.

    For environments such as MuJoCo's, whose copies forget the episode. A copy is exact where the environment draws from
    its own generator alone and nothing outlives a reset; it takes as long as the episode took so far.
    """

    def __init__(self, env_id: str, arguments: Mapping[str, Any]) -> None:
        """Makes the environment, as `gymnasium.make` takes it."""
        super().__init__(gymnasium.make(env_id, disable_env_checker=True, **arguments))
        self._made = env_id, dict(arguments)
        self._episode: tuple[int | None, list[Any]] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        self._episode = seed, []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step, and remembers it."""
        assert self._episode is not None
        self._episode[1].append(np.copy(action) if isinstance(action, np.ndarray) else action)
        return self.env.step(action)

    def reseed(self, seed: int) -> None:
        """Gives the environment another generator for what comes, and remembers where."""
        assert self._episode is not None
        self._episode[1].append(_Reseeded(seed))
        self.unwrapped.np_random = np.random.default_rng(seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _play, (*self._made, self._episode)


class _Reseeded(NamedTuple):
    """Stands among an episode's actions where the environment was given another generator."""

    seed: int


def _play(env_id: str, arguments: Mapping[str, Any], episode: tuple[int | None, list[Any]] | None) -> ReplayedEnv:
    """Makes the environment again, and brings it to where an episode had come."""
    env = ReplayedEnv(env_id, arguments)
    if episode is not None:
        seed, actions = episode
        env.reset(seed=seed)
        for action in actions:
            if isinstance(action, _Reseeded):
                env.reseed(action.seed)
            else:
                env.step(action)
    return env
