"""Preferences: what algorithms that learn from a fixed set of comparisons share: where these come from, and checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from ...envs import TokenGymError
from ...envs.checking import checked, shown
from ..configs import PreferencesConfig
from ..data import Episodes, PreferenceDataset, PreferencePairs, Ranks, Unit, columns_of, episodes_of, read_preferences
from ..labelling import SimulatedLabeller, choose_pairs, label_pairs
from ..offline import Offline, record
from ..parts import derive_seed

PreferencesConfigT = TypeVar("PreferencesConfigT", bound=PreferencesConfig)

_ROUNDS = 6
"""How often more answers are sampled, where too many were equal."""


class Preferences(Offline[PreferencesConfigT]):
    """A policy that learns from comparisons of whole completions; see `DPO` and `RRHF`.

    The comparisons are those of ``dataset``, a `PreferenceDataset`, or of the file that ``config.data`` names. Where
    there are none, the initial policy answers the task's prompts, and a simulated labeller compares the answers by the
    task's reward, until `labels` comparisons are bought.
    """

    requires: ClassVar[tuple[str, ...]] = ("deterministic", "whole_completions")
    unit: ClassVar[Unit] = "group"
    making: ClassVar[tuple[str, ...]] = ("labels", "label_temperature", "label_flips", "length_preference")

    @checked
    def read_data(self, path: Path) -> PreferenceDataset:
        """Read what `PreferenceDataset.save` wrote, or lines of JSON in the layouts of `read_preferences`."""
        if path.suffix == ".safetensors":
            return PreferenceDataset.load(path, self.task.vocabulary)
        return read_preferences(path, self.task, overlong=self.config.overlong)

    def make_data(self) -> PreferenceDataset:
        """Let the initial policy answer each start twice, and the simulated labeller compare.

        Raises:
            TokenGymError: its answers are equal too often for so many comparisons.
        """
        count, found = self.config.labels, 0
        for episodes in self._samples(count, 2):
            first, second = choose_pairs(episodes, count, seed=derive_seed(self.seed, "pairs"), at_most=True)
            if (found := len(first)) == count:
                return label_pairs(episodes, self.task.vocabulary, self.labeller(), first, second)
        raise TokenGymError(
            f"labels is {count}, and the initial policy gave different answers to one prompt only {found} times: buy "
            "fewer, raise its temperature, or give data."
        )

    def labeller(self) -> SimulatedLabeller:
        """Who compares where no data are given."""
        return SimulatedLabeller.of(self.config, derive_seed(self.seed, "labels"))

    def _samples(self, num_starts: int, answers: int) -> Iterator[Episodes]:
        """Yield episodes of the agent as it is, ``answers`` from each of so many starts, and each time as many more."""
        parts: list[Episodes] = []
        for number in range(_ROUNDS):
            episodes, tokens = record(
                self.task,
                self.agent,
                num_starts * answers,
                derive_seed(self.seed, f"samples {number}"),
                action_masks=self.config.action_masks,
                group_size=answers,
            )
            self.num_timesteps += tokens
            self.num_episodes += len(episodes)
            parts.append(episodes)
            yield Episodes.concat(parts)

    def check_data(self, data: Any) -> PreferenceDataset:
        """Return the comparisons, if the agent can learn from them.

        Raises:
            TokenGymError: no `PreferenceDataset`, another vocabulary, completions that are too long, of several
                sequences or empty, or without the legal tokens that the config asks for.
        """
        if not isinstance(data, PreferenceDataset):
            raise TokenGymError(
                f"dataset is {shown(data)}; {self.name} learns from a PreferenceDataset: make one with label_episodes, "
                "or give the path of a file in config.data."
            )
        data.require(self.task.vocabulary)
        episodes = data.episodes
        longest, most = int(episodes.lengths.max()), min(self.task.max_length, self.agent.max_length)
        if longest > most:
            raise TokenGymError(
                f"The longest sequence of the comparisons has {longest} tokens, and {self.task.name!r} and the agent "
                f"read {most}: leave longer ones out, or learn on a task with more room."
            )
        if episodes.num_sequences != len(episodes):
            raise TokenGymError(
                f"The comparisons have {episodes.num_sequences} sequences for {len(episodes)} episodes; expected whole "
                "completions, one sequence each (context 'episode')."
            )
        silent = np.flatnonzero(episodes.episode_lengths == 0)
        if len(silent):
            raise TokenGymError(
                f"In episode {int(silent[0])} of the comparisons the agent says nothing; expected at least one token."
            )
        if self.config.action_masks and episodes.action_masks is None:
            raise TokenGymError(
                "action_masks is True, and the comparisons do not hold which tokens were legal: record them with "
                "action_masks, or leave that out."
            )
        if not self.config.action_masks and episodes.action_masks is not None:
            open_episodes = replace(episodes, action_masks=None, final_action_masks=None)
            return PreferenceDataset(open_episodes, data.vocabulary, data.pairs, data.ranks, data.about)
        return data

    def data_state(self, data: PreferenceDataset) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what was compared, and how it was judged."""
        columns = columns_of(data.episodes)
        columns["starts"] = columns["starts"].view(np.int64)
        tensors: dict[str, Any] = {f"episodes/{name}": values for name, values in columns.items()}
        tensors |= {f"pairs/{name}": getattr(data.pairs, name) for name in ("better", "worse", "weight")}
        if data.ranks is not None:
            tensors |= {f"ranks/{name}": getattr(data.ranks, name) for name in ("order", "sizes", "places")}
        return tensors, {"about": data.about}

    def data_from_state(self, tensors: dict[str, Any], told: dict[str, Any]) -> PreferenceDataset:
        """Take back what `data_state` returned."""
        parts: dict[str, dict[str, np.ndarray]] = {"episodes": {}, "pairs": {}, "ranks": {}}
        for name, values in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = values.cpu().numpy() if isinstance(values, torch.Tensor) else values
        parts["episodes"]["starts"] = parts["episodes"]["starts"].view(np.uint64)
        vocabulary = self.task.vocabulary
        episodes = episodes_of(parts["episodes"], vocabulary.num_actions, vocabulary.size, vocabulary.pad)
        ranks = Ranks(**parts["ranks"]) if parts["ranks"] else None
        return PreferenceDataset(episodes, vocabulary, PreferencePairs(**parts["pairs"]), ranks, told["about"])
