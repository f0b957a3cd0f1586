"""Drawn episodes, ready for a loss, and the parts that they are cut into."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...agents.masks import PackedMasks
from ..data import Batch, ReplaySample
from ..parts import EpisodeGrid
from .reading import Reading


@dataclass(frozen=True, eq=False)
class Part:
    """Some whole episodes of a draw: n of its agent tokens, f of its final states.

    Attributes:
        batch: the tokens; its ``final_rows`` (f,) end in the final states.
        masks: what may be said in the n + f states, or None.
        tokens: where the n tokens stand among those of the draw.
    """

    batch: Batch
    masks: PackedMasks | None
    tokens: slice

    def masks_in(self, states: slice) -> Tensor | None:
        """Bool (k, A), what may be said in a run of the n + f states, or None."""
        return None if self.masks is None else self.masks.unpack(states)


@dataclass(frozen=True, eq=False)
class Replayed:
    """Drawn episodes: N agent tokens in E episodes, F of them truncated.

    Attributes:
        sample: what the replay drew.
        batch: the N tokens; its ``final_rows`` (F,) are the sequences at whose ends truncated episodes stopped.
        final_masks: what may be said in the F final states, or None.
        rewards: float32 (N,), scaled.
        weights: float32 (N,), of each token in the loss.
        grid: which tokens form an episode.
        truncated: int64 (F,), the truncated episodes.
    """

    sample: ReplaySample
    batch: Batch
    final_masks: PackedMasks | None
    rewards: Tensor
    weights: Tensor
    grid: EpisodeGrid
    truncated: Tensor

    @property
    def actions(self) -> Tensor:
        """int64 (N,), the tokens said."""
        return self.batch.actions

    @property
    def log_probs(self) -> Tensor:
        """float32 (N,), their log-probabilities under the behaviour."""
        return self.batch.log_probs

    @classmethod
    def of(cls, sample: ReplaySample, rewards: np.ndarray, device: torch.device) -> Replayed:
        """Bring a draw to the device; float32 (N,) ``rewards`` are what is learnt from."""
        episodes = sample.episodes
        batch = Batch.from_episodes(episodes, device)
        truncated = torch.as_tensor(np.flatnonzero(~episodes.flat.terminated), device=device)
        final_masks = episodes.final_action_masks
        if final_masks is None and episodes.action_masks is not None:  # as a replay has it, too
            final_masks = PackedMasks.full(len(episodes), episodes.action_masks.num_actions)
        return cls(
            sample=sample,
            batch=replace(batch, final_rows=batch.final_rows[truncated]),
            final_masks=None if final_masks is None else final_masks[truncated.cpu()].to(device),
            rewards=torch.as_tensor(rewards, device=device),
            weights=torch.as_tensor(sample.weights, device=device),
            grid=EpisodeGrid(episodes.flat.episode_offsets, device),
            truncated=truncated,
        )

    def final_values(self, values: Tensor) -> Tensor:
        """Values behind the ends of all E episodes: 0 behind a terminated one, of ``values`` (F,) behind the others."""
        result = values.new_zeros(self.grid.num_episodes)
        result[self.truncated] = values
        return result

    def parts(self, micro_batch_tokens: int | None) -> list[Part]:
        """Cut the draw into runs of whole episodes that take at most so many trunk tokens, padding included."""
        parts: list[Part] = []
        begin = final = 0
        for batch in self.batch.parts(micro_batch_tokens, "episode", final=True):
            end, behind = begin + len(batch), final + len(batch.final_rows)
            masks = batch.masks
            if masks is not None and self.final_masks is not None:
                masks = PackedMasks.concat([masks, self.final_masks[final:behind]])
            parts.append(Part(batch, masks, slice(begin, end)))
            begin, final = end, behind
        return parts


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a loss needs and has no gradient, one entry a token of the draw.

    Attributes:
        replayed: the draw.
        parts: its parts, in order.
        columns: float (N,) each: "targets", and what the algorithm remembers of its looking.
        references: the reference's reading of each part, or None.
        named: what the targets were made of, in the order of computing, to name what diverged.
        online: the agent's reading, with a graph, where there is one part; the first loss takes it.
    """

    replayed: Replayed
    parts: list[Part]
    columns: dict[str, Tensor]
    references: list[Reading | None]
    named: dict[str, Tensor]
    online: list[Reading] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """N, which the losses of all parts are divided by."""
        return len(self.replayed.actions)

    def reference_of(self, part: Part) -> Reading | None:
        """The reference's reading of a part."""
        return next(r for p, r in zip(self.parts, self.references, strict=True) if p is part)

    def of(self, part: Part) -> dict[str, Tensor]:
        """The columns of a part's tokens."""
        return {name: column[part.tokens] for name, column in self.columns.items()}
