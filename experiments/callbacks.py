"""Evaluating a run while it learns, as a callback; `SaveBest` and `StopWhen` act on what it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..algorithms import Callback
from ..algorithms.runs import JsonLines
from ..envs.checking import Count, Seed, checked
from .evaluation import evaluate_agent, known_references, uses_masks
from .statistics import normalised_score

if TYPE_CHECKING:
    from torch import Tensor

    from ..algorithms import Learner
    from .evaluation import References


class EvaluateEvery(Callback):
    """Evaluates the agent every so many agent tokens, exactly where it can, from starts that training never sees.

    What it finds goes into the metrics that the callbacks after it are given, as ``evaluation/return``,
    ``evaluation/length`` and, where the returns of random and optimal play are known, ``evaluation/score``; and as a
    line into a file, where one is given. A checkpoint holds where it stands, and the file is cut to it, so that a
    resumed run evaluates and writes as one that was not interrupted.

    Args:
        timesteps: Agent tokens between two evaluations, above 0.
        episodes: Episodes to play where the exact value is out of reach.
        seed: Seed of the evaluation starts.
        deterministic: Whether the most probable token is said, instead of one drawn from the policy.
        file: Where to append a line for each evaluation, as the ``evaluations.jsonl`` of a run has them.

    Attributes:
        latest: What the last evaluation found, by name; empty before the first.
    """

    @checked
    def __init__(
        self,
        timesteps: Count,
        *,
        episodes: Count = 200,
        seed: Seed = 1_000_003,
        deterministic: bool = True,
        file: str | Path | None = None,
    ) -> None:
        self.timesteps = timesteps
        self.episodes = episodes
        self.seed = seed
        self.deterministic = deterministic
        self.file = None if file is None else Path(file)
        self.latest: dict[str, float] = {}
        self._evaluated_at = 0
        self._references: References | None = None
        self._lines: JsonLines | None = None

    def on_start(self, algorithm: Learner) -> None:
        """Open the file at where the run stands."""
        self._references = known_references(algorithm.task)
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._lines = JsonLines(self.file, algorithm.spent)

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> None:
        """Evaluate where a multiple of ``timesteps`` was passed, and add what was found to the metrics."""
        if algorithm.spent // self.timesteps > self._evaluated_at // self.timesteps:
            self._evaluated_at = algorithm.spent
            metrics.update(self.evaluate(algorithm))

    def evaluate(self, algorithm: Learner) -> dict[str, float]:
        """Evaluate now, write it down, and return the metrics."""
        found = evaluate_agent(
            algorithm,
            algorithm.task,
            episodes=self.episodes,
            seed=self.seed,
            deterministic=self.deterministic,
            action_masks=uses_masks(algorithm),
        )
        between = self._references
        score = None if between is None else normalised_score(found.value, between.random, between.optimal)
        self.latest = {"evaluation/return": found.expected_return, "evaluation/length": found.length}
        if score is not None:
            self.latest["evaluation/score"] = score
        if self._lines is not None:
            mode = "greedy" if self.deterministic else "sampled"
            place = {"kind": "training", "mode": mode, "tokens": algorithm.spent}
            self._lines.write({**place, "score": score, **found.to_dict()})
        return self.latest

    def on_end(self, algorithm: Learner) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where it stands, and what it found last."""
        return {}, {"evaluated_at": self._evaluated_at, "latest": json.loads(json.dumps(self.latest))}

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self._evaluated_at = int(data["evaluated_at"])
        self.latest = dict(data["latest"])
