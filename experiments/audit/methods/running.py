"""Gradients of a method's own code over listed batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....algorithms import Episodes
from ....envs import TokenGymError
from .fitting import nearest_that_fits
from .setting import Setting, Units
from .together import gradients, plain

MOST_BATCHES = 20_000
"""What is listed of one behaviour; about a minute."""


def policy_gradients(
    setting: Setting, algorithm: Any, episodes: Episodes, units: Units, moved: Any = None
) -> tuple[np.ndarray, Tensor]:
    """Return the (M,) chances of batches and the (M, P) ascent directions of the policy's table, or of Q's."""
    rows = gradients(setting, algorithm, episodes, units, moved)
    return np.array([chance for chance, _ in units]), rows


def expected_direction(setting: Setting, algorithm: Any, episodes: Episodes, units: Units) -> Tensor:
    """Return (P,), the expected ascent direction of the table that acts."""
    chances, rows = policy_gradients(setting, algorithm, episodes, units)
    return (torch.from_numpy(chances)[:, None] * rows).sum(0)


class Drawn(list[tuple[float, tuple[int, ...]]]):
    """Batches that were drawn, each text being the first of its own share of them, and their weights."""


def standard_error(units: Units, rows: Tensor) -> float:
    """The norm of the standard error of the mean of rows (M, P) over drawn batches; 0 where all were listed."""
    if not isinstance(units, Drawn):
        return 0.0
    first = np.array([group[0] for _, group in units])
    chances = np.array([chance for chance, _ in units])
    total = 0.0
    for one in np.unique(first):
        own = np.flatnonzero(first == one)
        total += float(chances[own].sum() ** 2 * rows[torch.from_numpy(own)].var(0).sum()) / len(own)
    return total**0.5


def _drawn(setting: Setting, episodes: Episodes, chances: np.ndarray, groups: int, draws: int) -> Drawn:
    """About so many batches, at least two that begin with each text."""
    random, size, found = np.random.default_rng(0), setting.group_size, Drawn()
    for first in np.flatnonzero(chances > 0).tolist():
        count = max(2, round(draws * float(chances[first])))
        for _ in range(count):
            group = [first]
            for place in range(1, groups * size):
                leader = group[place - place % size] if place % size else None
                own = chances if leader is None else np.where(episodes.starts == episodes.starts[leader], chances, 0.0)
                group.append(int(random.choice(len(chances), p=own / own.sum())))
            found.append((float(chances[first]) / count, tuple(group)))
    return found


def listed(setting: Setting, episodes: Episodes, chances: np.ndarray, groups: int) -> Units:
    """List the batches of so many groups, or draw some where there are too many and the setting says how many.

    Raises:
        TokenGymError: there are too many.
    """
    free = order_free(setting, episodes)
    _, alike = np.unique(episodes.starts[chances > 0], return_counts=True)
    size = setting.group_size

    def batches(alike: Iterable[int]) -> int:
        units = sum(comb(one + size - 1, size) if free else one**size for one in alike)
        return comb(units + groups - 1, groups)

    count = batches(alike.tolist())
    if count > MOST_BATCHES and setting.draws:
        return _drawn(setting, episodes, chances, groups, setting.draws)
    if count > MOST_BATCHES:
        fits = max(number for number in range(1, 1000) if batches([number]) <= MOST_BATCHES)
        nearest = nearest_that_fits(setting.task, fits)
        raise TokenGymError(
            f"{setting.task.name} has {len(episodes):,} episodes, of which {setting.name} may be given {count:,} "
            f"batches of {groups} × {size}; {MOST_BATCHES:,} can be listed. Take a task of at most {fits:,} episodes"
            f"{f' ({nearest}, fits)' if nearest else ''}, smaller groups, or fewer of them, or have some drawn: "
            "draws=2000."
        )
    return setting.several(setting.units(episodes, chances, ordered=not free), groups)


def order_free(setting: Setting, episodes: Episodes) -> bool:
    """Whether the gradient of a group is the same in every order, on permutations of a dozen drawn groups."""
    if setting.group_size == 1:
        return True
    if setting.orderless is None:
        setting.orderless = _order_free(setting, episodes)
    return setting.orderless


def _order_free(setting: Setting, episodes: Episodes) -> bool:
    size = setting.group_size
    algorithm, random = setting.algorithm(None), np.random.default_rng(0)
    flat, masks = episodes.flat, episodes.action_masks
    log_probs = np.zeros(episodes.agent_mask.shape)
    allowed = setting.task.vocabulary.num_actions if masks is None else masks.unpack().sum(-1).numpy()
    log_probs[flat.row, flat.column] = -np.log(allowed)
    said = replace(episodes, log_probs=log_probs)
    starts = np.unique(episodes.starts)
    for _ in range(12):
        alike = np.flatnonzero(episodes.starts == random.choice(starts))
        members = random.choice(alike, size)
        orders: Units = [(0.5, tuple(members.tolist())), (0.5, tuple(random.permutation(members).tolist()))]
        rows = plain(setting, algorithm, said, orders)
        if float((rows[0] - rows[1]).abs().max()) > 1e-12:
            return False
    return True
