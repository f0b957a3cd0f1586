"""Stable-Baselines3's vector environment over the engine, for its algorithms and whatever else is written for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from ...envs import Engine, Task, TokenGymError, derive_start
from ...envs.columns import row_columns
from ...envs.env import Observation, make_spaces
from ..parts import RewardError


class SB3VecEnv(VecEnv):
    """A task as a `stable_baselines3.common.vec_env.VecEnv`: one engine, `num_envs` rows.

    Rows that end start over in the same step, as Stable-Baselines3 expects. Episode k of row i begins from
    ``derive_start(seed + i, k)``, as in the Gymnasium vector environment. The info of a row that ended holds

    - ``terminal_observation``: the observation that it ended with,
    - ``TimeLimit.truncated``: whether it was cut, so that its value must be bootstrapped, and
    - ``episode``: return ``r``, length ``l`` and seconds since construction ``t``, as `Monitor` writes them (and
      `env_is_wrapped` answers so, because nothing is left for a monitor to do).

    and every info what the task reports beside the reward, by its names.

    Masks are handed to algorithms that ask for them (MaskablePPO) by the method ``action_masks``.

    Args:
        task: the task.
        num_envs: number of rows.
        seed: seed of the first reset, until `seed` gives another.
    """

    def __init__(self, task: Task, num_envs: int, seed: int = 0) -> None:
        self.engine = Engine(task, num_envs)
        self.task = task
        super().__init__(num_envs, *make_spaces(task))
        self._row_seeds = seed + np.arange(num_envs)
        self._row_episodes = np.zeros(num_envs, np.int64)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._actions = np.zeros(num_envs, np.int64)
        self._began = time.perf_counter()

    def reset(self) -> Observation:
        """Begin a new episode in every row; rows that `seed` gave a seed count their episodes from 0 again."""
        for row, seed in enumerate(self._seeds):
            if seed is not None:
                self._row_seeds[row] = seed
                self._row_episodes[row] = 0
        self._reset_seeds()
        self._reset_options()
        self._begin(np.arange(self.num_envs))
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._observe()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the tokens to say, integers (num_envs,), until `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Observation, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Say the tokens.

        Returns:
            Observations, float32 rewards (num_envs,), bool dones (num_envs,), and one info a row.

        Raises:
            RewardError: a reward is not finite in float32; the library would learn from it, and lose its weights.
        """
        result = self.engine.step(None, self._actions)
        rewards = result.rewards.astype(np.float32)
        if not np.isfinite(rewards).all():
            row = int(np.flatnonzero(~np.isfinite(rewards))[0])
            raise RewardError(
                f"task {self.task.name!r} paid {rewards[row]:g} (as float32) for token {self._lengths[row]} of an "
                "episode; expected finite numbers: mend the task or its reward."
            )
        self._returns += result.rewards
        self._lengths += 1
        dones = result.terminated | result.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if result.columns is not None:
            infos = [row_columns(result.columns, row) for row in range(self.num_envs)]
        ended = np.flatnonzero(dones)
        if len(ended):
            seconds = time.perf_counter() - self._began
            for row in ended.tolist():
                infos[row] |= {
                    "terminal_observation": {
                        "tokens": self.engine.tokens[row].copy(),
                        "length": self.engine.lengths[row : row + 1].copy(),
                    },
                    "TimeLimit.truncated": bool(result.truncated[row]),
                    "episode": {"r": float(self._returns[row]), "l": int(self._lengths[row]), "t": seconds},
                }
            self._begin(ended)
        return self._observe(), rewards, dones, infos

    def close(self) -> None:
        """Nothing is held that needs closing."""

    def action_masks(self) -> np.ndarray:
        """Return which tokens may be said: bool (num_envs, A)."""
        return self.engine.action_mask()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the task once a row.

        Raises:
            AttributeError: the task has no such attribute.
        """
        rows = list(self._get_indices(indices))
        if attr_name == "render_mode":
            return [None] * len(rows)
        if attr_name == "action_masks":  # asked for only to see whether there is such a method
            return [self.action_masks] * len(rows)
        return [getattr(self.task, attr_name)] * len(rows)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: rows share one task, so that none can have an attribute of its own."""
        raise TokenGymError(
            f"{attr_name} cannot be set to {value!r}: all rows share one task; build the task with other arguments"
        )

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method for some rows; ``action_masks`` is the one that there is.

        Raises:
            AttributeError: another name.
        """
        if method_name != "action_masks":
            raise AttributeError(f"rows of an engine have no method {method_name!r}, only 'action_masks'")
        masks = self.action_masks()
        return [masks[row] for row in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """Return True for `Monitor`, whose infos are given here, and False for every other wrapper."""
        return [issubclass(wrapper_class, Monitor)] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return no images: tokens are rendered as text, by `TokenEnv`."""
        return [None] * self.num_envs

    def _begin(self, rows: np.ndarray) -> None:
        self.engine.reset(rows, derive_start(self._row_seeds[rows], self._row_episodes[rows]))
        self._row_episodes[rows] += 1
        self._returns[rows] = 0.0
        self._lengths[rows] = 0

    def _observe(self) -> Observation:
        """Copy the live buffers: Stable-Baselines3 stores the last observation after the next step."""
        return {"tokens": self.engine.tokens.copy(), "length": self.engine.lengths[:, None].copy()}
