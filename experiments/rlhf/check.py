"""What a pipeline names, checked before anything of it is run: in a moment and without torch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ...agents import check_agent_spec
from ...agents.specs import check_agent_dtype
from ...algorithms import ALGORITHMS, check_config
from ...algorithms.configs import RewardModelConfig
from ...envs import TokenGymError
from ...envs.registration import check_task
from ..study import at_place
from .file import data_file
from .spec import ComparisonsPart, MethodPart, Pipeline

PLAYERS = ("expert", "random")
"""Players of the task that fine-tuning may imitate."""

NAMED_DATA = ("corpus", *PLAYERS)
"""What fine-tuning may imitate beside files."""


def check_pipeline(pipeline: Pipeline) -> None:
    """Check everything that a pipeline names.

    Raises:
        TokenGymError: An unknown name (the nearest are listed), a value out of range, a file that is not there, or
            parts that do not go together; says where in the file it stands.
    """
    with at_place("model"):
        _check_model(pipeline.model)
        check_agent_dtype(pipeline.model, pipeline.dtype)
    with at_place("environment"):
        check_task(pipeline.environment.id, **pipeline.environment.kwargs)
    with at_place("judgement"):
        check_task(pipeline.environment.id, **{**pipeline.environment.kwargs, **pipeline.judgement.kwargs})
    if pipeline.sft is not None:
        with at_place("sft"):
            check_config("sft", pipeline.sft.config)
            if pipeline.sft.data not in NAMED_DATA:
                _check_file("data", pipeline.sft.data, f"a file, or one of {', '.join(NAMED_DATA)}")
    if pipeline.comparisons is not None:
        with at_place("comparisons"):
            _check_comparisons(pipeline.comparisons)
    part = pipeline.reward_model
    if part is not None:
        with at_place("reward_model"):
            if part.path is not None and not Path(part.path).is_dir():
                raise TokenGymError(f"path is {part.path!r}, and there is no such folder; name one, or leave it out")
            if part.backbone not in (None, "sft"):
                check_agent_spec(part.backbone)
            _check_fit(RewardModelConfig().replace(**part.config), part.config)
    for method in pipeline.methods:
        with at_place(f"method {method.name!r}"):
            _check_method(pipeline, method)


def learns_from_comparisons(algorithm: str) -> bool:
    """Return whether an algorithm reads comparisons; imports no torch."""
    return {"data", "labels"} <= {item.name for item in fields(ALGORITHMS.config(algorithm))}


def _check_fit(config: RewardModelConfig, given: dict[str, Any]) -> None:
    if config.process:
        raise TokenGymError(
            "process is true, and a pipeline pays whole completions: leave it out, or fit a model of steps by "
            "fit_reward_model and name its folder as path"
        )
    if "normalise" in given:
        raise TokenGymError(
            "normalise is given, and a pipeline brings the scores of what was compared to mean 0 and variance 1: leave "
            "it out"
        )


def _check_comparisons(part: ComparisonsPart) -> None:
    if part.file is not None:
        _check_file("file", part.file, "a preference file")
        return
    held_out = round(part.labels * part.held_out)
    if part.labels - held_out < 1 or (part.held_out and held_out < 1):
        raise TokenGymError(
            f"labels is {part.labels} and held_out {part.held_out}: that leaves {part.labels - held_out} to learn from "
            f"and {held_out} to judge by; buy more"
        )


def _check_method(pipeline: Pipeline, method: MethodPart) -> None:
    if method.n:
        if pipeline.reward_model is None:
            raise TokenGymError("best-of-n chooses by a reward model, and the pipeline has none; add reward_model: {}")
        return
    kind = ALGORITHMS.config(method.registered_name)
    config = check_config(method.registered_name, method.config)
    unit = kind.budget
    if getattr(method, unit) is None:
        raise TokenGymError(f"{method.registered_name} has a budget of {unit}; give {unit} in the place of the other")
    if method.reward == "gold" and unit == "updates":
        raise TokenGymError("reward is 'gold', and it is paid nothing: it learns from data alone; leave reward out")
    if method.reward == "gold" and pipeline.reward_model is None:
        raise TokenGymError("reward is 'gold', and without a reward model nothing else is paid; leave it out")
    named = getattr(config, "data", None)
    if learns_from_comparisons(method.registered_name) and named is None and pipeline.comparisons is None:
        raise TokenGymError(
            f"{method.registered_name} learns from comparisons, and there are none; add comparisons: {{}}"
        )


def _check_model(model: Any) -> None:
    """Say how a checkpoint folder is named or made, where a name is no kind of model and no folder is there."""
    try:
        check_agent_spec(model)
    except TokenGymError as error:
        if not isinstance(model, str):
            raise
        raise TokenGymError(
            f"{str(error).rstrip('.')}; there is no such folder: name one by --model FOLDER, or make that of "
            "SmolLM2-135M: tokengym model smollm2 FOLDER"
        ) from error


def _check_file(name: str, file: str, expected: str) -> None:
    if not data_file(file).is_file():
        raise TokenGymError(f"{name} is {file!r}, and there is no such file; give {expected}")
