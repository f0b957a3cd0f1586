"""Devices and dtypes: where agents live and what they compute with, tried before anything is built there."""

from __future__ import annotations

import numpy as np
import torch

from ..envs import TokenGymError
from ..envs.checking import shown, unknown_name

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
"""The dtypes that agents compute with, by name."""


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device on which tensors can be made and read back.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" or another of torch's names, or a `torch.device`.

    Raises:
        TokenGymError: no name of a device, or one that this machine has not; says which it has.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise TokenGymError(f"device is {shown(device)}, which names none: {_there()}.") from error
    try:
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TokenGymError(f"device is {shown(device)}, which cannot be used ({reason}): {_there()}.") from error
    return found


def _there() -> str:
    """Say which devices this machine has."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return f"take 'cpu', or a device of this machine (it has {', '.join(names)})"


def uploaded(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device, without waiting for what the device still computes.

    CUDA copies what lies in ordinary memory before the call returns, so the array may change then.
    """
    tensor = torch.from_numpy(array)
    kind = device.type
    return tensor if kind == "cpu" else tensor.to(device, non_blocking=kind == "cuda")


def usable_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return a dtype by its name, if the device multiplies with it.

    Raises:
        TokenGymError: no such dtype (lists those there are), or the device has not got it.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    found = DTYPES[dtype]
    if found != torch.float32 and not _multiplies(found, device):
        others = [name for name, other in DTYPES.items() if _multiplies(other, device)]
        raise TokenGymError(f"dtype is {dtype!r}, which {device} does not compute with: take {' or '.join(others)}.")
    return found


def _multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    try:
        one = torch.ones(1, 1, dtype=dtype, device=device)
        return bool((one @ one).cpu() == 1)
    except (RuntimeError, TypeError, NotImplementedError):
        return False


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a model's dtype.

    Raises:
        TokenGymError: it is none that agents compute with, such as float16, which overflows.
    """
    for name, known in DTYPES.items():
        if dtype == known:
            return name
    wrong = str(dtype).removeprefix("torch.")
    raise TokenGymError(f"the model is in {wrong}; expected {', '.join(DTYPES)}: convert it first, model.float()")


_HALF = frozenset((torch.bfloat16, torch.float16))


def is_half(dtype: torch.dtype) -> bool:
    """Whether a dtype has so few digits that sums, norms and losses need another."""
    return dtype in _HALF
