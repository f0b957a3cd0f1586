"""Pairs as tensors: which completions a batch compares, and what is thought of each of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent
from ..data import Batch, Episodes, PreferencePairs
from ..parts import Completions, Reference


@dataclass(frozen=True, eq=False)
class PreparedPairs:
    """Comparisons of the E episodes of a batch; tensors without gradients.

    Attributes:
        batch: the sequences. Its groups are what micro-batches keep whole.
        better, worse: int64 (P,), episodes of the batch.
        weight: float (P,), what each pair adds to the loss of the batch.
        best: int64 (K,), episodes of the batch whose likelihood is learnt, too; none but with rankings.
        best_weight: float (K,).
        lengths: (E,), how many tokens the agent said in each episode.
        originals: int64, the episodes without further copies of the same.
        reference: float (E,), log-probability of each episode under the reference, or None.
        point: scalar, KTO's reference point.
        metrics: what was seen on the way.
    """

    batch: Batch
    better: Tensor
    worse: Tensor
    weight: Tensor
    best: Tensor
    best_weight: Tensor
    lengths: Tensor
    originals: Tensor
    reference: Tensor | None = None
    point: Tensor | float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        episodes: Episodes,
        pairs: PreferencePairs,
        weight: np.ndarray,
        device: torch.device,
        limit: int | None = None,
        best: np.ndarray | None = None,
        best_weight: np.ndarray | None = None,
    ) -> PreparedPairs:
        """Put what is compared next to one another and move it to ``device``.

        An episode is there once, in however many pairs it is; only where one pass cannot hold all, some are copied.

        Args:
            episodes: those that are compared, and perhaps others, one sequence each.
            pairs: which with which.
            weight: (P,), of each pair in the loss.
            device: where it goes.
            limit: the most padded tokens that the model reads at once, or None.
            best: int (K,), episodes whose likelihood is learnt, too.
            best_weight: (K,).
        """
        count = len(episodes)
        cluster = clusters(pairs, episodes.lengths, limit)
        alone = np.setdiff1d(np.arange(count), np.concatenate([pairs.better, pairs.worse]))
        last = int(cluster.max(initial=-1)) + 1
        alone_keys = (last + np.arange(len(alone))) * count + alone
        all_keys = [cluster * count + pairs.better, cluster * count + pairs.worse, alone_keys]
        keys, place = np.unique(np.concatenate(all_keys), return_inverse=True)
        better, worse, _ = np.split(place.reshape(-1), [len(pairs), 2 * len(pairs)])
        source = keys % count
        originals = np.unique(source, return_index=True)[1]
        # What shares a start is a group, and micro-batches keep groups whole.
        copies = replace(episodes.select(source), starts=(keys // count).astype(np.uint64))
        batch = Batch.from_episodes(copies, device)

        def tensor(indices: np.ndarray) -> Tensor:
            return torch.as_tensor(indices, device=device)

        def weights(values: np.ndarray | None) -> Tensor:
            return torch.as_tensor([] if values is None else values, dtype=batch.log_probs.dtype, device=device)

        return cls(
            batch=batch,
            better=tensor(better),
            worse=tensor(worse),
            weight=weights(weight),
            best=tensor(originals[best] if best is not None else originals[:0]),
            best_weight=weights(best_weight),
            lengths=tensor(copies.episode_lengths),
            originals=tensor(originals),
        )

    def within(self, part: Batch) -> PreparedPairs:
        """Return the comparisons of a part of the batch, whose episodes keep their numbers."""
        if part is self.batch:
            return self
        there = torch.zeros(len(self.lengths), dtype=torch.bool, device=self.lengths.device)
        there[part.episodes] = True
        pairs, best = there[self.better], there[self.best]
        return replace(
            self,
            batch=part,
            better=self.better[pairs],
            worse=self.worse[pairs],
            weight=self.weight[pairs] * part.scale,
            best=self.best[best],
            best_weight=self.best_weight[best] * part.scale,
        )

    def completions(self, agent: Agent) -> Completions:
        """Read the batch once; return what the agent thinks of all E episodes, 0 of those that are not in the batch."""
        return Completions(
            per_episode(self.batch, self.batch.score(agent).log_probs, len(self.lengths)), self.lengths, self.reference
        )


def clusters(pairs: PreferencePairs, lengths: np.ndarray, limit: int | None) -> np.ndarray:
    """Return int64 (P,): a number for each pair, shared by pairs whose episodes fit one pass together.

    Args:
        pairs: which episodes are compared.
        lengths: (E,), of the episodes' sequences.
        limit: the most padded tokens of a pass; None is any number.
    """
    numbers = np.zeros(len(pairs), np.int64)
    if limit is None:
        return numbers
    number, width, held = 0, 0, set[int]()
    order = np.lexsort((pairs.worse, pairs.better))  # pairs that share an episode follow one another
    for pair in order.tolist():
        ends = {int(pairs.better[pair]), int(pairs.worse[pair])}
        longest = max(int(lengths[end]) for end in ends)
        if held and len(held | ends) * max(width, longest) > limit:
            number, width, held = number + 1, 0, set[int]()
        held |= ends
        width = max(width, longest)
        numbers[pair] = number
    return numbers


def per_episode(batch: Batch, values: Tensor, count: int) -> Tensor:
    """Add up float (N,), one number a token said, within each of ``count`` episodes."""
    return values.new_zeros(count).index_add(0, batch.episodes[batch.rows], values)


@torch.no_grad()
def reference_log_probs(reference: Reference, parts: list[Batch], agent: Agent, count: int) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of ``count`` episodes under the agent and under the reference, each (E,)."""
    own, others = [], []
    for part in parts:
        scores = part.score(agent, reference=reference.logits(part))
        assert scores.reference_log_probs is not None
        own.append(per_episode(part, scores.log_probs, count))
        others.append(per_episode(part, scores.reference_log_probs, count))
    return torch.stack(own).sum(0), torch.stack(others).sum(0)


def differ(episodes: Episodes, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return bool (P,), whether two episodes of one sequence each hold different tokens."""
    inside = np.arange(episodes.tokens.shape[1]) < episodes.lengths[:, None]
    tokens = np.where(inside, episodes.tokens, -1)
    return (tokens[first] != tokens[second]).any(axis=1)
