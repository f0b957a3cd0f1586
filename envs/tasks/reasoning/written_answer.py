"""What tasks have in common in which a prompt has one right answer, written token by token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...checking import unknown_name
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary

REWARDS = ("outcome", "fraction", "process")
"""How an answer can be paid; see `WrittenAnswer`."""


class Problem(NamedTuple):
    """A prompt and its right answer, as token ids; all answers of a task have the same length."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


class WrittenAnswer(FiniteTask):
    """Write the one right answer to a prompt.

    With T tokens in an answer, `reward` is one of

    - `"outcome"`: 1 with the last token if all are right, otherwise 0;
    - `"fraction"`: the fraction of the tokens that are right, with the last token;
    - `"process"`: 1/T with each right token, at once, whatever came before.

    A uniformly random player gets V^−T for the outcome and 1/V otherwise; the optimum is 1.

    The hidden state keeps only what is still to be written and what matters of what was: prompts with equal answers
    share their states, while each shows its own tokens.

    Attributes:
        problems: The prompts and their answers, equally likely.
        reward: How the answer is paid.
    """

    optimal_return = 1.0

    def _pose(self, vocabulary: Vocabulary, problems: Sequence[Problem], reward: str) -> None:
        """Sets the task up; subclasses call it in `__init__`."""
        if reward not in REWARDS:
            raise unknown_name("reward", reward, REWARDS)
        self.vocabulary = vocabulary
        self.problems = tuple(problems)
        self.reward = reward
        self.turn_tokens = len(self.problems[0].answer)
        chance = 1 / vocabulary.num_actions
        self.random_return = chance**self.turn_tokens if reward == "outcome" else chance

    def initial(self) -> Iterable[Initial]:
        """Return the prompts, equally likely; a state is (tokens left to write, what counts of those written).

        What counts is whether all are right for the outcome, how many are for the fraction, and nothing (always 0) for
        the process.
        """
        counted = int(self.reward == "outcome")
        chance = 1 / len(self.problems)
        return [Initial(chance, (answer, counted), prompt) for prompt, answer in self.problems]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Compare the token with the one that belongs in its place, and pay."""
        left, counted = state
        right = int(action == left[0])
        paid, length = 0.0, self.turn_tokens
        if self.reward == "process":
            paid = right / length
        elif self.reward == "outcome":
            counted *= right
            paid = float(counted) if len(left) == 1 else 0.0
        else:
            counted += right
            paid = counted / length if len(left) == 1 else 0.0
        return [Transition(1.0, (left[1:], counted) if len(left) > 1 else None, paid)]

    def expert_action(self, state: Any) -> int | None:
        """Return the token that belongs in this place, also after a mistake."""
        return state[0][0]
