"""The vector Gymnasium face of the engine, which resets an ended row in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from .checking import TokenGymError, flag, positive_int
from .columns import reported
from .describing import face_text
from .engine import Engine, StepResult
from .env import Observation, check_render_mode, check_seed, make_spaces, pad_rewards, settle_randomness
from .random import derive_start
from .render import Frames, render_row
from .specification import RecordedSpec
from .task import Task
from .vocabulary import Vocabulary

_SEED_MASK = (1 << 64) - 1


class TokenVectorEnv(  # pyright: ignore[reportIncompatibleVariableOverride]
    RecordedSpec, gymnasium.vector.VectorEnv[Observation, npt.NDArray[np.int64], np.ndarray]
):
    """A batch of environments of one task in one engine, with autoreset in the same step.

    It gives what `gymnasium.vector.SyncVectorEnv` of as many `TokenEnv`s gives in `AutoresetMode.SAME_STEP`, for the
    same seeds and actions: a row whose episode ended returns the next episode's first observation, and its last one in
    `info["final_obs"]`, with its last info in `info["final_info"]`. An integer seed s gives row i the seed s + i.

    Observations, actions and infos are those of `TokenEnv`, batched.
    """

    def __init__(
        self,
        num_envs: int,
        task: Task,
        render_mode: str | None = None,
        action_masks: bool = False,
        max_episode_steps: int | None = None,
    ) -> None:
        """Makes the environments.

        Args:
            num_envs: The number of environments (n).
            task: The task, shared by all.
            render_mode: `"ansi"` (`render` returns one text a row), `"rgb_array"` (one frame a row) or None.
            action_masks: Whether infos hold `action_mask`, int8 of shape (n, A).
            max_episode_steps: A user's time limit, after which an episode is truncated; None for no limit.
        """
        modes = ["ansi", "rgb_array"]
        self.metadata = {"render_modes": modes, "render_fps": 4, "autoreset_mode": AutoresetMode.SAME_STEP}
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs = positive_int("num_envs", num_envs)
        self.engine = Engine(task, num_envs)
        self.render_mode = render_mode
        self._frames = Frames(self.engine)
        self.shows_action_masks = flag("action_masks", action_masks)
        self.max_episode_steps = (
            None if max_episode_steps is None else positive_int("max_episode_steps", max_episode_steps)
        )
        self.single_observation_space, self.single_action_space = make_spaces(task)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._everywhere = np.ones(num_envs, np.bool_)
        self._seeds: npt.NDArray[np.uint64] | None = None
        self._episodes = np.zeros(num_envs, np.int64)
        self._elapsed = np.zeros(num_envs, np.int64)
        self._rewards = np.zeros(num_envs)
        self._begun = np.ones(num_envs, np.bool_)  # rows that show an episode's first observation

    def __repr__(self) -> str:
        """Returns the task and what else the environment was asked for."""
        return face_text(self, num_envs=self.num_envs, max_episode_steps=self.max_episode_steps)

    @property
    def task(self) -> Task:
        """The task."""
        return self.engine.task

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens."""
        return self.engine.task.vocabulary

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins the next episode in every row, or with seeds the first one of each.

        Args:
            seed: None, one integer s (row i gets s + i), or one integer or None for each row.
            options: May hold `reset_mask`, bool of shape (n,): the rows to reset; the others go on.

        Returns:
            The observations and the infos.
        """
        seeds = _row_seeds(seed, self.num_envs)
        if options is not None and not isinstance(options, dict):
            raise TokenGymError(f"options={options!r}: give a dictionary or None")
        chosen = self._everywhere if options is None else _reset_mask(options.get("reset_mask"), self.num_envs)
        super().reset(seed=int(seed) if isinstance(seed, (int, np.integer)) else None)
        if self._seeds is None:
            self._seeds = self.np_random.integers(2**63, size=self.num_envs).astype(np.uint64)
            self._episodes[:] = -1
        self._episodes[chosen] += 1
        for row, row_seed in enumerate(seeds):
            if row_seed is not None and chosen[row]:
                self._seeds[row] = row_seed & _SEED_MASK
                self._episodes[row] = 0
        self._begin(np.flatnonzero(chosen))
        self._begun |= chosen
        return self._observation(), self._info(chosen, None)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns which tokens each environment may say next, bool of shape (n, A).

        It is there whether or not infos hold `action_mask`, which the constructor's `action_masks` asks for.
        """
        return self.engine.action_mask()

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Observation, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Says one token in every row, and resets the rows whose episode that ended.

        Returns:
            The observations, rewards, terminations, truncations and infos.

        Raises:
            TokenGymError: If an action is no token id in 0 … A − 1.
        """
        result = self.engine.step(None, actions)
        terminated, truncated = result.terminated, result.truncated
        if self.max_episode_steps is not None:
            self._elapsed += 1
            truncated = truncated | (self._elapsed >= self.max_episode_steps)
        self._rewards = result.rewards
        self._begun = over = terminated | truncated
        if not np.count_nonzero(over):
            return self._observation(), result.rewards, terminated, truncated, self._info(self._everywhere, result)
        rows = np.flatnonzero(over)
        infos = {
            "final_obs": self._final_observations(rows),
            "_final_obs": over.copy(),
            "final_info": self._info(over, result),
            "_final_info": over.copy(),
        }
        self._episodes[rows] += 1
        self._begin(rows)
        infos |= self._info(self._everywhere, result, ~over)
        return self._observation(), result.rewards, terminated, truncated, infos

    def render(self) -> tuple[str, ...] | tuple[npt.NDArray[np.uint8], ...] | None:  # type: ignore[override]
        """Returns one text a row in render mode `"ansi"`, one frame a row in `"rgb_array"`, else None.

        Frames are uint8 of shape (height, width, 3), all of one size.
        """
        if self.render_mode is None:
            return None
        rewards = [
            None if begun else reward
            for reward, begun in zip(self._rewards.tolist(), self._begun.tolist(), strict=True)
        ]
        if self.render_mode == "rgb_array":
            return tuple(self._frames.draw(row, reward) for row, reward in enumerate(rewards))
        return tuple(render_row(self.engine, row, reward) for row, reward in enumerate(rewards))

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the task; see `Task.close`."""
        self.task.close()

    def __getstate__(self) -> dict[str, Any]:
        settle_randomness(self)
        return vars(self).copy()

    def _begin(self, rows: npt.NDArray[np.intp]) -> None:
        """Begins the episodes that `rows` have come to."""
        assert self._seeds is not None
        self._elapsed[rows] = 0
        self.engine.reset(rows, derive_start(self._seeds[rows], self._episodes[rows]))

    def _observation(self) -> Observation:
        return {"tokens": self.engine.tokens.copy(), "length": self.engine.lengths[:, None].copy()}

    def _final_observations(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.object_]:
        """Returns the observations of ended rows as Gymnasium wants them: one dictionary a row, None elsewhere."""
        final = np.full(self.num_envs, None, dtype=object)
        tokens, lengths = self.engine.tokens[rows], self.engine.lengths[rows][:, None]
        final[rows] = [
            {"tokens": row_tokens, "length": row_length} for row_tokens, row_length in zip(tokens, lengths, strict=True)
        ]
        return final

    def _info(
        self, rows: npt.NDArray[np.bool_], result: StepResult | None, credited: npt.NDArray[np.bool_] | None = None
    ) -> dict[str, Any]:
        """Returns the infos of the rows of a mask, in the form of `VectorEnv._add_info`.

        Args:
            rows: The rows that have an info, bool of shape (n,).
            result: The step that it is about, or None after a reset.
            credited: The rows whose token rewards and columns it may hold, or None for `rows`.
        """
        infos: dict[str, Any] = {}
        if self.shows_action_masks:
            masks = self.engine.action_mask().astype(np.int8)
            masks[~rows] = 0
            infos |= {"action_mask": masks, "_action_mask": rows.copy()}
        if result is not None and result.token_rewards is not None:
            width = self.task.max_turn_tokens
            values, present = np.zeros((self.num_envs, width)), np.zeros(self.num_envs, np.bool_)
            allowed = rows if credited is None else credited
            for row, rewards in zip(np.flatnonzero(result.turn_ended).tolist(), result.token_rewards, strict=True):
                if rewards is not None and allowed[row]:
                    values[row], present[row] = pad_rewards(rewards, width), True
            if present.any():
                infos |= {"token_rewards": values, "_token_rewards": present}
        if result is not None and result.columns is not None:
            allowed = rows if credited is None else credited
            for name, column in result.columns.items() if np.count_nonzero(allowed) else ():
                there = reported(column) & allowed
                if np.count_nonzero(there):  # several times faster than any() on a small array
                    nothing: Any = 0.0 if column.dtype.kind == "f" else None
                    infos[name] = np.where(there, column, nothing)
                    infos[f"_{name}"] = there
        return infos


def _row_seeds(seed: Any, num_envs: int) -> Sequence[int | None]:
    """Returns one seed or None for each row."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        first = check_seed(seed)
        return [first + row for row in range(num_envs)]
    if not isinstance(seed, (list, tuple, np.ndarray)):
        raise TokenGymError(f"seed={seed!r}: give one integer, or one integer or None for each environment")
    if len(seed) != num_envs:
        raise TokenGymError(f"{len(seed)} seeds for {num_envs} environments: give one for each, or one int")
    return [None if row_seed is None else check_seed(row_seed) for row_seed in seed]


def _reset_mask(mask: Any, num_envs: int) -> npt.NDArray[np.bool_]:
    """Returns the rows to reset, after checking the mask that a caller gave."""
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise TokenGymError(f"reset_mask={mask!r}: give a bool array of shape ({num_envs},) with at least one True")
    return mask
