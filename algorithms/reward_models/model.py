"""The reward model: one or several causal models with a scalar head, and what is made of their scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...agents import Agent, rebuild_agent
from ...agents.devices import usable_device
from ...envs import TokenGymError, Vocabulary
from ...envs.checking import checked
from ..configs import RewardModelConfig
from ..data import Episodes
from ..runs import checkpoint, complete, read, take
from .reading import checked_sequences, sequences_of

KIND = "tokengym reward model 1"

SCORED_TOKENS = 16_384
"""Tokens, padding included, that a member reads at once when it scores."""


class RewardModel:
    """Scores whole sequences of tokens: what a learned reward is.

    A member is an `Agent` whose one head, ``value``, is read after a sequence's last token; with `process` after every
    token of the agent's. `fit_reward_model` makes one, `load_reward_model` reads one back.

    Args:
        members: the fitted models, of one vocabulary and context.
        config: how they were fitted, and how their scores are combined.
        about: JSON data that is kept with them, such as what they were fitted to.

    Attributes:
        members, config, about: as given.
        shift: float64 (M,), taken off each member's score.
        scale: what the score is divided by: differences of scores times this are log-odds of the labels.
    """

    def __init__(
        self, members: Sequence[Agent], config: RewardModelConfig, about: dict[str, Any] | None = None
    ) -> None:
        self.members = [member.eval().requires_grad_(False) for member in members]
        self.config = config
        self.about = dict(about or {})
        self.shift = np.zeros(len(self.members))
        self.scale = 1.0
        if len(self.members) != config.members:
            raise TokenGymError(f"there are {len(self.members)} members; the config says {config.members}.")

    def __repr__(self) -> str:
        kind = "process scores, " if self.process else ""
        many = "" if len(self.members) == 1 else f"{self.config.combine} of {len(self.members)} × "
        return f"RewardModel({kind}{many}{self.members[0]!r})"

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids that it reads."""
        return self.members[0].vocabulary

    @property
    def num_tokens(self) -> int:
        """The size of the vocabulary, V."""
        return self.vocabulary.size

    @property
    def max_length(self) -> int:
        """The longest sequence that it reads."""
        return self.members[0].max_length

    @property
    def process(self) -> bool:
        """Whether it scores every token of the agent's."""
        return self.config.process

    def to(self, device: str | torch.device) -> RewardModel:
        """Move its members to where they are to score, and return this model."""
        for member in self.members:
            member.to(usable_device(device)).share_base()
        return self

    @checked
    def score(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Score whole sequences in one batch.

        Args:
            tokens: int (B, L), as the task shows them from `bos` on, right-padded.
            lengths: int (B,).
            said: bool (B, L), the agent's tokens; needed where each has a score of its own.

        Returns:
            float64 (B,).
        """
        return self.combined(self.score_members(tokens, lengths, said))

    @checked
    def score_members(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Score sequences with each member; arguments as of `score`, returns float64 (M, B)."""
        if not self.process:
            return (self._read(tokens, lengths, None) - self.shift[:, None]) / self.scale
        return self._read(tokens, lengths, self._said(tokens, said)).sum(axis=2) / self.scale

    @checked
    def score_steps(self, tokens: Any, lengths: Any, said: Any) -> np.ndarray:
        """Score every token of the agent's; arguments as of `score`, returns float64 (B, L), 0 elsewhere.

        A member's steps add up to its score of the sequence; what is combined are the steps.

        Raises:
            TokenGymError: the model scores whole sequences alone.
        """
        if not self.process:
            raise TokenGymError("this reward model scores whole sequences alone; fit one with process=True.")
        return self.combined(self._read(tokens, lengths, self._said(tokens, said)) / self.scale)

    @checked
    def disagreement(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Return float64 (B,), the standard deviation of the members' scores; 0 for a single one."""
        return self.score_members(tokens, lengths, said).std(axis=0)

    @checked
    def score_episodes(self, episodes: Episodes) -> np.ndarray:
        """Score episodes, each as one sequence; returns float64 (E,)."""
        read = sequences_of(episodes)
        return self.score(read.tokens, read.lengths, read.said if self.process else None)

    def combined(self, scores: np.ndarray) -> np.ndarray:
        """Return what an ensemble makes of its members' scores, (M, …): their mean, the worst, or mean − k·variance."""
        if self.config.combine == "worst":
            return scores.min(axis=0)
        if self.config.combine == "variance":
            return scores.mean(axis=0) - self.config.variance_coef * scores.var(axis=0)
        return scores.mean(axis=0)

    @checked
    def with_combine(self, combine: Any, variance_coef: Any = None) -> RewardModel:
        """Return the same members under another way to combine them; see `RewardModelConfig.combine`."""
        changes = {"combine": combine} | ({} if variance_coef is None else {"variance_coef": variance_coef})
        if combine != "variance" and variance_coef is None:
            changes["variance_coef"] = 1.0
        other = RewardModel(self.members, self.config.replace(**changes), self.about)
        other.shift, other.scale = self.shift, self.scale
        return other

    @checked
    def normalise(self, tokens: Any, lengths: Any, variance: bool = True) -> RewardModel:
        """Let the scores of reference samples have mean 0, each member's, and variance 1, that of the members' mean.

        Args:
            tokens: int (B, L), samples of the policy that learning starts from, say.
            lengths: int (B,).
            variance: whether the variance is brought to 1, too; else it stays the labels'.

        Returns:
            This model, changed.

        Raises:
            TokenGymError: samples that all have one score, whose variance is 0; or a model of steps, whose sums a
                shift would turn into a bonus for length.
        """
        if self.process:
            raise TokenGymError("a model that scores steps has no mean to take off: it would be a bonus for length.")
        raw = self._read(tokens, lengths, None)
        if raw.shape[1] < 2:
            raise TokenGymError(f"{raw.shape[1]} samples have no mean and variance to speak of; give at least 2.")
        shift = raw.mean(axis=1)
        scale = float((raw - shift[:, None]).mean(axis=0).std()) if variance else 1.0
        if scale <= 1e-6 * max(1.0, float(np.abs(shift).max())):  # what float32 makes of equal scores
            raise TokenGymError("all samples have the same score: a variance of 0 cannot be brought to 1.")
        self.shift, self.scale = shift, scale
        return self

    @checked
    def save(self, folder: str | Path) -> None:
        """Write a sealed folder, which `load_reward_model` reads back; there whole or not at all.

        Raises:
            TokenGymError: something else is at ``folder``, or it cannot be written.
        """
        tensors: dict[str, Tensor | np.ndarray] = {"shift": self.shift}
        for number, member in enumerate(self.members):
            tensors |= {f"members/{number}/{name}": value for name, value in member.state_dict().items()}
            if member.base_is_given:
                tensors |= {f"bases/{number}/{name}": value for name, value in member.base.items()}
        data = {
            "kind": KIND,
            "config": self.config.to_dict(),
            "members": [member.config() for member in self.members],
            "scale": self.scale,
            "about": self.about,
        }
        checkpoint.write(folder, tensors, data)

    @classmethod
    @checked
    def load(cls, folder: str | Path, device: str = "cpu") -> RewardModel:
        """Read what `save` wrote; no code in it is run.

        Raises:
            TokenGymError: there is none, it is broken, or a checkpoint of something else.
        """
        tensors, data = read(folder)
        if data.get("kind") != KIND:
            what = f"a checkpoint of {data['algorithm']!r}" if "algorithm" in data else "something else"
            raise TokenGymError(
                f"{folder} is {what}, and no reward model: give a folder written by RewardModel.save, or by "
                "transformers for a sequence classification model."
            )
        with complete({"algorithm": "reward model", **data}):
            config = RewardModelConfig.restored(data["config"])
            members = []
            for number, said in enumerate(data["members"]):
                base = take(tensors, f"bases/{number}/") or None
                members.append(rebuild_agent(said, device=device, base=base))
                members[-1].load_state_dict(take(tensors, f"members/{number}/"))
            model = cls(members, config, data["about"])
            model.shift, model.scale = tensors["shift"].double().numpy(), float(data["scale"])
            if model.shift.shape != (len(members),):
                raise ValueError("shift is not one number a member")
        return model

    @torch.no_grad()
    def _read(self, tokens: Any, lengths: Any, said: np.ndarray | None) -> np.ndarray:
        """Return the members' own numbers, float64: (M, B) after the last tokens, or (M, B, L) after those said."""
        ids, counts = checked_sequences(tokens, lengths, self.num_tokens, self.max_length)
        shape = counts.shape if said is None else ids.shape
        scores = np.zeros((len(self.members), *shape))
        for part in _batches(counts):
            width = int(counts[part].max())
            rows, columns = (np.arange(len(part)), counts[part] - 1) if said is None else np.nonzero(said[part, :width])
            if not len(rows):
                continue
            read = (torch.from_numpy(array) for array in (ids[part, :width], counts[part], rows, columns))
            inputs = [array.to(self.members[0].device) for array in read]
            for number, member in enumerate(self.members):
                values = values_after(member, *inputs).double().cpu().numpy()
                scores[(number, part) if said is None else (number, part[rows], columns)] = values
        return scores

    def _said(self, tokens: Any, said: Any) -> np.ndarray:
        """Return the mask of the agent's tokens, checked."""
        mask = np.asarray(said)
        if mask.dtype != bool or mask.shape != np.shape(tokens):
            raise TokenGymError(
                f"this reward model scores every token of the agent's: give said, bool of shape {np.shape(tokens)}, "
                f"got {'None' if said is None else f'{mask.dtype} of shape {mask.shape}'}."
            )
        return mask


def values_after(member: Agent, tokens: Tensor, lengths: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return what a member's head says after reading each ``tokens[row, :column + 1]``, (N,)."""
    features = member.features(tokens, lengths, rows, columns + 1, heads=("value",))
    values = member.apply_heads(features, ("value",)).values
    assert values is not None
    return values


def start_head(member: Agent) -> Agent:
    """Draw the weights of a member's head, N(0, 1/(D + 1)), and take its bias out of learning: it changes no order.

    A table's stays at 0, where every prefix that was never learnt from is, too.
    """
    head = member.readouts["value"]
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=1 / math.sqrt(head.in_features + 1))
        nn.init.zeros_(head.bias)
        head.bias.requires_grad_(False)
    return member


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows in runs of about equal lengths, each of at most `SCORED_TOKENS` with its padding, or one row."""
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * int(lengths[order[last]]) <= SCORED_TOKENS:
            last += 1
        yield np.sort(order[first:last])
        first = last
