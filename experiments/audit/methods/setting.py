"""A method of ours set up for the audit: its table, its critic, and the batches that it might be given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product
from math import factorial
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch

from ....agents import Agent
from ....algorithms import ALGORITHMS, EpisodeDataset, Episodes, PreferenceDataset, PreferencePairs, Ranks
from ....algorithms.data import ReplaySample
from ....algorithms.off_policy import Replayed
from ....envs import FiniteTask, TokenGymError
from ..bounds import Bounds, bounded_episodes, uniform, within
from ..enumeration import Policy, all_episodes
from ..objectives import WEIGHED, Objective
from ..tables import action_values, regularised_values, rows_of, table_agent, write
from .declared import Declared, Fed, declared_of

Critic = Literal["exact", "zero"]

NEUTRAL: dict[str, Any] = {"reward_scaling": False, "entropy_coef": 0.0, "gamma": 1.0}
"""What an audit sets where nothing else is asked for: rewards as they are, and no bonus beside what is claimed."""

MOST_MEMBERS = 4
"""The largest group that is audited where none is asked for."""

MOST_SAMPLES = 100_000
"""The most returns of a reference that episodes are ranked among."""

Units = list[tuple[float, tuple[int, ...]]]
"""Probabilities and the numbers of episodes of what a batch is made of: single episodes, or groups."""


@dataclass(eq=False)
class Setting:
    """A method on a task, ready to be given batches.

    Attributes:
        name: the method's.
        task: what is played.
        overrides: its configuration, as far as it is not the default.
        reference: what the KL is to; None is uniform.
        critic: "exact" values the policy that it belongs to, "zero" nothing.
        group_size: episodes of one start that are compared with one another.
        draws: how many batches are drawn where there are too many to list; None refuses.
        anchor: what the KL of the claim is to: the given reference, else what the method declares; None is uniform.
        context: numbers of the episodes of other groups, that stand in every batch beside the audited one.
        orderless: whether the order of a group matters not, once that is known.
        alike: what batches must have in common to be differentiated side by side, by their number of episodes and
            whether the policy has moved since; None where they cannot be. See `together`.
        ranked: what the reference earns by start, once that is asked; see `earned_by_reference`.
    """

    name: str
    task: FiniteTask
    overrides: dict[str, Any]
    reference: Policy | None = None
    critic: Critic = "exact"
    group_size: int = 1
    draws: int | None = None
    context: tuple[int, ...] = ()
    declared: Declared = field(init=False)
    anchor: Policy | None = field(init=False)
    orderless: bool | None = field(default=None, init=False)
    alike: dict[tuple[int, bool], str | None] = field(default_factory=dict, init=False)
    ranked: dict[int, np.ndarray] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        algorithm: Any = ALGORITHMS[self.name]
        self.declared = declared_of(self.name, algorithm)
        fields = algorithm.Config.__dataclass_fields__
        usual = {name: value for name, value in NEUTRAL.items() if name in fields}
        if "kl_reference" in fields and self.has_reference(algorithm):
            usual["kl_reference"] = "uniform"
        if "group_size" in fields and "group_size" not in self.overrides:
            usual["group_size"] = min(algorithm.Config().group_size, MOST_MEMBERS)
        self.config = algorithm.Config().replace(**{**usual, **self.overrides})
        self.anchor = self.reference
        if self.anchor is None and self.declared.anchor is not None:
            self.anchor = self.declared.anchor(self.task, self.config)
        size = getattr(self.config, "group_size", 1)
        self.group_size = 1 if self.fed in ("dataset", "replay") else int(size)
        if self.fed in ("pairs", "ranks"):
            self.group_size = int(getattr(self.config, "ranking_size", 2)) if self.fed == "ranks" else 2

    def has_reference(self, algorithm: Any) -> bool:
        """Whether the method compares with a reference under its configuration."""
        if self.reference is not None:
            return False
        config = algorithm.Config().replace(**{k: v for k, v in self.overrides.items() if k != "kl_reference"})
        return bool(getattr(config, "measures_kl", getattr(config, "has_reference", False)))

    @property
    def fed(self) -> Fed:
        """What its `prepare` takes."""
        return self.declared.fed

    @property
    def directed(self) -> bool:
        """Whether it claims a gradient, and not only where it ends."""
        return self.declared.claims == "gradient"

    @property
    def cloned(self) -> bool:
        """Whether it learns to say what a fixed behaviour said."""
        return self.directed and self.fed == "dataset"

    @property
    def beta(self) -> float:
        """The weight of the KL."""
        return self.declared.beta(self.config)

    @property
    def alpha(self) -> float:
        """The weight of the entropy, where it is a part of what is claimed."""
        return self.declared.alpha(self.config)

    @property
    def logits_hold_q(self) -> bool:
        """Whether the policy's logits are Q/β over the reference's, so that their level counts."""
        return self.declared.logits_hold_q(self.config)

    def claim(self, name: str | None = None) -> Objective:
        """The objective that the method is held against: the named one, or its own."""
        if name is None:
            own = self.declared.objective
            name = own(self.config) if own else None
            name = name or ("kl_return" if self.beta or self.alpha else "return")
        beta = self.beta if name in WEIGHED else 0.0
        if name == "max_rl" and not np.isin(all_episodes(self.task)[0].returns, (0, 1)).all():
            raise TokenGymError(
                f"claim 'max_rl' is of returns 0 and 1, and {getattr(self.task, 'name', 'the task')} pays others; "
                "expected a task that pays such, or none, for a tree that does."
            )
        return Objective(name, beta, self.alpha if name == "kl_return" else 0.0, max(self.group_size, 1))

    @property
    def data(self) -> Policy | None:
        """Who says what is learnt from, where that is not the policy itself; None is the uniform policy."""
        return drawn_policy(self.task, 1) if self.cloned else None

    def bounds(self, policy: Policy | None) -> Bounds | None:
        """What it keeps itself to where a policy draws, None for everything; see `Declared.bounds`."""
        kept = None if self.declared.bounds is None else self.declared.bounds(self.config)
        said = policy or uniform(self.task)
        return None if kept is None else lambda tokens, lengths: kept(np.asarray(said(tokens, lengths), np.float64))

    def listing(self, policy: Policy | None, behaviour: Policy | None = None) -> tuple[Episodes, np.ndarray]:
        """All episodes of a policy, or of another, within what the first is kept to, and their probabilities."""
        return bounded_episodes(self.task, behaviour or policy, self.bounds(policy))

    # The algorithm ---------------------------------------------------------------------------------------------------

    def algorithm(self, policy: Policy | None, on_policy: bool = True) -> Any:
        """Build the method with a table that says a policy, its critic beside it.

        Args:
            policy: what the table says; None is uniform.
            on_policy: whether what it is given was drawn from the policy itself, as its ratios may then expect.
        """
        kind = ALGORITHMS[self.name]
        heads = self.heads(kind)
        agent = self.agent(policy, heads)
        given: dict[str, Any] = {"seed": 0}
        if self.reference is not None:
            given["reference"] = table_agent(self.task, self.reference)
        if self.fed in ("dataset", "pairs", "ranks") and "Offline" in [base.__name__ for base in kind.__mro__]:
            episodes, _ = all_episodes(self.task)
            given["dataset"] = (
                EpisodeDataset(episodes, self.task.vocabulary)
                if self.fed == "dataset"
                else self._pairs(episodes.select([0, len(episodes) - 1]))
            )
        algorithm: Any = kind(self.task, agent, self.config, **given)
        if hasattr(algorithm, "move_target"):
            algorithm.move_target(1.0)
        if self.declared.ready:
            self.declared.ready(algorithm)
        if hasattr(algorithm, "values_at"):  # sampled values have the exact ones as their mean
            algorithm.values_at = self.values_of(algorithm.agent)
        if self.fed == "episodes" and not on_policy and hasattr(algorithm, "behaviour"):
            algorithm.behaviour = SimpleNamespace(on_policy=False)
        return algorithm

    def heads(self, kind: Any) -> tuple[str, ...]:
        """The heads that the method needs under its configuration."""
        unbuilt = object.__new__(kind)
        unbuilt.config = self.config
        return kind.required_heads(unbuilt)

    def agent(self, policy: Policy | None, heads: tuple[str, ...]) -> Agent:
        """A table that says a policy, and values it where it has a critic that is to be exact."""
        agent = table_agent(self.task, policy, heads)
        if self.critic == "exact":
            self.set_critic(agent, policy)
        elif "value" in agent.readouts:
            rows = np.unique(rows_of(agent, all_episodes(self.task)[0]))
            write(agent, "value", rows, np.zeros((len(rows), 1)))
        return agent

    @torch.no_grad()
    def set_critic(self, agent: Agent, policy: Policy | None) -> None:
        """Write what a policy is worth into the heads that say so."""
        names = [name for name in ("value", "q", "q2") if name in agent.readouts]
        if not names:
            return
        in_reward = getattr(self.config, "kl_in_reward", True)
        beta = self.beta if in_reward else 0.0
        episodes, probabilities = self.listing(policy)
        bounds, reference = self.bounds(policy), self.reference
        if bounds is not None:
            reference = within(reference or uniform(self.task), bounds)
        rows, first = np.unique(rows_of(agent, episodes), return_index=True)
        width = self.task.vocabulary.num_actions
        for name in names:
            if name == "value":
                worth = regularised_values(episodes, probabilities, width, beta, reference)[first][:, None]
            else:
                worth = action_values(episodes, probabilities, width, beta, self.alpha, reference)[first]
            write(agent, name, rows, worth)

    def values_of(self, agent: Agent) -> Any:
        """What takes the place of sampled values: what an agent is worth as it is when asked, without an error."""
        table = agent.readouts["policy"].weight
        assert isinstance(table, torch.Tensor)
        known: dict[bytes, tuple[Agent, np.ndarray]] = {}

        def values_at(episodes: Episodes, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            key = table.detach().numpy().tobytes()
            if key not in known:
                known.clear()
                critic = self.agent(agent.probabilities, ("policy", "value"))
                worth = critic.readouts["value"].weight
                assert isinstance(worth, torch.Tensor)
                known[key] = critic, worth.detach().double().numpy().reshape(-1)
            critic, values = known[key]
            return values[rows_of(critic, episodes)[points]], np.zeros(len(points))

        return values_at

    # Batches ---------------------------------------------------------------------------------------------------------

    def units(self, episodes: Episodes, probabilities: np.ndarray, ordered: bool = False) -> Units:
        """What a batch is made of: every group of ``group_size`` from one start, as a multiset, or in every order."""
        found: Units = []
        for start in np.unique(episodes.starts):
            members = np.flatnonzero((episodes.starts == start) & (probabilities > 0))
            begun = float(probabilities[members].sum())
            chosen = (
                product(members.tolist(), repeat=self.group_size)
                if ordered
                else combinations_with_replacement(members.tolist(), self.group_size)
            )
            for group in chosen:
                chance = begun * float(np.prod(probabilities[list(group)] / begun))
                found.append((chance if ordered else chance * _orders(group), group))
        return found

    def several(self, units: Units, count: int) -> Units:
        """Batches of ``count`` independent units, as multisets."""
        if count == 1:
            return units
        batches: Units = []
        for chosen in combinations_with_replacement(range(len(units)), count):
            chance = float(np.prod([units[number][0] for number in chosen])) * _orders(chosen)
            batches.append((chance, tuple(episode for number in chosen for episode in units[number][1])))
        return batches

    def batches(self, algorithm: Any, episodes: Episodes, units: Units) -> Iterator[tuple[float, Any]]:
        """Yield (probability, what the method's `prepare` takes)."""
        for chance, members in units:
            yield chance, self.batch(algorithm, episodes.select(members))

    def batch(self, algorithm: Any, episodes: Episodes) -> Any:
        """Episodes as the method's `prepare` takes them."""
        if self.fed == "replay":
            ones = np.ones(len(episodes.flat), episodes.rewards.dtype)
            sample = ReplaySample(episodes, ones, np.arange(len(episodes)))
            return Replayed.of(sample, algorithm.learning_rewards(episodes), algorithm.device)
        if self.fed == "pairs":
            return self._pairs(episodes)
        if self.fed == "ranks":
            return episodes, _ranks(episodes)
        begun = episodes.starts
        if self.group_size > 1:  # two groups of one prompt are drawn apart, and not one group of twice the size
            apart = (np.arange(len(episodes)) // self.group_size).astype(begun.dtype)
            episodes = replace(episodes, starts=apart)
        if self.declared.ranks:
            known = self.earned_by_reference(algorithm)
            algorithm.start_returns = {
                number: known[start] for number, start in zip(episodes.starts.tolist(), begun.tolist(), strict=True)
            }
        return episodes

    def earned_by_reference(self, algorithm: Any) -> dict[int, np.ndarray]:
        """All returns of the reference by start, each as often as it is likely, as ever more samples come to.

        A rank among a few samples has the rank among these as its mean.

        Raises:
            TokenGymError: they are no multiples of the least likely text, so that no number of samples comes to them.
        """
        if not self.ranked:
            episodes, chances = all_episodes(self.task, self.anchor)
            returns = algorithm.returns_of(episodes)
            for start in np.unique(episodes.starts).tolist():
                own = episodes.starts == start
                times = chances[own] / chances[own].min()
                if np.abs(times - np.rint(times)).max() > 1e-6 or times.sum() > MOST_SAMPLES:
                    raise TokenGymError(
                        f"{self.name} ranks texts among what its reference says, and {times.sum():.6g} samples of this "
                        f"one would not say each as often as it is likely; expected at most {MOST_SAMPLES:,}, as of "
                        "the uniform reference (reference=None) on a small task."
                    )
                self.ranked[start] = np.repeat(returns[own], np.rint(times).astype(np.int64))
        return self.ranked

    def _pairs(self, episodes: Episodes) -> Any:
        """Neighbours, in both orders, weighed by the chance that Bradley and Terry give each on their returns."""
        first = np.arange(0, len(episodes) - 1, 2)
        temperature = float(getattr(self.config, "label_temperature", 1.0)) or 1e-12
        won = 1 / (1 + np.exp(-(episodes.returns[first] - episodes.returns[first + 1]) / temperature))
        better, worse = np.concatenate([first, first + 1]), np.concatenate([first + 1, first])
        pairs = PreferencePairs(better, worse, np.concatenate([won, 1 - won]))
        return PreferenceDataset(episodes, self.task.vocabulary, pairs)


def drawn_policy(task: FiniteTask, seed: int, spread: float = 0.5, around: Policy | None = None) -> Policy:
    """Return a policy whose logits are normal around those of another, drawn once."""
    agent = table_agent(task, around)
    table = agent.readouts["policy"].weight
    assert isinstance(table, torch.Tensor)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        table.add_(spread * torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return agent.probabilities


def _orders(chosen: tuple[int, ...]) -> float:
    """In how many orders a multiset can be drawn."""
    _, counts = np.unique(chosen, return_counts=True)
    return factorial(len(chosen)) / float(np.prod([factorial(count) for count in counts.tolist()]))


def _ranks(episodes: Episodes) -> Ranks:
    order = np.argsort(-episodes.returns, kind="stable")
    return Ranks(order, np.array([len(order)]))
