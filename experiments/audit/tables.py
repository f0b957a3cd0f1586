"""Table agents that say exactly what a policy says, and value exactly what it is worth."""

from __future__ import annotations

import numpy as np
import torch

from ...agents import Agent, build_agent
from ...algorithms import Episodes
from ...algorithms.parts import returns_to_go
from ...envs import FiniteTask, solve
from .enumeration import Policy, all_episodes

NEVER = -1e4
"""The logit of what a policy never says."""


def optimum(task: FiniteTask, beta: float, reference: Policy | None = None) -> Policy:
    """Return the player of the largest E[R] − β·KL to a reference (None: uniform), exactly."""
    return solve(task, beta=beta, reference=reference).policy("kl_optimal")


def table_agent(
    task: FiniteTask,
    policy: Policy | None = None,
    heads: tuple[str, ...] = ("policy",),
    beta: float = 0.0,
    reference: Policy | None = None,
) -> Agent:
    """Build a table in float64 with a row for every observation of a finite task.

    Args:
        task: of context "episode".
        policy: what the agent says, probabilities (m, A) from tokens (m, L) and lengths (m,); None is uniform.
        heads: the heads that it has. A value head says what the policy is worth from each observation on, in E[R] less
            ``beta`` times the KL of the tokens still to be said.
        beta: weight of that KL.
        reference: what the KL is to; None is uniform.
    """
    everything, _ = all_episodes(task)
    prefixes = [np.unique(everything.tokens[everything.lengths > c, : c + 1], axis=0) for c in _columns(everything)]
    spec = {"kind": "table", "capacity": sum(len(part) for part in prefixes)}
    agent = build_agent(spec, task.vocabulary, task.max_length, heads=heads, dtype="float64")
    tokens, lengths = observations(everything)
    number, first = np.unique(rows_of(agent, everything), return_index=True)
    said = _probabilities(policy, tokens[first], lengths[first], task.vocabulary.num_actions)
    if "policy" in heads:
        with np.errstate(divide="ignore"):
            write(agent, "policy", number, np.maximum(np.log(said), NEVER))
    if "value" in heads:
        reached, probabilities = all_episodes(task, policy)
        worth = regularised_values(reached, probabilities, task.vocabulary.num_actions, beta, reference)
        number, first = np.unique(rows_of(agent, reached), return_index=True)
        write(agent, "value", number, worth[first][:, None])
    return agent


def observations(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """Return what was known before each of the N agent tokens: int32 (N, L), padded, and int32 (N,)."""
    flat = episodes.flat
    known = np.arange(episodes.tokens.shape[1]) < flat.column[:, None]
    return np.where(known, episodes.tokens[flat.row], episodes.pad), flat.column.astype(np.int32)


def state_numbers(episodes: Episodes) -> np.ndarray:
    """Return int64 (N,): a number for the observation before each agent token; equal ones have equal numbers."""
    tokens, lengths = observations(episodes)
    return np.unique(np.column_stack([lengths, tokens]), axis=0, return_inverse=True)[1].reshape(-1)


def regularised_values(
    episodes: Episodes, probabilities: np.ndarray, num_actions: int, beta: float = 0.0, reference: Policy | None = None
) -> np.ndarray:
    """Return float64 (N,): what the policy of all listed episodes is worth from before each agent token on.

    Args:
        episodes: all that the policy can have, with its log-probabilities, as `all_episodes` lists them.
        probabilities: float64 (E,), theirs.
        num_actions: A.
        beta: weight of the KL of the tokens still to be said.
        reference: what the KL is to; None is uniform.
    """
    flat = episodes.flat
    paid = flat.reward.astype(np.float64)
    if beta:
        tokens, lengths = observations(episodes)
        other = _probabilities(reference, tokens, lengths, num_actions)[np.arange(len(flat)), flat.action]
        paid = paid - beta * (flat.log_prob - np.log(other))
    to_go, state, weight = returns_to_go(flat, 1.0, paid), state_numbers(episodes), probabilities[flat.episode]
    return (np.bincount(state, weight * to_go) / np.bincount(state, weight))[state]


def action_values(
    episodes: Episodes,
    probabilities: np.ndarray,
    num_actions: int,
    beta: float = 0.0,
    alpha: float = 0.0,
    reference: Policy | None = None,
) -> np.ndarray:
    """Return float64 (N, A): what each token is worth from before each agent token on, if the policy goes on after it.

    Args:
        episodes: as of `regularised_values`; what the policy never says is worth 0.
        probabilities: float64 (E,), theirs.
        num_actions: A.
        beta: weight of the KL of the tokens still to be said; the token's own is not in its worth.
        alpha: weight of the log-probabilities of these tokens.
        reference: what the KL is to; None is uniform.
    """
    flat = episodes.flat
    own = np.zeros(len(flat))
    if beta or alpha:
        tokens, lengths = observations(episodes)
        other = _probabilities(reference, tokens, lengths, num_actions)[np.arange(len(flat)), flat.action]
        own = (alpha + beta) * flat.log_prob - beta * np.log(other)
    worth = returns_to_go(flat, 1.0, flat.reward - own) + own
    state, weight = state_numbers(episodes), probabilities[flat.episode]
    pair, pairs = state * num_actions + flat.action, (int(state.max()) + 1) * num_actions
    mass = np.bincount(pair, weight, pairs)
    means = np.bincount(pair, weight * worth, pairs) / np.where(mass > 0, mass, 1.0)
    return means.reshape(-1, num_actions)[state]


def log_reference(reference: Policy | None, episodes: Episodes, tokens: np.ndarray, num_actions: int) -> np.ndarray:
    """Return float64 (m, A), the log-probabilities of a reference before m of the agent's tokens; None is uniform."""
    seen, lengths = observations(episodes)
    with np.errstate(divide="ignore"):
        return np.log(_probabilities(reference, seen[tokens], lengths[tokens], num_actions))


def _columns(episodes: Episodes) -> range:
    return range(episodes.tokens.shape[1])


def rows_of(agent: Agent, episodes: Episodes) -> np.ndarray:
    """Return int64 (N,), the table's row for the observation before each agent token."""
    flat = episodes.flat
    with torch.enable_grad():  # which is when a table gives prefixes a row
        numbers = agent.trunk(torch.from_numpy(episodes.tokens).long(), torch.from_numpy(episodes.lengths).long())
    return numbers.numpy()[flat.row, flat.column - 1]


def _probabilities(policy: Policy | None, tokens: np.ndarray, lengths: np.ndarray, num_actions: int) -> np.ndarray:
    """float64 (m, A)."""
    if policy is None:
        return np.full((len(lengths), num_actions), 1 / num_actions)
    return np.asarray(policy(tokens, lengths), np.float64)


@torch.no_grad()
def write(agent: Agent, head: str, rows: np.ndarray, values: np.ndarray) -> None:
    """Write rows (m,) of a head's table."""
    table = agent.readouts[head].weight
    assert isinstance(table, torch.Tensor)
    table[torch.from_numpy(rows)] = torch.from_numpy(values)
