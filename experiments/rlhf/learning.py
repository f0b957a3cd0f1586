"""The stages in which an algorithm learns, as ordinary run folders, and those that only play."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...agents import AgentPolicy, BestOfN, Sampler
from ...algorithms import Callback, check_config
from ...algorithms.runs import CallbackList
from ...envs import Task
from ..study import RunFolder, learn_and_seal, make_algorithm, newest, specification
from .check import learns_from_comparisons
from .judging import Judgement, JudgeWhileLearning, completions, judge
from .setting import TRAIN, Setting
from .spec import MethodPart
from .stages import COMPARISONS

RATIO_ERROR = "policy/initial_ratio_error"
"""How far the ratio before the first step of an update was from 1, where an algorithm has one."""


def learn(
    setting: Setting,
    *,
    folder: Path,
    algorithm: str,
    config: Mapping[str, Any],
    budget: int,
    task: Task,
    agent: Any,
    watch: Callback | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Let an algorithm learn in a run folder, from its newest checkpoint where there is one.

    Args:
        setting: the seed's.
        folder: the run's.
        algorithm: registered name.
        config: its configuration.
        budget: tokens or updates, as the algorithm counts.
        task: what it learns on.
        agent: what it begins from.
        watch: a callback beside those that every run has.

    Returns:
        The algorithm as it ended, and what there is to tell: tokens, updates and seconds.
    """
    pipeline, run = setting.pipeline, RunFolder(folder)
    spec = specification(
        algorithm,
        task,
        agent,
        check_config(algorithm, dict(config)),
        setting.seed,
        budget,
        pipeline.judgement.episodes,
        dtype=pipeline.dtype,
    )
    learner = newest(spec, run, task, setting.tell, pipeline.device) if run.prepare(spec) else None
    if learner is None:
        learner = make_algorithm(spec, task, pipeline.device)
    callbacks = CallbackList([setting.stop, _Progress(setting), *([] if watch is None else [watch])])
    learn_and_seal(learner, spec, run, None, stop=callbacks)
    ends = [row for row in run.read("timings.jsonl") if row.get("kind") == "end"]
    return learner, {
        "tokens": learner.num_timesteps,
        "updates": learner.num_updates,
        "seconds": ends[-1]["seconds"] if ends else None,
    }


def method(setting: Setting, folder: Path, part: MethodPart) -> dict[str, Any]:
    """Let a method learn, judge it on the way, and return what it came to."""
    if part.n:
        return best_of(setting, part.n)
    config = dict(part.config)
    if learns_from_comparisons(part.registered_name) and config.get("data") is None:
        config["data"] = str(setting.folder / COMPARISONS / TRAIN)
    watch = JudgeWhileLearning(lambda player: _judged(setting, player), setting.pipeline.judgement.points)
    learner, facts = learn(
        setting,
        folder=folder,
        algorithm=part.registered_name,
        config=config,
        budget=part.budget,
        task=setting.task if part.reward == "gold" else setting.paid,
        agent=setting.start,
        watch=watch,
    )
    watch.conclude(learner)
    errors = [row[RATIO_ERROR] for row in RunFolder(folder).read("metrics.jsonl") if RATIO_ERROR in row]
    if errors:
        facts |= {"ratio_error": max(errors), "ratio_tolerance": learner.ratio_tolerance}
    if facts["seconds"] is not None:
        facts["seconds"] = max(facts["seconds"] - watch.seconds, 0.0)
    return {**facts, "points": watch.found, "final": watch.found[-1], "samples": _samples(setting, learner)}


def before(setting: Setting) -> dict[str, Any]:
    """Judge what all methods begin from."""
    return {"final": _judged(setting, setting.reference).to_dict(), "samples": _samples(setting, setting.reference)}


def best_of(setting: Setting, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Judge the best of several completions for each number of them."""
    points, player = [], None
    for place, n in enumerate(sizes):
        seed = setting.drawn_from("best of n")
        player = BestOfN(AgentPolicy(setting.reference, Sampler(seed)), n, preference_of(setting.reward_model))
        points.append({"n": n, **_judged(setting, player).to_dict()})
        setting.progress((place + 1) / len(sizes))
    return {"points": points, "final": points[-1], "samples": _samples(setting, player)}


def preference_of(model: Any) -> Any:
    """Return what `BestOfN` asks: the reward model's score of what was shown and said."""

    def score(prompts: list[list[int]], turns: list[list[int]]) -> np.ndarray:
        whole = [[*prompt, *turn] for prompt, turn in zip(prompts, turns, strict=True)]
        lengths = np.array([len(one) for one in whole], np.int32)
        tokens = np.zeros((len(whole), int(lengths.max())), np.int32)
        for row, ids in enumerate(whole):
            tokens[row, : len(ids)] = ids
        return model.score(tokens, lengths)

    return score


class _Progress(Callback):
    """Tells how much of the budget is spent."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool | None:
        """Tell."""
        self.setting.progress(algorithm.progress)
        return None


def _judged(setting: Setting, player: Any) -> Judgement:
    protocol = setting.pipeline.judgement
    return judge(player, setting.judged, episodes=protocol.episodes, seed=protocol.seed, reference=setting.reference)


def _samples(setting: Setting, player: Any) -> list[dict[str, Any]]:
    protocol = setting.pipeline.judgement
    return completions(player, setting.judged, count=protocol.samples, seed=protocol.seed)
