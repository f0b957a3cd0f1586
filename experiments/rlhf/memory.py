"""How much memory a pipeline takes."""

from __future__ import annotations

import sys


def peak_memory(device: str) -> dict[str, float]:
    """Return the most gigabytes (1e9 bytes) that the process has held so far: resident, and of a CUDA device.

    Imports, weights, optimisers and judging are all in it; a stage that comes after a larger one shows the larger one.
    What the system does not tell is left out.
    """
    found = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        found["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    if device.startswith("cuda"):
        import torch

        found["device"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found
