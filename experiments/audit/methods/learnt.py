"""The tables that a method learns, side by side as one array, and what stands in them at the optimum of a claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....envs import TokenGymError
from ..enumeration import all_episodes
from ..gradients import each_gradient
from ..objectives import Objective, paid
from ..tables import NEVER, log_reference, rows_of
from .declared import Optimum
from .setting import Setting, Units

HEADS = ("policy", "value", "q", "q2")


class Tables:
    """The readouts of an algorithm's table agent, (S, W): W columns of all heads side by side.

    Args:
        setting: the method.
        algorithm: it, built.
        acting: the table alone that says what is played.
    """

    def __init__(self, setting: Setting, algorithm: Any, acting: bool = False) -> None:
        everything, _ = all_episodes(setting.task)
        self.rows = np.unique(rows_of(algorithm.agent, everything))
        readouts = algorithm.agent.readouts
        heads = [head for head in HEADS if head in readouts]
        self.heads = heads[:1] if acting else heads
        self.weights: dict[str, Tensor] = {head: readouts[head].weight for head in self.heads}
        widths = [weight.shape[1] for weight in self.weights.values()]
        begins = np.cumsum([0, *widths])
        self.columns = {
            head: slice(int(begin), int(begin) + width)
            for head, begin, width in zip(self.heads, begins, widths, strict=False)
        }
        self.shape = (len(self.rows), sum(widths))
        self.algorithm = algorithm

    @torch.no_grad()
    def write(self, values: np.ndarray) -> None:
        """Let the tables hold values (S, W), and the target network the same."""
        for head, weight in self.weights.items():
            weight[torch.from_numpy(self.rows)] = torch.from_numpy(values[:, self.columns[head]])
        if hasattr(self.algorithm, "move_target"):
            self.algorithm.move_target(1.0)

    def read(self) -> np.ndarray:
        """What they hold, float64 (S, W)."""
        return np.concatenate(
            [weight.detach()[torch.from_numpy(self.rows)].numpy() for weight in self.weights.values()], 1
        )

    def direction(self, setting: Setting, episodes: Any, units: Units) -> np.ndarray:
        """The expected step (S, W) on batches and their chances, before a step size: downhill of the loss."""
        total = np.zeros(self.shape)
        batches = setting.batches(self.algorithm, episodes, units)
        for chance, _, gradients in each_gradient(self.algorithm, batches):
            for head, columns in self.columns.items():
                found = gradients[f"readouts.{head}.weight"][torch.from_numpy(self.rows)]
                total[:, columns] -= chance * found.numpy()
        return total

    def at(self, optimum: Optimum, setting: Setting) -> np.ndarray:
        """What the tables hold, (S, W), where a method is at an optimum."""
        own = {} if setting.declared.tables is None else dict(setting.declared.tables(optimum, setting.config))
        if setting.logits_hold_q and "policy" not in own:
            # The uniform reference has logits of 0; a table that says a policy holds its log-probabilities.
            policy = optimum.q / optimum.beta + (0.0 if setting.reference is None else optimum.log_reference)
        else:
            policy = np.maximum(optimum.log_policy, NEVER)
        usual = {"policy": policy, "value": optimum.values[:, None], "q": optimum.q, "q2": optimum.q}
        return np.concatenate([np.asarray(own.get(head, usual[head]), np.float64) for head in self.heads], 1)


def optimum_of(setting: Setting, algorithm: Any, claim: Objective) -> Optimum:
    """The optimum of a claim on single episodes, regularised or not, by induction from the last tokens backwards.

    Raises:
        TokenGymError: the claim is of several episodes, or of another's.
    """
    if not claim.by_states:
        told = "expected return, kl_return, kl_quantile or teacher"
        raise TokenGymError(f"claim {claim.name!r} has no optimum in a single state; {told}.")
    beta, alpha, width = claim.kl, claim.alpha, setting.task.vocabulary.num_actions
    weight = beta + alpha
    episodes, chances = all_episodes(setting.task)
    episodes = paid(setting.task, claim, episodes, setting.anchor)
    flat, mass_of = episodes.flat, chances[episodes.flat.episode]
    numbers, first, row = np.unique(rows_of(algorithm.agent, episodes), return_index=True, return_inverse=True)
    prior = log_reference(setting.anchor, episodes, first, width)
    q, values = np.zeros((len(numbers), width)), np.zeros(len(numbers))
    log_policy = np.full(q.shape, -np.inf)
    for step in range(int(flat.step.max()), -1, -1):
        here = np.flatnonzero(flat.step == step)
        following = np.where(flat.is_last[here], 0.0, values[row[np.minimum(here + 1, len(flat) - 1)]])
        pair = row[here] * width + flat.action[here]
        mass = np.bincount(pair, mass_of[here], q.size)
        total = np.bincount(pair, mass_of[here] * (flat.reward[here] + following), q.size)
        seen = mass > 0
        q = np.where(seen, total / np.where(seen, mass, 1.0), q.ravel()).reshape(q.shape)
        for state in np.unique(row[here]):
            if not weight:
                best = int(np.argmax(q[state]))
                values[state], log_policy[state, best] = q[state, best], 0.0
                continue
            inner = (q[state] + beta * prior[state]) / weight
            values[state] = weight * float(np.logaddexp.reduce(inner))
            log_policy[state] = inner - values[state] / weight
    return Optimum(q, values, log_policy, prior, beta, alpha)
