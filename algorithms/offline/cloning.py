"""Cloning: say what the episodes of a dataset say, by the likelihood of the agent's tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ..configs import CloningConfig
from ..data import Batch, EpisodeDataset, Episodes
from ..parts import Loss, Weighed, derive_seed, negative_log_likelihood, weigh
from .base import Offline
from .demonstrations import (
    Demonstrations,
    as_dataset,
    dataset_from_state,
    dataset_state,
    fitting,
    held_out_by_prompt,
    read_dataset,
)
from .playing import named_player, record
from .texts import is_text_file, read_texts

CloningConfigT = TypeVar("CloningConfigT", bound=CloningConfig)


class Cloning(Offline[CloningConfigT]):
    """Maximises the likelihood of what others said: −Σ w·log π over the agent's tokens, never over a prompt's.

    Hook: `kept` (which episodes are learnt from).
    """

    making = ("player", "demonstrations")

    def kept(self, episodes: Episodes) -> np.ndarray:
        """Return which episodes are good enough to learn from, bool (E,); by default all."""
        return np.ones(len(episodes), bool)

    # The data --------------------------------------------------------------------------------------------------------

    def read_data(self, path: Path) -> EpisodeDataset:
        """Read texts and dialogues from JSON lines, a file of episodes, or a folder of them."""
        if is_text_file(path):
            return read_texts(path, self.task, self.config.overlong)
        return read_dataset(path, self.task.vocabulary)

    def make_data(self) -> EpisodeDataset:
        """Record the player that the configuration names."""
        config = self.config
        player = named_player(config.player, self.task, config.action_masks)
        seed = derive_seed(self.seed, "record")
        episodes, tokens = record(self.task, player, config.demonstrations, seed, action_masks=config.action_masks)
        self.num_timesteps += tokens
        self.num_episodes += len(episodes)
        return EpisodeDataset(episodes, self.task.vocabulary, {"player": config.player, "env": self.task.name})

    def check_data(self, data: Any) -> Demonstrations:
        """Look whether the agent can learn from a dataset, and split it."""
        config = self.config
        dataset = as_dataset(data, self.name)
        dataset = fitting(dataset, self.task, self.agent, config.action_masks, config.overlong)
        episodes = dataset.episodes
        held = held_out_by_prompt(episodes, config.held_out)
        spoken = episodes.episode_lengths > 0  # of one in which the agent says nothing there is nothing to learn
        learnt = np.flatnonzero(spoken & ~held)
        if len(learnt):  # the best of what may be learnt from: those held out would take their places
            learnt = learnt[self.kept(episodes.select(learnt))]
        return Demonstrations(
            dataset,
            learnt=learnt,
            held_out=np.flatnonzero(held & spoken),
        )

    def num_items(self, data: Demonstrations) -> int:
        """The episodes that are learnt from."""
        return len(data.learnt)

    @property
    def batch_size(self) -> int:
        """Episodes of an update."""
        return self.config.batch_episodes

    def take(self, indices: np.ndarray) -> Episodes:
        """Return episodes to learn from."""
        return self.data.dataset.episodes.select(self.data.learnt[indices])

    def data_state(self, data: Demonstrations) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the whole dataset."""
        return dataset_state(data.dataset)

    def data_from_state(self, tensors: dict[str, Any], told: dict[str, Any]) -> Demonstrations:
        """Return the dataset, split again."""
        return self.check_data(dataset_from_state(tensors, told, self.task.vocabulary))

    # The update ------------------------------------------------------------------------------------------------------

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take one step on a batch, and look at what is held out when it is time."""
        metrics = super().update(batch)
        held = self.data.held_out
        if len(held) and (self.num_updates + 1) % self.config.held_out_every == 0:
            metrics["held_out/loss"] = self.nll(self.data.dataset.episodes.select(held))
        return metrics

    def prepare(self, batch: Episodes) -> Weighed:
        """Weigh the tokens of some episodes."""
        return weigh(batch, self.config.loss_aggregation, self.agent, {"data/return": float(batch.returns.mean())})

    def loss(self, part: Batch, prepared: Weighed) -> Loss:
        """−Σ w·log π over the tokens of ``part``."""
        return negative_log_likelihood(self.agent, part, prepared)

    @torch.no_grad()
    def nll(self, episodes: Episodes) -> float:
        """Return the loss of some episodes under the agent as it is."""
        prepared = self.prepare(episodes)
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit)
        return sum(float(self.loss(part, prepared).total) for part in parts)
