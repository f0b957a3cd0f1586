"""Balanced brackets: a rule over a whole text, a shaping trap, and a count of the answers that a player knows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..diagnostics import not_negative

_MOST_PAIRS = 200
_OPEN, _CLOSE = 0, 1


def catalan(n: int) -> int:
    """Return the n-th Catalan number, (2n)!/(n!·(n + 1)!): how many balanced words of n pairs there are."""
    return math.comb(2 * n, n) // (n + 1)


class Dyck(FiniteTask):
    """Write a balanced word of n pairs of brackets.

    ## Description
    2n tokens, each an opening or a closing bracket; a balanced word pays 1. There are Cat(n) of them, all equally good,
    so the return says how reliable a player is and its *diversity*, the number of different balanced words that it
    writes, says how much of the answer it knows. The task isolates a long-range rule with a reward at the end only.
    Mirrors code and structured output that must parse, and the loss of diversity in reinforcement learning.

    With `bonus` c it becomes a shaping trap: every opening bracket pays c, which is well meant, for a word needs n of
    them. A balanced word then pays 1 + c·n, but a row of opening brackets 2·c·n, so for c > 1/n the optimum is no
    longer balanced, and a learner that drops its brackets has done nothing wrong.

    ## Action space
    Tokens `(` and `)`.

    ## Observation space
    `[<bos>]`, then the word so far.

    ## Rewards
    1 with the last token if the word is balanced; `bonus` with every `(`. Random Cat(n)/4^n + c·n, optimal
    max(1 + c·n, 2·c·n).

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after 2n tokens, also where the word can no longer be balanced.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_pairs=4`: pairs of brackets (n), at most 200.
    * `bonus=0.0`: what every opening bracket pays (c), at least 0.

    `diversity(tokens)` counts the different balanced words among the observations of finished episodes, `num_words` is
    the number that there are.

    ## References
    Suzgun et al., "Memory-Augmented Recurrent Neural Networks Can Learn Generalized Dyck Languages", 2019; Ng, Harada
    and Russell, "Policy Invariance under Reward Transformations", ICML 1999 (on shaping that changes the optimum).

    ## Version history
    * v0: first release.
    """

    name = "Dyck"
    family = "text"
    isolates = "a rule over the whole text; diversity"
    mirrors = "output that must parse; reward shaping"

    def __init__(self, num_pairs: int = 4, bonus: float = 0.0) -> None:
        self.num_pairs, self.bonus = positive_int("num_pairs", num_pairs), not_negative("bonus", bonus)
        if num_pairs > _MOST_PAIRS:
            raise TokenGymError(f"num_pairs={num_pairs}: at most {_MOST_PAIRS} pairs can be compiled.")
        self.turn_tokens = 2 * num_pairs
        self.num_words = catalan(num_pairs)
        self.vocabulary = dataclasses.replace(Vocabulary.of(["(", ")"]), separator="")
        self.random_return = self.num_words / 4**num_pairs + self.bonus * num_pairs
        self.optimal_return = max(1 + self.bonus * num_pairs, 2 * self.bonus * num_pairs)

    def initial(self) -> Iterable[Initial]:
        """Return the empty word; a state is (tokens said, brackets open, None where no balanced word can follow)."""
        return [Initial(1.0, (0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Open or close a bracket; pay the bonus, and for a balanced word with the last token."""
        said, depth = state
        said += 1
        if depth is not None:
            depth += 1 if action == _OPEN else -1
            if not 0 <= depth <= self.turn_tokens - said:
                depth = None
        reward = self.bonus * (action == _OPEN)
        if said == self.turn_tokens:
            return [Transition(1.0, None, reward + (depth == 0))]
        return [Transition(1.0, (said, depth), reward)]

    def expert_action(self, state: Any) -> int | None:
        """Return what earns most: the pairs one after the other, or opening brackets where balance does not pay."""
        said, depth = state
        if depth is None:
            return _OPEN
        closings = (self.turn_tokens - said + depth) // 2
        # Every closing bracket that a balanced word still needs forgoes a bonus.
        return _CLOSE if depth > 0 and self.bonus * closings <= 1 else _OPEN

    def balanced(self, tokens: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which observations end in a balanced word.

        Args:
            tokens: Observations of finished episodes, integers of shape (m, L), `bos` included, padding allowed.

        Returns:
            Bools of shape (m,).
        """
        steps = np.where(self._words(tokens) == _OPEN, 1, -1)
        depth = steps.cumsum(axis=1)
        return (depth >= 0).all(axis=1) & (depth[:, -1] == 0)

    def diversity(self, tokens: npt.ArrayLike) -> int:
        """Return how many different balanced words there are among observations; arguments as in `balanced`.

        Random balanced words are few, so compare players by equal numbers of episodes; at most `num_words`.
        """
        words = self._words(tokens)
        return len(np.unique(words[self.balanced(tokens)], axis=0))

    def _words(self, tokens: npt.ArrayLike) -> npt.NDArray[np.integer]:
        """Return the words (m, 2n) of observations, or raise where they are not those of finished episodes."""
        observations = np.asarray(tokens)
        if observations.ndim != 2 or observations.shape[1] < 1 + self.turn_tokens:
            raise TokenGymError(
                f"tokens of shape {observations.shape}: expected observations of finished episodes, of shape (m, L) "
                f"with L at least {1 + self.turn_tokens} (the begin token and {self.turn_tokens} brackets)."
            )
        words = observations[:, 1 : 1 + self.turn_tokens]
        unfinished = ~np.isin(words, (_OPEN, _CLOSE)).all(axis=1)
        if unfinished.any():
            row = int(np.flatnonzero(unfinished)[0])
            raise TokenGymError(
                f"tokens[{row}]={observations[row].tolist()} is not a finished episode: expected {self.turn_tokens} "
                "brackets after the begin token; leave out what is still under way."
            )
        return words
