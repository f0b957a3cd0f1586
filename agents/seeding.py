"""The one place where a library's initialiser borrows the global random generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Run a block under `torch.manual_seed(seed)` and give the global generator back as it was.

    Module initialisers in torch and transformers take no generator; everything else in this package owns one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def seed_process(seed: int) -> None:
    """Seed the generators that a whole process shares, for what a user's reward or task draws from them.

    Nothing of ours draws from them; only a process that does one run, such as a study's worker, may be seeded so.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
