"""Sessions: incremental reading of rows that may start over at any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from ..envs import TokenGymError, Vocabulary
from ..envs.checking import Range, checked
from ..envs.rows import read_fork
from .devices import uploaded
from .models import Decoder, Trunk
from .weights import WeightsRecord

Rows = Annotated[int, Range(least=1, most=2**20)]
"""How many sequences are read side by side; each takes memory."""


@dataclass
class StepOutput:
    """What an agent says about the state at the end of each sequence.

    Attributes:
        logits: float (m, A), policy logits divided by the temperature, or None where not asked for.
        values: float (m,) or None.
        q: float (m, A) or None.
        q2: float (m, A), the second of twin heads, or None.
    """

    logits: torch.Tensor | None = None
    values: torch.Tensor | None = None
    q: torch.Tensor | None = None
    q2: torch.Tensor | None = None


def common_prefix(tokens: np.ndarray, cached: np.ndarray) -> np.ndarray:
    """Number of leading equal tokens of each row, int64 (m,), for two int32 arrays (m, W)."""
    differs = tokens != cached
    first = differs.argmax(axis=1)
    first[~differs[np.arange(len(first)), first]] = tokens.shape[1]
    return first


@runtime_checkable
class Reader(Protocol):
    """What a session asks of an agent: its trunks, and what its heads make of their features."""

    vocabulary: Vocabulary
    max_length: int

    def trunks_of(self, heads: tuple[str, ...]) -> list[Trunk]:
        """The trunks that these heads stand on, each once."""
        ...

    def apply_heads(self, features: list[torch.Tensor], heads: tuple[str, ...]) -> StepOutput:
        """Outputs of heads, from one tensor of features for each of their trunks."""
        ...


class Session:
    """Rows of sequences, of which only what is new is computed.

    Nothing but plain observations crosses this interface: `step` compares them with what each row has cached. A row
    that grew is read on from where it was, a row that started over is read from the first token that differs, and
    cached keys never outlive the weights: whatever changes a parameter, a buffer or a module empties the cache. Looking
    for that takes a moment in each step; where nothing can change for many steps, take them in `fixed_weights`.

    Args:
        agent: whose weights are used.
        num_rows: number of rows.
        heads: the heads that `step` computes.
    """

    @checked
    def __init__(self, agent: Reader, num_rows: Rows, heads: tuple[str, ...]):
        self._agent = agent
        self.num_rows = num_rows
        self.heads = heads
        self._every_row = np.arange(num_rows)
        self._fixed = False
        self.reset()

    def reset(self) -> None:
        """Forget everything: all rows are read from their beginning at the next step."""
        self._trunks = self._agent.trunks_of(self.heads)
        self._decoders: list[Decoder] = [trunk.make_decoder(self.num_rows) for trunk in self._trunks]
        self._features: list[torch.Tensor | None] = [None] * len(self._trunks)
        # -1 is no token, so a comparison stops by itself where the cached tokens end.
        self._tokens = np.full((self.num_rows, self._agent.max_length), -1, dtype=np.int32)
        self._lengths = np.zeros(self.num_rows, dtype=np.int64)
        self._version = self._trunk_version()
        self._weights: WeightsRecord | None = WeightsRecord(self._trunks)

    def release(self) -> None:
        """Give back the memory of everything that was cached, decoders' copies of weights included; see `reset`."""
        if not self._fixed:  # an outer block goes on decoding
            self._decoders, self._weights = [], None
            self._features = [None] * len(self._trunks)

    @property
    def agent(self) -> Reader:
        """Whose weights are used."""
        return self._agent

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """Take the caller's word that no weight changes within the block, after having looked once."""
        self._refresh()
        before, self._fixed = self._fixed, True
        try:
            yield
        finally:
            self._fixed = before

    def _refresh(self) -> None:
        """Forget everything if what it was computed from has changed."""
        trunks = self._agent.trunks_of(self.heads)
        if self._weights is None or self._version != self._trunk_version() or not self._weights.still_holds(trunks):
            self.reset()

    def _trunk_version(self) -> int:
        return sum([trunk.version() for trunk in self._trunks])

    def __getstate__(self) -> dict[str, Any]:
        self._refresh()
        return {name: value for name, value in vars(self).items() if name not in ("_weights", "_fixed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fixed = False
        self._weights = WeightsRecord(self._trunks)

    @torch.no_grad()
    def step(self, tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray | None = None) -> StepOutput:
        """Bring rows up to date and say what the agent thinks at the end of each.

        Args:
            tokens: int32 (m, L), the rows' whole sequences, right-padded.
            lengths: int (m,), their lengths, at least 1.
            rows: int (m,) row numbers without repeats, or None for all rows in order.

        Returns:
            A `StepOutput` with one entry a row, for the session's heads. The tensors are not part of a graph.

        Raises:
            TokenGymError: on a length of 0 or beyond the agent's context, or a token outside the vocabulary.
        """
        if not self._fixed:
            self._refresh()
        lengths = np.asarray(lengths, dtype=np.int64).reshape(-1)
        index = self._every_row if rows is None else np.asarray(rows, dtype=np.int64)
        if tokens.ndim != 2 or len(tokens) != len(index) or len(lengths) != len(index):
            raise TokenGymError(
                f"tokens of shape {tokens.shape} and lengths of shape {lengths.shape} do not fit {len(index)} rows; "
                f"expected ({len(index)}, L) and ({len(index)},)"
            )
        if len(index) == 0:
            return self._agent.apply_heads([self._empty_features(trunk) for trunk in self._trunks], self.heads)
        everyone = rows is None
        if everyone and self._grew_by_one(tokens, lengths):
            return self._append(tokens, lengths)
        width = int(lengths.max())
        self._check_lengths(lengths, width, tokens.shape[1])
        cached_lengths = self._lengths if everyone else self._lengths[index]
        cached = self._tokens[:, :width] if everyone else self._tokens[index, :width]
        starts = common_prefix(tokens[:, :width], cached)
        np.minimum(starts, lengths, out=starts)
        unchanged = (starts == lengths) & (cached_lengths == lengths)
        starts[starts == lengths] -= 1  # a shorter prefix than the cached one: read its last token again
        appended = starts == cached_lengths
        fresh = ~unchanged
        if not fresh.any():
            return self._agent.apply_heads([self._gather(f, rows) for f in self._features], self.heads)
        self._check_tokens(tokens, starts, lengths, width)
        if fresh.all():
            self._read(rows, tokens, starts, lengths, appended)
        else:
            self._read(index[fresh], tokens[fresh], starts[fresh], lengths[fresh], appended[fresh])
        self._remember(index, tokens, starts, lengths, width, bool((appended & (starts + 1 == lengths)).all()))
        return self._agent.apply_heads([self._gather(f, rows) for f in self._features], self.heads)

    @torch.no_grad()
    def fork(self, sources: npt.ArrayLike, targets: npt.ArrayLike) -> None:
        """Copy what is cached of rows to other rows, as `Engine.fork` copies their episodes: nothing is read anew.

        Args:
            sources: int (m,) row numbers, which may repeat, or one for all targets.
            targets: int (m,) row numbers without repeats. A row that is copied can be the target of itself only.

        Raises:
            TokenGymError: on rows that there are not, or that are copied and overwritten at once.
        """
        copied, to, _ = read_fork(sources, targets, self.num_rows)
        copied, to = copied[copied != to], to[copied != to]
        if not self._fixed:
            self._refresh()
        if not len(to):
            return
        if not all(decoder.can_fork for decoder in self._decoders):
            self._tokens[to], self._lengths[to] = -1, 0
            return
        for place, (decoder, features) in enumerate(zip(self._decoders, self._features, strict=True)):
            if features is not None:  # None before anything was read
                decoder.fork(copied, to)
                # The tensor may have been handed out by an earlier step, so it is replaced, not written to.
                index, into = (uploaded(rows, features.device) for rows in (copied, to))
                self._features[place] = features.index_copy(0, into, features[index])
        self._tokens[to], self._lengths[to] = self._tokens[copied], self._lengths[copied]

    def _grew_by_one(self, tokens: np.ndarray, lengths: np.ndarray) -> bool:
        """Whether every row is its cached self and one token: the common case, told with few operations."""
        known = lengths - 1
        if known.tobytes() != self._lengths.tobytes():
            return False
        width = int(lengths.max())
        if width > min(self._agent.max_length, tokens.shape[1]):
            return False
        # Behind a row's end the cache holds -1, so the first difference is there or earlier.
        first = (tokens[:, :width] != self._tokens[:, :width]).argmax(axis=1)
        return first.tobytes() == known.tobytes()

    def _append(self, tokens: np.ndarray, lengths: np.ndarray) -> StepOutput:
        """`step` for rows that all grew by one token."""
        starts = self._lengths
        new = tokens[self._every_row, starts]
        self._check_range(new)
        self._features = [decoder.extend(None, tokens, starts, lengths) for decoder in self._decoders]
        self._tokens[self._every_row, starts] = new
        self._lengths = lengths.copy()
        return self._agent.apply_heads([self._gather(f, None) for f in self._features], self.heads)

    def _read(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        starts: np.ndarray,
        ends: np.ndarray,
        appended: np.ndarray,
    ) -> None:
        """Let each decoder read tokens `starts…ends-1` of the rows and keep the resulting features."""
        for i, decoder in enumerate(self._decoders):
            first = starts if decoder.can_rewind else np.where(appended, starts, 0)
            features = decoder.extend(rows, tokens, first, ends)
            if rows is None:
                self._features[i] = features
                continue
            kept = self._features[i]
            if kept is None:
                kept = features.new_zeros((self.num_rows, *features.shape[1:]))
            # The kept tensor may have been handed out by an earlier step, so it is replaced, not written to.
            self._features[i] = kept.index_copy(0, uploaded(rows, features.device), features)

    def _remember(
        self, index: np.ndarray, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, width: int, one_new: bool
    ) -> None:
        """Write the rows' tokens and lengths into the session's own copy."""
        if one_new:
            self._tokens[index, starts] = tokens[np.arange(len(index)), starts]
        else:
            self._tokens[index] = -1
            self._tokens[index, :width] = np.where(np.arange(width) < lengths[:, None], tokens[:, :width], -1)
        self._lengths[index] = lengths

    @staticmethod
    def _gather(features: torch.Tensor | None, rows: np.ndarray | None) -> torch.Tensor:
        assert features is not None
        return features if rows is None else features[uploaded(np.asarray(rows, dtype=np.int64), features.device)]

    @staticmethod
    def _empty_features(trunk: Trunk) -> torch.Tensor:
        if trunk.feature_size == 0:
            return torch.zeros(0, dtype=torch.int64, device=trunk.device)
        dtype = next(trunk.parameters()).dtype
        return torch.zeros(0, trunk.feature_size, device=trunk.device, dtype=dtype)

    def _check_lengths(self, lengths: np.ndarray, longest: int, columns: int) -> None:
        if int(lengths.min()) < 1:
            raise TokenGymError("a row of length 0 was given; every observation holds at least the begin token")
        if longest > self._agent.max_length or longest > columns:
            raise TokenGymError(
                f"a row of length {longest} does not fit tokens of {columns} columns and the agent's context of "
                f"{self._agent.max_length}; build the agent with max_length of at least {longest}"
            )

    def _check_tokens(self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, width: int) -> None:
        """Refuse new tokens outside the vocabulary before they are cached or reach an embedding."""
        if int((lengths - starts).max()) == 1:
            new = tokens[np.arange(len(starts)), starts]
        else:
            positions = np.arange(width)
            new = tokens[:, :width][(positions >= starts[:, None]) & (positions < lengths[:, None])]
        self._check_range(new)

    def _check_range(self, new: np.ndarray) -> None:
        size = self._agent.vocabulary.size
        if int(new.min()) < 0 or int(new.max()) >= size:
            wrong = int(new[(new < 0) | (new >= size)][0])
            raise TokenGymError(f"token {wrong} is outside the vocabulary; expected ids from 0 to {size - 1}")
