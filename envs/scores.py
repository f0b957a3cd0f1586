"""What random and optimal play get in every environment of the suite, as it was computed: listing needs no solving."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SCORES_FILE = Path(__file__).with_name("scores.json")
BETA = 0.2
"""The weight of the KL divergence from the uniform player that the KL-optimal scores are stated for."""


@dataclass(frozen=True, kw_only=True)
class SuiteScores:
    """The sizes and the scores of one registered environment.

    Scores are those of play among all tokens, legal or not. They are exact where `information_states` is set; otherwise
    a return is what the task declares (a closed form or a long measurement), was measured over `episodes` episodes
    where that is set, or is None where nothing is known.

    Attributes:
        vocabulary: Tokens that the agent can say (A).
        tokens: The most of them in an episode.
        random: Mean return of uniformly random play.
        random_sd: Standard deviation of its return.
        optimal: Largest mean return of any player that remembers the episode.
        optimal_sd: Standard deviation of that player's return.
        expert: Mean return of the task's own expert, where the optimum is not known: the optimum is at least that.
        expert_sd: Standard deviation of its return.
        episodes: How many episodes `random` (where it has a deviation) and `expert` were measured over.
        kl_optimal: Largest value of mean return − β·KL from the uniform player, β = .2.
        kl_reward: Mean return of the player that attains it.
        kl: Its KL divergence, nats an episode.
        information_states: How many different things an agent can know.
    """

    vocabulary: int
    tokens: int
    random: float | None = None
    random_sd: float | None = None
    optimal: float | None = None
    optimal_sd: float | None = None
    expert: float | None = None
    expert_sd: float | None = None
    episodes: int | None = None
    kl_optimal: float | None = None
    kl_reward: float | None = None
    kl: float | None = None
    information_states: int | None = None


@cache
def suite_scores() -> dict[str, SuiteScores]:
    """Return the scores of the registered environments by name, such as `"Lattice"`, as they were last written.

    An environment that has been entered in the catalogue since is not in it.
    """
    entries = json.loads(SCORES_FILE.read_text(encoding="utf-8"))
    return {name: SuiteScores(**entry) for name, entry in entries.items()}
