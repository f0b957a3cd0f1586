"""Episodes: a flat batch of sequences, the one currency between collecting, replaying and learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...agents.masks import PackedMasks
from ...envs import TokenGymError
from ...envs.checking import checked, unknown_name
from ...envs.columns import ColumnTotals, How
from .ring import ranges


@dataclass(frozen=True, eq=False)
class FlatTokens:
    """The agent's tokens of a batch of episodes, one entry a token, in the order in which they were said.

    Losses, advantages and targets work on these arrays. Prompts, replies and padding are not in them, so nothing
    that runs along an episode can be diluted by tokens that the agent did not write.

    Attributes:
        row: int64 (N,), the sequence that holds the token.
        column: int64 (N,), its place in the sequence; the state before it is ``tokens[row, :column]``.
        action: int64 (N,), the token.
        reward: float32 (N,), the reward received after saying it.
        log_prob: float32 (N,), its log-probability under the behaviour that said it.
        episode: int64 (N,), the episode that it belongs to.
        step: int64 (N,), its index among the agent's tokens of that episode.
        is_last: bool (N,), whether it is the agent's last token of the episode.
        episode_offsets: int64 (E + 1,); episode e owns the entries ``episode_offsets[e]:episode_offsets[e + 1]``.
        terminated: bool (E,), whether the episode reached its own end, so that nothing follows it.
    """

    row: np.ndarray
    column: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    log_prob: np.ndarray
    episode: np.ndarray
    step: np.ndarray
    is_last: np.ndarray
    episode_offsets: np.ndarray
    terminated: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, eq=False)
class Episodes:
    """Whole episodes as a flat batch of B right-padded sequences, ordered by episode and then by turn.

    An episode of context ``"episode"`` is one sequence that grew; an episode of context ``"turn"`` is one sequence a
    turn. An episode of context ``"turn"`` that was truncated has one more sequence, the final observation, with no
    agent token in it. The state to bootstrap from is therefore always the end of an episode's last sequence.

    Attributes:
        tokens: int32 (B, L), trimmed to the longest sequence.
        lengths: int32 (B,).
        agent_mask: bool (B, L), true where the agent said the token.
        rewards: float32 (B, L), the reward received after saying the token; zero where the agent did not speak.
        log_probs: float32 (B, L), log-probability under the behaviour; zero where the agent did not speak.
        episode_id: int64 (B,), consecutive from 0 to E - 1.
        turn: int32 (B,), the index of the sequence within its episode.
        terminated: bool (B,), set on the last sequence of an episode that reached its own end.
        truncated: bool (B,), set on the last sequence of an episode that was cut from outside.
        starts: uint64 (E,), the seed that each episode was started with; equal starts form a group.
        action_masks: what might be said in the states of the N tokens, packed, or None where everything may be said;
            bool (N, A) is taken and packed.
        final_action_masks: the same in the E final states, or None.
        pad: the token that fills the rows beyond their lengths.
        extras: what the task reported beside the reward, by name: float32 (N,) over the agent's tokens in the order of
            `flat`, NaN where it reported nothing.
        streams: uint64 (E,), what all draws after the start came from, or None where they came from the start.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    agent_mask: np.ndarray
    rewards: np.ndarray
    log_probs: np.ndarray
    episode_id: np.ndarray
    turn: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    starts: np.ndarray
    action_masks: PackedMasks | None = None
    final_action_masks: PackedMasks | None = None
    pad: int = 0
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    streams: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("action_masks", "final_action_masks"):
            if isinstance(masks := getattr(self, name), np.ndarray):
                object.__setattr__(self, name, PackedMasks.pack(masks))
        shape = self.tokens.shape
        for name in ("agent_mask", "rewards", "log_probs"):
            if getattr(self, name).shape != shape:
                raise TokenGymError(f"{name} has the shape {getattr(self, name).shape}; tokens have {shape}.")
        for name in ("lengths", "episode_id", "turn", "terminated", "truncated"):
            if getattr(self, name).shape != shape[:1]:
                raise TokenGymError(f"{name} has the shape {getattr(self, name).shape}; expected {shape[:1]}.")
        if len(self.episode_id) and len(self.starts) != self.episode_id[-1] + 1:
            raise TokenGymError(
                f"There are {len(self.starts)} starts for {self.episode_id[-1] + 1} episodes; expected one an episode."
            )
        if self.streams is not None and len(self.streams) != len(self.starts):
            raise TokenGymError(f"There are {len(self.streams)} streams for {len(self.starts)} starts; give one each.")
        for name, values in self.extras.items():
            if values.shape != (self.num_tokens,):
                raise TokenGymError(
                    f"The column {name!r} has the shape {values.shape}; expected one number for each of the agent's "
                    f"{self.num_tokens} tokens."
                )

    def __len__(self) -> int:
        """The number of episodes, E."""
        return len(self.starts)

    @property
    def num_sequences(self) -> int:
        """The number of sequences, B."""
        return len(self.lengths)

    @property
    def num_tokens(self) -> int:
        """The number of tokens that the agent said, N."""
        return len(self.flat)

    @cached_property
    def sequence_offsets(self) -> np.ndarray:
        """int64 (E + 1,); episode e owns the sequences ``sequence_offsets[e]:sequence_offsets[e + 1]``."""
        return np.searchsorted(self.episode_id, np.arange(len(self) + 1))

    @property
    def last_sequences(self) -> np.ndarray:
        """int64 (E,), the row of each episode's last sequence, whose end is the episode's final state."""
        return self.sequence_offsets[1:] - 1

    @cached_property
    def flat(self) -> FlatTokens:
        """The agent's tokens as flat arrays; computed once."""
        row, column = np.nonzero(self.agent_mask)
        episode = self.episode_id[row]
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(np.bincount(episode, minlength=len(self)), out=offsets[1:])
        step = np.arange(len(row)) - offsets[episode]
        is_last = np.zeros(len(row), bool)
        is_last[offsets[1:][offsets[1:] > offsets[:-1]] - 1] = True
        return FlatTokens(
            row=row,
            column=column,
            action=self.tokens[row, column].astype(np.int64),
            reward=self.rewards[row, column],
            log_prob=self.log_probs[row, column],
            episode=episode,
            step=step,
            is_last=is_last,
            episode_offsets=offsets,
            terminated=self.terminated[self.last_sequences],
        )

    @property
    def returns(self) -> np.ndarray:
        """float64 (E,), the undiscounted sum of each episode's rewards."""
        return np.bincount(self.flat.episode, weights=self.flat.reward, minlength=len(self))

    @property
    def episode_lengths(self) -> np.ndarray:
        """int64 (E,), the number of tokens that the agent said in each episode."""
        return np.diff(self.flat.episode_offsets)

    @checked
    def column(self, name: str, how: How = "mean") -> np.ndarray:
        """Return float64 (E,), what each episode reported in a column of ``extras``.

        Args:
            name: the column.
            how: "mean" of what it reported, NaN where that is nothing; or "sum", 0 where it is nothing.

        Raises:
            TokenGymError: there is no such column.
        """
        if name not in self.extras:
            raise unknown_name("column", name, list(self.extras))
        values = self.extras[name].astype(np.float64)
        there = ~np.isnan(values)
        sums, counts = (
            np.bincount(self.flat.episode[there], weights=weights, minlength=len(self))
            for weights in (values[there], None)
        )
        return sums if how == "sum" else np.where(counts, sums / np.maximum(counts, 1), np.nan)

    def select(self, indices: Sequence[int] | np.ndarray) -> Episodes:
        """Return the chosen episodes, renumbered in the given order; an index may occur more than once.

        Args:
            indices: int (K,), each within 0 … E - 1.

        Raises:
            TokenGymError: an index lies outside, or none is given.
        """
        index = np.asarray(indices, np.int64)
        if index.ndim != 1 or not len(index) or index.min() < 0 or index.max() >= len(self):
            raise TokenGymError(f"Cannot select the episodes {indices!r}; expected indices within 0 … {len(self) - 1}.")
        rows = ranges(self.sequence_offsets[index], np.diff(self.sequence_offsets)[index])
        length = int(self.lengths[rows].max())
        said = ranges(self.flat.episode_offsets[index], self.episode_lengths[index])
        masks = self.action_masks
        if masks is not None:
            masks = masks[said]
        return Episodes(
            tokens=self.tokens[rows, :length],
            lengths=self.lengths[rows],
            agent_mask=self.agent_mask[rows, :length],
            rewards=self.rewards[rows, :length],
            log_probs=self.log_probs[rows, :length],
            episode_id=np.repeat(np.arange(len(index)), np.diff(self.sequence_offsets)[index]),
            turn=self.turn[rows],
            terminated=self.terminated[rows],
            truncated=self.truncated[rows],
            starts=self.starts[index],
            action_masks=masks,
            final_action_masks=None if self.final_action_masks is None else self.final_action_masks[index],
            pad=self.pad,
            extras={name: values[said] for name, values in self.extras.items()},
            streams=None if self.streams is None else self.streams[index],
        )

    @staticmethod
    def concat(parts: Sequence[Episodes]) -> Episodes:
        """Join batches into one, renumbering the episodes and padding to the longest sequence.

        Raises:
            TokenGymError: nothing to join, or only some of the parts carry action masks.
        """
        if not parts:
            raise TokenGymError("Cannot join an empty list of episodes; give at least one batch.")
        with_masks = [part.action_masks is not None for part in parts]
        if any(with_masks) != all(with_masks):
            raise TokenGymError("Cannot join episodes with action masks and episodes without; collect all of one kind.")
        length = max(part.tokens.shape[1] for part in parts)
        first = np.cumsum([0] + [len(part) for part in parts])

        def join(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        def join_masks(name: str) -> PackedMasks:
            return PackedMasks.concat([getattr(part, name) for part in parts])

        def join_padded(name: str, fill: float) -> np.ndarray:
            widths = [length - part.tokens.shape[1] for part in parts]
            return np.concatenate(
                [
                    np.pad(getattr(part, name), ((0, 0), (0, width)), constant_values=fill)
                    for part, width in zip(parts, widths, strict=True)
                ]
            )

        def join_extra(name: str) -> np.ndarray:
            parts_of = [part.extras.get(name, np.full(part.num_tokens, np.nan, np.float32)) for part in parts]
            return np.concatenate(parts_of)

        final = all(part.final_action_masks is not None for part in parts)
        return Episodes(
            tokens=join_padded("tokens", parts[0].pad),
            lengths=join("lengths"),
            agent_mask=join_padded("agent_mask", False),
            rewards=join_padded("rewards", 0.0),
            log_probs=join_padded("log_probs", 0.0),
            episode_id=np.concatenate([part.episode_id + k for part, k in zip(parts, first, strict=False)]),
            turn=join("turn"),
            terminated=join("terminated"),
            truncated=join("truncated"),
            starts=join("starts"),
            action_masks=join_masks("action_masks") if all(with_masks) else None,
            final_action_masks=join_masks("final_action_masks") if final else None,
            pad=parts[0].pad,
            extras={name: join_extra(name) for name in dict.fromkeys(name for part in parts for name in part.extras)},
            streams=join("streams") if all(part.streams is not None for part in parts) else None,
        )


def episode_metrics(episodes: Episodes, columns: Mapping[str, How] | None = None) -> dict[str, float]:
    """Return what every algorithm logs about a collection: mean return and length, and how its episodes ended.

    Where starts are shared, also the spread of returns within groups: groups whose returns are all equal teach nothing
    to methods that compare within them. What the task reported beside the reward comes as ``task/<name>``.

    Args:
        episodes: what was collected.
        columns: how the task says that it is summed up, its `Task.columns`.
    """
    returns = episodes.returns
    metrics = {
        "episode/return": float(returns.mean()),
        "episode/return_std": float(returns.std()),
        "episode/length": float(episodes.episode_lengths.mean()),
        "episode/terminated_fraction": float(episodes.flat.terminated.mean()),
    }
    groups, group, sizes = np.unique(episodes.starts, return_inverse=True, return_counts=True)
    if len(groups) < len(returns):
        means = np.bincount(group, weights=returns) / sizes
        variances = np.bincount(group, weights=(returns - means[group]) ** 2) / sizes
        metrics["group/reward_std"] = float(np.sqrt(variances).mean())
        metrics["group/zero_std_fraction"] = float((variances < 1e-12).mean())
    totals = ColumnTotals()
    totals.add({name: values.astype(np.float64) for name, values in episodes.extras.items()})
    metrics |= {f"task/{name}": value for name, value in totals.summary(columns or {}, len(episodes)).items()}
    return metrics
