"""What an episode is worth: random and optimal return, and the exact values of what can be said next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from rich.text import Text

from ...algorithms.collecting import play
from ...envs import FiniteTask, Solution, Task, TokenGymError, solve
from ...envs.scores import SuiteScores, suite_scores
from ..evaluation import References
from ..scripted import Following, Script
from ..statistics import normalised_score
from ..suite import measured_return
from .episode import Episode

MOST_NODES = 400_000
"""The most information states that are solved while a person waits: some seconds."""
_TRIALS = 10
"""Episodes that are measured while a person waits."""


@dataclass(frozen=True)
class Measured:
    """What was got on average, where nothing exact is known.

    Attributes:
        random: Random play.
        expert: The environment's expert, or None where it has none.
    """

    random: float
    expert: float | None


class Guide:
    """Knows a task's scores, and solves it where that takes seconds, at the first question that needs it.

    Args:
        task: The task.
        max_nodes: The most information states to solve; more count as not solvable.
    """

    def __init__(self, task: Task, max_nodes: int = MOST_NODES) -> None:
        self.task = task
        self.max_nodes = max_nodes
        self._followed: list[int] | None = None

    @cached_property
    def solution(self) -> Solution | None:
        """The exact solution, or None where there is none within reach."""
        if not self.task.finite:
            return None
        try:
            return solve(cast(FiniteTask, self.task), max_nodes=self.max_nodes)
        except TokenGymError:
            return None

    @cached_property
    def references(self) -> References | None:
        """Random and optimal return: as the task declares them, as the suite lists them, or as solved; else None."""
        random, optimal = self.task.random_return, self.task.optimal_return
        listed = listed_scores(self.task)
        if (random is None or optimal is None) and listed is not None and None not in (listed.random, listed.optimal):
            random, optimal = listed.random, listed.optimal
        if (random is None or optimal is None) and self.solution is not None:
            random, optimal = self.solution.random_return, self.solution.optimal_return
        return None if random is None or optimal is None else References(random=random, optimal=optimal)

    @cached_property
    def measured(self) -> Measured:
        """What random play and the expert got: as the suite lists it, else in a few episodes, always the same ones."""
        listed = listed_scores(self.task)
        if listed is not None and listed.random is not None and listed.expert is not None:
            return Measured(listed.random, listed.expert)
        random, expert = (measured_return(self.task, player, _TRIALS) for player in ("random", "expert"))
        assert random is not None
        return Measured(random[0], None if expert is None else expert[0])

    def judge(self, total: float) -> tuple[str, Text | None]:
        """Return what to tell of a return: what else can be got, in brackets, and a line with the score or None.

        Where the optimum is not known, random play and the environment's expert are measured.
        """
        between, score = self.references, self.score(total)
        if between is not None:
            ends, best = f"(random {between.random:.4g}, optimal {between.optimal:.4g})", "the optimum"
        else:
            random, expert = self.measured.random, self.measured.expert
            if expert is None:
                return f"(random about {random:.4g}; the optimum is not known)", None
            ends, best = f"(random about {random:.4g}, expert {expert:.4g})", "the expert; the optimum is not known"
            score = normalised_score(total, random, expert) if expert - random > 1e-9 else None
        if score is None:
            return ends, None
        # One lucky episode may beat the best mean, which reads like a mistake where nothing tells.
        mean = ", both on average" if between is not None else ""
        return ends, Text.assemble("score ", (f"{score:.2f}", "bold"), (f"  0 is random play, 1 {best}{mean}", "dim"))

    def score(self, total: float) -> float | None:
        """Return the normalised score of a return: 0 is random play, 1 the optimum; None where it has no meaning."""
        if self.references is None or self.references.optimal - self.references.random <= 1e-9:
            return None
        return normalised_score(total, self.references.random, self.references.optimal)

    def q_values(self, episode: Episode) -> np.ndarray | None:
        """Return the exact optimal Q of every token that can be said now, float64 (A,), or None where not solved.

        The episode is followed from its beginning, so that in context "turn" the clock counts, too.
        """
        if self.solution is None or episode.ended:
            return None
        self._follow(episode)
        return self._follower.gather(self.solution.optimal_q, np.zeros(1, np.intp))[0]

    def _follow(self, episode: Episode) -> None:
        """Bring the follower to where the episode is, from where it is or, after a step back, from the beginning."""
        assert self.solution is not None
        said = episode.actions
        if self._followed == said:
            return
        one_more = self._followed is not None and self._followed == said[:-1]
        if one_more:
            self._follower.follow(np.zeros(1, np.intp), np.array(said[-1:]), episode.tokens, episode.lengths)
        else:
            again = episode.replay()
            following = Following(self.solution, again.engine)
            following.began(np.zeros(1, np.intp), np.zeros(1, np.uint64))
            until = len(said)
            play(again.engine, Script(said), None, [again, following], until=lambda: len(again.actions) >= until)
            self._follower = following.follower
        self._followed = list(said)


def listed_scores(task: Task) -> SuiteScores | None:
    """Return what the suite lists for a registered environment with its defaults, or None for any other task."""
    spec = task.spec
    if spec is None or spec["kwargs"]:
        return None
    return suite_scores().get(spec["id"].removeprefix("tokengym/").removesuffix("-v0"))
