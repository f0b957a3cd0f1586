"""Gym: any Gymnasium environment, token by token."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ..errors import TokenGymError, positive_int
from ..quantise import MU_LIMIT, Grid, digits_needed, from_digits, to_digits
from ..random import CounterRandom
from ..task import Reply, Rows, State, TokenTask, TurnResult
from ..vocabulary import Vocabulary

_MOST_TOKENS = 8192


class Gym(TokenTask):
    """A Gymnasium environment whose observations and actions are tokens.

    **Description.** One turn is one step of the inner environment. Any environment with `Discrete`, `MultiDiscrete`,
    `MultiBinary` and `Box` spaces works; nested spaces have to be flattened first, with Gymnasium's wrappers. Every row
    is an environment object of its own, stepped one after the other: a batched rewrite, such as `CartPole`, is far
    faster.

    **Action space.** A discrete action is one token (`a0`, `a1`, … or `action_names`); a `MultiDiscrete` or
    `MultiBinary` action is one token a component. A `Box` action is written in digit tokens, `digits` of them a value,
    most significant first. A token too high for its component counts as the highest; the mask forbids it.

    **Observation.** Context `"turn"`: `bos` and the digits of the current observation, then the tokens of the action
    under way. Integers are written exactly, with as many digits as their space needs; reals are quantised onto
    `base ** digits` points. Where actions are digits, observations use the same tokens.

    **Rewards.** The inner environment's, at the action's last token.

    **Starting state.** The inner environment's, reset with a seed drawn from the row's random stream.

    **Episode end.** The inner `terminated` is `terminated`; its time limit is `truncated`.

    **Version history.** v0: first version.
    """

    name = "Gym"
    family = "control"
    context = "turn"

    def __init__(
        self,
        env_id: str = "FrozenLake-v1",
        env_kwargs: Mapping[str, Any] | None = None,
        base: int = 10,
        digits: int = 2,
        scale: str = "uniform",
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        action_names: Sequence[str] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Sets the task up.

        Args:
            env_id: The id of the inner environment; `"module:id"` imports the module first.
            env_kwargs: Its arguments.
            base: The digits' base: more gives shorter observations and a larger vocabulary.
            digits: Digits a real value; each more multiplies the precision by `base`.
            scale: How reals are quantised: `"uniform"` or `"mu_law"`, finer near 0 and without need of bounds.
            low: Lower bounds of a real observation, one or one a value. By default the space's own.
            high: Upper bounds. What lies outside is clipped.
            action_names: Names of the action tokens, where actions are not digits.
            max_episode_steps: The inner time limit. By default the environment's own.

        Raises:
            TokenGymError: If the environment cannot be made, has a space that cannot be written in tokens or no time
                limit, or bounds are missing.
        """
        self.env_id = env_id
        self._arguments = dict(env_kwargs or {})
        if max_episode_steps is not None:
            self._arguments["max_episode_steps"] = positive_int("max_episode_steps", max_episode_steps)
        self.base = positive_int("base", base)
        if base < 2:
            raise TokenGymError(f"base={base}: digits need a base of at least 2")
        self.digits = positive_int("digits", digits)
        inner = self._make()
        limit = inner.spec.max_episode_steps if inner.spec is not None else None
        if limit is None:
            raise TokenGymError(f"environment {env_id!r} has no time limit: give max_episode_steps")
        self._observation = _codec(inner.observation_space, "observation", base, digits, scale, low, high)
        self._action = _codec(inner.action_space, "action", base, digits, "uniform", None, None, one_token=True)
        if self._observation.counts.sum() > _MOST_TOKENS:
            raise TokenGymError(
                f"an observation of {env_id!r} takes {self._observation.counts.sum()} tokens, but at most "
                f"{_MOST_TOKENS} are allowed: shrink it with a wrapper, or use a higher base"
            )
        self._action_base = base if self._action.grid is not None else int(self._action.sizes.max())
        self._action_space = inner.action_space
        self.vocabulary, self._first_digit = self._name_tokens(action_names)
        self.max_turn_tokens = int(self._action.counts.sum())
        self.max_length = 1 + int(self._observation.counts.sum()) + self.max_turn_tokens
        self.max_episode_tokens = limit * self.max_turn_tokens
        sizes = np.full(self.max_turn_tokens, base) if self._action.grid is not None else self._action.sizes
        self._legal = np.arange(self.vocabulary.num_actions) < sizes[:, None]
        self.has_action_mask = not bool(self._legal.all())
        self.can_save_state = _can_copy(inner)
        inner.close()

    def make_state(self, num_rows: int) -> State:
        """Returns the rows' environments beside the buffers of their turns."""
        envs = np.full(num_rows, None, object)
        for row in range(num_rows):
            envs[row] = self._make()
        return super().make_state(num_rows) | {"env": envs}

    def begin(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Resets the rows' environments with seeds from their streams and shows the observations."""
        seeds = (random.bits(rows)[:, 0] >> np.uint64(33)).tolist()
        shown = [env.reset(seed=seed)[0] for env, seed in zip(state["env"][rows], seeds, strict=True)]
        return self._show(shown)

    def respond(
        self,
        state: State,
        rows: Rows,
        turn_tokens: npt.NDArray[np.int32],
        counts: npt.NDArray[np.int64],
        random: CounterRandom,
    ) -> TurnResult:
        """Steps the rows' environments with the actions that their turns spell."""
        actions = self.read_actions(turn_tokens)
        results = [env.step(action) for env, action in zip(state["env"][rows], actions, strict=True)]
        shown, rewards, terminated, truncated, _ = zip(*results, strict=True)
        return TurnResult(
            self._show(shown),
            np.array(rewards, np.float64),
            np.array(terminated, np.bool_),
            truncated=np.array(truncated, np.bool_),
        )

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which tokens exist for the action's component that comes next: bool (m, A)."""
        return self._legal[state["turn_counts"][rows]]

    def read_actions(self, tokens: npt.NDArray[np.integer]) -> list[Any]:
        """Gives the inner environment's actions that turns of tokens (m, max_turn_tokens) spell."""
        codec, space = self._action, self._action_space
        indices = from_digits(tokens.astype(np.int64), codec.counts, self._action_base)
        if codec.grid is not None:
            values = codec.grid.decode(indices).astype(space.dtype)
        else:
            values = (np.minimum(indices, codec.sizes - 1) + codec.offsets).astype(space.dtype)
        if isinstance(space, spaces.Discrete):
            return values[:, 0].tolist()
        return list(values.reshape(len(tokens), *(space.shape or ())))

    def read_observations(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Gives the numbers (m, d) that observation tokens (m, tokens of an observation), without `bos`, stand for."""
        codec = self._observation
        indices = from_digits(np.asarray(tokens, np.int64) - self._first_digit, codec.counts, self.base)
        return codec.grid.decode(indices) if codec.grid is not None else (indices + codec.offsets).astype(np.float64)

    def _make(self) -> gymnasium.Env[Any, Any]:
        try:
            return gymnasium.make(self.env_id, disable_env_checker=True, **self._arguments)
        except (gymnasium.error.Error, ImportError, TypeError) as error:
            raise TokenGymError(f"environment {self.env_id!r} cannot be made: {error}") from error

    def _name_tokens(self, action_names: Sequence[str] | None) -> tuple[Vocabulary, int]:
        """Gives the vocabulary, and the id of the observations' digit 0."""
        digits = [str(digit) for digit in range(self.base)]
        if self._action.grid is not None:
            if action_names is not None:
                raise TokenGymError(
                    f"the actions of {self.env_id!r} are digits, which have names: leave out action_names"
                )
            return Vocabulary.of(digits), 0
        names = [f"a{index}" for index in range(self._action_base)] if action_names is None else list(action_names)
        if len(names) != self._action_base:
            raise TokenGymError(f"{len(names)} action_names for {self._action_base} actions: give one for each")
        return Vocabulary.of(names, digits), len(names)

    def _show(self, observations: Sequence[Any]) -> Reply:
        codec = self._observation
        values = np.array([np.asarray(observation).reshape(-1) for observation in observations])
        if codec.grid is not None:
            indices = codec.grid.encode(values)
        else:
            indices = values.astype(np.int64) - codec.offsets
        tokens = (to_digits(indices, codec.counts, self.base) + self._first_digit).astype(np.int32)
        return Reply(tokens, np.full(len(tokens), tokens.shape[1], np.int64), padded=True)


class _Codec(NamedTuple):
    """How d numbers of a space are written: on a grid, or as integers of `sizes` from `offsets`, in `counts` digits."""

    grid: Grid | None
    sizes: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def _codec(
    space: spaces.Space[Any],
    what: str,
    base: int,
    digits: int,
    scale: str,
    low: float | Sequence[float] | None,
    high: float | Sequence[float] | None,
    one_token: bool = False,
) -> _Codec:
    """Decides how a space is written; `one_token` gives every integer one token, whatever its size."""
    if isinstance(space, spaces.Box):
        if math.prod(space.shape) == 0:
            raise TokenGymError(f"the {what} space {space} is empty")
        ends = [np.asarray(end, np.float64).reshape(-1) for end in (space.low, space.high)]
        for index, given in enumerate((low, high)):
            if given is not None:
                given_end = np.asarray(given, np.float64)
                if given_end.shape not in ((), ends[index].shape):
                    raise TokenGymError(
                        f"{'low' if index == 0 else 'high'}={given!r}: give one bound, or {len(ends[index])} of them"
                    )
                ends[index] = np.broadcast_to(given_end, ends[index].shape)
        if what == "action" and not np.isfinite(ends).all():
            raise TokenGymError(f"the action space {space} has no finite bounds: wrap the environment in RescaleAction")
        if scale == "mu_law":
            ends = [np.clip(end, -MU_LIMIT, MU_LIMIT) for end in ends]
        d = len(ends[0])
        return _Codec(
            Grid(ends[0], ends[1], base**digits, scale),
            np.zeros(d, np.int64),
            np.zeros(d, np.int64),
            np.full(d, digits),
        )
    if isinstance(space, spaces.Discrete):
        sizes, offsets = np.array([int(space.n)]), np.array([int(space.start)])
    elif isinstance(space, spaces.MultiDiscrete):
        sizes, offsets = space.nvec.reshape(-1).astype(np.int64), space.start.reshape(-1).astype(np.int64)
    elif isinstance(space, spaces.MultiBinary):
        sizes = np.full(math.prod(space.shape), 2, np.int64)
        offsets = np.zeros_like(sizes)
    else:
        raise TokenGymError(
            f"the {what} space {space} cannot be written in tokens: Discrete, MultiDiscrete, MultiBinary and Box can; "
            "flatten others with gymnasium.wrappers.FlattenObservation or a wrapper of your own"
        )
    return _Codec(None, sizes, offsets, np.ones(len(sizes), np.int64) if one_token else digits_needed(sizes, base))


def _can_copy(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether a copy of the environment goes on as the original does."""
    try:
        env.reset(seed=0)
        copied = copy.deepcopy(env)
        copied.action_space.seed(0)
        action = copied.action_space.sample()
        first, second = env.step(action), copied.step(action)
    except Exception:  # any failure of a stranger's code only means that states cannot be saved
        return False
    return bool(np.array_equal(first[0], second[0], equal_nan=True)) and first[1:4] == second[1:4]
