"""TwentyQuestions: find a hidden item with yes/no questions."""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase
from typing import Any

import numpy as np

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .guessing import blind_return


class TwentyQuestions(FiniteTask):
    """Find out which of 16 items is meant, with yes/no questions and guesses.

    ## Description
    One item is hidden. A token is a turn: a question, answered truthfully with `yes` or `no`, or a guess, answered the
    same way. The first four questions number the items in binary (`q1` is true of every second item, `q2` of every
    second pair, and so on), so that they tell all 16 apart; what is true of which item in the other four is drawn once
    by `instance_seed`. It isolates gathering information before acting on it: a guess that comes too early is wasted,
    and so is a question that was asked before. Mirrors the 20-questions task of LMRL-Gym, in a size that is solved
    exactly.

    ## Action space
    `num_questions` tokens `q1`, `q2`, …, then `num_items` tokens `A`, `B`, …: a guess.

    ## Observation space
    `[<bos>]`, then every question or guess with its answer, `yes` or `no`: the whole dialogue.

    ## Rewards
    −1 a turn, except 0 for the right guess. An agent that says uniform tokens gets −Σ_{i ≤ turns} (1 − 1/A)^i with A
    tokens that can be said (attribute `random_return`). The binary questions alone find the item of 2^k for −k; the
    optimum is not worse, and better where a guess may come before the last question.

    ## Starting state
    An item, uniform and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by the right guess or after `num_turns` turns.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_items=16`: items, from 2 to 26.
    * `num_questions=8`: questions, at least as many as number the items in binary (4 for 16).
    * `num_turns=12`: questions and guesses in an episode.
    * `instance_seed=0`: draws the answers to the questions after the binary ones.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023 (20
    Questions).

    ## Version history
    * v0: first release.
    """

    name = "TwentyQuestions"
    family = "games"
    isolates = "asking before guessing"
    mirrors = "LMRL-Gym 20 Questions"

    def __init__(
        self, num_items: int = 16, num_questions: int = 8, num_turns: int = 12, instance_seed: int = 0
    ) -> None:
        self.num_items = positive_int("num_items", num_items)
        self.num_questions = positive_int("num_questions", num_questions)
        self.num_turns = positive_int("num_turns", num_turns)
        if not 2 <= self.num_items <= len(ascii_uppercase):
            raise TokenGymError(f"num_items={num_items}: give 2 … {len(ascii_uppercase)}, one letter each.")
        binary = (self.num_items - 1).bit_length()
        if not binary <= self.num_questions <= 64:
            raise TokenGymError(
                f"num_questions={num_questions}: numbering {num_items} items in binary takes {binary} questions: give "
                f"{binary} … 64."
            )
        if self.num_turns > 1000:
            raise TokenGymError(f"num_turns={num_turns}: give at most 1000.")
        numbers = np.arange(self.num_items)
        drawn = instance_random(instance_seed).integers(
            2, size=(self.num_items, self.num_questions - binary), dtype=np.int64
        )
        # answers[i, q]: whether question q is true of item i
        self.answers = np.column_stack([numbers[:, None] >> np.arange(binary) & 1, drawn]).astype(bool)
        questions = [f"q{number}" for number in range(1, self.num_questions + 1)]
        self.vocabulary = Vocabulary.of([*questions, *ascii_uppercase[: self.num_items]], ["yes", "no"])
        self.random_return = blind_return(self.vocabulary.num_actions, self.num_turns)

    def initial(self) -> Iterable[Initial]:
        """Return every item, equally likely and hidden; a state is (item, turns taken)."""
        return [Initial(1 / self.num_items, (item, 0)) for item in range(self.num_items)]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Answer a question or a guess."""
        item, turns = state
        guess = action - self.num_questions
        if guess == item:
            return [Transition(1.0, None, 0.0, (self.vocabulary.ids["yes"],))]
        answer = "yes" if guess < 0 and self.answers[item, action] else "no"
        following = None if turns + 1 == self.num_turns else (item, turns + 1)
        return [Transition(1.0, following, -1.0, (self.vocabulary.ids[answer],))]
