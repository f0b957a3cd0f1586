"""The stages before any method: the tuned model, the comparisons, and the reward model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...agents import AgentPolicy, Sampler
from ...agents.policies import ProbabilityPolicy
from ...algorithms import EpisodeDataset, PreferenceDataset
from ...algorithms.data import prompts_of, read_preferences
from ...algorithms.labelling import SimulatedLabeller, label_episodes
from ...algorithms.offline import record
from ...algorithms.reward_models import calibration, fit_reward_model, load_reward_model, pair_accuracy
from ...envs import Task, TokenGymError
from .check import PLAYERS
from .file import data_file
from .learning import learn
from .setting import HELD_OUT, TRAIN, Setting
from .spec import ComparisonsPart
from .stages import COMPARISONS, TUNED

_EXAMPLES = 12


class CorpusPolicy(ProbabilityPolicy):
    """Says what the task's own language would say next, at every place.

    Args:
        task: a task with a ``grammar_policy``.
        seed: starts the generator that tokens are drawn with.

    Raises:
        TokenGymError: the task has none.
    """

    def __init__(self, task: Task, seed: int = 0) -> None:
        super().__init__(seed)
        language = getattr(task.unwrapped, "grammar_policy", None)
        if language is None:
            raise TokenGymError(
                f"sft: data is 'corpus', and {task.name} draws no texts of its own: give a file of texts, or 'expert'"
            )
        self._language = language

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return the language's distributions (m, A)."""
        return self._language(tokens, lengths)


def tune(setting: Setting) -> dict[str, Any]:
    """Tune the model on texts, and return what there is to tell of it."""
    part = setting.pipeline.sft
    assert part is not None
    data: dict[str, Any] = {"data": str(data_file(part.data))}
    if part.data in PLAYERS:
        data = {"player": part.data, "demonstrations": part.episodes}
    elif part.data == "corpus":
        policy = CorpusPolicy(setting.task, setting.drawn_from("corpus"))
        episodes, _ = record(setting.task, policy, part.episodes, setting.drawn_from("corpus starts"))
        data = {"data": str(setting.folder / "corpus.safetensors")}
        EpisodeDataset(episodes, setting.task.vocabulary, {"of": "the task's own language"}).save(data["data"])
    learner, facts = learn(
        setting,
        folder=setting.folder / TUNED,
        algorithm="sft",
        config={**data, **part.config},
        budget=part.updates,
        task=setting.task,
        agent=setting.pipeline.model,
    )
    return {"texts": learner.num_items(learner.data), **facts}


def compare(setting: Setting, folder: Path) -> dict[str, Any]:
    """Get comparisons, part them, write them down, and return what there is to tell of them."""
    part = setting.pipeline.comparisons
    assert part is not None
    if part.file is None:
        found, told = _labelled(setting, part), {"source": "labelled", "flips": part.flips}
    else:
        found = read_preferences(data_file(part.file), setting.task)
        told = {"source": part.file, "dropped": found.about.get("dropped", 0)}
    train, held_out = _parted(found, part.held_out, setting.drawn_from("held out"))
    train.save(folder / TRAIN)
    if held_out is not None:
        held_out.save(folder / HELD_OUT)
    told |= {"train": len(train), "held_out": 0 if held_out is None else len(held_out)}
    if part.file is None:
        told |= _told_of_labels(part, train, held_out)
    return {**told, "examples": _examples(setting.task, train)}


def fit(setting: Setting, folder: Path) -> dict[str, Any]:
    """Fit the reward model, or take one, and return how well it predicts the comparisons."""
    part = setting.pipeline.reward_model
    assert part is not None
    train = held_out = None
    if setting.pipeline.comparisons is not None:
        train = setting.comparisons(TRAIN)
        held_out = setting.comparisons(HELD_OUT) if (setting.folder / COMPARISONS / HELD_OUT).exists() else None
    if part.path is None:
        assert train is not None
        backbone = setting.pipeline.model if part.backbone is None else part.backbone
        model = fit_reward_model(
            train,
            setting.reference if backbone == "sft" else backbone,
            seed=setting.drawn_from("reward model"),
            max_length=setting.task.max_length,
            device=setting.pipeline.device,
            progress=lambda done, total, metrics: setting.progress(done / total),
            **part.config,
        )
        episodes = train.episodes
        model.normalise(episodes.tokens, episodes.lengths)
        model.save(folder / "model")
    else:
        model = load_reward_model(part.path)
    told: dict[str, Any] = {}
    if train is not None:
        told["train_accuracy"] = pair_accuracy(model, train)
    if held_out is not None:
        seen = calibration(model, held_out)
        told |= {
            "accuracy": pair_accuracy(model, held_out),
            "calibration_error": seen.error,
            "calibration": [
                {"confidence": confidence, "accuracy": accuracy, "count": count}
                for confidence, accuracy, count in zip(
                    seen.confidence.tolist(), seen.accuracy.tolist(), seen.counts.tolist(), strict=True
                )
                if count
            ],
        }
    return told


def _labelled(setting: Setting, part: ComparisonsPart) -> PreferenceDataset:
    """Sample pairs of the tuned model's completions and have them labelled."""
    policy = AgentPolicy(setting.reference, Sampler(setting.drawn_from("completions")))
    starts = setting.drawn_from("completion starts")
    episodes, _ = record(setting.task, policy, 2 * part.labels, starts, group_size=2)
    labeller = SimulatedLabeller(
        temperature=part.temperature,
        flips=part.flips,
        length_preference=part.length_preference,
        budget=part.labels,
        seed=setting.drawn_from("labels"),
    )
    seed = setting.drawn_from("pairs")
    found = label_episodes(episodes, setting.task.vocabulary, labeller, part.labels, seed=seed)
    if not len(found):
        raise TokenGymError("comparisons: the model says the same in every pair; there is nothing to compare")
    return found


def _parted(found: PreferenceDataset, share: float, seed: int) -> tuple[PreferenceDataset, PreferenceDataset | None]:
    """Part what is learnt from and what is held out: whole prompts where there are several."""
    if not share:
        return found, None
    several = len(np.unique(found.prompts)) > 1
    return found.split(share, seed, by="prompt" if several else "pair")


def _told_of_labels(
    part: ComparisonsPart, train: PreferenceDataset, held_out: PreferenceDataset | None
) -> dict[str, Any]:
    """Return how often labels agree with the gold, and what accuracy their noise allows on those held out."""
    told: dict[str, Any] = {"agreement": _agreement(train)}
    if held_out is not None:
        labeller = SimulatedLabeller(part.temperature, part.flips, part.length_preference)
        better, worse, returns = held_out.pairs.better, held_out.pairs.worse, held_out.episodes.returns
        lengths = held_out.episodes.episode_lengths
        first = labeller.probabilities(returns[better], returns[worse], lengths[better] - lengths[worse])
        told["allowed_accuracy"] = float(np.maximum(first, 1 - first).mean())
    return told


def _agreement(data: PreferenceDataset) -> float:
    gap = data.episodes.returns[data.pairs.better] - data.episodes.returns[data.pairs.worse]
    return float((np.sign(gap) / 2 + 0.5).mean())


def _examples(task: Task, data: PreferenceDataset) -> list[dict[str, Any]]:
    """Return the first comparisons as text."""
    prompts, lengths = prompts_of(data.episodes)

    def told(index: int) -> dict[str, Any]:
        row = int(data.episodes.sequence_offsets[index])
        said = data.episodes.tokens[row, lengths[index] : data.episodes.lengths[row]]
        return {"text": task.render_tokens(said), "gold": float(data.episodes.returns[index])}

    shown = []
    for better, worse in zip(
        data.pairs.better[:_EXAMPLES].tolist(), data.pairs.worse[:_EXAMPLES].tolist(), strict=True
    ):
        prompt = task.render_tokens(prompts[better, 1 : lengths[better]])
        shown.append({"prompt": prompt, "better": told(better), "worse": told(worse)})
    return shown
