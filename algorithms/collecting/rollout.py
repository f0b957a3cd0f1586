"""Rollouts: a queue of starts, worked off by the rows of the engine as they come free."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ...agents import Policy
from ...agents.session import Rows
from ...envs import Engine, Task, TokenGymError, derive_start
from ...envs.checking import Count, Seed, checked
from ..data import Episodes
from .branching import Branches
from .playing import Beginnings, play
from .recording import Recording


class Collector:
    """Plays whole episodes, many side by side.

    A collection starts episodes until they are expected to fill its budget, and finishes every one that it started.
    Whether an episode is started never depends on how it goes, so short episodes are not favoured, as they would be
    if a collection were cut at a number of tokens. No episode is carried over an update, so neither cached keys nor
    log-probabilities are ever older than the weights; between collections the state is two numbers.

    Args:
        task: what to play.
        num_rows: episodes played side by side.
        seed: of the starts; the k-th group of this seed has the same start in every run.
        group_size: episodes that share a start. Each draws what comes after the start from a stream of its own, so that
            where there is chance they are independent of one another.
        action_masks: ask the task for legal tokens, and record them.
        token_rewards: credit rewards that a task gives a token at the end of a turn to those tokens.
        numbers: the dtype of rewards and log-probabilities.

    Attributes:
        num_tokens: agent tokens drawn since it was made, those included that a policy drew and did not say.
        num_episodes: episodes finished since it was made.
    """

    @checked
    def __init__(
        self,
        task: Task,
        *,
        num_rows: Rows,
        seed: Seed,
        group_size: Count = 1,
        action_masks: bool = False,
        token_rewards: bool = True,
        numbers: Literal["float32", "float64"] = "float32",
    ) -> None:
        self.task = task
        self.engine = Engine(task, num_rows)
        self.num_rows = num_rows
        self.seed = seed
        self.group_size = group_size
        self.action_masks = action_masks
        self.token_rewards = token_rewards
        self.numbers = np.dtype(numbers)
        self.groups_started = 0
        self.expected_length: float | None = None
        self.num_tokens = 0
        self.num_episodes = 0

    @checked
    def collect(
        self,
        policy: Policy,
        *,
        num_tokens: Count | None = None,
        num_episodes: Count | None = None,
    ) -> Episodes:
        """Play whole episodes until a budget of tokens or of episodes is met.

        Args:
            policy: who acts.
            num_tokens: agent tokens to aim at; episodes are started while the tokens of the finished ones and the
                expected tokens of the running ones fall short of it (groups are never split).
            num_episodes: the exact number of episodes, a multiple of the group size.

        Returns:
            The episodes in the order in which they were started.

        Raises:
            TokenGymError: not exactly one budget, or one that is not positive.
        """
        if (num_tokens is None) == (num_episodes is None):
            raise TokenGymError(f"num_tokens is {num_tokens} and num_episodes is {num_episodes}; expected one of them.")
        if num_episodes is not None and num_episodes % self.group_size:
            raise TokenGymError(f"num_episodes is {num_episodes}; expected a multiple of group_size {self.group_size}.")
        recording = Recording(self.engine, self.task, self.action_masks, self.token_rewards, self.numbers)
        waiting: list[tuple[int, int]] = []
        streams: list[np.ndarray] = []

        def more(free: int) -> Beginnings:
            starts, own = self._more(free, recording, waiting, num_tokens, num_episodes)
            if own is not None:
                streams.append(own)
            return starts, own

        self.num_tokens += play(
            self.engine,
            policy,
            more,
            [recording],
            action_masks=self.action_masks,
        )
        self.num_episodes += recording.episodes_finished
        self.expected_length = recording.tokens_finished / recording.episodes_finished
        episodes = recording.episodes()
        return replace(episodes, streams=np.concatenate(streams)) if streams else episodes

    @checked
    def collect_from(self, policy: Policy, starts: np.ndarray, count: Count) -> Episodes:
        """Play ``count`` episodes from each of some starts, such as those of a collection, and count what they cost.

        What is drawn after the start comes from streams that no group of a collection has.

        Args:
            policy: who acts.
            starts: uint64 (m,).
            count: episodes a start.

        Returns:
            The m × ``count`` episodes, those of one start together.
        """
        recording = Recording(self.engine, self.task, self.action_masks, self.token_rewards, self.numbers)
        repeated = np.repeat(np.asarray(starts, np.uint64), count)
        members = np.tile(np.arange(count, dtype=np.uint64), len(starts)) + np.uint64(1 << 32)
        streams = derive_start(repeated, members)
        given = 0

        def more(free: int) -> Beginnings:
            nonlocal given
            given += free
            return repeated[given - free : given], streams[given - free : given]

        self.num_tokens += play(self.engine, policy, more, [recording], action_masks=self.action_masks)
        self.num_episodes += recording.episodes_finished
        return replace(recording.episodes(), streams=streams)

    @checked
    def branch(
        self, policy: Policy, episodes: Episodes, episode: np.ndarray, step: np.ndarray, count: Count
    ) -> Episodes:
        """Play on from states that were played through, several times from each, with draws of their own.

        A state is entered again by its episode's start and stream, and by saying what was said, which costs nothing;
        the tokens that are drawn from there on are counted. Nothing that is drawn belongs to the collector's own
        sequence of starts.

        Args:
            policy: who goes on.
            episodes: what this collector played.
            episode: int (P,), the episode of each state.
            step: int (P,), how many of its tokens were said before it: less than it has.
            count: K, how often each is played on from.

        Returns:
            P·K whole episodes, those of a state next to one another, whose first ``step`` tokens are what was said.

        Raises:
            TokenGymError: the task cannot save its state, so that its rows cannot be given draws of their own.
        """
        number = np.tile(np.arange(count), len(episode))
        branches = Branches(self.engine, policy, episodes, np.repeat(episode, count), np.repeat(step, count), number)
        recording = Recording(self.engine, self.task, self.action_masks, self.token_rewards, self.numbers)
        self.num_tokens += play(
            self.engine, branches, branches.more, [recording, branches], action_masks=self.action_masks
        )
        return recording.episodes()

    def _more(
        self,
        free: int,
        recording: Recording,
        waiting: list[tuple[int, int]],
        num_tokens: int | None,
        num_episodes: int | None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return beginnings for at most so many free rows, as far as the budget asks for more."""
        if num_episodes is not None:
            wanted = num_episodes - recording.episodes_started - len(waiting)
        else:
            assert num_tokens is not None
            running = recording.episodes_started - recording.episodes_finished + len(waiting)
            expected = self._expected_length(recording)
            wanted = math.ceil((num_tokens - recording.tokens_finished - running * expected) / expected)
        groups = math.ceil(min(wanted, free - len(waiting)) / self.group_size)
        if groups > 0:
            numbers = np.arange(self.groups_started, self.groups_started + groups, dtype=np.uint64)
            self.groups_started += groups
            waiting.extend(self._beginnings(numbers))
        starts, streams = np.array(waiting[:free], np.uint64).reshape(-1, 2).T
        del waiting[:free]
        return starts, None if self.group_size == 1 else streams

    def _beginnings(self, groups: np.ndarray) -> list[tuple[int, int]]:
        """Return the start and the stream of each member of some groups: an episode alone needs none of its own."""
        starts = np.repeat(derive_start(self.seed, groups), self.group_size)
        members = np.tile(np.arange(self.group_size, dtype=np.uint64), len(groups))
        return list(zip(starts.tolist(), derive_start(starts, members).tolist(), strict=True))

    def _expected_length(self, recording: Recording) -> float:
        """The mean length in the last collection; in the first one of what has ended, or the longest there can be."""
        if self.expected_length is not None:
            return self.expected_length
        if recording.episodes_finished:
            return recording.tokens_finished / recording.episodes_finished
        return float(self.task.max_episode_tokens)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (tensors, JSON-able data) from which `load_state` goes on."""
        return {}, {"groups_started": self.groups_started, "expected_length": self.expected_length}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Go on from a saved `state`."""
        self.groups_started = int(data["groups_started"])
        self.expected_length = data["expected_length"]
