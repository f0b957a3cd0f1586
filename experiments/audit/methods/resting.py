"""Where a method ends: fixed points of its expected gradient, and how far from the optimum that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..claims import Claim, gradient_of, value_of
from ..enumeration import Policy, all_episodes
from ..tables import rows_of, table_agent
from .newton import STILL, Field, Rest, rest
from .running import expected_direction, order_free
from .setting import Setting
from .together import acting


@dataclass(frozen=True)
class End:
    """Where a method ends from one start.

    Attributes:
        start: how it began.
        interior: whether it rests there, or is on its way to being sure.
        norm: the largest entry of the expected gradient there.
        regret: (J* − J)/(J* − J_uniform) of what is claimed: 0 is the optimum, 1 the uniform policy.
        likeliest: what it says most there, and how probable that is.
    """

    start: str
    interior: bool
    norm: float
    regret: float
    likeliest: tuple[str, float]


def ends(setting: Setting, claim: Claim, seed: int = 0, starts: int = 3) -> list[End]:
    """Follow a method's expected gradient from several starts to where it ends.

    Args:
        setting: the method on a small task.
        claim: what it is held against.
        seed: draws starts; the first is the uniform policy.
        starts: how many.
    """
    field, rows, levels = _field(setting)
    shape = (len(rows), setting.task.vocabulary.num_actions)
    random = np.random.default_rng(seed)
    best, uniform = _best(setting, claim), _worth(setting, claim, None)
    found = []
    for number in range(starts):
        logits = np.zeros(shape) if number == 0 else random.normal(size=shape)
        came = _rested(setting, field, rows, logits, levels)
        policy = _policy(setting, rows, came.logits)
        worth = _worth(setting, claim, policy)
        regret = (best - worth) / (best - uniform) if abs(best - uniform) > 1e-12 else 0.0
        found.append(
            End(
                "uniform" if number == 0 else f"drawn {number}",
                came.interior,
                came.norm,
                regret,
                _likeliest(setting, policy),
            )
        )
    return found


def _rested(setting: Setting, field: Field, rows: np.ndarray, logits: np.ndarray, levels: bool = False) -> Rest:
    """Follow the natural gradient, which rests where the plain one does and does not slow down where nobody goes."""
    if levels:
        return rest(field, logits, levels=True)
    agent = table_agent(setting.task)
    table = agent.readouts["policy"].weight
    assert isinstance(table, Tensor)

    def natural(logits: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            table[torch.from_numpy(rows)] = torch.from_numpy(logits)
        episodes, chances = all_episodes(setting.task, agent.probabilities)
        flat = episodes.flat
        pair = np.searchsorted(rows, rows_of(agent, episodes)) * logits.shape[1] + flat.action
        said = np.bincount(pair, chances[flat.episode], logits.size).reshape(logits.shape)
        return field(logits) / np.maximum(said, 1e-300)

    came = rest(natural, logits)
    norm = float(np.abs(field(came.logits)).max())
    return replace(came, norm=norm, interior=came.interior and norm < STILL)


def residual_at_optimum(setting: Setting, claim: Claim) -> float | None:
    """Return the largest entry of the expected gradient at what is claimed to be optimal, or None where nothing rests.

    Where it is not 0 the method leaves the optimum again.
    """
    if claim.name != "kl_return" and setting.kind not in ("values", "likelihood"):
        return None
    field, rows, _ = _field(setting)
    if setting.kind == "values":
        return float(np.abs(field(_optimal_values(setting, rows))).max())
    return float(np.abs(field(_optimum(setting, claim).logits)).max())


def vanishes_everywhere(setting: Setting, seed: int = 0) -> bool:
    """Whether the expected gradient is 0 at each of a few policies."""
    field, rows, _ = _field(setting)
    random = np.random.default_rng(seed)
    shape = (len(rows), setting.task.vocabulary.num_actions)
    return all(np.abs(field(random.normal(size=shape))).max() < 1e-12 for _ in range(3))


def _field(setting: Setting) -> tuple[Field, np.ndarray, bool]:
    """What a method does on average at given logits, their rows in its table, and whether levels matter."""
    everything, uniform = all_episodes(setting.task, setting.data)
    algorithm: Any = setting.algorithm(None)
    rows = np.unique(rows_of(algorithm.agent, everything))
    name = acting(algorithm)
    table = dict(algorithm.agent.named_parameters())[name]
    fixed = setting.kind in ("likelihood", "pairs", "ranks", "values")
    units = setting.units(everything, uniform, ordered=not order_free(setting, everything))
    drawn = np.array([chance for chance, _ in units])
    members = np.array([group for _, group in units])

    def field(logits: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            table[torch.from_numpy(rows)] = torch.from_numpy(logits)
        if fixed:
            episodes, chances = everything, drawn
        else:
            policy = algorithm.agent.probabilities
            episodes, probabilities = all_episodes(setting.task, policy)
            with np.errstate(divide="ignore", invalid="ignore"):
                each = (probabilities / uniform)[members].prod(axis=1)
            chances = drawn * each
            if setting.critic == "exact":
                setting.set_critic(algorithm.agent, policy)
        if setting.kind in ("actor", "values"):
            algorithm.move_target(1.0)
        now = [(float(chance), group) for chance, (_, group) in zip(chances, units, strict=True)]
        direction = expected_direction(setting, algorithm, episodes, now)
        return direction.reshape(table.shape)[torch.from_numpy(rows)].numpy()

    return field, rows, setting.kind == "values"


def _claim_field(setting: Setting, claim: Claim) -> tuple[Field, np.ndarray]:
    everything, _ = all_episodes(setting.task)
    agent = table_agent(setting.task)
    rows = np.unique(rows_of(agent, everything))
    table = agent.readouts["policy"].weight
    assert isinstance(table, Tensor)

    def field(logits: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            table[torch.from_numpy(rows)] = torch.from_numpy(logits)
        behaviour = setting.data if claim.name == "likelihood" else None
        return gradient_of(agent, setting.task, claim, setting.reference, behaviour)[torch.from_numpy(rows)].numpy()

    return field, rows


def _optimum(setting: Setting, claim: Claim) -> Rest:
    """The optimum of what is claimed, by its own gradient."""
    field, rows = _claim_field(setting, claim)
    return _rested(setting, field, rows, np.zeros((len(rows), setting.task.vocabulary.num_actions)))


def _best(setting: Setting, claim: Claim) -> float:
    if claim.name == "kl_return" or claim.name == "likelihood":
        _, rows = _claim_field(setting, claim)
        return _worth(setting, claim, _policy(setting, rows, _optimum(setting, claim).logits))
    episodes, chances = all_episodes(setting.task)
    best = 0.0
    for start in np.unique(episodes.starts):  # one episode for sure is the best of each: several draws do no better
        members = np.flatnonzero(episodes.starts == start)
        returns = episodes.returns[members]
        top = float(returns.max())
        if claim.name in ("pass_at_k", "max_rl"):
            top = (1.0 if claim.name == "pass_at_k" else 0.0) if top > 0 else _failing(claim)
        best += float(chances[members].sum()) * top
    return best


def _failing(claim: Claim) -> float:
    return 0.0 if claim.name == "pass_at_k" else -float(sum(1 / order for order in range(1, max(claim.size, 2))))


def _worth(setting: Setting, claim: Claim, policy: Policy | None) -> float:
    agent = table_agent(setting.task, policy)
    behaviour = setting.data if claim.name == "likelihood" else None
    return value_of(agent, setting.task, claim, setting.reference, behaviour)


def _policy(setting: Setting, rows: np.ndarray, logits: np.ndarray) -> Policy:
    """What a table of logits says; of Qs, their best token."""
    agent = table_agent(setting.task)
    table = agent.readouts["policy"].weight
    assert isinstance(table, Tensor)
    if setting.kind == "values" and not setting.beta:
        logits = np.where(logits >= logits.max(axis=1, keepdims=True) - 1e-7, 0.0, -30.0)
    with torch.no_grad():
        table[torch.from_numpy(rows)] = torch.from_numpy(logits)
    return agent.probabilities


def _likeliest(setting: Setting, policy: Policy) -> tuple[str, float]:
    episodes, chances = all_episodes(setting.task, policy)
    place = int(np.argmax(chances))
    flat = episodes.flat
    said = flat.action[flat.episode == place]
    return "".join(str(token) for token in said.tolist()), float(chances[place])


def _optimal_values(setting: Setting, rows: np.ndarray) -> np.ndarray:
    """Q*, greedy or soft with the uniform reference, float64 (S, A), in the units of the table that holds it."""
    beta, width = setting.beta, setting.task.vocabulary.num_actions
    episodes, chances = all_episodes(setting.task)
    flat, weight = episodes.flat, chances[episodes.flat.episode]
    row = np.searchsorted(rows, rows_of(setting.algorithm(None).agent, episodes))
    q, values = np.zeros((len(rows), width)), np.zeros(len(rows))
    for step in range(int(flat.step.max()), -1, -1):
        here = np.flatnonzero(flat.step == step)
        following = np.where(flat.is_last[here], 0.0, values[row[np.minimum(here + 1, len(flat) - 1)]])
        pair = row[here] * width + flat.action[here]
        mass = np.bincount(pair, weight[here], q.size)
        total = np.bincount(pair, weight[here] * (flat.reward[here] + following), q.size)
        seen = mass > 0
        q = np.where(seen, total / np.where(seen, mass, 1.0), q.ravel()).reshape(q.shape)
        states = np.unique(row[here])
        best = q[states].max(axis=1)
        if beta:
            best = best + beta * np.log(np.exp((q[states] - best[:, None]) / beta).mean(axis=1))
        values[states] = best
    return q / beta if beta else q
