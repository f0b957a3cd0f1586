"""The one place where a library's initialiser borrows the global random generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Run a block under `torch.manual_seed(seed)` and give the global generator back as it was.

    Module initialisers in torch and transformers take no generator; everything else in this package owns one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
