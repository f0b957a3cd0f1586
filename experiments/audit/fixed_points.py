"""Where methods with a KL come to rest, in closed form on trees, and how far from the optimum that is.

With Q the plain reward to go under the policy itself, π_ref the reference and β the KL's weight:

| the KL | comes to rest at |
|---|---|
| k1 in the reward, or the whole episode's k2 in the loss | the optimum, π_ref·e^(Q*/β)/Z, with soft values Q* |
| k2 of each token in the loss, or each state's exact KL | π ∝ π_ref·e^(Q/β) |
| k3 of each token in the loss | π = β·π_ref/(c − Q), with c such that it sums to 1 |
| k3 of the whole episode in the loss | the same over whole episodes, with R for Q |

The gradient of a softmax's logit is π·(Q − V) for the reward and β·(π_ref − π) for the loss of k3: where they balance
is the third row. A method that divides advantages by the standard deviation of the reward, in large groups, comes to
rest where the same holds of R/σ with σ the deviation there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...algorithms import Episodes
from ...envs import FiniteTask, TokenGymError, evaluate_policy, solve
from ...envs.checking import NotNegative, Positive, checked
from .enumeration import Policy, all_episodes
from .tables import observations, state_numbers

Kind = Literal["optimum", "token_k2", "token_k3", "sequence_k3"]
Rule = Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]
"""From Q (m, A), π_ref (m, A) and β to the policy (m, A) and the values (m,) that the states before go on with."""


@checked
def regret(task: FiniteTask, policy: Policy, beta: Positive, reference: Policy | None = None) -> float:
    """Return (V* − V_π)/(V* − V_ref) with V = E[R] − β·KL: 0 for the optimum, 1 for the reference, more for worse.

    Args:
        task: what is played.
        policy: probabilities (m, A) from tokens (m, L) and lengths (m,).
        beta: weight of the KL.
        reference: what the KL is to; None is uniform.
    """
    solution = solve(task, beta=beta, reference=reference)
    best = solution.kl_optimal_return
    assert best is not None
    start = solution.random_return if reference is None else evaluate_policy(task, reference).expected_return
    return (best - evaluate_policy(task, policy, reference).kl_regularised(beta)) / (best - start)


@checked
def fixed_point(
    task: FiniteTask,
    beta: Positive,
    kind: Kind = "optimum",
    reference: Policy | None = None,
    standardised: bool = False,
    eps: NotNegative = 1e-4,
) -> ListedPolicy:
    """Return the policy at which a kind of KL control rests (see the module), by induction from the ends backwards.

    Args:
        task: of context "episode", with deterministic transitions for "sequence_k3".
        beta: weight of the KL.
        kind: "optimum", "token_k2", "token_k3" or "sequence_k3".
        reference: what the KL is to; None is uniform.
        standardised: of the method whose advantages are divided by the rewards' standard deviation plus ``eps``.
        eps: usually 1e-4, and felt: a sure policy's deviation is small.

    Raises:
        TokenGymError: a task of another kind, or a method without a fixed point between the best episode and β = ∞.
    """
    tree = _Tree.of(task, reference)
    solved = tree.over_episodes if kind == "sequence_k3" else lambda b, scale: tree.backwards(_RULES[kind], b, scale)
    if not standardised:
        return tree.listed(solved(beta, 1.0))
    spread = float(np.ptp(tree.episodes.returns))

    def excess(log_scale: float) -> float:
        scale = float(np.exp(log_scale))
        return tree.deviation(solved(beta, scale)) + eps - scale

    low, high = float(np.log(1e-9 * spread)), float(np.log(2 * spread + eps))
    if excess(low) <= 0:
        raise TokenGymError(
            f"Standardised rewards with {kind} have no fixed point inside: the policy goes on to the best episode."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return tree.listed(solved(beta, float(np.exp(high))))


@dataclass(frozen=True, eq=False)
class ListedPolicy:
    """A policy as a list of observations and probabilities.

    Attributes:
        probabilities: float64 (A,) by observation.
    """

    probabilities: dict[bytes, np.ndarray]

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return probabilities (m, A) at observations: tokens (m, L) and lengths (m,)."""
        rows = zip(np.asarray(tokens, np.int32), np.asarray(lengths).reshape(-1).tolist(), strict=True)
        return np.stack([self.probabilities[row[:length].tobytes()] for row, length in rows])


@dataclass(frozen=True, eq=False)
class _Tree:
    """All episodes of a task under the uniform policy, as states (S of them) and tokens (N)."""

    episodes: Episodes
    chance: np.ndarray  # (E,), of the task's own draws and the uniform policy's
    state: np.ndarray  # (N,)
    first: np.ndarray  # (S,), a token said in each state
    reference: np.ndarray  # (S, A)

    @classmethod
    def of(cls, task: FiniteTask, reference: Policy | None) -> _Tree:
        episodes, chance = all_episodes(task)
        state = state_numbers(episodes)
        _, first = np.unique(state, return_index=True)
        if len(np.unique(np.column_stack([state, episodes.flat.step]), axis=0)) > len(first):
            raise TokenGymError(f"{task.name} shows one observation after different numbers of tokens.")
        width = task.vocabulary.num_actions
        tokens, lengths = observations(episodes)
        prior = (
            np.full((len(first), width), 1 / width) if reference is None else reference(tokens[first], lengths[first])
        )
        return cls(episodes, chance, state, first, np.asarray(prior, np.float64))

    def listed(self, policy: np.ndarray) -> ListedPolicy:
        """The policy (S, A) by observation."""
        tokens, lengths = observations(self.episodes)
        rows = zip(tokens[self.first].astype(np.int32), lengths[self.first].tolist(), policy, strict=True)
        return ListedPolicy({row[:length].tobytes(): said for row, length, said in rows})

    def backwards(self, rule: Rule, beta: float, scale: float) -> np.ndarray:
        """The policy (S, A) of a rule, state by state from the last tokens to the first, with rewards / scale."""
        flat, (count, width) = self.episodes.flat, self.reference.shape
        weight, pair = self.chance[flat.episode], self.state * width + flat.action
        policy, values, step = np.zeros((count, width)), np.zeros(count), flat.step[self.first]
        for depth in range(int(flat.step.max()), -1, -1):
            here = np.flatnonzero(flat.step == depth)
            following = np.where(flat.is_last[here], 0.0, values[self.state[np.minimum(here + 1, len(flat) - 1)]])
            worth = flat.reward[here] / scale + following
            mass = np.bincount(pair[here], weight[here], count * width)
            total = np.bincount(pair[here], weight[here] * worth, count * width)
            q = (total / np.where(mass > 0, mass, 1.0)).reshape(count, width)
            states = np.flatnonzero(step == depth)
            policy[states], values[states] = rule(q[states], self.reference[states], beta)
        return policy

    def over_episodes(self, beta: float, scale: float) -> np.ndarray:
        """The policy (S, A) whose whole episodes are a single choice that follows k3's rule, with rewards / scale."""
        flat, (count, width) = self.episodes.flat, self.reference.shape
        if len(np.unique(self.episodes.starts)) > 1 or len(self._choices()) < len(self.episodes):
            raise TokenGymError(
                "sequence_k3 needs one start and deterministic transitions, so that episodes are chosen."
            )
        log_prior = np.bincount(flat.episode, np.log(self.reference[self.state, flat.action]))
        returns = self.episodes.returns / scale
        chosen, _ = _inverse_rule(returns[None], np.exp(log_prior)[None], beta)
        mass = np.bincount(self.state * width + flat.action, chosen[0][flat.episode], count * width)
        mass = mass.reshape(count, width)
        return mass / mass.sum(axis=1, keepdims=True)

    def _choices(self) -> np.ndarray:
        """The different texts of the agent's, one row each."""
        flat = self.episodes.flat
        said = np.full((len(self.episodes), int(flat.step.max()) + 1), -1)
        said[flat.episode, flat.step] = flat.action
        return np.unique(said, axis=0)

    def deviation(self, policy: np.ndarray) -> float:
        """The standard deviation of the plain return under a policy (S, A)."""
        flat, width = self.episodes.flat, self.reference.shape[1]
        with np.errstate(divide="ignore"):
            said = np.log(policy[self.state, flat.action]) + np.log(width)
        chance = self.chance * np.exp(np.bincount(flat.episode, said))
        returns = self.episodes.returns
        mean = float(chance @ returns)
        return float(np.sqrt(chance @ (returns - mean) ** 2))


def _soft(q: np.ndarray, prior: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """π_ref·e^(Q/β)/Z, and log Z in units of reward."""
    peak = np.where(prior > 0, q, -np.inf).max(axis=1, keepdims=True)
    weights = prior * np.exp((q - peak) / beta)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, (peak + beta * np.log(total))[:, 0]


def _boltzmann_rule(q: np.ndarray, prior: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The same policy, and what it earns: its own later KL is not seen."""
    policy, _ = _soft(q, prior, beta)
    return policy, (policy * q).sum(axis=1)


def _inverse_rule(q: np.ndarray, prior: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """β·π_ref/(c − Q), and what it earns; c lies between max (Q + β·π_ref) and max Q + β."""
    low = np.where(prior > 0, q + beta * prior, -np.inf).max(axis=1, keepdims=True)
    high = np.where(prior > 0, q, -np.inf).max(axis=1, keepdims=True) + beta
    for _ in range(100):
        middle = (low + high) / 2
        above = (beta * prior / np.where(prior > 0, middle - q, 1.0)).sum(axis=1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    policy = beta * prior / np.where(prior > 0, high - q, 1.0)
    policy /= policy.sum(axis=1, keepdims=True)
    return policy, (policy * q).sum(axis=1)


_RULES: dict[str, Rule] = {"optimum": _soft, "token_k2": _boltzmann_rule, "token_k3": _inverse_rule}
