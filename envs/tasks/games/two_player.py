"""Games of two players, with the other player folded into the transitions: exactly solvable, whoever plays there."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from ...checking import TokenGymError
from ...exact import solve
from ...finite import FiniteArrays, FiniteTask, Initial, Transition, compile_task
from ..diagnostics import not_negative
from .opponents import Opponent, ask_opponent, build_opponent

SIDES = ("first", "second", "both")
"""Who moves first: the agent, the opponent, or either with equal chances."""


class TwoPlayerTask(FiniteTask):
    """A game of two players who take turns, one token a move, on a board that both see; one wins what the other loses.

    A game writes the five methods below. They see every *position* from the side of the player whose move it is, so
    one policy can play both sides, and a learner can play against its own frozen copy. Positions are hashable, the
    agent's position is the task's state, and an observation is the board alone, in context `"turn"`. A win pays 1, a
    loss −1, a draw 0; an illegal move ends the game at once and costs `illegal_cost`, by default what a loss costs.

    The opponent's move follows the agent's within one transition. The arrays are compiled once, with room for every
    legal move of the opponent's; another opponent changes their probabilities only, so `set_opponent` is sound at any
    moment, costs one batched question to the new policy, and leaves the numbers of the states as they are.

    Args:
        opponent: who plays the other side; see `build_opponent`.
        side: whether the agent moves `"first"` or `"second"`, or drawn for each episode (`"both"`).
        illegal_cost: what an illegal move of the agent's costs, at least 0.

    Attributes:
        opponent: the opponent's specification.
        side: as given.
        illegal_cost: as given.
    """

    family = "games"
    context = "turn"
    reward_range = (-1.0, 1.0)  # pyright: ignore[reportAssignmentType]
    entry_point_arguments = ("opponent",)

    def __init__(self, opponent: Any = "random", side: str = "first", illegal_cost: float = 1.0) -> None:
        if side not in SIDES:
            raise TokenGymError(f"side={side!r}: expected one of {', '.join(map(repr, SIDES))}.")
        self.side = side
        self.illegal_cost = not_negative("illegal_cost", illegal_cost)
        self.reward_range = min(-1.0, -self.illegal_cost), 1.0
        self.opponent = opponent
        self._policy = build_opponent(opponent)
        self._values: dict[Any, float] = {}

    @abstractmethod
    def first_position(self) -> Any:
        """Returns the position in which the game begins."""

    @abstractmethod
    def moves(self, position: Any) -> Sequence[int]:
        """Returns the legal moves of the player to move, in ascending order; at least one while the game goes on."""

    @abstractmethod
    def play(self, position: Any, move: int) -> Any:
        """Returns the position after a legal move, as the other player sees it."""

    @abstractmethod
    def outcome(self, position: Any) -> float | None:
        """Returns 1, 0 or −1 where the game is over, for the player whose move it would be; None while it goes on."""

    @abstractmethod
    def shown(self, position: Any) -> tuple[int, ...]:
        """Returns the board as tokens, for the player whose move it is."""

    def turned(self, position: Any) -> Any:
        """Returns a position as the player who does not move sees it; by default there is no difference."""
        return position

    # The opponent ----------------------------------------------------------------------------------------------------

    def set_opponent(self, opponent: Any) -> None:
        """Puts another opponent in place, in all engines that run this task, from the next move on.

        Args:
            opponent: what `build_opponent` takes.
        """
        self._policy = build_opponent(opponent)
        self.opponent = opponent
        vars(self).pop("_chances", None)
        self.recompile()

    def against(self, opponent: Any, side: str | None = None) -> Self:
        """Returns the same game against another opponent, and on another side where one is given."""
        other = copy.copy(self)
        if side is not None and side != self.side:
            if side not in SIDES:
                raise TokenGymError(f"side={side!r}: expected one of {', '.join(map(repr, SIDES))}.")
            other.side = side
            for name in ("_fold", "_longest", "max_episode_tokens"):
                vars(other).pop(name, None)
        other.set_opponent(opponent)
        return other

    def value(self, position: Any) -> float:
        """Returns what a position is worth to the player to move if both play as well as can be (minimax)."""
        if position not in self._values:
            known = self.outcome(position)
            if known is None:
                known = max(0.0 - self.value(self.play(position, move)) for move in self.moves(position))
            self._values[position] = known
        return self._values[position]

    def best_moves(self, position: Any) -> list[int]:
        """Returns the moves that keep a position's value, in ascending order."""
        value = self.value(position)
        return [move for move in self.moves(position) if 0.0 - self.value(self.play(position, move)) == value]

    # The finite task -------------------------------------------------------------------------------------------------

    def initial(self) -> Iterable[Initial]:
        """Return the empty board, or the board after each first move of the opponent's."""
        return self._beginnings(self._weights)

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Make the agent's move, then the opponent's, until the game is over."""
        return self._outcomes(state, action, self._weights)

    def legal(self, state: Any) -> Iterable[int] | None:
        """Return the legal moves."""
        return self.moves(state)

    def expert_action(self, state: Any) -> int | None:
        """Return a move that is best against the best opponent."""
        return self.best_moves(state)[0]

    def _beginnings(self, weights: Callable[[Any], Sequence[float]]) -> list[Initial]:
        start = self.first_position()
        first = {"first": 1.0, "both": 0.5, "second": 0.0}[self.side]
        beginnings = [Initial(first, start, self.shown(start))] if first else []
        if first < 1:
            for move, weight in zip(self.moves(start), weights(start), strict=True):
                after = self.play(start, move)
                beginnings.append(Initial((1 - first) * weight, after, self.shown(after)))
        return beginnings

    def _outcomes(self, state: Any, action: int, weights: Callable[[Any], Sequence[float]]) -> list[Transition]:
        if action not in self.moves(state):
            return [Transition(1.0, None, 0.0 - self.illegal_cost, self.shown(state))]
        theirs = self.play(state, action)
        result = self.outcome(theirs)
        if result is not None:
            return [Transition(1.0, None, 0.0 - result, self.shown(self.turned(theirs)))]
        outcomes = []
        for reply, weight in zip(self.moves(theirs), weights(theirs), strict=True):
            mine = self.play(theirs, reply)
            result = self.outcome(mine)
            outcomes.append(Transition(weight, mine if result is None else None, result or 0.0, self.shown(mine)))
        return outcomes

    def _weights(self, position: Any) -> Sequence[float]:
        """Return the opponent's probabilities of the legal moves in a position."""
        return self._chances[self._fold.rows[position], self.moves(position)].tolist()

    @cached_property
    def _fold(self) -> _Fold:
        return _Fold.of(self)

    @cached_property
    def _chances(self) -> npt.NDArray[np.float64]:
        """The opponent's probabilities in each of its positions, (N, A)."""
        fold = self._fold
        if callable(self._policy):
            tokens, lengths = self._observations(list(fold.rows))
            return ask_opponent(self._policy, tokens, lengths, fold.masks)
        chances = fold.masks.astype(np.float64)
        if self._policy == "optimal":
            chances[:] = 0
            for position, row in fold.rows.items():
                chances[row, self.best_moves(position)] = 1
        return chances / chances.sum(axis=1, keepdims=True)

    def _observations(self, positions: list[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return tokens (m, L) and lengths (m,) of positions, as the environment shows them to the player to move."""
        tokens = np.full((len(positions), self.max_length), self.vocabulary.pad, np.int32)
        tokens[:, 0] = self.vocabulary.bos
        lengths = np.empty(len(positions), np.int32)
        for row, position in enumerate(positions):
            shown = self.shown(position)
            tokens[row, 1 : 1 + len(shown)] = shown
            lengths[row] = 1 + len(shown)
        return tokens, lengths

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The task as arrays: those of the first opponent's, with this one's probabilities."""
        fold = self._fold
        probability = fold.arrays.probability.copy()
        answered = fold.replies >= 0
        rows = fold.replies[answered]
        moves = fold.moves[rows, : fold.arrays.outcomes]
        probability[answered] = np.where(moves >= 0, self._chances[rows[:, None], moves], 0.0)
        beginnings = np.array([entry.probability for entry in self.initial()])
        return replace(fold.arrays, probability=probability, initial_probability=beginnings)

    @cached_property
    def _longest(self) -> tuple[int, int]:
        return self._fold.longest

    @cached_property
    def max_length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The board, what begins it, and a move."""
        return 2 + len(self.shown(self.first_position()))


def exploitability(game: TwoPlayerTask, policy: Opponent) -> float:
    """Returns how much a policy gives away to the best response: 0 at an equilibrium, 1 where it always loses.

    The policy plays both sides; the mean, over the two sides, of what its best response wins is solved exactly. In a
    zero-sum game that is half of NashConv (Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent
    Reinforcement Learning", 2017). Its illegal moves are not counted: as an opponent it keeps to the legal ones.

    Args:
        game: the game, on any side and against any opponent, which do not matter.
        policy: what `build_opponent` takes, such as `agent.probabilities` or `"random"`.
    """
    return solve(game.against(policy, "both")).optimal_return


class _AgainstUniform(FiniteTask):
    """A game against every legal move with equal chances: all that can happen against anybody."""

    context = "turn"

    def __init__(self, game: TwoPlayerTask) -> None:
        self.game = game
        self.vocabulary, self.name = game.vocabulary, game.name

    def initial(self) -> Iterable[Initial]:
        return self.game._beginnings(self._uniform)

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        return self.game._outcomes(state, action, self._uniform)

    def legal(self, state: Any) -> Iterable[int] | None:
        return self.game.legal(state)

    def _uniform(self, position: Any) -> Sequence[float]:
        moves = self.game.moves(position)
        return [1 / len(moves)] * len(moves)


@dataclass(frozen=True)
class _Fold:
    """The arrays of a game, and where in them the opponent's probabilities stand.

    Attributes:
        arrays: compiled against `_AgainstUniform`; outcome k of a move is the opponent's k-th legal reply.
        longest: what `longest_episode` gives.
        rows: the positions in which the opponent moves, numbered.
        replies: the opponent's position after each move of the agent's, int (S, A); −1 where the game is over.
        moves: the opponent's legal moves in each position, int (N, A), −1 beyond them.
        masks: the same as bool (N, A).
    """

    arrays: FiniteArrays
    longest: tuple[int, int]
    rows: dict[Any, int]
    replies: npt.NDArray[np.int64]
    moves: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, game: TwoPlayerTask) -> _Fold:
        uniform = _AgainstUniform(game)
        uniform.arrays = compile_task(uniform)
        arrays = uniform.arrays
        rows: dict[Any, int] = {}
        if game.side != "first":
            rows[game.first_position()] = 0
        replies = np.full((arrays.num_states, arrays.num_actions), -1)
        for index, state in enumerate(arrays.states):
            for move in game.moves(state):
                theirs = game.play(state, move)
                if game.outcome(theirs) is None:
                    replies[index, move] = rows.setdefault(theirs, len(rows))
        moves = np.full((len(rows), arrays.num_actions), -1)
        masks = np.zeros(moves.shape, np.bool_)
        for position, row in rows.items():
            legal = list(game.moves(position))
            moves[row, : len(legal)] = legal
            masks[row, legal] = True
        return cls(arrays, uniform._longest, rows, replies, moves, masks)
