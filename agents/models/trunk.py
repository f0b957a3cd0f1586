"""The two interfaces that make something an agent's body: `Trunk` (all positions) and `Decoder` (only what is new)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from ...envs import TokenGymError
from ..devices import uploaded
from ..specs import LinearKernel


class Trunk(nn.Module, ABC):
    """Turns sequences into one feature a position, causally: position c depends on tokens 0…c alone.

    Attributes:
        feature_size: width D of the features; 0 for a table, whose features are prefix numbers.
        max_length: longest sequence that it can read.
        can_checkpoint: whether it has layers of which `checkpointing` may keep the inputs alone.
        checkpointing: whether passes with gradients keep only what goes into each layer, and compute the rest again on
            the way back.
        linear_kernel: what multiplies by the weights in teacher-forced passes; see `choose_kernel`.
    """

    feature_size: int
    max_length: int
    can_checkpoint: bool = False
    checkpointing: bool = False
    linear_kernel: LinearKernel = "blas"

    def __repr__(self) -> str:
        """Return the kind, the sizes and the number of parameters; `trunk.body` shows its modules."""
        body = getattr(self, "body", None)
        own = [] if body is None else [type(body).__name__]
        count = sum(parameter.numel() for parameter in self.parameters())
        said = [*own, f"feature_size={self.feature_size}", f"max_length={self.max_length}"]
        return f"{type(self).__name__}({', '.join(said)}; {count:,} parameters)"

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        tensor = next(self.parameters(), None)
        return (tensor if tensor is not None else next(self.buffers())).device

    def choose_kernel(self, kernel: LinearKernel) -> None:
        """Set what multiplies by the weights in teacher-forced passes of float32 on a CPU; see `agents.linear`.

        Raises:
            TokenGymError: this trunk has no such choice.
        """
        if kernel != "blas":
            raise TokenGymError(
                f"linear_kernel is {kernel!r}, and a {type(self).__name__} has none but 'blas': leave it out, or take "
                "a transformer (gpt2, llama)."
            )
        self.linear_kernel = kernel

    def version(self) -> int:
        """A number that changes when features computed before are out of date, other than by a parameter's change."""
        return 0

    @abstractmethod
    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Teacher-forced pass.

        Args:
            tokens: int64 (B, L), right-padded; what stands in the padding does not matter.
            lengths: int64 (B,); what comes out at and after a row's length is not defined.

        Returns:
            (B, L, D), or int64 (B, L) for a table.
        """

    def states(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        groups: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Features of some tokens, in one teacher-forced pass.

        Args:
            tokens: int64 (B, L), as of `forward`.
            lengths: int64 (B,).
            rows: int64 (N,), the sequence of each.
            columns: int64 (N,), its place there.
            groups: int64 (B,), equal for sequences that may begin alike and follow one another: a trunk may then read
                once what they have in common, which makes a difference of rounding. None for none.

        Returns:
            (N, D), or int64 (N,) for a table.
        """
        # index_select, not fancy indexing: its backward is an index_add, several times faster on a CPU.
        return self(tokens, lengths).flatten(0, 1).index_select(0, rows * tokens.shape[1] + columns)

    @abstractmethod
    def another(self) -> Trunk | None:
        """A second trunk of the same kind for separate critics, or None where heads share nothing anyway."""

    @abstractmethod
    def make_decoder(self, num_rows: int) -> Decoder:
        """An incremental decoder over `num_rows` sequences."""


class Decoder(ABC):
    """Remembers what it has read of each row and reads on from there.

    Attributes:
        can_rewind: whether `extend` may start before the end of what a row has cached.
        can_fork: whether `fork` is there; where it is not, rows that others became copies of are read anew.
    """

    can_rewind: bool = True
    can_fork: bool = False

    @abstractmethod
    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """Read tokens `starts[i]…ends[i]-1` of each row, on top of the cached ones before `starts[i]`.

        Args:
            rows: int64 (m,) row numbers without repeats, or None for all rows in order.
            tokens: int32 (m, L), the whole sequences.
            starts: int64 (m,), first new position; 0 starts the row over.
            ends: int64 (m,), one past the last new position; greater than `starts`.

        Returns:
            The features of the last token of each row, (m, D), or int64 (m,) for a table.
        """

    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Copy what is cached of rows to other rows.

        Args:
            sources: int64 (m,) row numbers, which may repeat.
            targets: int64 (m,) row numbers without repeats, none of them a source.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot copy rows")


class ReencodeDecoder(Decoder):
    """Caches nothing and encodes the whole prefix each time: right for every trunk, and slow.

    Args:
        trunk: the trunk to run.
    """

    can_fork = True

    def __init__(self, trunk: Trunk):
        self._trunk = trunk

    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """Nothing is cached."""

    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """See `Decoder.extend`."""
        device = self._trunk.device
        ids = uploaded(tokens[:, : int(ends.max())].astype(np.int64), device)
        lengths = uploaded(ends, device)
        return self._trunk(ids, lengths)[torch.arange(len(ends), device=device), lengths - 1]
