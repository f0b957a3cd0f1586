"""OfEpisodes: what learns from recorded episodes: where they come from, whether they fit, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..configs import EpisodesConfig
from ..data import EpisodeDataset, Episodes, fitting, read_dataset
from ..parts import derive_seed
from .base import Offline
from .demonstrations import Demonstrations, as_dataset, dataset_from_state, dataset_state
from .playing import named_player, record
from .texts import is_text_file, read_texts

EpisodesConfigT = TypeVar("EpisodesConfigT", bound=EpisodesConfig)


class OfEpisodes(Offline[EpisodesConfigT]):
    """Learns from a dataset of episodes: given, read from a file, or recorded from a player.

    Hooks: `kept` (which episodes are learnt from), `held` (which are kept from learning and looked at only), `refuse`
    (what else is wrong with a dataset).
    """

    making = ("player", "demonstrations")

    def kept(self, episodes: Episodes) -> np.ndarray:
        """Return which episodes are good enough to learn from, bool (E,); by default all."""
        return np.ones(len(episodes), bool)

    def held(self, episodes: Episodes) -> np.ndarray:
        """Return which episodes are held out, bool (E,); by default none."""
        return np.zeros(len(episodes), bool)

    def refuse(self, dataset: EpisodeDataset) -> None:
        """Raise a `TokenGymError` where a dataset that fits task and agent cannot be learnt from; by default never."""
        return None

    # The data --------------------------------------------------------------------------------------------------------

    def read_data(self, path: Path) -> EpisodeDataset:
        """Read texts and dialogues from JSON lines, a file of episodes, or a folder of them."""
        if is_text_file(path):
            return read_texts(path, self.task, self.config.overlong)
        return read_dataset(path, self.task.vocabulary)

    def make_data(self) -> EpisodeDataset:
        """Record the player that the configuration names."""
        return self.recorded(self.named_player(), self.config.demonstrations)

    def named_player(self, also: Sequence[str] = ()) -> Any:
        """Return the player that the configuration names; ``also`` says which other names are known."""
        return named_player(self.config.player, self.task, self.config.action_masks, also=also)

    def recorded(self, player: Any, num_episodes: int, group_size: int = 1) -> EpisodeDataset:
        """Return so many episodes of a player, ``group_size`` from each start, and count what they cost."""
        config, seed = self.config, derive_seed(self.seed, "record")
        episodes, tokens = record(
            self.task, player, num_episodes, seed, action_masks=config.action_masks, group_size=group_size
        )
        self.num_timesteps += tokens
        self.num_episodes += len(episodes)
        return EpisodeDataset(episodes, self.task.vocabulary, {"player": config.player, "env": self.task.name})

    def check_data(self, data: Any) -> Demonstrations:
        """Look whether the agent can learn from a dataset, and split it."""
        config = self.config
        dataset = as_dataset(data, self.name)
        dataset = fitting(dataset, self.task, self.agent, config.action_masks, config.overlong)
        self.refuse(dataset)
        episodes = dataset.episodes
        held = self.held(episodes)
        spoken = episodes.episode_lengths > 0  # of one in which the agent says nothing there is nothing to learn
        learnt = np.flatnonzero(spoken & ~held)
        if len(learnt):  # the best of what may be learnt from: those held out would take their places
            learnt = learnt[self.kept(episodes.select(learnt))]
        return Demonstrations(dataset, learnt=learnt, held_out=np.flatnonzero(held & spoken))

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
