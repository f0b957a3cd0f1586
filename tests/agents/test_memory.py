"""What is let go goes back to the system."""

import sys
from pathlib import Path

import pytest
import torch

from tokengym.agents.chunks import return_free_memory, return_large_blocks


def resident() -> int:
    """Bytes that the process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_trim is glibc's")
def test_blocks_that_were_let_go_between_others_are_given_back():
    return_large_blocks()  # blocks below 8 MiB come from the heap from here on, and stay there
    blocks, pins = [], []
    for number in range(64):
        blocks.append(torch.ones(1 << 20))
        pins.append(torch.full((1 << 14,), float(number)))
    held = resident()
    blocks.clear()
    return_free_memory()
    assert held - resident() > 128 << 20
    assert all(bool((pin == number).all()) for number, pin in enumerate(pins))
