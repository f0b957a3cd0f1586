"""Judging: the gold and the proxy of what a player says, and how far it has gone from where it began."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...agents import BestOfN, policy_of
from ...agents.chunks import return_free_memory
from ...algorithms import Callback
from ...algorithms.collecting import Observer, Step, play, queue
from ...envs import Engine, Task, derive_start
from ..evaluation import uses_masks
from ..kl_reference import KLReference
from ..transcribing import Writing

GOLD, PROXY = "gold", "proxy"
"""The columns that a task reports around which a reward model stands."""

_ROWS = 128


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a player's completions are worth."""

    gold: float
    """Mean of the task's own reward, which is what is meant."""
    gold_error: float
    """Its standard error."""
    proxy: float | None
    """Mean of the reward model's score; None without one."""
    proxy_error: float | None
    """Its standard error."""
    kl: float | None
    """KL to the tuned model, in nats a completion; None for a player that gives no probabilities."""
    kl_is_bound: bool
    """Whether `kl` is an upper bound: that of best-of-n, log n − (n − 1)/n."""
    length: float
    """Tokens of a completion."""
    episodes: int
    """Completions that were judged."""
    play: str
    """How tokens were chosen: sampled, or greedy where a player has Qs and no policy."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


def judge(player: Any, task: Task, *, episodes: int, seed: int, reference: Any = None) -> Judgement:
    """Play some episodes and judge them.

    Args:
        player: Who is judged: an algorithm, an agent, or a policy.
        task: What is played, with a reward model around it or without.
        episodes: How many.
        seed: Seed of prompts and draws.
        reference: What the KL is measured to.
    """
    greedy = _has_no_policy(player)
    policy = policy_of(player, seed, measured=True)
    masks = uses_masks(player)
    rows = min(_ROWS, episodes)
    engine = Engine(task, rows)
    sums = Sums(task, episodes, rows)
    bound = isinstance(policy, BestOfN)
    to = None
    if reference is not None and not bound and hasattr(policy, "probabilities"):
        to = KLReference(reference, policy, task, masks, greedy).on(engine)
    observers = [sums] if to is None else [sums, to]
    starts = derive_start(seed, np.arange(episodes))
    play(engine, policy, queue(starts), observers, action_masks=masks, deterministic=greedy)
    kl = None if to is None else to.total / episodes
    if isinstance(policy, BestOfN):
        kl = math.log(policy.n) - (policy.n - 1) / policy.n
    proxy = sums.proxy
    return Judgement(
        gold=float(sums.gold.mean()),
        gold_error=_error(sums.gold),
        proxy=None if proxy is None else float(proxy.mean()),
        proxy_error=None if proxy is None else _error(proxy),
        kl=kl,
        kl_is_bound=bound,
        length=float(sums.lengths.mean()),
        episodes=episodes,
        play="greedy" if greedy else "sampled",
    )


def completions(player: Any, task: Task, *, count: int, seed: int) -> list[dict[str, Any]]:
    """Return what a player says from the first starts by which it is judged, as text beside gold and proxy."""
    if not count:
        return []
    greedy, masks = _has_no_policy(player), uses_masks(player)
    engine, sums, starts = Engine(task, count), Sums(task, count, count), derive_start(seed, np.arange(count))
    written = Writing(engine)
    policy = policy_of(player, seed)
    play(engine, policy, queue(starts), [sums, written], action_masks=masks, deterministic=greedy)
    proxy = sums.proxy
    return [
        {
            "start": int(starts[row]),
            "segments": [
                (speaker, task.render_tokens(np.array(ids, np.int32))) for speaker, ids in written.segments[row]
            ],
            "gold": float(sums.gold[row]),
            "proxy": None if proxy is None else float(proxy[row]),
        }
        for row in range(count)
    ]


class Sums(Observer):
    """What each episode was paid and what was reported with it; the k-th that begins plays the k-th start.

    Args:
        task: What is played.
        episodes: How many begin.
        rows: Rows of the engine.

    Attributes:
        returns, lengths: float64 (episodes,).
    """

    def __init__(self, task: Task, episodes: int, rows: int) -> None:
        self.returns, self.lengths = np.zeros((2, episodes))
        self._columns = {name: np.zeros(episodes) for name in (GOLD, PROXY) if name in task.columns}
        self._episode = np.zeros(rows, np.int64)
        self._begun = 0

    @property
    def gold(self) -> np.ndarray:
        """The gold of each episode; the task's own reward where it reports none."""
        return self._columns.get(GOLD, self.returns)

    @property
    def proxy(self) -> np.ndarray | None:
        """The proxy of each episode: what it was paid beside a gold that is reported."""
        return self._columns.get(PROXY, self.returns) if GOLD in self._columns else None

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Note which episode each row plays."""
        self._episode[rows] = np.arange(self._begun, self._begun + len(rows))
        self._begun += len(rows)

    def stepped(self, step: Step) -> None:
        """Add up what was paid and reported."""
        playing = self._episode[step.rows]
        self.returns[playing] += step.result.rewards
        self.lengths[playing] += step.said
        told = step.result.columns or {}
        for name, total in self._columns.items():
            if name in told:
                values = np.nan_to_num(np.asarray(told[name], np.float64))
                total[playing] += values if values.ndim == 1 else values.sum(axis=1)


class JudgeWhileLearning(Callback):
    """Judges a method at even parts of its budget; a checkpoint holds what was found.

    Args:
        judge: Judges the algorithm.
        points: How often, the end included.

    Attributes:
        found: one entry a judgement, in order.
        seconds: how long judging took.
    """

    def __init__(self, judge: Callable[[Any], Judgement], points: int) -> None:
        self.judge, self.points = judge, points
        self.found: list[dict[str, Any]] = []
        self.seconds = 0.0

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool | None:
        """Judge where the next part of the budget is spent."""
        point = int(algorithm.progress * self.points + 1e-9)
        if point > (self.found[-1]["point"] if self.found else 0):
            self._judge(algorithm, point)
        return None

    def conclude(self, algorithm: Any) -> None:
        """Judge the end where it came before the budget was spent, or at once."""
        if not self.found or self.found[-1]["updates"] != algorithm.num_updates:
            self._judge(algorithm, self.points)

    def _judge(self, algorithm: Any, point: int) -> None:
        began = time.perf_counter()
        return_free_memory()  # what the update let go would lie beside what judging takes
        judgement = self.judge(algorithm)
        return_free_memory()
        self.seconds += time.perf_counter() - began
        place = {"point": point, "tokens": algorithm.num_timesteps, "updates": algorithm.num_updates}
        self.found.append({**place, **judgement.to_dict()})

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was found so far."""
        return {}, {"found": self.found, "seconds": self.seconds}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.found, self.seconds = list(data["found"]), float(data["seconds"])


def _has_no_policy(player: Any) -> bool:
    """Whether a player learnt Qs alone, so that what it samples from is not what it learnt."""
    agent = getattr(player, "agent", player)
    return "policy" not in getattr(agent, "heads", ("policy",))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
