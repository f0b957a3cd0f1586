"""The one place where a library's initialiser borrows the global random generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def process_state() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return where the generators that `seed_process` seeds stand: tensors by name, and JSON-able data."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(np.array(keys, np.int64)),
        "torch": torch.get_rng_state(),
    }
    return tensors, {"python": [version, gauss], "numpy": [kind, int(position), int(has_gauss), float(cached)]}


def load_process_state(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    """Take back what `process_state` returned."""
    version, gauss = data["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    kind, position, has_gauss, cached = data["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
