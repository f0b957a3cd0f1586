"""Heads: what an algorithm reads off a trunk's features.

| head | outputs | starts |
|---|---|---|
| `policy` | logits (N, A) | near uniform (weights of standard deviation .01), or the language model's own head |
| `value` | values (N,) | at 0 |
| `q` | q (N, A) | at 0 |
| `twin_q` | q and q2, each (N, A) | at 0; each behind a hidden layer of its own, or the twins would never differ |
"""

from __future__ import annotations

import torch
from torch import nn

from ..envs import TokenGymError
from ..envs.checking import shown, unknown_name
from .devices import is_half
from .linear import multiply
from .specs import LinearKernel

HEADS = ("policy", "value", "q", "twin_q")
CRITIC_HEADS = ("value", "q", "twin_q")
POLICY_STD = 0.01


def check_heads(heads: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse unknown, repeated, contradictory or missing heads; returns them as a tuple."""
    if not isinstance(heads, (tuple, list)):
        raise TokenGymError(f"heads is {shown(heads)}; expected a tuple of names, any of {', '.join(HEADS)}")
    heads = tuple(heads)
    for head in heads:
        if head not in HEADS:
            raise unknown_name("head", head, HEADS)
    if not heads or len(set(heads)) != len(heads):
        raise TokenGymError(f"heads {heads} must name each head once, at least one of {', '.join(HEADS)}")
    if "q" in heads and "twin_q" in heads:
        raise TokenGymError(f"heads {heads} hold both 'q' and 'twin_q'; ask for one of them")
    return heads


def make_head(features: int, width: int, hidden: int | None = None, std: float = 0.0, bias: bool = True) -> nn.Module:
    """A linear head, or one with a hidden layer.

    Args:
        features: size of the trunk's features.
        width: number of outputs.
        hidden: width of a tanh hidden layer, or None for a linear head.
        std: standard deviation of the last layer's initial weights; 0 starts all outputs at exactly 0.
        bias: whether the last layer has a bias, which language models do without.
    """
    last = nn.Linear(hidden if hidden else features, width, bias=bias)
    nn.init.normal_(last.weight, std=std) if std else nn.init.zeros_(last.weight)
    if bias:
        nn.init.zeros_(last.bias)
    if not hidden:
        return last
    return nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), last)


def read(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Outputs of a head; features in half precision are given to it in its own, which may have more digits."""
    if is_half(features.dtype):
        features = features.to(next(head.parameters(), features).dtype)
    return head(features)


class OwnHead(nn.Module):
    """A language model's own output head, cut to the sayable tokens.

    Holds the model's projection by reference. A tied projection (its weight is the input embedding) is kept out of
    the module tree, so that the shared tensor appears once in `parameters()` and in `state_dict()`.

    Args:
        projection: the model's output layer, weight (V', D) with V' >= width.
        width: A, the number of sayable tokens.
        tied: whether the trunk already owns the projection's weight.

    Attributes:
        linear_kernel: what multiplies by the projection's weight, where there are many features.
    """

    linear_kernel: LinearKernel = "blas"

    def __init__(self, projection: nn.Module, width: int, tied: bool):
        super().__init__()
        self.width = width
        self._hidden_reference: list[nn.Module] = []
        if tied:
            self._hidden_reference.append(projection)
        else:
            self.projection = projection

    @property
    def whole(self) -> nn.Module:
        """The model's output layer with all that it can say, weight (V', D)."""
        return self._hidden_reference[0] if self._hidden_reference else self.projection

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, A) of features (N, D)."""
        projection = self.whole
        bias = getattr(projection, "bias", None)
        weight: torch.Tensor = projection.weight  # type: ignore[assignment]
        if len(weight) != self.width:
            weight, bias = weight[: self.width], None if bias is None else bias[: self.width]
        return multiply(features, weight, bias, self.linear_kernel)


class TableHead(nn.Module):
    """One row of outputs for each prefix of a table, all starting at 0.

    Args:
        capacity: number of prefixes.
        width: number of outputs.
    """

    def __init__(self, capacity: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(capacity, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs (N, width) of prefix numbers (N,); zeros where the number is the capacity: an unknown prefix."""
        unknown = features == len(self.weight)
        if features.device.type == "cpu" and not bool(unknown.any()):  # elsewhere asking would wait for the device
            return self.weight.index_select(0, features)
        return self.weight.index_select(0, features.masked_fill(unknown, 0)).masked_fill(unknown[:, None], 0.0)
