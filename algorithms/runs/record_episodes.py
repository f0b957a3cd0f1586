"""A callback that keeps what a run collected, as a dataset to learn from later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import Count, checked
from ..data import EpisodeDataset, Episodes, columns_of, episodes_of
from .callbacks import Callback

if TYPE_CHECKING:
    from torch import Tensor

    from ..learner import Learner


class RecordEpisodes(Callback):
    """Writes the episodes that a run collects to one file when it ends; `EpisodeDataset.load` reads it.

    A checkpoint of the run holds what was recorded, so that an interrupted run's file has no gap.

    Args:
        path: the file to write; its folders are made.
        most: how many of the newest episodes to keep; None keeps all.
    """

    @checked
    def __init__(self, path: str | Path, most: Count | None = None) -> None:
        self.path = Path(path)
        self.most = most
        self._parts: list[Episodes] = []
        self._vocabulary: Vocabulary | None = None

    def on_start(self, algorithm: Learner) -> None:
        """Look whether the algorithm collects episodes, and whether there can be a file.

        Raises:
            TokenGymError: it does not, or a folder stands at the path.
        """
        if self.path.is_dir():
            raise TokenGymError(f"{self.path} is a folder; give RecordEpisodes the path of a file to write.")
        if not hasattr(algorithm, "next_batch"):
            raise TokenGymError(
                f"RecordEpisodes keeps whole episodes; {algorithm.name} steps environments by itself and has none."
            )
        self._vocabulary = algorithm.task.vocabulary

    def on_episodes(self, algorithm: Learner, episodes: Episodes) -> None:
        """Keep what was collected."""
        self._parts.append(episodes)
        if self.most is not None and sum(map(len, self._parts)) > 2 * self.most:
            self._parts = [self.episodes]

    @property
    def episodes(self) -> Episodes:
        """What is recorded, in the order of collecting.

        Raises:
            TokenGymError: nothing yet.
        """
        if not self._parts:
            raise TokenGymError("Nothing is recorded yet: learn with this callback first.")
        joined = Episodes.concat(self._parts)
        if self.most is not None and len(joined) > self.most:
            joined = joined.select(np.arange(len(joined) - self.most, len(joined)))
        return joined

    def on_end(self, algorithm: Learner) -> None:
        """Write the file, if anything was collected."""
        if self._parts:
            about = {name: getattr(algorithm, name, None) for name in ("name", "seed", "env_spec")}
            EpisodeDataset(self.episodes, algorithm.task.vocabulary, about).save(self.path)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what was recorded."""
        if not self._parts or self._vocabulary is None:
            return {}, {}
        columns = columns_of(self.episodes)
        columns["starts"] = columns["starts"].view(np.int64)
        return columns, {"num_actions": self._vocabulary.num_actions, "pad": self._vocabulary.pad}

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        columns = {name: tensor.numpy() for name, tensor in tensors.items()}
        columns["starts"] = columns["starts"].view(np.uint64)
        size = int(columns["tokens"].max()) + 1  # the checkpoint is sealed, and the run's own
        self._parts = [episodes_of(columns, int(data["num_actions"]), size, int(data["pad"]))]
