"""The single Gymnasium face of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsInt

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from .checking import TokenGymError, flag, whole_number
from .describing import face_text
from .engine import Engine
from .random import derive_start
from .render import Frames, render_row
from .rows import as_array, only_row
from .saved_state import check_face
from .specification import RecordedSpec
from .task import Task
from .vocabulary import Vocabulary

Observation = dict[str, npt.NDArray[np.int32]]


def make_spaces(task: Task) -> tuple[spaces.Dict, spaces.Discrete]:
    """Returns the observation space and the action space of one environment of `task`."""
    length = task.max_length
    observation_space = spaces.Dict(
        {
            "tokens": spaces.Box(0, task.vocabulary.size - 1, (length,), np.int32),
            "length": spaces.Box(1, length, (1,), np.int32),
        }
    )
    return observation_space, spaces.Discrete(task.vocabulary.num_actions)


class TokenEnv(RecordedSpec, gymnasium.Env[Observation, np.int64]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A task as a `gymnasium.Env` in which one action is one token.

    ## Action space
    `Discrete(A)`: the id of the next token.

    ## Observation space
    `Dict(tokens=Box(0, V − 1, (L,), int32), length=Box(1, L, (1,), int32))`: the sequence that the policy reads, which
    begins with `bos`, padded on the right to the context window L.

    ## Rewards
    The task's, zero for most tokens where a whole turn is rewarded at its end.

    ## Starting state
    Episode k after `reset(seed=s)` starts from `derive_start(s, k)`, so the seed fixes all the episodes to come.

    ## Episode end
    `terminated` when the task ends the episode; `truncated` when the context is full.

    ## Information
    - `action_mask`: which tokens may be said next, int8 of shape (A,), where `action_masks` was asked for.
    - `token_rewards`: after a turn whose tokens the task credits one by one, their rewards, float64 of shape
      (max_turn_tokens,), 0 past the turn's length; they sum to what was paid in the turn.
    - What the task reports beside the reward, under the names that it gives: a float, or what else it reports, in the
      steps that report it.

    ## Version history
    - v0: first version.

    Attributes:
        turn_ended: Whether the last token ended the agent's turn.
    """

    metadata = {"render_modes": ["ansi", "human", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, task: Task, render_mode: str | None = None, action_masks: bool = False) -> None:
        """Makes the environment of a task.

        Args:
            task: The task.
            render_mode: `"ansi"` (`render` returns text), `"human"` (every step is printed), `"rgb_array"` (`render`
                returns a frame: the task's picture, or its observation as a page of text) or None.
            action_masks: Whether infos hold `action_mask`. It costs a vocabulary-wide array a step.
        """
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.engine = Engine(task, 1)
        self.render_mode = render_mode
        self.shows_action_masks = flag("action_masks", action_masks)
        self.observation_space, self.action_space = make_spaces(task)  # pyright: ignore[reportAttributeAccessIssue]
        self._seed: int | None = None
        self._episode = 0
        self._reward: float | None = None
        self.turn_ended = False
        self._frames = Frames(self.engine)

    def __repr__(self) -> str:
        """Returns the task and what else the environment was asked for."""
        return face_text(self)

    @property
    def task(self) -> Task:
        """The task."""
        return self.engine.task

    @property
    def origin(self) -> tuple[int, int] | None:
        """The seed of the episode under way and its number since the reset with that seed, or None before the first.

        `derive_start` of the two is the episode's start.
        """
        return None if self._seed is None else (self._seed, self._episode)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens."""
        return self.engine.task.vocabulary

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns which tokens may be said next, bool of shape (A,): the method that sb3-contrib's `MaskablePPO` calls.

        It is there whether or not infos hold `action_mask`, which the constructor's `action_masks` asks for.
        """
        return self.engine.action_mask()[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict]:
        """Begins the next episode, or with a seed the first one of that seed. There are no options.

        Returns:
            The observation and the info.
        """
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is not None:
            self._seed, self._episode = seed, 0
        elif self._seed is None:
            self._seed, self._episode = int(self.np_random.integers(2**63)), 0
        else:
            self._episode += 1
        self.engine.reset_row(0, derive_start(self._seed, self._episode))
        self._reward, self.turn_ended = None, False
        if self.render_mode == "human":
            print(render_row(self.engine, 0, None))
        return self._observation(), self._info(None)

    def step(self, action: SupportsInt) -> tuple[Observation, float, bool, bool, dict]:
        """Says one token.

        Returns:
            The observation, the reward, whether the task ended the episode, whether it was cut, and the info.

        Raises:
            TokenGymError: If the action is no token id in 0 … A − 1, or no episode is under way.
        """
        if isinstance(action, np.integer):
            action = int(action)
        if type(action) is int:
            result = self.engine.step_row(0, action)
        else:  # an array of one id, or what is none
            result = only_row(self.engine.step(None, as_array("action", action)[None]))
        reward, terminated, truncated, self.turn_ended, credited, columns = result
        self._reward = reward
        if self.render_mode == "human":
            print(render_row(self.engine, 0, self._reward))
        return self._observation(), reward, terminated, truncated, self._info(credited, columns)

    def render(self) -> str | npt.NDArray[np.uint8] | None:  # type: ignore[override]
        """Returns what the render mode asks for.

        Returns:
            In `"ansi"` the observation as text; in `"rgb_array"` a frame, uint8 of shape (height, width, 3), whose size
            stays the same; in `"human"`, where every step was printed already, and without a render mode None.
        """
        if self.render_mode == "rgb_array":
            return self._frames.draw(0, self._reward)
        return render_row(self.engine, 0, self._reward) if self.render_mode == "ansi" else None

    def get_state(self) -> dict[str, Any]:
        """Returns a copy of the episode under way, from which `set_state` continues it."""
        return {
            "engine": self.engine.get_state(0),
            "seed": self._seed,
            "episode": self._episode,
            "reward": self._reward,
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict]:
        """Puts the environment to what `get_state` returned, and returns the observation and the info there.

        Raises:
            TokenGymError: If this is no state of this task; the environment is then as it was.
        """
        check_face(state)
        self.engine.set_state(0, state["engine"])
        self._seed, self._episode, self._reward = state["seed"], state["episode"], state["reward"]
        return self._observation(), self._info(None)

    def close(self) -> None:
        """Closes the task; see `Task.close`."""
        self.task.close()

    def __getstate__(self) -> dict[str, Any]:
        settle_randomness(self)
        return vars(self).copy()

    def _observation(self) -> Observation:
        return {"tokens": self.engine.tokens[0].copy(), "length": self.engine.lengths.copy()}

    def _info(
        self, token_rewards: npt.NDArray[np.float64] | None, columns: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        info: dict[str, Any] = {}
        if self.shows_action_masks:
            info["action_mask"] = self.engine.action_mask()[0].astype(np.int8)
        if token_rewards is not None:
            info["token_rewards"] = pad_rewards(token_rewards, self.task.max_turn_tokens)
        if columns:
            info |= columns
        return info


def check_seed(seed: Any) -> int:
    """Returns a seed as an int, or raises `TokenGymError` where it is no whole number of at least 0."""
    if isinstance(seed, (int, np.integer)) and seed < 0:
        raise TokenGymError(f"seed={seed}: seeds must be at least 0")
    return whole_number("seed", seed)


def settle_randomness(env: gymnasium.Env | gymnasium.vector.VectorEnv) -> None:
    """Gives an environment that was not seeded yet its generators, which otherwise each copy would draw for itself."""
    _ = env.np_random, env.action_space.np_random


def pad_rewards(rewards: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Returns the rewards of a turn's tokens as a fresh array of shape (width,), filled up with zeros."""
    padded = np.zeros(width)
    padded[: len(rewards)] = rewards
    return padded


def check_render_mode(render_mode: str | None, known: list[str]) -> None:
    """Raises `TokenGymError` for a render mode that is neither None nor known."""
    if render_mode is not None and (not isinstance(render_mode, str) or render_mode not in known):
        raise TokenGymError(f"render_mode={render_mode!r}: give one of {', '.join(map(repr, known))}, or None")
