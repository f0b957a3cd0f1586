"""Which of a task's possible prompts are asked: all, or a seeded choice, split into train and held-out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int, unknown_name
from ...text import SPLITS
from ..instance import instance_random

MOST_BY_DEFAULT = 10_000
"""Up to how many prompts are all asked where no number is given; of more, so many are drawn."""

_MOST_PROMPTS = 100_000


def choose_prompts(
    available: int, num_prompts: int | None, split: str, held_out: float, instance_seed: int
) -> npt.NDArray[np.int64]:
    """Draws the numbers of the prompts that belong to one side of an instance's split.

    The prompts of the instance are drawn first and then split, so that both sides together are the same prompts for
    every `split`, and no prompt is on both.

    Args:
        available: How many prompts there are; they are numbered from 0.
        num_prompts: How many the instance has, or None for all of them up to `MOST_BY_DEFAULT`.
        split: `"train"`, `"held_out"` or `"all"`.
        held_out: The fraction of the instance's prompts that is held out, from 0 to below 1; at least one prompt is if
            it is above 0.
        instance_seed: Draws the prompts, and which of them are held out.

    Returns:
        The prompts' numbers, ascending and without repetitions, int64 of shape (P,).

    Raises:
        TokenGymError: If there are not so many prompts, they are too many to compile, or a side of the split is empty.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if isinstance(held_out, bool) or not isinstance(held_out, (int, float)) or not 0 <= held_out < 1:
        raise TokenGymError(f"held_out={held_out!r} must be a fraction from 0 to below 1")
    number = min(available, MOST_BY_DEFAULT) if num_prompts is None else positive_int("num_prompts", num_prompts)
    if number > min(available, _MOST_PROMPTS):
        raise TokenGymError(
            f"num_prompts={number}: there are {available} different prompts, and at most {_MOST_PROMPTS} can be "
            f"compiled: give at most {min(available, _MOST_PROMPTS)}."
        )
    chosen = instance_random(instance_seed).choice(available, size=number, replace=False)
    num_held = max(1, round(held_out * number)) if held_out > 0 else 0
    sides = {"train": chosen[num_held:], "held_out": chosen[:num_held], "all": chosen}
    if not len(sides[split]):
        raise TokenGymError(
            f"split={split!r} holds no prompt with held_out={held_out} of {number} prompts: change held_out, or take "
            "more prompts."
        )
    return np.sort(sides[split]).astype(np.int64)
