"""One run of a study from its specification to its sealed folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from ...algorithms import ALGORITHMS, Callback
from ...envs import Task, TokenGymError, make_task
from ...envs.checking import unknown_name
from ..evaluation import Evaluation, References, evaluate_agent, references, uses_masks
from ..statistics import normalised_score
from ..transcribing import transcripts
from .folder import RunFolder
from .machine import machine
from .spec import RunSpec

SignOfLife = Callable[[int, "float | None"], None]
"""Called with the tokens so far and the latest score, if any."""

_METRIC_RECORDS = 200


def make_algorithm(spec: RunSpec) -> Any:
    """Build the algorithm of a run, ready to learn.

    Raises:
        TokenGymError: If the environment, the algorithm or a configuration key is unknown, or the algorithm requires
            what the environment does not have.
    """
    if spec.algorithm not in ALGORITHMS:
        raise unknown_name("algorithm", spec.algorithm, list(ALGORITHMS))
    task = make_task(spec.env_id, **spec.env_kwargs)
    return ALGORITHMS[spec.algorithm](task, agent=spec.agent, seed=spec.seed, **spec.config)


def train_run(
    spec: RunSpec,
    folder: RunFolder,
    sign_of_life: SignOfLife = lambda tokens, score: None,
    between: References | None = None,
) -> float:
    """Train, evaluate and record one run, seal its folder and return its normalised score.

    Args:
        spec: The run.
        folder: Its folder; what an earlier attempt left there is replaced.
        sign_of_life: Called after each update and evaluation.
        between: Random and optimal return of the task, if they are known already.

    Raises:
        TokenGymError: As `make_algorithm`, or if the score cannot be normalised.
    """
    folder.begin(spec)
    algorithm = make_algorithm(spec)
    recorder = StudyCallback(spec, folder, algorithm, sign_of_life, between)
    algorithm.learn(total_timesteps=spec.total_tokens, callback=recorder)
    return recorder.conclude()


def run_references(spec: RunSpec, task: Task) -> References:
    """Return random and optimal return of a run's task."""
    return references(task, beta=spec.beta, random_return=spec.random_return, optimal_return=spec.optimal_return)


class StudyCallback(Callback):
    """Evaluates a run at fixed fractions of its tokens and records what it logs.

    Args:
        spec: The run.
        folder: Its folder, already begun.
        algorithm: The algorithm that learns.
        sign_of_life: Called after each update and evaluation.
        between: Random and optimal return of the task, if they are known already.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        algorithm: Any,
        sign_of_life: SignOfLife,
        between: References | None = None,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.algorithm = algorithm
        self.sign_of_life = sign_of_life
        self.task: Task = algorithm.task
        self.action_masks = uses_masks(algorithm)
        self.references = between or run_references(spec, self.task)
        self.latest: float | None = None
        self.evaluated = -1
        self.recorded = 0
        self.seconds = 0.0
        self.resumed = 0.0

    def on_start(self, algorithm: Any) -> None:
        """Note the machine beside the times, which belong to it, and evaluate the untrained agent."""
        self.folder.append("timings.jsonl", {"kind": "machine", **machine()})
        self._evaluate_at(0)
        self.resumed = time.perf_counter()

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool | None:
        """Record metrics, and evaluate where the next fraction of the tokens was reached."""
        self.seconds += time.perf_counter() - self.resumed
        tokens = min(algorithm.num_timesteps, self.spec.total_tokens)
        reached = tokens * _METRIC_RECORDS // self.spec.total_tokens
        if reached > self.recorded:
            self.recorded = reached
            results = {key: value for key, value in metrics.items() if not key.startswith("time/")}
            self.folder.append("metrics.jsonl", {"tokens": algorithm.num_timesteps, **results})
        point = tokens * self.spec.evaluation.points // self.spec.total_tokens
        if point > self.evaluated:
            self._evaluate_at(point)
        self.sign_of_life(algorithm.num_timesteps, self.latest)
        self.resumed = time.perf_counter()
        return None

    def conclude(self) -> float:
        """Make the final evaluations, keep episodes and the agent, seal the folder, and return the score."""
        if self.evaluated < self.spec.evaluation.points:
            self._evaluate_at(self.spec.evaluation.points)
        final = {
            mode: self._evaluate(mode == "greedy", self.spec.evaluation.episodes) for mode in ("greedy", "sampled")
        }
        records = {mode: self._record(evaluation) for mode, evaluation in final.items()}
        for mode, record in records.items():
            self.folder.append("evaluations.jsonl", {"kind": "final", "mode": mode, **record})
        for mode in ("greedy", "sampled"):
            for transcript in self._transcripts(mode == "greedy"):
                self.folder.append("episodes.jsonl", {"mode": mode, **transcript})
        self.algorithm.save(self.folder.checkpoints / "final")
        tokens = self.algorithm.num_timesteps
        self.folder.append("timings.jsonl", {"kind": "end", "tokens": tokens, "seconds": self.seconds})
        score = records[self.spec.score_by]["score"]
        self.folder.finish({"score": score, "tokens": tokens, "references": self.references.to_dict(), **records})
        return score

    def _evaluate_at(self, point: int) -> None:
        greedy = self.spec.score_by == "greedy"
        record = self._record(self._evaluate(greedy, self.spec.evaluation.training_episodes))
        self.evaluated, self.latest = point, record["score"]
        tokens = self.algorithm.num_timesteps
        target = round(point * self.spec.total_tokens / self.spec.evaluation.points)
        place = {"kind": "training", "mode": self.spec.score_by, "target_tokens": target, "tokens": tokens}
        self.folder.append("evaluations.jsonl", {**place, **record})
        timing = {"kind": "evaluation", "target_tokens": target, "tokens": tokens, "seconds": self.seconds}
        self.folder.append("timings.jsonl", timing)
        self.sign_of_life(tokens, self.latest)

    def _evaluate(self, greedy: bool, episodes: int) -> Evaluation:
        protocol = self.spec.evaluation
        return evaluate_agent(
            self.algorithm,
            self.task,
            episodes=episodes,
            seed=protocol.seed,
            deterministic=greedy,
            beta=self.spec.beta,
            action_masks=self.action_masks,
            exact_limit=protocol.exact_limit,
        )

    def _record(self, evaluation: Evaluation) -> dict[str, Any]:
        score = normalised_score(evaluation.value, self.references.random, self.references.optimal)
        if not math.isfinite(score):
            raise TokenGymError(
                f"the return of {evaluation.value!r} gives no score; every reward and every weight must stay finite"
            )
        return {"score": score, **evaluation.to_dict()}

    def _transcripts(self, greedy: bool) -> list[dict[str, Any]]:
        protocol = self.spec.evaluation
        played = transcripts(
            self.algorithm,
            self.task,
            protocol.samples,
            seed=protocol.seed,
            deterministic=greedy,
            action_masks=self.action_masks,
        )
        return [
            {"start": one.start, "return": one.total_reward, "text": one.text(), "segments": one.segments}
            for one in played
        ]
