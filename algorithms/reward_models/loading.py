"""Reading a reward model from its folder, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...envs import TokenGymError
from ...envs.checking import checked
from .classifier import Classifier
from .model import RewardModel


@checked
def load_reward_model(path: str | Path, device: str = "cpu") -> Any:
    """Read a reward model: a `RewardModel`, or a `Classifier` where transformers wrote the folder.

    Args:
        path: a folder of `RewardModel.save`, or one of transformers' sequence classification models with one label.
        device: where it is to score.

    Raises:
        TokenGymError: there is no such folder, it is broken, or holds something else.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise TokenGymError(
            f"there is no reward model at {folder}; expected a folder written by RewardModel.save, or a sequence "
            "classification model of transformers."
        )
    if (folder / "config.json").is_file() and not (folder / "manifest.json").exists():
        return Classifier.load(folder, device)
    return RewardModel.load(folder, device)
