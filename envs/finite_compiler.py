"""From a `FiniteTask`'s declaration to arrays: states are found by walking from the initial ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .errors import TokenGymError
from .finite import FiniteArrays, FiniteTask, Initial, Transition

_TOLERANCE = 1e-9


def compile_task(task: FiniteTask) -> FiniteArrays:
    """Walks all states that can be reached and returns the task's arrays.

    Raises:
        TokenGymError: If probabilities do not sum to 1, a shown token is outside of the vocabulary, tokens are shown
            before a turn has ended, a reward is not a number, or `legal` forbids everything.
    """
    num_actions = task.vocabulary.num_actions
    turn_tokens = task.max_turn_tokens
    replies: dict[tuple[int, ...], int] = {(): 0}

    def reply_index(shown: Sequence[int], where: str) -> int:
        key = tuple(int(token) for token in shown)
        if key not in replies:
            wrong = [token for token in key if not 0 <= token < task.vocabulary.size]
            if wrong:
                raise TokenGymError(
                    f"task {task.name}: {where} shows token {wrong[0]}, which is outside of the vocabulary: "
                    f"ids are 0 … {task.vocabulary.size - 1}"
                )
            replies[key] = len(replies)
        return replies[key]

    initial = [Initial(*entry) for entry in task.initial()]
    initial = [entry for entry in initial if entry.probability != 0]
    _check_probabilities(task, [entry.probability for entry in initial], "initial()")
    index: dict[Hashable, int] = {}
    states: list[Any] = []
    for entry in initial:
        _find(index, states, entry.state)
    # One list of transitions for each (state, action), in the order of the states' discovery.
    table: list[list[Transition]] = []
    explored = 0
    while explored < len(states):
        state = states[explored]
        explored += 1
        for action in range(num_actions):
            outcomes = [Transition(*outcome) for outcome in task.transitions(state, action)]
            outcomes = [outcome for outcome in outcomes if outcome.probability != 0]
            _check_probabilities(
                task, [outcome.probability for outcome in outcomes], f"transitions({state!r}, {action})"
            )
            table.append(outcomes)
            for outcome in outcomes:
                if outcome.state is not None:
                    _find(index, states, outcome.state)

    num_states, most = len(states), max(map(len, table))
    shape = (num_states * num_actions, most)
    following = np.full(shape, num_states, np.int32)
    probability, reward, noise = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    reply = np.zeros(shape, np.int32)
    for row, outcomes in enumerate(table):
        for k, outcome in enumerate(outcomes):
            if outcome.state is not None:
                following[row, k] = index[outcome.state]
            probability[row, k] = outcome.probability
            reward[row, k] = outcome.reward
            noise[row, k] = outcome.noise
            if outcome.shown:
                where = f"transitions({states[row // num_actions]!r}, {row % num_actions})"
                reply[row, k] = reply_index(outcome.shown, where)
    if not np.isfinite(reward).all() or not np.isfinite(noise).all() or (noise < 0).any():
        raise TokenGymError(f"task {task.name}: rewards must be finite numbers, and noise finite and at least 0")
    initial_reply = np.array([reply_index(entry.shown, "initial()") for entry in initial], np.int32)

    reply_tokens = np.full((len(replies), max(map(len, replies))), task.vocabulary.pad, np.int32)
    for tokens, position in replies.items():
        reply_tokens[position, : len(tokens)] = tokens
    full = (num_states, num_actions, most)
    arrays = FiniteArrays(
        next=following.reshape(full),
        probability=probability.reshape(full),
        reward=reward.reshape(full),
        noise=noise.reshape(full),
        reply=reply.reshape(full),
        reply_tokens=reply_tokens,
        reply_counts=np.array([len(tokens) for tokens in replies], np.int32),
        initial_state=np.array([index[entry.state] for entry in initial], np.int32),
        initial_probability=np.array([entry.probability for entry in initial]),
        initial_reply=initial_reply,
        legal=_legal(task, states),
        states=states,
    )
    if turn_tokens > 1:
        _check_turns(task, arrays)
    return arrays


def longest_episode(task: FiniteTask) -> tuple[int, int]:
    """Returns the most agent tokens of an episode and the longest sequence (`bos` included) of all that is said.

    Raises:
        TokenGymError: If the states can be visited in a circle, so that there is no longest episode.
    """
    arrays = task.arrays
    num_states = arrays.num_states
    possible = arrays.probability > 0
    shown = np.where(possible, arrays.reply_counts[arrays.reply], 0)
    tokens = np.zeros(num_states + 1, np.int64)
    length = np.zeros(num_states + 1, np.int64)
    known = np.zeros(num_states + 1, np.bool_)
    known[num_states] = True
    waiting = np.arange(num_states)
    # From the end backwards: a state is known once all that it leads to is.
    while len(waiting):
        ready = (known[arrays.next[waiting]] | ~possible[waiting]).all(axis=(1, 2))
        if not ready.any():
            raise TokenGymError(
                f"task {task.name}: its states can be visited in a circle, so no longest episode can be worked out: "
                "set max_episode_tokens (and in context 'episode' max_length), or count the steps in the state"
            )
        now = waiting[ready]
        after = arrays.next[now]
        tokens[now] = 1 + np.where(possible[now], tokens[after], 0).max(axis=(1, 2))
        length[now] = 1 + np.where(possible[now], length[after] + shown[now], 0).max(axis=(1, 2))
        known[now] = True
        waiting = waiting[~ready]
    at_start = arrays.reply_counts[arrays.initial_reply]
    return int(tokens[arrays.initial_state].max()), 1 + int((at_start + length[arrays.initial_state]).max())


def _find(index: dict[Hashable, int], states: list[Any], state: Hashable) -> None:
    if state not in index:
        index[state] = len(states)
        states.append(state)


def _check_probabilities(task: FiniteTask, probabilities: Sequence[float], where: str) -> None:
    if any(not probability > 0 for probability in probabilities) or abs(sum(probabilities) - 1) > _TOLERANCE:
        raise TokenGymError(
            f"task {task.name}: the probabilities of {where} are {list(probabilities)}: "
            "they must be at least 0 and sum to 1"
        )


def _legal(task: FiniteTask, states: Sequence[Any]) -> np.ndarray | None:
    """Returns the mask of legal tokens, (S, A), or None where nothing is forbidden."""
    if type(task).legal is FiniteTask.legal:
        return None
    legal = np.zeros((len(states), task.vocabulary.num_actions), np.bool_)
    for row, state in enumerate(states):
        allowed = task.legal(state)
        legal[row, slice(None) if allowed is None else list(allowed)] = True
        if not legal[row].any():
            raise TokenGymError(f"task {task.name}: legal({state!r}) allows no token: every state needs at least one")
    return None if legal.all() else legal


def _check_turns(task: FiniteTask, arrays: FiniteArrays) -> None:
    """Walks the pairs (state, tokens said in this turn), to see that nothing is shown inside of a turn."""
    possible = arrays.probability > 0
    reached = np.zeros((arrays.num_states, task.turn_tokens), np.bool_)
    reached[arrays.initial_state, 0] = True
    frontier = reached.copy()
    while frontier.any():
        states, positions = np.nonzero(frontier)
        inside = (positions + 1 < task.turn_tokens)[:, None, None]
        going_on = possible[states] & (arrays.next[states] < arrays.num_states)
        shown = arrays.reply_counts[arrays.reply[states]] > 0
        if (inside & going_on & shown).any():
            state = arrays.states[int(states[(inside & going_on & shown).any(axis=(1, 2))][0])]
            raise TokenGymError(
                f"task {task.name}: tokens are shown after state {state!r} inside of a turn of {task.turn_tokens} "
                "tokens: show them with the turn's last token"
            )
        row, _, _ = np.nonzero(going_on)
        after = np.zeros_like(reached)
        after[arrays.next[states][going_on], (positions[row] + 1) % task.turn_tokens] = True
        frontier = after & ~reached
        reached |= after
