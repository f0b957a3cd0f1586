"""The scores of the suite and one example episode of each environment, computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from ...agents import Act, ExpertPlayer, Policy
from ...algorithms.collecting import Observer, Step, play, queue
from ...envs import Engine, FiniteTask, Picture, Solution, Task, TooManyNodesError, derive_start, solve
from ...envs.scores import BETA, SuiteScores
from ..scripted import Optimum, Script
from ..transcribing import Writing

SEED = 0
"""Examples are episode 0 of this seed."""
_MOST_NODES = 1_000_000
_MOST_TURNS, _MOST_TOKENS = 16, 240
"""Where examples are cut."""
_FRAMES = 4
EPISODES = 2_000
"""Episodes that a return is measured over where neither the solver nor the task knows it."""
_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Example:
    """One episode for the page of an environment.

    Attributes:
        player: Who plays: the exact optimum, else the task's expert, else a random player.
        actions: The tokens that it said, ids.
        segments: What was said in order: pairs of `"task"` or `"agent"` and the text.
        total_reward: Sum of the rewards.
        finished: Whether the episode came to its end, or was cut for its length.
    """

    player: Literal["optimal", "expert", "random"]
    actions: tuple[int, ...]
    segments: tuple[tuple[str, str], ...]
    total_reward: float
    finished: bool


def solved(task: Task) -> Solution | None:
    """Return the exact solution with β = .2, or None where the task is not finite or too large."""
    if not task.finite:
        return None
    try:
        return solve(cast(FiniteTask, task), beta=BETA, max_nodes=_MOST_NODES)
    except TooManyNodesError:
        return None


def scores_of(task: Task, solution: Solution | None) -> SuiteScores:
    """Return what is known of a task without playing it: exact where it was solved, else what the task declares."""
    vocabulary, tokens = task.vocabulary.num_actions, task.max_episode_tokens
    if solution is None:
        return SuiteScores(vocabulary=vocabulary, tokens=tokens, random=task.random_return, optimal=task.optimal_return)
    return SuiteScores(
        vocabulary=vocabulary,
        tokens=tokens,
        random=solution.random_return,
        random_sd=_deviation(solution.random_return, solution.random_variance),
        optimal=solution.optimal_return,
        optimal_sd=_deviation(solution.optimal_return, solution.optimal_variance),
        kl_optimal=solution.kl_optimal_return,
        kl_reward=solution.kl_optimal_reward,
        kl=solution.kl_optimal_kl,
        information_states=solution.num_information_states,
    )


def with_measured(scores: SuiteScores, task: Task) -> SuiteScores:
    """Return scores with random play measured where nothing is known of it, and the expert where the optimum is not."""
    random = None if scores.random is not None else measured_return(task, "random")
    expert = None if scores.optimal is not None else measured_return(task, "expert")
    if random is not None:
        scores = replace(scores, random=random[0], random_sd=random[1], episodes=EPISODES)
    if expert is not None:
        scores = replace(scores, expert=expert[0], expert_sd=expert[1], episodes=EPISODES)
    return scores


def measured_return(
    task: Task, player: Literal["random", "expert"], episodes: int = EPISODES
) -> tuple[float, float] | None:
    """Play episodes of a seed of their own and return mean and standard deviation of their returns.

    Args:
        task: The task.
        player: `"random"` says any token, legal or not; `"expert"` is the task's own.
        episodes: How many: at most 50, or a multiple of 50.

    Returns:
        Two numbers, or None where the task has no expert.
    """
    rows = min(_ROWS, episodes)
    engine = Engine(task, rows)
    engine.reset(None, derive_start(SEED, np.arange(rows)))
    if player == "expert" and engine.expert() is None:
        return None
    policy = _AnyToken(task.vocabulary.num_actions) if player == "random" else ExpertPlayer(engine)
    returns = []
    for first in range(0, episodes // rows * rows, rows):
        paid = _Paid(rows)
        play(engine, policy, queue(derive_start(SEED, first + np.arange(rows))), [paid])
        returns.append(paid.rewards)
    found = np.stack(returns)
    return float(found.mean()), float(found.std(ddof=1))


class _Paid(Observer):
    """Adds up the rewards of one episode a row."""

    def __init__(self, rows: int) -> None:
        self.rewards = np.zeros(rows)

    def stepped(self, step: Step) -> None:
        """Add what was paid."""
        self.rewards[step.rows] += step.result.rewards


class _AnyToken(Policy):
    """Says any token, legal or not, with equal probability."""

    def __init__(self, num_actions: int) -> None:
        self._num_actions = num_actions
        self._draw = np.random.default_rng(SEED)

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Draw a token for each row, among the legal ones where there are masks; see `Policy.act`."""
        if masks is None:
            said = self._draw.integers(self._num_actions, size=len(lengths))
        else:
            said = np.array([self._draw.choice(np.flatnonzero(mask)) for mask in masks])
        return Act.of_one(said, np.full(len(said), np.nan))


def _deviation(mean: float, variance: float) -> float:
    """Return the standard deviation; what rounding leaves of a variance that is 0 counts as 0."""
    return variance**0.5 if variance > 1e-12 * (1 + mean**2) else 0.0


def example_of(task: Task, solution: Solution | None) -> Example:
    """Play the example episode with the best player that there is."""
    engine = Engine(task, 1)
    start = derive_start(SEED, np.arange(1))
    engine.reset(None, start)
    written = Writing(engine, final=True)
    observers: list[Observer] = [written]
    player: Literal["optimal", "expert", "random"] = "random"
    policy: Policy = _AnyToken(task.vocabulary.num_actions)
    if solution is not None:
        best = Optimum(solution)
        player, policy, observers = "optimal", best, [written, best]
    elif engine.expert() is not None:
        player, policy = "expert", ExpertPlayer(engine)
    play(
        engine,
        policy,
        queue(start),
        observers,
        action_masks=player == "random",
        until=lambda: written.turns >= _MOST_TURNS or written.tokens >= _MOST_TOKENS,
    )
    said = written.segments[0]
    return Example(
        player=player,
        actions=tuple(token for speaker, ids in said if speaker == "agent" for token in ids),
        segments=tuple((who, task.render_tokens(np.array(ids, np.int32)) if ids else "") for who, ids in said),
        total_reward=round(float(written.rewards[0]), 6) + 0.0,
        finished=bool(engine.over[0]),
    )


def frames_of(task: Task, actions: tuple[int, ...]) -> list[Picture]:
    """Return up to four pictures that differ, evenly spaced, of the episode of these tokens; [] without pictures."""
    filmed = _Pictures(Engine(task, 1))
    play(
        filmed.engine,
        Script(actions),
        queue(derive_start(SEED, np.arange(1))),
        [filmed],
        until=lambda: filmed.said >= len(actions) or not filmed.pictures,
    )
    pictures = filmed.pictures
    if not pictures:
        return []
    chosen = np.unique(np.linspace(0, len(pictures) - 1, _FRAMES).round().astype(int))
    return [pictures[index] for index in chosen.tolist()]


class _Pictures(Observer):
    """Collects the pictures of one episode that differ from the one before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pictures: list[Picture] = []
        self.said = 0

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Take the first picture, where the task has any."""
        picture = self.engine.picture(0)
        self.pictures = [] if picture is None else [picture]

    def stepped(self, step: Step) -> None:
        """Take one at the end of each turn."""
        self.said += 1
        picture = self.engine.picture(0) if step.result.turn_ended[0] or step.over[0] else None
        if picture is not None and picture.cells != self.pictures[-1].cells:
            self.pictures.append(picture)
