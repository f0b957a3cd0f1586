"""What belongs to a task's instance, such as a hidden code or a list of words, is drawn from a seed of its own."""

from __future__ import annotations

import numpy as np

from ..checking import whole_number


def instance_random(instance_seed: int) -> np.random.Generator:
    """Returns the generator from which an instance is drawn, or raises `TokenGymError` for what is no seed."""
    return np.random.default_rng(whole_number("instance_seed", instance_seed))
