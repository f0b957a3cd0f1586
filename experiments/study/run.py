"""One run, of ``train`` or of a study, from its specification to its sealed folder; interrupted, it goes on."""

from __future__ import annotations

import inspect
import math
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...agents.seeding import load_process_state, process_state, seed_process
from ...algorithms import ALGORITHMS, Callback, SaveEvery, load_algorithm
from ...algorithms.runs import checkpoint
from ...envs import Task, TokenGymError, make_task
from ..evaluation import Evaluation, References, evaluate_agent, references, uses_masks
from ..statistics import normalised_score
from ..transcribing import transcripts
from .folder import RunFolder
from .machine import machine
from .noting import noting_warnings
from .spec import RunSpec

SignOfLife = Callable[[int, "float | None"], None]
"""Called with the tokens so far and the latest score, if any."""

MODES = ("greedy", "sampled")
"""The ways in which an agent is evaluated."""

KEPT_CHECKPOINTS = 2
"""Checkpoints kept while a run learns."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """When a run is saved while it learns, which changes nothing of what it learns."""

    every: int | None = None
    """Agent tokens between two checkpoints; None stands for a tenth of all."""
    keep: int | None = None
    """Checkpoints to keep; None stands for two while it learns and the last one then."""
    longest: float = 300.0
    """Where `every` is left out, seconds after which a checkpoint is saved in any case, ..."""
    shortest: float = 5.0
    """... and seconds within which none is: a run that is over before costs less to repeat than to save."""


def make_algorithm(spec: RunSpec, task: Task | None = None, device: str = "cpu") -> Any:
    """Build the algorithm of a run, ready to learn.

    Args:
        spec: The run.
        task: Its task, where it was made already.
        device: Where its agent lives and learns.

    Raises:
        TokenGymError: If the environment, the algorithm or a configuration key is unknown, the algorithm requires
            what the environment does not have, or the device or dtype is not there.
    """
    task = make_task(spec.env_id, **spec.env_kwargs) if task is None else task
    kind = ALGORITHMS[spec.algorithm]
    arguments: dict[str, Any] = {} if device == "cpu" else {"device": device}
    if spec.dtype != "float32":
        if "dtype" not in inspect.signature(kind).parameters:
            raise TokenGymError(f"dtype is {spec.dtype!r}, and {spec.algorithm} learns in float32 alone: leave it out")
        arguments["dtype"] = spec.dtype
    return kind(task, agent=spec.agent, seed=spec.seed, **arguments, **spec.config)


def run_references(spec: RunSpec, task: Task) -> References:
    """Return random and optimal return of a run's task."""
    return references(task, beta=spec.beta, random_return=spec.random_return, optimal_return=spec.optimal_return)


def train_run(
    spec: RunSpec,
    folder: RunFolder,
    sign_of_life: SignOfLife = lambda tokens, score: None,
    between: References | None = None,
    *,
    saving: Saving = Saving(),
    tell: Callable[[str], None] = lambda text: None,
    device: str = "cpu",
) -> float:
    """Train, evaluate and record one run of a study, seal its folder and return its normalised score.

    A run that was interrupted goes on from its newest whole checkpoint.

    Args:
        spec: The run.
        folder: Its folder; see `RunFolder.prepare` for what becomes of what is in it.
        sign_of_life: Called after each update and evaluation.
        between: Random and optimal return of the task, if they are known already.
        saving: When it is saved.
        tell: Takes what a reader should know of an interrupted run.
        device: Where its agent lives and learns.

    Raises:
        TokenGymError: As `make_algorithm`, or if the score cannot be normalised.
    """
    task = make_task(spec.env_id, **spec.env_kwargs)
    algorithm = newest(spec, folder, task, tell, device) if folder.prepare(spec) else None
    if algorithm is not None:
        tell(f"goes on from {algorithm.spent:,} of {spec.total_tokens:,} tokens")
    else:
        with noting_warnings(folder):
            algorithm = make_algorithm(spec, task, device)
    between = between or run_references(spec, task)
    return learn_and_seal(algorithm, spec, folder, between, saving=saving, sign_of_life=sign_of_life)["score"]


def newest(spec: RunSpec, folder: RunFolder, task: Task, tell: Callable[[str], None], device: str = "cpu") -> Any:
    """Return the algorithm of an interrupted run as its newest whole checkpoint has it, and cut the folder to that.

    None where the run has to start again. Broken checkpoints are named, and those beyond the whole one removed.
    """
    checkpoint.sweep(folder.checkpoints, alone=True)
    times = folder.path / "timings.jsonl"
    began = times.exists() and times.stat().st_size > 0
    found: Any = None
    if checkpoint.has_checkpoint(folder.checkpoints):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = load_algorithm(folder.checkpoints, env=task, device=device, allow_imports=_named(spec))
            except TokenGymError as error:
                tell(str(error))
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            tell(text)
    if found is not None and not found.resumable and found.spent < spec.total_tokens:
        found = None
    if began and found is None:
        weights_alone = not ALGORITHMS[spec.algorithm].resumable
        why = f"checkpoints of {spec.algorithm} hold its weights alone" if weights_alone else "no checkpoint holds it"
        tell(f"interrupted before, it starts again: {why}")
    tokens = 0 if found is None else found.spent
    folder.cut(spec, tokens)
    for place in checkpoint.steps(folder.checkpoints):
        if int(place.name.removeprefix("step-")) > tokens:
            shutil.rmtree(place)
    return found


def _named(spec: RunSpec) -> tuple[str, ...]:
    """Return the modules that the configuration names: the run's own says so, and not a stranger's checkpoint."""
    potentials = spec.config.get("potentials")
    return (str(potentials).partition(":")[0],) if potentials else ()


def learn_and_seal(
    algorithm: Any,
    spec: RunSpec,
    folder: RunFolder,
    between: References | None,
    *,
    saving: Saving = Saving(),
    sign_of_life: SignOfLife = lambda tokens, score: None,
    stop: Callback | None = None,
    progress_bar: bool = False,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Let a run learn, evaluate and record it, seal its folder, and return its summary.

    Args:
        algorithm: The algorithm, new or as its newest checkpoint has it.
        spec: The run.
        folder: Its folder, begun or cut to where the algorithm stands.
        between: Random and optimal return of the task; None where they are not known, and then nothing has a score.
        saving: When it is saved.
        sign_of_life: Called after each update and evaluation.
        stop: A callback that may end learning early, after which what was learnt is saved.
        progress_bar: Whether to show one.
        tensorboard: Whether to write events for TensorBoard.

    Raises:
        KeyboardInterrupt: If `stop` ended it early.
        TokenGymError: If a score cannot be normalised.
    """
    seed_process(spec.seed)
    recorder = RunRecorder(spec, folder, algorithm, sign_of_life, between)
    save = _Save(recorder, saving)
    callbacks = [recorder, save] if stop is None else [stop, recorder, save]
    with noting_warnings(folder, lambda: algorithm.spent):
        # A run that was killed while it was evaluated has learnt all that it was to.
        warnings.filterwarnings("ignore", ".*the budget .* was spent before", RuntimeWarning)
        algorithm.learn(
            spec.total_tokens,
            callback=callbacks,
            progress_bar=progress_bar,
            log_dir=folder.path,
            tensorboard=tensorboard,
        )
        if algorithm.spent < spec.total_tokens and not algorithm.finished():
            raise KeyboardInterrupt
        summary = recorder.conclude()
    checkpoint.prune(folder.checkpoints, saving.keep or 1)  # a finished run needs its last checkpoint alone
    folder.finish(summary)
    return folder.verify()


class RunRecorder(Callback):
    """Evaluates a run at fixed fractions of its tokens and records what it is worth.

    It keeps no count of its own: what has been done follows from where the run stands. A checkpoint holds the
    generators that the process shares, for what a user's reward draws from them.

    Args:
        spec: The run.
        folder: Its folder, already begun.
        algorithm: The algorithm that learns.
        sign_of_life: Called after each update and evaluation.
        between: Random and optimal return of the task; None where they are not known.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        algorithm: Any,
        sign_of_life: SignOfLife,
        between: References | None,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.algorithm = algorithm
        self.sign_of_life = sign_of_life
        self.task: Task = algorithm.task
        self.action_masks = uses_masks(algorithm)
        self.references = between
        self.latest: float | None = None
        self.evaluated = 0
        self.seconds = 0.0
        self.resumed = 0.0

    def on_start(self, algorithm: Any) -> None:
        """Note the machine beside the times, which belong to it, and evaluate the untrained agent."""
        tokens = algorithm.spent
        self.seconds = self._seconds_at(tokens)
        self.folder.append("timings.jsonl", {"kind": "machine", "tokens": tokens, **machine()})
        self.evaluated = self._point(tokens)
        if not tokens and self.spec.evaluation.points:
            self._evaluate_at(0)
        self.resumed = time.perf_counter()

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool | None:
        """Evaluate where the next fraction of the tokens was reached."""
        self.seconds += time.perf_counter() - self.resumed
        point = self._point(algorithm.spent)
        if point > self.evaluated:
            self._evaluate_at(point)
        self.sign_of_life(algorithm.spent, self.latest)
        self.resumed = time.perf_counter()
        return None

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The generators of the process, which are a resumable run's alone."""
        return process_state() if self.algorithm.resumable else ({}, {})

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        load_process_state(tensors, data)

    def note_checkpoint(self) -> None:
        """Have all on the disk that goes with a checkpoint which is about to be written, and the seconds until it."""
        tokens = self.algorithm.spent
        self.folder.append("timings.jsonl", {"kind": "checkpoint", "tokens": tokens, "seconds": self.seconds})
        self.folder.flush()

    def conclude(self) -> dict[str, Any]:
        """Make the final evaluations, keep episodes, and return the summary."""
        final = {mode: self._evaluate(mode == "greedy", self.spec.evaluation.episodes) for mode in MODES}
        records = {mode: self._record(evaluation) for mode, evaluation in final.items()}
        for mode, record in records.items():
            self.folder.append("evaluations.jsonl", {"kind": "final", "mode": mode, **record})
        for mode in MODES:
            for transcript in self._transcripts(mode == "greedy"):
                self.folder.append("episodes.jsonl", {"mode": mode, **transcript})
        tokens = self.algorithm.spent
        self.folder.append("timings.jsonl", {"kind": "end", "tokens": tokens, "seconds": self.seconds})
        score = records[self.spec.score_by]["score"]
        between = None if self.references is None else self.references.to_dict()
        return {"score": score, "tokens": tokens, "references": between, **records}

    def _point(self, tokens: int) -> int:
        """Return how many of the evaluations after the first are due at a count of tokens."""
        return min(tokens, self.spec.total_tokens) * self.spec.evaluation.points // self.spec.total_tokens

    def _seconds_at(self, tokens: int) -> float:
        """Return the seconds of training until the checkpoint from which the run goes on."""
        rows = self.folder.read("timings.jsonl") if tokens else []
        found = [row["seconds"] for row in rows if row.get("kind") == "checkpoint" and row.get("tokens") == tokens]
        return float(found[-1]) if found else 0.0

    def _evaluate_at(self, point: int) -> None:
        greedy = self.spec.score_by == "greedy"
        record = self._record(self._evaluate(greedy, self.spec.evaluation.training_episodes))
        self.evaluated, self.latest = point, record["score"]
        tokens = self.algorithm.spent
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
        if self.references is None:
            return {"score": None, **evaluation.to_dict()}
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


class _Save(SaveEvery):
    """Saves a run into its folder, with its seconds noted among the times first."""

    def __init__(self, recorder: RunRecorder, saving: Saving) -> None:
        super().__init__(
            recorder.folder.checkpoints,
            saving.every or -(-recorder.spec.total_tokens // 10),
            saving.keep or KEPT_CHECKPOINTS,
            None if saving.every else saving.longest,
            0.0 if saving.every else saving.shortest,
        )
        self.recorder = recorder

    def save(self, algorithm: Any) -> None:
        """Write one checkpoint."""
        self.recorder.note_checkpoint()
        super().save(algorithm)
