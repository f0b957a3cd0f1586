"""From a finite task's declaration to arrays: states are found by walking from the initial ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, TooManyStatesError, positive_int
from ..columns import check_name
from .arrays import FiniteArrays
from .declaration import Declaration, Initial, Shown, Transition

_TOLERANCE = 1e-9


def compile_task(task: Declaration) -> FiniteArrays:
    """Walks all states that can be reached and returns the task's arrays.

    Raises:
        TokenGymError: If probabilities do not sum to 1, a shown token is outside of the vocabulary, tokens are shown
            before a turn has ended, a reward is not a number, or `legal` forbids everything.
    """
    num_actions = task.vocabulary.num_actions
    turn_tokens = positive_int(f"task {task.name}: turn_tokens", task.turn_tokens)
    replies: dict[tuple[int, ...], int] = {(): 0}

    def reply_index(shown: Shown, *place: Any) -> int:
        names = (shown,) if isinstance(shown, str) else shown
        key = tuple(task.vocabulary.encode([token])[0] if isinstance(token, str) else int(token) for token in names)
        if key not in replies:
            wrong = [token for token in key if not 0 <= token < task.vocabulary.size]
            if wrong:
                where = f"transitions{place!r}" if place else "initial()"
                raise TokenGymError(
                    f"task {task.name}: {where} shows token {wrong[0]}, which is outside of the vocabulary: "
                    f"ids are 0 … {task.vocabulary.size - 1}"
                )
            replies[key] = len(replies)
        return replies[key]

    initial = [Initial(*entry) for entry in task.initial()]
    initial = [entry for entry in initial if entry.probability != 0]
    probabilities = [entry.probability for entry in initial]
    if not all(probability > 0 for probability in probabilities) or not abs(sum(probabilities) - 1) <= _TOLERANCE:
        raise _wrong_probabilities(task, probabilities, "initial()")
    index: dict[Hashable, int] = {}
    states: list[Any] = []
    for entry in initial:
        _find(index, states, entry.state)
    # One entry for each outcome of each (state, action), in the order of the states' discovery.
    # Its columns: pair, rank among the pair's outcomes, next state or −1, probability, reward, noise, reply.
    entries: list[tuple[int, int, int, float, float, float, int]] = []
    reports: dict[str, list[tuple[int, float]]] = {}  # by column: the entry, and what it reports
    explored = 0
    while explored < len(states):
        if len(states) > task.max_states:
            raise TooManyStatesError(
                f"task {task.name} has more than {task.max_states} states: make it smaller, or raise its max_states"
            )
        state = states[explored]
        for action in range(num_actions):
            rank = 0
            total = 0.0
            for outcome in task.transitions(state, action):
                # Authors may return plain tuples, with the defaults left out.
                whole = outcome if type(outcome) is Transition else Transition(*outcome)
                probability, following, reward, shown, noise, columns = whole
                if probability == 0:
                    continue
                if not probability > 0:
                    total = np.nan
                total += probability
                after = -1 if following is None else _find(index, states, following)
                said = reply_index(shown, state, action) if shown else 0
                for name, value in columns.items() if columns else ():
                    reports.setdefault(name, []).append((len(entries), value))
                entries.append((explored * num_actions + action, rank, after, probability, reward, noise, said))
                rank += 1
            if not abs(total - 1) <= _TOLERANCE:
                outcomes = [outcome[0] for outcome in task.transitions(state, action)]
                raise _wrong_probabilities(task, outcomes, f"transitions({state!r}, {action})")
        explored += 1

    num_states = len(states)
    places = np.array([entry[0] for entry in entries]), np.array([entry[1] for entry in entries])
    shape = (num_states * num_actions, int(places[1].max()) + 1)

    def scattered(column: int, fill: float, dtype: npt.DTypeLike) -> np.ndarray:
        array = np.full(shape, fill, dtype)
        array[places] = [entry[column] for entry in entries]
        return array.reshape(num_states, num_actions, -1)

    following = scattered(2, -1, np.int32)
    following[following < 0] = num_states
    reward, noise = scattered(4, 0, np.float64), scattered(5, 0, np.float64)
    if not np.isfinite(reward).all() or not np.isfinite(noise).all() or (noise < 0).any():
        raise TokenGymError(f"task {task.name}: rewards must be finite numbers, and noise finite and at least 0")
    initial_reply = np.array([reply_index(entry.shown) for entry in initial], np.int32)

    reply_tokens = np.full((len(replies), max(map(len, replies))), task.vocabulary.pad, np.int32)
    for tokens, position in replies.items():
        reply_tokens[position, : len(tokens)] = tokens
    arrays = FiniteArrays(
        next=following,
        probability=scattered(3, 0, np.float64),
        reward=reward,
        noise=noise,
        reply=scattered(6, 0, np.int32),
        reply_tokens=reply_tokens,
        reply_counts=np.array([len(tokens) for tokens in replies], np.int32),
        initial_state=np.array([index[entry.state] for entry in initial], np.int32),
        initial_probability=np.array([entry.probability for entry in initial]),
        initial_reply=initial_reply,
        legal=_legal(task, states),
        states=states,
        columns=_columns(task.name, reports, places, following.shape),
    )
    if turn_tokens > 1:
        _check_turns(task, arrays)
    return arrays


def _columns(
    task_name: str,
    reports: dict[str, list[tuple[int, float]]],
    places: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Returns what the outcomes report, by name, of shape (S, A, K)."""
    found = {}
    for name, told in reports.items():
        check_name(f"task {task_name}", name)
        where = np.array([entry for entry, _ in told])
        values = np.array([value for _, value in told], np.float64)
        if not np.isfinite(values).all():
            raise TokenGymError(
                f"task {task_name}: the column {name!r} must hold finite numbers: leave out what is none"
            )
        column = np.full((shape[0] * shape[1], shape[2]), np.nan)
        column[places[0][where], places[1][where]] = values
        found[name] = column.reshape(shape)
    return found


def longest_episode(name: str, arrays: FiniteArrays) -> tuple[int, int]:
    """Returns the most agent tokens of an episode and the longest sequence (`bos` included) of all that is said.

    Raises:
        TokenGymError: If the states can be visited in a circle, so that there is no longest episode.
    """
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
                f"task {name}: its states can be visited in a circle, so no longest episode can be worked out: "
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


def _find(index: dict[Hashable, int], states: list[Any], state: Hashable) -> int:
    """Returns the index of a state, which is a new one where it was not met before."""
    found = index.setdefault(state, len(states))
    if found == len(states):
        states.append(state)
    return found


def _wrong_probabilities(task: Declaration, probabilities: Sequence[float], where: str) -> TokenGymError:
    return TokenGymError(
        f"task {task.name}: the probabilities of {where} are {list(probabilities)}: "
        "they must be at least 0 and sum to 1"
    )


def _legal(task: Declaration, states: Sequence[Any]) -> np.ndarray | None:
    """Returns the mask of legal tokens, (S, A), or None where nothing is forbidden."""
    legal = None
    for row, state in enumerate(states):
        allowed = task.legal(state)
        if allowed is None:
            continue
        if legal is None:
            legal = np.ones((len(states), task.vocabulary.num_actions), np.bool_)
        legal[row] = False
        legal[row, list(allowed)] = True
        if not legal[row].any():
            raise TokenGymError(f"task {task.name}: legal({state!r}) allows no token: every state needs at least one")
    return None if legal is None or legal.all() else legal


def _check_turns(task: Declaration, arrays: FiniteArrays) -> None:
    """Walks the pairs (state, tokens said in this turn), to see that nothing is shown inside of a turn."""
    going_on = (arrays.probability > 0) & (arrays.next < arrays.num_states)
    shown = going_on & (arrays.reply_counts[arrays.reply] > 0)
    showing = shown.reshape(arrays.num_states, -1).max(axis=1)
    if not showing.any():
        return
    # Only the pairs of one step are looked at in it: all pairs in every step would be cubic in the length of a turn.
    reached = np.zeros(arrays.num_states * task.turn_tokens, np.bool_)
    pairs = np.unique(arrays.initial_state).astype(np.int64) * task.turn_tokens
    while len(pairs):
        reached[pairs] = True
        states, positions = pairs // task.turn_tokens, pairs % task.turn_tokens
        wrong = states[(positions + 1 < task.turn_tokens) & showing[states]]
        if len(wrong):
            state = arrays.states[int(wrong[0])]
            raise TokenGymError(
                f"task {task.name}: tokens are shown after state {state!r} inside of a turn of {task.turn_tokens} "
                "tokens: show them with the turn's last token"
            )
        row, action, outcome = np.nonzero(going_on[states])
        after = arrays.next[states[row], action, outcome].astype(np.int64)
        following = np.unique(after * task.turn_tokens + (positions[row] + 1) % task.turn_tokens)
        pairs = following[~reached[following]]
