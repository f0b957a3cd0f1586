"""What a pipeline is given in files and folders, read before anything is done: nothing is to be spent on a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...algorithms import PreferenceDataset
from ...algorithms.data import read_dataset, read_preferences
from ...algorithms.offline import is_text_file, read_texts
from ...algorithms.reward_models import load_reward_model
from ...envs import Task, TokenGymError
from ..study import at_place
from .check import NAMED_DATA, learns_from_comparisons
from .file import data_file
from .setting import Setting


def check_given(setting: Setting) -> None:
    """Read the files and the reward model that a pipeline names, and let go of them.

    Raises:
        TokenGymError: a line that is no text or no comparison, comparisons that all say the same, a dataset or a reward
            model of another vocabulary, a reward model of steps where whole completions are chosen by; says where in
            the pipeline it is named.
    """
    pipeline, task = setting.pipeline, setting.task
    if pipeline.sft is not None and pipeline.sft.data not in NAMED_DATA:
        with at_place("sft"):
            _read_texts(data_file(pipeline.sft.data), task, pipeline.sft.config)
    if pipeline.comparisons is not None and pipeline.comparisons.file is not None:
        with at_place("comparisons"):
            read_preferences(data_file(pipeline.comparisons.file), task)
    if pipeline.reward_model is not None and pipeline.reward_model.path is not None:
        with at_place("reward_model"):
            model = load_reward_model(pipeline.reward_model.path)
            chosen_by = [method.name for method in pipeline.methods if method.n]
            if getattr(model, "process", False) and chosen_by:
                raise TokenGymError(
                    f"the model at {pipeline.reward_model.path} scores steps, and {chosen_by[0]} chooses whole "
                    "completions; give one that scores these, or leave the method out"
                )
            _ = setting.paid  # around the task, which asks for its vocabulary
    for method in pipeline.methods:
        data = method.config.get("data")
        if data is not None:
            with at_place(f"method {method.name!r}"):
                read = _read_comparisons if learns_from_comparisons(method.registered_name) else _read_texts
                read(Path(data), task, method.config)


def _read_texts(path: Path, task: Task, config: dict[str, Any]) -> None:
    if is_text_file(path):
        read_texts(path, task, overlong=config.get("overlong", "refuse"))
    else:
        read_dataset(path, task.vocabulary)


def _read_comparisons(path: Path, task: Task, config: dict[str, Any]) -> None:
    if path.suffix == ".safetensors":
        PreferenceDataset.load(path, task.vocabulary)
    else:
        read_preferences(path, task, overlong=config.get("overlong", "refuse"))
