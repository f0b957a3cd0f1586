"""Exponentials of log-ratios that stay finite in value and gradient, however far two policies are apart.

``exp`` overflows float32 at 89, which a token's log-ratio reaches where a policy gave the token up. An infinite value
times a gradient of zero is NaN, and one NaN ends a training. Clamping the argument cures the value and breaks the
gradient, which then vanishes, or turns round, where it should be largest. Here both saturate at what the type can hold.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def largest_exponent(dtype: torch.dtype) -> float:
    """Return the largest whole number whose exponential ``dtype`` can hold: 88 for float32, 709 for float64."""
    return float(math.floor(math.log(torch.finfo(dtype).max)))


class _BoundedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exponents: Tensor) -> Tensor:
        result = torch.exp(exponents.clamp(max=largest_exponent(exponents.dtype)))
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.saved_tensors[0]


class _ExpExcess(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exponents: Tensor) -> Tensor:
        slope = torch.expm1(exponents.clamp(max=largest_exponent(exponents.dtype)))
        ctx.save_for_backward(slope)
        # Near 0 the difference of two nearly equal numbers would be all rounding; the series is exact there.
        series = exponents**2 * (0.5 + exponents * (1 / 6 + exponents / 24))
        return torch.where(exponents.abs() < 1e-2, series, slope - exponents)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.saved_tensors[0]


def bounded_exp(exponents: Tensor) -> Tensor:
    """``exp(x)``, at most the exponential of `largest_exponent`; its gradient is its value, there and beyond."""
    return _BoundedExp.apply(exponents)  # pyright: ignore[reportReturnType]


def exp_excess(exponents: Tensor) -> Tensor:
    """``exp(x) − 1 − x``, never negative, bounded likewise, with the gradient ``exp(x) − 1``; exact near 0, too."""
    return _ExpExcess.apply(exponents)  # pyright: ignore[reportReturnType]
