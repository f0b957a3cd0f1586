"""Every episode of a finite task, with its probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np

from ...algorithms import Episodes
from ...envs import FiniteTask, TokenGymError
from ...envs.checking import Count, checked

Policy = Callable[..., np.ndarray]
"""Observations to probabilities: tokens (m, L) int32 and lengths (m,) to float64 (m, A), and masks (m, A) if asked."""


@dataclass(frozen=True, eq=False)
class _Paths:
    """Episodes under way: m of them, after the same number of the agent's tokens."""

    start: np.ndarray
    state: np.ndarray
    probability: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    said_in: np.ndarray  # (m, L), the state that the agent said each token in; −1 where it did not speak
    rewards: np.ndarray
    log_probs: np.ndarray

    def taken(self, rows: np.ndarray) -> _Paths:
        """Copies of some of them."""
        return _Paths(**{name: values[rows] for name, values in vars(self).items()})


@checked
def all_episodes(
    task: FiniteTask, policy: Policy | None = None, *, masked: bool = False, max_episodes: Count = 200_000
) -> tuple[Episodes, np.ndarray]:
    """List every episode that a policy can have, in float64.

    Args:
        task: a finite task of context "episode" whose rewards have no noise.
        policy: probabilities of the next token, as `Agent.probabilities` gives them; None is uniform. What it never
            says is not followed.
        masked: ask ``policy(tokens, lengths, masks)``, and keep which tokens were legal.
        max_episodes: the most to list.

    Returns:
        The episodes, whose log-probabilities are the policy's and whose starts number the ways to begin, and their
        probabilities, float64 (E,), which sum to 1.

    Raises:
        TokenGymError: the task cannot be listed, or has too many episodes.
    """
    _require_listable(task)
    under_way = _begun(task)
    ended: list[_Paths] = []
    while len(under_way.state):
        if len(under_way.state) + sum(len(part.state) for part in ended) > max_episodes:
            raise TokenGymError(
                f"{task.name} has more than {max_episodes} episodes: take a smaller instance, or raise max_episodes."
            )
        masks = None if not masked else _legal(task, under_way.state)
        following, over = _said(task, under_way, _asked(task, policy, under_way, masks))
        ended.append(following.taken(np.flatnonzero(over)))
        under_way = following.taken(np.flatnonzero(~over))
    paths = _Paths(**{name: np.concatenate([getattr(part, name) for part in ended]) for name in vars(ended[0])})
    return _episodes(task, paths, masked), paths.probability


def drawn(episodes: Episodes, probabilities: np.ndarray, size: int = 1) -> Iterator[tuple[float, Episodes]]:
    """Yield (probability, Episodes) of every different draw of a start and ``size`` independent episodes from it.

    Draws that differ in their order alone are one, of the sum of their probabilities.

    Args:
        episodes: all episodes under some policy, as `all_episodes` gives them.
        probabilities: float64 (E,), theirs.
        size: how many are drawn; above 1 they are a group.
    """
    for start in np.unique(episodes.starts):
        members = np.flatnonzero(episodes.starts == start)
        begun = float(probabilities[members].sum())
        for chosen in combinations_with_replacement(members.tolist(), size):
            _, counts = np.unique(chosen, return_counts=True)
            orders = math.factorial(size) / math.prod(math.factorial(count) for count in counts.tolist())
            chance = begun * orders * math.prod((probabilities[list(chosen)] / begun).tolist())
            yield chance, episodes.select(chosen)


def _require_listable(task: FiniteTask) -> None:
    possible = task.arrays.probability > 0
    if task.context != "episode":
        raise TokenGymError(f"{task.name} has context {task.context!r}; episodes are listed of context 'episode' only.")
    if (task.arrays.noise[possible] > 0).any():
        raise TokenGymError(f"{task.name} has rewards with noise, of which there is no list: set the noise to 0.")


def _begun(task: FiniteTask) -> _Paths:
    arrays, vocabulary = task.arrays, task.vocabulary
    start = np.flatnonzero(arrays.initial_probability > 0)
    shape = (len(start), task.max_length)
    tokens = np.full(shape, vocabulary.pad, np.int32)
    tokens[:, 0] = vocabulary.bos
    paths = _Paths(
        start=start,
        state=arrays.initial_state[start].astype(np.int64),
        probability=arrays.initial_probability[start],
        tokens=tokens,
        lengths=np.ones(len(start), np.int32),
        said_in=np.full(shape, -1),
        rewards=np.zeros(shape),
        log_probs=np.zeros(shape),
    )
    return _shown(task, paths, arrays.initial_reply[start])


def _asked(task: FiniteTask, policy: Policy | None, paths: _Paths, masks: np.ndarray | None) -> np.ndarray:
    """The policy's probabilities (m, A)."""
    if policy is None:
        allowed = np.ones((len(paths.state), task.arrays.num_actions)) if masks is None else masks.astype(np.float64)
        return allowed / allowed.sum(axis=1, keepdims=True)
    arguments = (paths.tokens, paths.lengths) if masks is None else (paths.tokens, paths.lengths, masks)
    return np.asarray(policy(*arguments), np.float64)


def _said(task: FiniteTask, paths: _Paths, policy: np.ndarray) -> tuple[_Paths, np.ndarray]:
    """Every token and outcome of some paths: the paths that follow, and which of them are over, bool (m,)."""
    arrays = task.arrays
    chance = policy[:, :, None] * arrays.probability[paths.state]
    row, action, outcome = np.nonzero(chance)
    state, place, each = paths.state[row], paths.lengths[row], np.arange(len(row))
    following = paths.taken(row)
    following.tokens[each, place] = action
    following.said_in[each, place] = state
    following.rewards[each, place] = arrays.reward[state, action, outcome]
    following.log_probs[each, place] = np.log(policy[row, action])
    after = arrays.next[state, action, outcome].astype(np.int64)
    said = replace(
        following,
        state=after,
        probability=following.probability * chance[row, action, outcome],
        lengths=following.lengths + 1,
    )
    return _shown(task, said, arrays.reply[state, action, outcome]), after == arrays.num_states


def _shown(task: FiniteTask, paths: _Paths, reply: np.ndarray) -> _Paths:
    """The paths with what the task replies to each."""
    arrays = task.arrays
    counts = arrays.reply_counts[reply]
    row, column = np.nonzero(np.arange(arrays.reply_tokens.shape[1]) < counts[:, None])
    paths.tokens[row, paths.lengths[row] + column] = arrays.reply_tokens[reply[row], column]
    return replace(paths, lengths=(paths.lengths + counts).astype(np.int32))


def _legal(task: FiniteTask, states: np.ndarray) -> np.ndarray:
    """Bool (m, A), what may be said in states (m,)."""
    legal = task.arrays.legal
    return np.ones((len(states), task.arrays.num_actions), bool) if legal is None else legal[states]


def _episodes(task: FiniteTask, paths: _Paths, masked: bool) -> Episodes:
    count, longest = len(paths.state), int(paths.lengths.max())
    said_in = paths.said_in[:, :longest]
    agent_mask = said_in >= 0
    return Episodes(
        tokens=paths.tokens[:, :longest],
        lengths=paths.lengths,
        agent_mask=agent_mask,
        rewards=paths.rewards[:, :longest],
        log_probs=paths.log_probs[:, :longest],
        episode_id=np.arange(count),
        turn=np.zeros(count, np.int32),
        terminated=np.ones(count, bool),
        truncated=np.zeros(count, bool),
        starts=paths.start.astype(np.uint64),
        action_masks=_legal(task, said_in[agent_mask]) if masked else None,  # pyright: ignore[reportArgumentType]
        final_action_masks=(  # pyright: ignore[reportArgumentType]
            np.ones((count, task.arrays.num_actions), bool) if masked else None
        ),
        pad=task.vocabulary.pad,
    )
