"""Finite tasks drawn at random, and their scores by enumerating every history: slow, plain, and apart from the solver.

Nothing here reads the compiled arrays: beliefs are dictionaries, filled from the declared transitions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.vocabulary import Vocabulary


class RandomTask(FiniteTask):
    """A finite task with hidden states, random transitions, replies, noise and ends.

    States are (tokens said, index); the episode ends after `depth` tokens at the latest. Legal tokens depend only on
    how many tokens were said, so they reveal nothing.
    """

    name = "RandomTask"

    def __init__(self, seed: int, context: str = "episode", turn_tokens: int = 1, depth: int = 3, hidden: int = 3):
        draw = np.random.default_rng(seed)
        num_actions = int(draw.integers(2, 4))
        self.context = context  # pyright: ignore[reportAttributeAccessIssue]
        self.turn_tokens = turn_tokens
        # Replies use a sayable token too, and lengths 0 … 2, so that what was said and shown can look alike.
        self.vocabulary = Vocabulary.of([f"a{action}" for action in range(num_actions)], ["o"])
        replies = [(), (num_actions,), (0,), (num_actions, 0)]
        self.beginnings = [
            Initial(p, (0, i), replies[int(draw.integers(2))]) for i, p in enumerate(simplex(draw, hidden))
        ]
        self.table: dict[tuple[tuple[int, int], int], list[Transition]] = {}
        for said in range(depth):
            for index in range(hidden):
                for action in range(num_actions):
                    last = said + 1 == depth
                    speaks = (said + 1) % turn_tokens == 0
                    outcomes = []
                    for p in simplex(draw, int(draw.integers(1, 4))):
                        ends = last or draw.random() < 0.15
                        outcomes.append(
                            Transition(
                                p,
                                None if ends else (said + 1, int(draw.integers(hidden))),
                                float(draw.normal()),
                                replies[int(draw.integers(len(replies)))] if speaks else (),
                                float(draw.choice([0.0, 0.7])),
                            )
                        )
                    self.table[(said, index), action] = outcomes
        # One legal token each at least.
        self.allowed = [
            sorted({*np.flatnonzero(draw.random(num_actions) < 0.5).tolist(), int(draw.integers(num_actions))})
            for _ in range(depth)
        ]

    def initial(self):
        return self.beginnings

    def transitions(self, state, action):
        return self.table[state, action]

    def legal(self, state):
        return self.allowed[state[0]]


def simplex(draw: np.random.Generator, size: int) -> list[float]:
    """Probabilities, some of them equal, so that different histories can lead to one belief."""
    parts = draw.integers(1, 3, size=size)
    return (parts / parts.sum()).tolist()


class History(NamedTuple):
    """What an agent has seen and said: every event in order, and the observation that a policy is shown."""

    events: tuple[tuple[int, ...], ...]
    observation: tuple[int, ...]


def first_histories(task: FiniteTask) -> dict[History, dict]:
    """Every first history, with its unnormalised belief."""
    found: dict[History, dict] = defaultdict(lambda: defaultdict(float))
    for probability, state, shown in task.initial():
        found[History((tuple(shown),), (task.vocabulary.bos, *shown))][state] += probability
    return found


def following(task: FiniteTask, history: History, action: int, shown: tuple[int, ...]) -> History:
    """The history after an action and what is shown then."""
    observation = (*history.observation, action, *shown)
    if task.context == "turn" and len(history.events) % task.turn_tokens == 0:
        observation = (task.vocabulary.bos, *shown)
    return History((*history.events, (action, *shown)), observation)


def branches(task: FiniteTask, history: History, belief: dict, action: int):
    """Expected reward of an action times the belief's mass, and the unnormalised beliefs of the histories after it."""
    paid, after = 0.0, defaultdict(lambda: defaultdict(float))
    for state, mass in belief.items():
        for transition in task.transitions(state, action):
            paid += mass * transition.probability * transition.reward
            if transition.state is not None:
                shown = following(task, history, action, tuple(transition.shown))
                after[shown][transition.state] += mass * transition.probability
    return paid, after


def plan(task: FiniteTask, choose) -> tuple[float, dict[History, np.ndarray], dict[History, float]]:
    """Value of the best player by `choose(q, history) -> value`, and every history's Q and value."""
    all_q: dict[History, np.ndarray] = {}
    all_v: dict[History, float] = {}

    def value(history: History, belief: dict) -> float:
        mass = sum(belief.values())
        q = np.zeros(task.vocabulary.num_actions)
        for action in range(len(q)):
            paid, after = branches(task, history, belief, action)
            rest = sum(sum(masses.values()) * value(then, masses) for then, masses in after.items())
            q[action] = (paid + rest) / mass
        all_q[history], all_v[history] = q, choose(q, history)
        return all_v[history]

    total = sum(sum(belief.values()) * value(history, belief) for history, belief in first_histories(task).items())
    return total, all_q, all_v


def soft_choice(beta: float, prior):
    """The KL-regularised value: `prior(history)` are the reference's probabilities."""
    return lambda q, history: (
        beta * math.log(sum(p * math.exp(x / beta) for p, x in zip(prior(history), q, strict=True)))
    )


class Played(NamedTuple):
    """Exact statistics of a player by summing over all hidden paths."""

    expected_return: float
    variance: float
    kl: float
    entropy: float
    expected_length: float


def play(task: FiniteTask, policy, prior=None) -> Played:
    """Sum over every path (hidden states, tokens, outcomes) of a player `policy(history) -> probabilities`."""
    totals = np.zeros(5)
    uniform = np.full(task.vocabulary.num_actions, 1 / task.vocabulary.num_actions)

    def walk(history: History, state, chance: float, paid: float, spread: float) -> None:
        probabilities = policy(history)
        reference = uniform if prior is None else prior(history)
        said = probabilities > 0
        totals[2] += chance * (probabilities[said] * np.log(probabilities[said] / reference[said])).sum()
        totals[3] -= chance * (probabilities[said] * np.log(probabilities[said])).sum()
        totals[4] += chance
        for action in np.flatnonzero(said):
            for p, then, reward, shown, noise, _ in task.transitions(state, int(action)):
                here, total, variance = chance * probabilities[action] * p, paid + reward, spread + noise**2
                if then is None:
                    totals[0] += here * total
                    totals[1] += here * (total**2 + variance)
                else:
                    walk(following(task, history, int(action), tuple(shown)), then, here, total, variance)

    for probability, state, shown in task.initial():
        walk(History((tuple(shown),), (task.vocabulary.bos, *shown)), state, probability, 0.0, 0.0)
    mean, square, kl, entropy, length = totals.tolist()
    return Played(mean, square - mean**2, kl, entropy, length)


def drawn_policy(seed: int, num_actions: int):
    """A policy whose probabilities are drawn anew, and reproducibly, for every observation; some are 0."""

    def row(observation: tuple[int, ...]) -> np.ndarray:
        draw = np.random.default_rng([seed, len(observation), *observation])
        weights = draw.random(num_actions) * (draw.random(num_actions) < 0.8)
        weights[draw.integers(num_actions)] += 0.1
        return weights / weights.sum()

    return row


def batched(row):
    """A function of one observation as a policy over arrays, as the evaluation calls it."""

    def policy(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        pairs = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return np.array([row(tuple(observation[:length])) for observation, length in pairs])

    return policy
