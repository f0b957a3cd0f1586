"""What should change nothing of a method's gradient, and whether its critic rests at the exact values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....algorithms import Episodes
from ..claims import compare
from ..enumeration import Policy
from ..gradients import each_gradient
from ..objectives import Objective
from .running import Drawn, listed
from .setting import Setting
from .together import acting


def invariances(setting: Setting, claim: Objective, policy: Policy) -> dict[str, float]:
    """How far the gradient of a draw changes, as a share of it, by what should change nothing."""
    episodes, _ = setting.listing(policy)
    algorithm = setting.algorithm(policy)
    start = np.flatnonzero(episodes.starts == episodes.starts[0])
    random = np.random.default_rng(0)
    size = max(setting.group_size, 2)
    members = random.choice(start, size=size, replace=len(start) < size)

    def gradient(chosen: Episodes) -> Tensor:
        batch = setting.batch(algorithm, chosen)
        (_, _, found), *_ = each_gradient(algorithm, [(1.0, batch)])
        return -found[acting(algorithm)].flatten()

    plain = gradient(episodes.select(members))
    length = max(float(plain.norm()), 1e-12)
    found = {
        "order": float((gradient(episodes.select(members[::-1].copy())) - plain).norm()) / length,
        "padding": float((gradient(_padded(episodes.select(members), random)) - plain).norm()) / length,
    }
    if claim.name == "return" and setting.fed == "episodes":
        algorithm = replace(setting, critic="zero").algorithm(policy)
        chosen = episodes.select(members)
        scaled = gradient(replace(chosen, rewards=chosen.rewards * 3.0))
        found["scale of rewards"] = compare(scaled, gradient(chosen)).error
    return found


def _padded(episodes: Episodes, random: np.random.Generator) -> Episodes:
    """The same with three columns more, and with log-probabilities that mean nothing where the agent did not speak."""
    rows = len(episodes.lengths)

    def wider(values: np.ndarray, fill: Any) -> np.ndarray:
        return np.concatenate([values, np.full((rows, 3), fill, values.dtype)], axis=1)

    agent_mask = wider(episodes.agent_mask, False)
    noise = random.normal(size=agent_mask.shape)
    log_probs = np.where(agent_mask, wider(episodes.log_probs, 0.0), noise)
    return replace(
        episodes,
        tokens=wider(episodes.tokens, episodes.pad),
        agent_mask=agent_mask,
        rewards=wider(episodes.rewards, 0.0),
        log_probs=log_probs,
    )


def critic_residual(setting: Setting, policy: Policy) -> float | None:
    """The largest entry of the critic's expected gradient where it is exact; it has to vanish."""
    algorithm = setting.algorithm(policy)
    names = [f"readouts.{head}.weight" for head in ("value", "q", "q2") if head in algorithm.agent.readouts]
    if not names or setting.critic != "exact" or setting.fed != "episodes":
        return None
    episodes, chances = setting.listing(policy)
    units = listed(setting, episodes, chances, 1)
    if isinstance(units, Drawn):
        return None
    total = None
    for chance, _, gradients in each_gradient(algorithm, setting.batches(algorithm, episodes, units)):
        each = torch.cat([gradients[name].flatten() for name in names]) * chance
        total = each if total is None else total + each
    return None if total is None else float(total.abs().max())
