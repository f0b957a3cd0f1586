"""The study of learning from poor data: ``python -m tokengym.experiments.zoo.random_walks [FOLDER [DATA …]]``.

Records datasets, learns from each by every offline method, evaluates, and writes results, tables and the picture. Runs
that are in the folder already are not run again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...agents import OptimalPlayer, Player
from ...algorithms import ALGORITHMS, EpisodeDataset, Episodes
from ...algorithms.offline import record
from ...envs import FiniteTask, make_task
from ..evaluation import evaluate_agent
from .walks_pages import draw, tables

SEEDS = (0, 1, 2, 3, 4)
TABLE = {"kind": "table", "capacity": 64}
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cloning": ("bc", {}),
    "filtered cloning": ("filtered-bc", {"best_share": 0.1}),
    "mc-returns": ("mc-returns", {"beta": 16.0, "cql_coef": 0.01}),
    "cql": ("cql", {"cql_coef": 0.1, "returns": "n_step", "n_step": 1}),
    "ilql": ("ilql", {"beta": 16.0, "expectile": 0.9, "cql_coef": 0.01, "target_polyak": 0.05}),
}
"""Methods by how they are called here, with the best of two to four settings on seed 100 of RandomWalks and Maze, where
cloning had one."""

WORDLE: Mapping[str, Mapping[str, Any]] = {
    "filtered cloning": {"best_share": 0.4},
    "mc-returns": {"beta": 4.0, "cql_coef": 0.1},
    "cql": {"cql_coef": 0.1, "returns": "n_step", "n_step": 3},
    "ilql": {"beta": 4.0, "expectile": 0.7, "cql_coef": 0.01, "target_polyak": 0.05},
}
"""Of eight settings a method the one that was best in greedy play on Wordle's seed 100, of equals in sampled play."""


@dataclass(frozen=True)
class Data:
    """A task, what is recorded on it, and how it is learnt from.

    Attributes:
        task: the registered name.
        seeds_instance: whether the seed draws the instance, too.
        kwargs: arguments of the task.
        randomness: how often recorded players say any legal token, not the best; a share of the episodes each.
        episodes: of a dataset.
        updates: of every method.
        batch: episodes of each.
        agent: what learns.
        settings: of methods that are set otherwise here than in `METHODS`.
    """

    task: str
    seeds_instance: bool
    kwargs: Mapping[str, Any]
    randomness: tuple[float, ...]
    episodes: int
    updates: int
    batch: int
    agent: Any
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


DATA = {
    "RandomWalks": Data("RandomWalks", True, {"observed": "node"}, (1.0,), 500, 600, 64, TABLE),
    "Maze": Data("Maze", False, {}, (1.0, 0.8), 200, 800, 32, TABLE),
    "Wordle": Data("WordleMini-words", False, {}, (1.0, 0.6), 3000, 1500, 64, "mlp-tiny", WORDLE),
}


class Mixture(Player):
    """Says the best token, or with some probability any legal one."""

    def __init__(self, task: FiniteTask, randomness: float, seed: int) -> None:
        super().__init__(task.vocabulary, seed)
        self.best = None if randomness == 1 else OptimalPlayer(task, masked=True)
        self.randomness = randomness

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`; masks are asked for."""
        assert masks is not None
        any_legal = masks / masks.sum(axis=1, keepdims=True)
        if self.best is None:
            return any_legal
        return self.randomness * any_legal + (1 - self.randomness) * self.best.probabilities(tokens, lengths)


def task_of(data: Data, seed: int) -> FiniteTask:
    """Return the task that a seed stands for."""
    instance: dict[str, Any] = {"instance_seed": seed} if data.seeds_instance else {}
    task: Any = make_task(data.task, **data.kwargs, **instance)
    return task


def dataset_of(data: Data, task: FiniteTask, seed: int) -> EpisodeDataset:
    """Record what is learnt from: a share of the episodes of each player."""
    count = data.episodes // len(data.randomness)
    parts = [
        record(task, Mixture(task, share, 1000 * seed + place), count, 1000 * seed + place, action_masks=True)[0]
        for place, share in enumerate(data.randomness)
    ]
    return EpisodeDataset(Episodes.concat(parts), task.vocabulary, {"env": data.task, "randomness": data.randomness})


def learn(name: str, data: Data, method: str, seed: int) -> dict[str, Any]:
    """Learn by one method from one dataset and return what came of it."""
    task = task_of(data, seed)
    dataset = dataset_of(data, task, seed)
    returns = dataset.episodes.returns
    algorithm, config = METHODS[method]
    config = data.settings.get(method, config)
    # The masks of the dataset are dropped at the door: nobody is told what is legal.
    learner = ALGORITHMS[algorithm](task, data.agent, dataset=dataset, seed=seed, batch_episodes=data.batch, **config)
    learner.learn(data.updates)
    greedy = evaluate_agent(learner, task, deterministic=True, episodes=1000)
    sampled = evaluate_agent(learner, task, deterministic=False, episodes=1000)
    return {
        "data": name,
        "seed": seed,
        "method": method,
        "greedy": greedy.expected_return,
        "sampled": sampled.expected_return,
        "behaviour": float(returns.mean()),
        "worst": float(returns.min()),
        "best": float(returns.max()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and write tables and picture."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    folder = Path(given[0] if given else "results/random-walks")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    path = folder / "runs.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    done = {(row["data"], row["seed"], row["method"]) for row in rows}
    for name, data in DATA.items():
        if given[1:] and name not in given[1:]:
            continue
        for seed in SEEDS:
            for method in METHODS:
                if (name, seed, method) in done:
                    continue
                rows.append(learn(name, data, method, seed))
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(json.dumps(rows[-1]), flush=True)
    print(tables(rows))
    draw(rows).savefig(folder / "random-walks.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
