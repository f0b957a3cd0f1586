"""The product of a linear layer in teacher-forced passes: through PyTorch's BLAS, or through oneDNN."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .specs import LinearKernel

_LEAST_IMAGES, _MOST_IMAGES = 16, 128
"""PyTorch hands a filter of one pixel to oneDNN from so many images on; with very many, each is too small."""


def has_onednn() -> bool:
    """Whether this build of PyTorch has oneDNN."""
    return torch.backends.mkldnn.is_available()


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: LinearKernel = "blas") -> Tensor:
    """Return x·Wᵀ + b, (M, out).

    The BLAS that PyTorch brings fills the vectors of AMD's processors by half. oneDNN fills them, but PyTorch asks it
    for no product in float32, only for convolutions. So the tokens are seen as the pixels of a few images, and
    the layer as filters of one pixel: the same sums in another order. Where that does not pay (few tokens, another
    device or precision) the product is taken as it is.

    Args:
        x: (M, in); of any other shape it is not looked at as images either.
        weight: (out, in).
        bias: (out,) or None.
        kernel: which is to compute it.
    """
    count, width = len(x), x.shape[-1]
    usable = x.ndim == 2 and x.dtype == torch.float32 and x.device.type == "cpu"
    if kernel == "blas" or not usable or not pays(count, *weight.shape):
        return F.linear(x, weight, bias)
    images = _images(count)
    pixels = x if images else F.pad(x, (0, 0, 0, -count % _LEAST_IMAGES))
    # Images whose channels lie side by side are the same memory, so nothing is copied to or fro.
    pixels = pixels.reshape(images or _LEAST_IMAGES, -1, 1, width).permute(0, 3, 1, 2)
    out = F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(-1, len(weight))
    return out if images else out[:count]


def pays(count: int, out: int, width: int) -> bool:
    """Whether so many tokens are enough for a convolution to be faster than the product that it stands for.

    Each time it puts the weights into an order of its own, which must be little beside the product itself. Measured on
    one core with widths from 64 to 50,257.
    """
    return count * min(out, width) >= 1 << 15 and count << 13 >= out * width


@lru_cache(maxsize=1024)
def _images(count: int) -> int:
    """Into how many images of equal size some tokens fall, or 0 where they fall into none and are filled up."""
    return next((n for n in range(_LEAST_IMAGES, _MOST_IMAGES + 1) if count % n == 0), 0)
