"""What a stage of a pipeline costs beside seconds on the wall: memory, and seconds of processors."""

from __future__ import annotations

import sys
import time


def cost_since(processor_seconds: float, device: str) -> dict[str, float]:
    """Return what the process has cost so far.

    Args:
        processor_seconds: `time.process_time` when the stage began.
        device: where it computes.

    Returns:
        ``cpu_seconds``, of all threads since then; ``peak_gb``, the most gigabytes (1e9 bytes) that were resident so
        far, in which imports, weights, optimisers and judging all are, and stages of the same process that went before;
        ``gpu_gb``, the most that torch had allocated of a CUDA device. What the system does not tell is left out.
    """
    found = {"cpu_seconds": time.process_time() - processor_seconds}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    if device.startswith("cuda"):
        import torch

        found["gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found
