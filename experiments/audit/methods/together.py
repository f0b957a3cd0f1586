"""Gradients of many batches in one pass, where a method treats each of them as if it were alone.

A table's gradient is a sum over places, and the places of a text belong to its group. So where the loss of many batches
side by side is the mean, or the sum, of their losses, one pass gives the gradient of each: what flows into its own
places. Whether it is so is not assumed. Batches drawn at random are compared with the plain loop, first with all of
them side by side, then with those alone that have equally many tokens (a mean over tokens divides them alike), then
with those that have equally many ties as well; and where none of it holds, as with advantages whitened over a
batch, the plain loop does it all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....algorithms import Episodes
from ....envs import TokenGymError
from ..gradients import at, each_gradient, standing_still
from .setting import Setting, Units

ALIKE = ("everything", "tokens", "ties")
"""What batches must have in common to go side by side, from the loosest on."""

SAME = 1e-12
"""How far a gradient may be from the plain loop's, as a share of the largest of them."""

TIED = 1e-12
"""The widest spread of the returns of a group that counts as none."""

MOST_EPISODES = 4_096
"""How many texts go into one pass."""

PROBES = 8
"""How many batches are compared before any are trusted; afterwards one is in each listing."""


def gradients(setting: Setting, algorithm: Any, episodes: Episodes, units: Units, moved: Any = None) -> Tensor:
    """Return (M, P), the ascent direction of the acting table for each batch of a listing."""
    if setting.context:
        return _beside(setting, algorithm, episodes, units, moved)
    key = (len(units[0][1]), bool(moved))
    worth = setting.fed == "episodes" and setting.group_size > 1 and len(units) > PROBES
    if not worth or setting.alike.get(key, "") is None:
        return plain(setting, algorithm, episodes, units, moved)
    known = setting.alike.get(key)
    probes = np.random.default_rng(len(units)).choice(len(units), PROBES if known is None else 1, replace=False)
    expected = plain(setting, algorithm, episodes, [units[number] for number in probes], moved)
    for alike in ALIKE if known is None else ALIKE[ALIKE.index(known) :]:
        found = _side_by_side(setting, algorithm, episodes, units, moved, alike)
        if found is not None:
            error = float((found[torch.from_numpy(probes)] - expected).abs().max())
            if error <= SAME * max(float(found.abs().max()), 1e-300):
                setting.alike[key] = alike
                return found
    setting.alike[key] = None
    return plain(setting, algorithm, episodes, units, moved)


def plain(setting: Setting, algorithm: Any, episodes: Episodes, units: Units, moved: Any = None) -> Tensor:
    """Return the same, a batch at a time."""
    name = acting(algorithm)
    listed = each_gradient(algorithm, setting.batches(algorithm, episodes, units), moved)
    return torch.stack([-found[name].flatten() for _, _, found in listed])


def _beside(setting: Setting, algorithm: Any, episodes: Episodes, units: Units, moved: Any) -> Tensor:
    """(M, P), what flows into the audited group's places of batches that hold the groups of the context as well."""
    count, found = 1 + len(setting.context) // setting.group_size, []
    for _, group in units:
        members = np.array([*group, *setting.context]).reshape(count, setting.group_size)
        split = _of_one_pass(setting, algorithm, episodes, members, moved)
        if split is None:
            raise TokenGymError(f"context: {setting.name} prepares something else of a batch than a place a token.")
        found.append(-split[0].flatten() * _mean_of(algorithm, count))
    return torch.stack(found)


def acting(algorithm: Any) -> str:
    """The name of the table that acts."""
    return "readouts.policy.weight" if "policy" in algorithm.agent.readouts else "readouts.q.weight"


def _side_by_side(
    setting: Setting, algorithm: Any, episodes: Episodes, units: Units, moved: Any, alike: str
) -> Tensor | None:
    """All gradients by one pass for each kind of batch, or None where a pass does not look as it should."""
    members = np.array([group for _, group in units])
    table = dict(algorithm.agent.named_parameters())[acting(algorithm)]
    found = torch.zeros((len(units), *table.shape), dtype=table.dtype)
    for chosen in _kinds(setting, episodes, members, alike):
        split = _of_one_pass(setting, algorithm, episodes, members[chosen], moved)
        if split is None:
            return None
        found[torch.from_numpy(chosen)] = -split * _mean_of(algorithm, len(chosen))
    return found.reshape(len(units), -1)


def _mean_of(algorithm: Any, count: int) -> int:
    """By what the gradient of one among so many is multiplied: a mean over a batch gives each its share."""
    return 1 if getattr(algorithm.config, "loss_aggregation", None) == "sum" else count


def _kinds(setting: Setting, episodes: Episodes, members: np.ndarray, alike: str) -> Iterator[np.ndarray]:
    """Yield the numbers of batches that go side by side."""
    tokens = episodes.episode_lengths[members].sum(axis=1)
    groups = members.reshape(len(members), -1, setting.group_size)
    returns = episodes.returns[groups]
    even = np.ptp(returns, axis=2) <= TIED
    held = np.where(even, 0, episodes.episode_lengths[groups].sum(axis=2)).sum(axis=1)
    keys = {
        "everything": np.zeros((len(members), 1)),
        "tokens": tokens[:, None],
        "ties": np.column_stack([tokens, even.sum(axis=1), held]),
    }[alike]
    _, kind = np.unique(keys, axis=0, return_inverse=True)
    most = max(MOST_EPISODES // members.shape[1], 1)
    for number in range(int(kind.max()) + 1):
        chosen = np.flatnonzero(kind.reshape(-1) == number)
        yield from (chosen[first : first + most] for first in range(0, len(chosen), most))


def _of_one_pass(
    setting: Setting, algorithm: Any, episodes: Episodes, members: np.ndarray, moved: Any
) -> Tensor | None:
    """(m, S, A), what flows into the places of each of m batches side by side."""
    agent = algorithm.agent
    parameters = dict(agent.named_parameters())
    table = parameters[acting(algorithm)]
    batch = setting.batch(algorithm, episodes.select(members.ravel()))
    with standing_still(algorithm), _reading(agent) as read:
        prepared = algorithm.prepare(batch)
        of = _batch_of_places(setting, batch, len(members), prepared)
        if of is None:
            return None
        if moved:
            read.clear()
        with torch.enable_grad(), at(parameters, moved):
            if moved and getattr(prepared, "scores", None) is not None:
                prepared = dataclasses.replace(prepared, scores=None)
            loss = algorithm.loss(prepared.batch, prepared).total
            logits = [logits for _, logits in read if logits.requires_grad]
            flowing = torch.autograd.grad(loss, logits, allow_unused=True) if logits else []
    found = torch.zeros((len(members), *table.shape), dtype=table.dtype)
    for (rows, _), flow in zip([one for one in read if one[1].requires_grad], flowing, strict=True):
        if flow is None:
            continue
        if rows.shape != of.shape:
            return None
        found.view(-1, table.shape[1]).index_add_(0, of * len(table) + rows, flow)
    return found


def _batch_of_places(setting: Setting, batch: Episodes, count: int, prepared: Any) -> Tensor | None:
    """(N,), in which of ``count`` batches each prepared place is, or None where it cannot be said."""
    if getattr(prepared, "parts", None) is not None:
        return None
    kept = np.repeat(np.arange(count), len(batch) // count)
    if len(prepared.batch) != len(batch.flat):  # tied groups may have been left out
        even = np.ptp(batch.returns.reshape(-1, setting.group_size), axis=1) <= TIED
        kept = kept[~np.repeat(even, setting.group_size)]
        if int(prepared.batch.episodes.max()) + 1 != len(kept):
            return None
    return torch.from_numpy(kept)[prepared.batch.episodes[prepared.batch.rows]]


@contextmanager
def _reading(agent: Any) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Keep what a table is read at, and the logits that it says."""
    read: list[tuple[Tensor, Tensor]] = []
    usual = agent.policy_logits

    def policy_logits(features: Tensor) -> Tensor:
        logits = usual(features)
        read.append((features, logits))
        return logits

    agent.policy_logits = policy_logits
    try:
        yield read
    finally:
        del agent.policy_logits
