"""The smallest tree on which a method fails, small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor

from ....envs import FiniteTask
from ..claims import Comparison, compare
from ..enumeration import Policy, all_episodes
from ..tables import rows_of, table_agent
from ..trees import LeafTree
from .results import Smallest

Audited = Callable[[FiniteTask, Policy | None], dict[str, tuple[Tensor, Tensor]]]
"""A tree and a policy to the found and the claimed gradient by behaviour, both over a table."""

SHOWS = 1e-9
"""The least error that is called a failure."""


def trees() -> Iterator[LeafTree]:
    """Yield trees of at most eight leaves, the smallest first: one leaf pays 1, then rewards that rise."""
    for make, shape, leaves in (
        (LeafTree.stopping, (2, 2), 3),
        (LeafTree.full, (2, 2), 4),
        (LeafTree.stopping, (2, 3), 4),
        (LeafTree.stopping, (3, 2), 7),
        (LeafTree.full, (2, 3), 8),
    ):
        rising = (np.arange(leaves) / (leaves - 1)).round(2)
        for rewards in (*np.diag(np.ones(leaves))[::-1][:2], rising, rising[::-1]):
            yield make(*shape, rewards.tolist())


def smallest_failure(audited: Audited) -> Smallest | None:
    """Return the first tree on which a gradient is not the claimed one, or None where all are right."""
    for task in trees():
        for behaviour, (found, claimed) in audited(task, None).items():
            comparison = compare(found, claimed)
            if not (comparison.vanishes and comparison.claimed < 1e-12) and (
                comparison.error > SHOWS or comparison.scale <= 0
            ):
                return _shown(task, behaviour, found, claimed, comparison)
    return None


def _shown(task: FiniteTask, behaviour: str, found: Tensor, claimed: Tensor, comparison: Comparison) -> Smallest:
    episodes, chances = all_episodes(task)
    flat, agent = episodes.flat, table_agent(task)
    rows, width = rows_of(agent, episodes), task.vocabulary.num_actions
    said = ["".join(str(a) for a in flat.action[flat.episode == one].tolist()) for one in range(len(episodes))]
    before = [said[one][:step] for one, step in zip(flat.episode.tolist(), flat.step.tolist(), strict=True)]
    of, right = found.reshape(-1, width).numpy(), claimed.reshape(-1, width).numpy() * comparison.scale
    gradients = {
        text: (tuple(of[row].tolist()), tuple(right[row].tolist()))
        for text, row in zip(before, rows.tolist(), strict=True)
    }
    return Smallest(
        behaviour,
        tuple(zip(said, chances.tolist(), episodes.returns.tolist(), strict=True)),
        tuple((text, *both) for text, both in sorted(gradients.items(), key=lambda item: (len(item[0]), item[0]))),
        comparison,
    )
