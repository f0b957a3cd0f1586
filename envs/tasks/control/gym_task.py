"""Gym: any Gymnasium environment, token by token."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils import EzPickle
from gymnasium.utils.env_checker import data_equivalence

from ...checking import TokenGymError, check_import, positive_int, unknown_name
from ...continuous import SCALES, SpaceCodec, to_digits
from ...outcomes import TurnResult
from ...random import CounterRandom
from ...task import Reply, Rows, State
from ...token_task import TokenTask
from ...vocabulary import Vocabulary
from .replayed_env import ReplayedEnv

FROZEN_LAKE_RETURNS = (0.0139398, 0.7441903)
"""Random and optimal return of the default inner environment: those of the exactly solved `FrozenLake`."""
_MOST_TOKENS = 8192
_MOST_EXPLAINED = 16  # numbers of an observation
_MOST_NAMED = 65_536
_MOST_POINTS = 2**53
"""Up to here float64 tells the points of a grid apart."""


class Gym(TokenTask):
    """Any Gymnasium environment, token by token.

    ## Description
    One turn is one step of the inner environment. `Discrete`, `MultiDiscrete`, `MultiBinary` and `Box` spaces can be
    written in tokens, and `Dict` and `Tuple` spaces of them, which are flattened; what cannot be (`Text`, `Graph`, …)
    is refused with the place where it stands. It isolates nothing of its own: it is the door for the environments that
    exist already. Mirrors RT-2, which writes each value as one of 256 tokens, and Gato, whose μ-law needs no bounds.

    Every row is an environment object of its own, stepped one after the other: a batched rewrite, such as `CartPole`,
    is far faster. States can be saved where the inner environment can be copied, or a fresh one can be played to the
    same place, as MuJoCo's can; both are tried when it is made.

    ## Action space
    A `Discrete` action is one token (`a0`, `a1`, … or `action_names`); of a `MultiDiscrete` or `MultiBinary` action
    every component is one. Where there are reals, actions are written in digit tokens, `digits` of them a real, most
    significant first, and the step is made at the last. A number too high for its component counts as the highest; the
    mask forbids tokens that no number has in their place.

    ## Observation space
    `[<bos>, digits…, tokens of the action under way…]` in context "turn". Integers are written exactly, with as many
    digits as their space needs; reals as the nearest of `base ** digits` points. Where actions are digits, observations
    use the same tokens.

    ## Rewards
    The inner environment's, at the action's last token. The default's random and optimal return are those of
    `FrozenLake`.

    ## Starting state
    The inner environment's, reset with a seed drawn from the row's stream, so equal starts give equal episodes.

    ## Episode end
    The inner `terminated` is terminated; its time limit is truncated.

    ## Information
    No keys of its own.

    ## Arguments
    * `env_id="FrozenLake-v1"`: the id of the inner environment; `"module:id"` imports the module first.
    * `env_kwargs=None`: its arguments. With `{"render_mode": "rgb_array"}` frames are the inner environment's own.
    * `base=10`: the digits' base: more gives shorter observations and a larger vocabulary.
    * `digits=2`: digits of a real; each more multiplies the precision by `base`.
    * `scale="uniform"`: how reals are quantised: `"uniform"`, or `"mu_law"`, finer near 0 and without need of bounds.
    * `low=None`, `high=None`: bounds of the observed reals, one or one a real in the order of the flattened space; by
      default the space's own. What lies outside is clipped.
    * `action_names=None`: names of the action tokens, where actions are not digits.
    * `max_episode_steps=None`: the time limit; by default the environment's own.

    ## References
    Brohan et al., "RT-2: Vision-Language-Action Models Transfer Web Knowledge to Robotic Control", 2023. Reed et al.,
    "A Generalist Agent", 2022.

    ## Version history
    * v0: first release.
    """

    name = "Gym"
    family = "control"
    context = "turn"
    isolates = "what the inner environment does"
    mirrors = "RT-2 and Gato"
    value_names: tuple[str, ...] = ()
    """Names of the observed numbers for people, "" for one that they need not see; () where nothing is known."""
    component_names: tuple[str, ...] = ()
    """Names of the action's components, or ()."""

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
        self.env_id = env_id
        self._replays = False
        if env_kwargs is not None and not isinstance(env_kwargs, Mapping):
            raise TokenGymError(
                f"env_kwargs={env_kwargs!r}: give a mapping from the names of arguments to their values"
            )
        self._arguments = dict(env_kwargs or {})
        if max_episode_steps is not None:
            self._arguments["max_episode_steps"] = positive_int("max_episode_steps", max_episode_steps)
        self.base = positive_int("base", base, _MOST_NAMED)
        if base < 2:
            raise TokenGymError(f"base={base}: digits need a base of at least 2")
        self.digits = positive_int("digits", digits)
        # By logarithm: the power itself may be astronomically large.
        if self.digits * math.log(self.base) > math.log(_MOST_POINTS):
            raise TokenGymError(
                f"base={base}, digits={digits}: a real can have at most {_MOST_POINTS} points: use fewer"
            )
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        inner = self._make()
        limit = inner.spec.max_episode_steps if inner.spec is not None else None
        if limit is None:
            raise TokenGymError(f"environment {env_id!r} has no time limit: give max_episode_steps")
        self._observation = SpaceCodec(inner.observation_space, "observation", base, digits, scale, low, high)
        self._action = SpaceCodec(inner.action_space, "action", base, digits)
        if self._observation.num_tokens > _MOST_TOKENS:
            raise TokenGymError(
                f"an observation of {env_id!r} takes {self._observation.num_tokens} tokens, but at most "
                f"{_MOST_TOKENS} are allowed: shrink it with a wrapper, or use a higher base"
            )
        self.vocabulary, self._first_digit = self._name_tokens(action_names)
        self.max_turn_tokens = self._action.num_tokens
        self.max_length = 1 + self._observation.num_tokens + self.max_turn_tokens
        self.max_episode_tokens = limit * self.max_turn_tokens
        self._legal = self._action.possible
        self.has_action_mask = not bool(self._legal.all())
        self.can_save_state = _can_copy(inner)
        if not self.can_save_state and isinstance(inner.unwrapped, EzPickle):
            # Its copies are fresh ones, which forget the episode.
            self._replays = True
            self.can_save_state = self._replays = _can_copy(self._make())
        if env_id == "FrozenLake-v1" and not self._arguments:
            self.random_return, self.optimal_return = FROZEN_LAKE_RETURNS
        inner.close()

    def make_state(self, num_rows: int) -> State:
        """Returns the rows' environments beside the buffers of their turns."""
        envs = np.full(num_rows, None, object)
        for row in range(num_rows):
            envs[row] = self._make()
        return super().make_state(num_rows) | {"env": envs}

    def check_saved(self, state: State, saved: Any, over: bool) -> None:
        """Raises `TokenGymError` where `restore` would be given what is no state of this task; see `Task`."""
        super().check_saved(state, saved, over)
        env = saved["env"]
        if not isinstance(env, gymnasium.Env) or type(env.unwrapped) is not type(state["env"][0].unwrapped):
            raise TokenGymError(f"the state's 'env' is {str(env)[:60]!r}: it is no environment {self.env_id!r}")

    def reseed(self, state: State, rows: Rows, random: CounterRandom) -> None:
        """Lets the rows' environments draw from fresh generators; see `Task.reseed`.

        Of an environment that cannot be copied only Gymnasium's own `np_random` is known.
        """
        if self.can_save_state and not self._replays:
            super().reseed(state, rows, random)
            return
        for env, seed in zip(state["env"][rows], random.bits(rows)[:, 0].tolist(), strict=True):
            if isinstance(env, ReplayedEnv):
                env.reseed(seed)
            else:
                env.unwrapped.np_random = np.random.default_rng(seed)

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
        shown, paid, terminated, truncated, _ = zip(*results, strict=True)
        rewards = np.array(paid, np.float64)
        if not np.isfinite(rewards).all():
            wrong = paid[int(np.flatnonzero(~np.isfinite(rewards))[0])]
            raise TokenGymError(f"environment {self.env_id!r} paid the reward {wrong!r}: it must be a finite number")
        return TurnResult(
            self._show(shown),
            rewards,
            np.array(terminated, np.bool_),
            truncated=np.array(truncated, np.bool_),
        )

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which tokens exist for the action's component that comes next: bool (m, A)."""
        return self._legal[state["turn_counts"][rows]]

    def read_actions(self, tokens: npt.NDArray[np.integer]) -> list[Any]:
        """Gives the inner environment's actions that turns of tokens (m, max_turn_tokens) spell."""
        return self._action.decode(tokens)

    def write_observations(self, observations: Sequence[Any]) -> npt.NDArray[np.int32]:
        """Writes m observations of the inner environment as they are shown, without `bos`: (m, tokens of one)."""
        return (self._observation.encode(observations) + self._first_digit).astype(np.int32)

    def write_actions(self, actions: Sequence[Any]) -> npt.NDArray[np.int32]:
        """Writes m actions of the inner environment as they are said: (m, max_turn_tokens)."""
        return self._action.encode(actions).astype(np.int32)

    def read_observations(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Gives the numbers (m, d) that observation tokens (m, tokens of an observation), without `bos`, stand for."""
        return self._observation.decode_numbers(np.asarray(tokens, np.int64) - self._first_digit)

    def legend(self, tokens: npt.NDArray[np.integer]) -> list[str]:
        """Returns the numbers that were written, and what the next token of a number stands for."""
        width = self._observation.num_tokens
        numbers = self.read_observations(np.asarray(tokens)[None, 1 : 1 + width])[0].tolist()
        names = self.value_names or ("",) * len(numbers)
        told = [
            f"{name} {number:.3g}".strip()
            for name, number in zip(names, numbers, strict=True)
            if name or not self.value_names
        ]
        more = " …" if len(told) > _MOST_EXPLAINED else ""
        seen = f"seen: {', '.join(told[:_MOST_EXPLAINED])}{more}"
        asked = self._asked(len(tokens) - 1 - width)
        return [seen, asked] if asked else [seen]

    def _asked(self, said: int) -> str:
        """Returns what is to be said after so many tokens of a turn; "" where its name tells."""
        action = self._action
        components, part = len(action.counts), int(np.searchsorted(np.cumsum(action.counts), said, side="right"))
        name = self.component_names[part] if self.component_names else f"number {part + 1} of {components}"
        named = [name] if self.component_names or components > 1 else []
        if action.named:
            return f"next: {name}" if named else ""
        low, high = (float(end[part]) for end in action.ends)
        count = int(action.counts[part])
        if count > 1:
            named.append(f"digit {said - int(action.counts[:part].sum()) + 1} of {count}")
        last = to_digits(action.sizes[None, part : part + 1] - 1, action.counts[part : part + 1], action.base)[0]
        ends = f"{' '.join('0' * count)} … {' '.join(map(str, last.tolist()))}"
        return f"next: {', '.join(named) or 'the action'}; {ends} stand for {low:.4g} … {high:.4g}"

    def frame(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8] | None:
        """Returns the inner environment's own frame, if it was made with `render_mode="rgb_array"` in `env_kwargs`."""
        env = state["env"][row]
        if env.render_mode != "rgb_array":
            return super().frame(state, row, tokens)
        return np.array(env.render(), np.uint8)

    def _make(self) -> gymnasium.Env[Any, Any]:
        self._check_source()
        try:
            if self._replays:
                return ReplayedEnv(self.env_id, self._arguments)
            return gymnasium.make(self.env_id, disable_env_checker=True, **self._arguments)
        except Exception as error:  # a stranger's constructor may raise anything
            told = {name: value for name, value in self._arguments.items() if name != "max_episode_steps"}
            given = f" with env_kwargs={told}" if told else ""
            raise TokenGymError(
                f"environment {self.env_id!r} cannot be made{given}: {type(error).__name__}: {error}; give the id "
                "and the arguments with which gymnasium.make makes it"
            ) from error

    def _check_source(self) -> None:
        """Refuses, where a file names the inner environment, what Gymnasium or an environment would import for it."""
        module, _, _ = str(self.env_id).rpartition(":")
        if module:
            check_import("environment", self.env_id, module)
        spec = gymnasium.registry.get(self.env_id) if isinstance(self.env_id, str) else None
        entry = "" if spec is None else spec.entry_point
        maker = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
        # Gymnasium's own and ours read their arguments as data; what another package does with them nobody knows.
        if maker and maker.partition(".")[0] not in ("gymnasium", "tokengym"):
            check_import("environment", self.env_id, maker)

    def _name_tokens(self, action_names: Sequence[str] | None) -> tuple[Vocabulary, int]:
        """Gives the vocabulary, and the id of the observations' digit 0."""
        digits = [str(digit) for digit in range(self.base)]
        if not self._action.named:
            if action_names is not None:
                raise TokenGymError(
                    f"the actions of {self.env_id!r} are digits, which have names: leave out action_names"
                )
            return Vocabulary.of(digits), 0
        count = self._action.base
        if action_names is not None and not isinstance(action_names, (list, tuple)):
            raise TokenGymError(f"action_names={action_names!r}: give a list of {count} names")
        names = [f"a{index}" for index in range(count)] if action_names is None else list(action_names)
        if len(names) != count:
            raise TokenGymError(f"{len(names)} action_names for {count} actions: give one for each")
        return Vocabulary.of(names, digits), len(names)

    def _show(self, observations: Sequence[Any]) -> Reply:
        tokens = self.write_observations(observations)
        return Reply(tokens, np.full(len(tokens), tokens.shape[1], np.int64), padded=True)


def _can_copy(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether a copy of the environment goes on as the original does, in a later episode and within it."""
    try:
        env.action_space.seed(0)
        ended = True
        for seed in range(3):
            if ended or seed == 1:
                env.reset(seed=seed)
            if env.render_mode == "rgb_array":
                env.render()  # canvases, which few libraries can copy, come with the first frame
            ended = seed < 2 and any(env.step(env.action_space.sample())[2:4])
        copied = copy.deepcopy(env)
        for _ in range(3):
            action = env.action_space.sample()
            first, second = env.step(action), copied.step(action)
            if not data_equivalence(first[:4], second[:4], exact=True):
                return False
            if first[2] or first[3]:
                break
    except Exception:  # any failure of a stranger's code only means that states cannot be saved
        return False
    return True
