"""The scores of the suite and one example episode of each environment, computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from ...envs import Engine, FiniteTask, Picture, Solution, Task, TooManyNodesError, derive_start, solve
from ...envs.scores import BETA, SuiteScores

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
    engine, draw = Engine(task, rows), np.random.default_rng(SEED)
    returns = np.zeros((episodes // rows, rows))
    for batch, paid in enumerate(returns):
        engine.reset(None, derive_start(SEED, batch * rows + np.arange(rows)))
        while True:
            live = np.flatnonzero(~engine.over)
            if not len(live):
                break
            advised = (
                engine.expert(live)
                if player == "expert"
                else draw.integers(task.vocabulary.num_actions, size=len(live))
            )
            if advised is None:
                return None
            paid[live] += engine.step(live, advised).rewards
    return float(returns.mean()), float(returns.std(ddof=1))


def _deviation(mean: float, variance: float) -> float:
    """Return the standard deviation; what rounding leaves of a variance that is 0 counts as 0."""
    return variance**0.5 if variance > 1e-12 * (1 + mean**2) else 0.0


def example_of(task: Task, solution: Solution | None) -> Example:
    """Play the example episode with the best player that there is."""
    engine = Engine(task, 1)
    engine.reset(None, derive_start(SEED, 0))
    player, choose, told = _player(engine, solution)
    said: list[tuple[str, list[int]]] = [("task", engine.tokens[0, 1 : engine.lengths[0]].tolist())]
    actions: list[int] = []
    total, turns = 0.0, 0
    while turns < _MOST_TURNS and len(actions) < _MOST_TOKENS and not engine.over[0]:
        action, before = choose(), int(engine.lengths[0])
        result = engine.step(None, np.array([action]))
        actions.append(action)
        total += float(result.rewards[0])
        turns += bool(result.turn_ended[0])
        if said[-1][0] != "agent":
            said.append(("agent", []))
        said[-1][1].append(action)
        if task.context == "episode" or result.turn_ended[0]:
            shown = engine.tokens[0, before + 1 if task.context == "episode" else 1 : engine.lengths[0]].tolist()
            if shown:
                said.append(("task", shown))
        if not engine.over[0]:
            told(action)
    segments = tuple((speaker, task.render_tokens(np.array(ids, np.int32)) if ids else "") for speaker, ids in said)
    return Example(
        player=player,
        actions=tuple(actions),
        segments=segments,
        total_reward=round(total, 6) + 0.0,
        finished=bool(engine.over[0]),
    )


def _player(
    engine: Engine, solution: Solution | None
) -> tuple[Literal["optimal", "expert", "random"], Callable[[], int], Callable[[int], None]]:
    """Return who plays one row, what chooses the next token, and what is told of it afterwards."""
    row = np.zeros(1, np.intp)
    if solution is not None:
        follower = solution.follower(1)
        follower.begin(row, engine.tokens, engine.lengths)
        # Rounded, so that equally good tokens are equal on every machine, and the first of them is said.
        best = [np.round(values, 9).argmax(axis=1) for values in solution.optimal_q]
        return (
            "optimal",
            lambda: int(follower.gather(best, row)[0]),
            lambda action: follower.follow(row, np.array([action]), engine.tokens, engine.lengths),
        )
    if engine.expert() is not None:
        return "expert", lambda: int(cast(np.ndarray, engine.expert())[0]), lambda action: None
    draw = np.random.default_rng(SEED)
    return "random", lambda: int(draw.choice(np.flatnonzero(engine.action_mask()[0]))), lambda action: None


def frames_of(task: Task, actions: tuple[int, ...]) -> list[Picture]:
    """Return up to four pictures that differ, evenly spaced, of the episode of these tokens; [] without pictures."""
    engine = Engine(task, 1)
    engine.reset(None, derive_start(SEED, 0))
    pictures = [engine.picture(0)]
    if pictures[0] is None:
        return []
    for action in actions:
        turn_ended = engine.step(None, np.array([action])).turn_ended[0]
        picture = engine.picture(0) if turn_ended or engine.over[0] else None
        if picture is not None and pictures[-1] is not None and picture.cells != pictures[-1].cells:
            pictures.append(picture)
    chosen = np.unique(np.linspace(0, len(pictures) - 1, _FRAMES).round().astype(int))
    return [picture for picture in (pictures[index] for index in chosen.tolist()) if picture is not None]
