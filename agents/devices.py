"""Devices: where agents live, tried before anything is built there."""

from __future__ import annotations

import torch

from ..envs import TokenGymError
from ..envs.checking import shown


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device on which tensors can be made and read back.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" or another of torch's names, or a `torch.device`.

    Raises:
        TokenGymError: no name of a device, or one that this machine has not.
    """
    remedy = "take 'cpu', or a device of this machine"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise TokenGymError(f"device is {shown(device)}, which names none: {remedy}.") from error
    try:
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TokenGymError(f"device is {shown(device)}, which cannot be used ({reason}): {remedy}.") from error
    return found
