"""Where a method ends: fixed points of its expected gradient, and how far from the optimum that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bounds import within
from ..enumeration import Policy, all_episodes
from ..following import ALONE, FADING, OUT, Kind, Rest, follow
from ..objectives import Objective, value_of
from ..tables import rows_of, table_agent
from .learnt import Tables, optimum_of
from .running import expected_direction, order_free
from .setting import Setting, Units, drawn_policy


@dataclass(frozen=True)
class End:
    """Where a method ends from one start.

    Attributes:
        start: how it began.
        kind: "interior", it rests there; "vertex", it collapses: it is driven on to being sure of one text, so that
            there is no point of rest on its way; "face", the same of some tokens, and it rests with the others; "kink",
            the expected gradient turns round there without being 0; "moving", none of these was found.
        attracts: whether it would come back from all around; else it rests there only because it began there.
        norm: the largest entry of the expected gradient there, what was given up left out.
        regret: (J* − J)/(J* − J_uniform) of what is claimed: 0 is the optimum, 1 the uniform policy.
        likeliest: what it says most there, and how probable that is.
    """

    start: str
    kind: Kind
    attracts: bool
    norm: float
    regret: float
    likeliest: tuple[str, float]


def ends(setting: Setting, claim: Objective, seed: int = 0, starts: int = 3) -> list[End]:
    """Follow a method's expected gradient from several starts to where it ends.

    Args:
        setting: the method on a small task.
        claim: what it is held against.
        seed: draws starts; the first is the uniform policy.
        starts: how many.
    """
    flow = Flow(setting)
    random = np.random.default_rng(seed)
    best, uniform = _best(setting, claim), _worth(setting, claim, None)
    found = []
    for number in range(starts):
        values = np.zeros(flow.tables.shape) if number == 0 else random.normal(size=flow.tables.shape)
        came = flow.rested(values)
        policy = flow.player(came.values)
        worth = _worth(setting, claim, policy)
        regret = (best - worth) / (best - uniform) if abs(best - uniform) > 1e-12 else 0.0
        start = "uniform" if number == 0 else f"drawn {number}"
        text, chance = _likeliest(setting, policy)
        kind = "vertex" if came.kind == "face" and chance > 1 - FADING else came.kind
        found.append(End(start, kind, came.attracts, came.norm, regret, (text, chance)))
    return found


def residual_at_optimum(setting: Setting, claim: Objective) -> float | None:
    """Return the largest entry of the expected gradient at what is claimed to be optimal, or None where nothing rests.

    Where it is not 0 the method leaves the optimum again. One that claims nothing else is looked at in all its tables,
    and on what several policies say where its claim covers what anybody drew.
    """
    if claim.name == "likelihood":
        return float(np.abs(Flow(setting).at_policy(setting.data)).max())
    if not claim.by_states or (claim.name == "return" and setting.directed):
        return None
    if claim.name == "return" and "policy" in Flow(setting).tables.heads and not setting.logits_hold_q:
        return None  # the optimum is sure of something, which no logits are
    behaviours: list[Policy | None] = [None]
    if not setting.directed and setting.declared.stale:
        behaviours.append(drawn_policy(setting.task, 1))
    worst = 0.0
    for behaviour in behaviours:
        flow = Flow(setting, behaviour)
        values = flow.tables.at(optimum_of(setting, flow.algorithm, claim), setting)
        worst = max(worst, float(np.abs(flow.plain(values)).max()))
    return worst


def vanishes_everywhere(setting: Setting, seed: int = 0) -> bool:
    """Whether the expected gradient is 0 at each of a few policies."""
    flow, random = Flow(setting), np.random.default_rng(seed)
    return all(np.abs(flow.plain(random.normal(size=flow.tables.shape))).max() < 1e-12 for _ in range(3))


class Flow:
    """What a method does on average, as a field over what its tables hold.

    One that claims a gradient is followed in the table that acts, its critic exact, and draws by itself; one that only
    claims to rest in all its tables at once, on what a fixed policy says where its claim covers that.

    Args:
        setting: the method.
        behaviour: who draws where that is fixed; None is uniform.
    """

    def __init__(self, setting: Setting, behaviour: Policy | None = None) -> None:
        self.setting = setting
        self.algorithm: Any = setting.algorithm(None)
        self.tables = Tables(setting, self.algorithm, acting=setting.directed)
        self.fixed = setting.cloned or (not setting.directed and setting.declared.stale)
        drawn = setting.data if behaviour is None else behaviour
        self.everything, self.before = all_episodes(setting.task, drawn)
        self.free = setting.bounds(None) is None
        self.ordered = not order_free(setting, self.everything)
        self.units = setting.units(self.everything, self.before, self.ordered)
        self.members = np.array([group for _, group in self.units])
        self.chances = np.array([chance for chance, _ in self.units])
        agent = table_agent(setting.task)
        table = agent.readouts["policy"].weight
        assert isinstance(table, Tensor)
        self.other, self.table = agent, table
        flat = self.everything.flat
        row = np.searchsorted(self.tables.rows, rows_of(agent, self.everything))
        self.passed = np.bincount(row, self.before[flat.episode], len(self.tables.rows))

    def plain(self, values: np.ndarray) -> np.ndarray:
        """The expected step (S, W) where the tables hold values (S, W)."""
        setting, algorithm = self.setting, self.algorithm
        self.tables.write(values)
        episodes, units = self.everything, self.units
        if not self.fixed:
            policy = self.speaker(values)
            episodes, probabilities = setting.listing(policy)
            units = self.reweighed(probabilities) if self.free else setting.units(episodes, probabilities, self.ordered)
            if setting.critic == "exact" and setting.directed:
                setting.set_critic(algorithm.agent, policy)
                if hasattr(algorithm, "move_target"):
                    algorithm.move_target(1.0)
        if setting.directed:
            rows = torch.from_numpy(self.tables.rows)
            return (
                expected_direction(setting, algorithm, episodes, units).reshape(-1, self.tables.shape[1])[rows].numpy()
            )
        return self.tables.direction(setting, episodes, units)

    def reweighed(self, probabilities: np.ndarray) -> Units:
        """The units with the chances that they have where all episodes have these probabilities."""
        with np.errstate(divide="ignore", invalid="ignore"):
            each = (probabilities / self.before)[self.members].prod(axis=1)
        return [(float(chance), group) for chance, (_, group) in zip(self.chances * each, self.units, strict=True)]

    def at_policy(self, policy: Policy | None) -> np.ndarray:
        """The expected step at a policy."""
        table = table_agent(self.setting.task, policy).readouts["policy"].weight
        assert isinstance(table, Tensor)
        return self.plain(table.detach()[torch.from_numpy(self.tables.rows)].numpy())

    def rested(self, values: np.ndarray) -> Rest:
        """Follow the flow to where it ends.

        Of a policy's logits the natural gradient is followed, which rests where the plain one does and does not slow
        down where nobody goes: by how often the policy says each token, or by how often who draws passes a state.
        """
        columns = None if self.setting.logits_hold_q else self.tables.columns.get("policy")
        if columns is None:
            return follow(self.plain, values)

        def natural(values: np.ndarray) -> np.ndarray:
            found = self.plain(values)
            found[:, columns] /= self.passed[:, None] if self.fixed else np.maximum(self.said(values), 1e-300)
            return found

        came = (
            follow(natural, values, columns, out=ALONE)
            if self.fixed
            else follow(natural, values, columns, lambda at: self.said(at).sum(1))
        )
        if came.kind != "interior":
            return came
        # Never longer than the natural one, and so as still as `follow` asked for, up to the noise of a field.
        return replace(came, norm=float(np.abs(self.plain(came.values)).max()))

    def said(self, values: np.ndarray) -> np.ndarray:
        """How often each token is said an episode, (S, A)."""
        logits = values[:, self.tables.columns["policy"]]
        episodes, chances = self.setting.listing(self.says(logits))
        flat = episodes.flat
        pair = np.searchsorted(self.tables.rows, rows_of(self.other, episodes)) * logits.shape[1] + flat.action
        return np.bincount(pair, chances[flat.episode], logits.size).reshape(logits.shape)

    def says(self, logits: np.ndarray) -> Policy:
        """The policy of logits (S, A)."""
        with torch.no_grad():
            self.table[torch.from_numpy(self.tables.rows)] = torch.from_numpy(logits)
        return self.other.probabilities

    def player(self, values: np.ndarray) -> Policy:
        """Who is judged where the tables hold values (S, W): who speaks, within what it is kept to."""
        policy = self.speaker(values)
        return within(policy, self.setting.bounds(policy))

    def speaker(self, values: np.ndarray) -> Policy:
        """Who speaks there, whatever it is kept to: the policy, or the best token of Q."""
        if self.setting.declared.acts is not None:
            self.tables.write(values)
            return self.setting.declared.acts(self.algorithm)
        if "policy" in self.tables.columns:
            return self.says(values[:, self.tables.columns["policy"]])
        q = values[:, self.tables.columns["q"]]
        return self.says(np.where(q >= q.max(axis=1, keepdims=True) - 1e-7, 0.0, -OUT))


def _best(setting: Setting, claim: Objective) -> float:
    if claim.name == "likelihood":
        return _worth(setting, claim, setting.data)
    episodes, chances = all_episodes(setting.task)
    if claim.by_states:
        algorithm = setting.algorithm(None)
        optimum = optimum_of(setting, algorithm, claim)
        rows = np.unique(rows_of(algorithm.agent, episodes))
        begun = np.searchsorted(rows, rows_of(algorithm.agent, episodes)[episodes.flat.episode_offsets[:-1]])
        return float(chances @ optimum.values[begun])
    best = 0.0
    for start in np.unique(episodes.starts):
        members = np.flatnonzero(episodes.starts == start)
        returns = episodes.returns[members]
        best += float(chances[members].sum()) * claim.most(torch.from_numpy(returns.astype(np.float64)))
    return best


def _worth(setting: Setting, claim: Objective, policy: Policy | None) -> float:
    agent = table_agent(setting.task, policy)
    behaviour = setting.data if claim.name == "likelihood" else None
    return value_of(agent, setting.task, claim, setting.anchor, behaviour)


def _likeliest(setting: Setting, policy: Policy) -> tuple[str, float]:
    episodes, chances = all_episodes(setting.task, policy)
    place = int(np.argmax(chances))
    flat = episodes.flat
    said = flat.action[flat.episode == place]
    return "".join(str(token) for token in said.tolist()), float(chances[place])
