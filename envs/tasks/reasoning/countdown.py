"""Reaching a target with given numbers: arithmetic as a search, written in reverse Polish notation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int, unknown_name
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..diagnostics import not_negative
from .prompt_choice import choose_prompts

REWARDS = ("outcome", "process")
OPERATORS = ("+", "-", "*")
_BROKEN = 0
_MOST_NUMBERS = 20_000


class Problem(NamedTuple):
    """A prompt, and all texts that are right for it, as tuples of token ids in ascending order."""

    numbers: tuple[int, ...]
    target: int
    right: tuple[tuple[int, ...], ...]


class Countdown(FiniteTask):
    """Combine all the numbers into the target, in reverse Polish notation.

    ## Description
    Three numbers and a target are shown, and the agent writes five tokens of reverse Polish notation: a number goes
    onto a stack, an operator takes the two topmost values off and puts its result there. With 3, 7, 2 and the target
    23, `n1 n2 * n3 +` is right: 3 · 7 + 2. Each number has to be used exactly once. It isolates search with a check at
    its end: the right text is hard to find, easy to verify, and different for every prompt. Mirrors the Countdown game
    of TinyZero, whose rewards it has.

    ## Action space
    The numbers by their place, `n1` … `n3`, and the operators `+`, `-`, `*`.

    ## Observation space
    `[<bos>]`, the numbers in digits, `=`, the target in digits (with leading zeros), `:`, then what the agent wrote.

    ## Rewards
    * `reward="outcome"`, with the last token: 1 for a right text, `form_reward` (F, .1) for a text that is well-formed
      (one value is left on the stack) but has a number twice or another value, 0 for any other. Random:
      (F·W + (1 − F)·R)/V^T for W well-formed and on average R right texts of the V^T; optimal 1.
    * `reward="process"`: 1/T with each token after which the text can still become right, as a step-by-step verifier
      would pay. Optimal 1.

    ## Starting state
    One of the instance's prompts, uniformly. They are drawn from all that have a right text.

    ## Episode end
    Terminated after 2·(count of numbers) − 1 tokens, 5 by default.

    ## Information
    The legal tokens are those after which the text can still become well-formed. With the last token `correct` and
    `well_formed`, 1 or 0 each.

    ## Arguments
    * `num_numbers=3`: numbers in a prompt, 2 … 4.
    * `max_number=9`, `max_target=99`: numbers are 1 … max_number, targets 1 … max_target.
    * `reward="outcome"`: `"outcome"` or `"process"`.
    * `form_reward=0.1`: what the outcome of a well-formed text is that is not right, from 0 to 1.
    * `num_prompts=1000`: how many different prompts the instance has, or None for all up to 10,000.
    * `split="train"`, `held_out=0.0`: ask the prompts of one side, `"train"`, `"held_out"` or `"all"`, where this
      fraction of the prompts is held out.
    * `instance_seed=0`: draws the prompts and the split.

    ## References
    Pan et al., "TinyZero", 2025; Gandhi et al., "Stream of Search (SoS): Learning to Search in Language", 2024.

    ## Version history
    * v0: first release.
    """

    name = "Countdown"
    family = "reasoning"
    isolates = "search for an answer that is easy to check"
    mirrors = "Countdown in TinyZero"
    optimal_return = 1.0

    def __init__(
        self,
        num_numbers: int = 3,
        max_number: int = 9,
        max_target: int = 99,
        reward: str = "outcome",
        num_prompts: int | None = 1000,
        split: str = "train",
        held_out: float = 0.0,
        instance_seed: int = 0,
        form_reward: float = 0.1,
    ) -> None:
        self.num_numbers = positive_int("num_numbers", num_numbers)
        self.max_number, self.max_target = (
            positive_int("max_number", max_number),
            positive_int("max_target", max_target),
        )
        if not 2 <= num_numbers <= 4:
            raise TokenGymError(f"num_numbers={num_numbers}: expected 2 … 4 numbers.")
        if max_number**num_numbers > _MOST_NUMBERS or max_target > 999:
            raise TokenGymError(
                f"max_number={max_number}, max_target={max_target}: with num_numbers={num_numbers} at most "
                f"{_MOST_NUMBERS} ways to draw the numbers and targets up to 999 are allowed: take smaller ones."
            )
        if reward not in REWARDS:
            raise unknown_name("reward", reward, REWARDS)
        self.reward = reward
        self.form_reward = _share(form_reward, reward)
        self.turn_tokens = 2 * num_numbers - 1
        shown = [*map(str, range(10)), "=", ":"]
        self.vocabulary = Vocabulary.of([f"n{place + 1}" for place in range(num_numbers)] + list(OPERATORS), shown)
        solvable = _solvable(num_numbers, max_number, max_target)
        chosen = solvable[choose_prompts(len(solvable), num_prompts, split, held_out, instance_seed)]
        self.problems = _solve(chosen[:, :-1], chosen[:, -1])
        num_texts = self.vocabulary.num_actions**self.turn_tokens
        if reward == "outcome":
            right = np.mean([len(problem.right) for problem in self.problems])
            well_formed = _num_well_formed(num_numbers, self.turn_tokens)
            self.random_return = float(self.form_reward * well_formed + (1 - self.form_reward) * right) / num_texts

    def initial(self) -> Iterable[Initial]:
        """Return the prompts, equally likely.

        A state is (tokens said, values on the stack or 0 once the text is broken, right texts' ends that still fit):
        prompts for which the same texts are right share their states.
        """
        width_number, width_target = len(str(self.max_number)), len(str(self.max_target))
        for numbers, target, right in self.problems:
            names = [digit for number in numbers for digit in f"{number:0{width_number}d}"]
            shown = self.vocabulary.encode([*names, "=", *f"{target:0{width_target}d}", ":"])
            yield Initial(1 / len(self.problems), (0, 0, right), tuple(shown))

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Add a token; pay for what is right, and with the last token for the form."""
        said, height, right = state
        right = tuple(text[1:] for text in right if text[0] == action)
        height = self._height(said, height, action)
        said += 1
        ended = said == self.turn_tokens
        if self.reward == "process":
            paid = bool(right) / self.turn_tokens
        else:
            paid = 0.0 if not ended else 1.0 if right else self.form_reward if height == 1 else 0.0
        told = {"correct": float(bool(right)), "well_formed": float(height == 1)} if ended else None
        return [Transition(1.0, None if ended else (said, height, right), paid, columns=told)]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Return the tokens after which the text can still become well-formed; all once it cannot."""
        said, height, _ = state
        left = self.turn_tokens - said - 1
        after = {action: self._height(said, height, action) for action in range(self.vocabulary.num_actions)}
        # What is left must bring the stack down to one value: each operator takes one off, each number adds one.
        return [action for action, values in after.items() if values != _BROKEN and values - 1 <= left] or None

    def expert_action(self, state: Any) -> int | None:
        """Return the next token of a right text, or of a well-formed one where none fits any more."""
        right = state[2]
        if right:
            return right[0][0]
        allowed = self.legal(state)
        return 0 if allowed is None else next(iter(allowed))

    def _height(self, said: int, height: int, action: int) -> int:
        """Returns how many values are on the stack after a token, or `_BROKEN` for an operator without its two."""
        if said > 0 and height == _BROKEN:
            return _BROKEN
        if action < self.num_numbers:
            return height + 1
        return height - 1 if height >= 2 else _BROKEN


def _share(form_reward: Any, reward: str) -> float:
    """Returns what a well-formed text is paid, after checking it."""
    share = not_negative("form_reward", form_reward)
    if share > 1:
        raise TokenGymError(f"form_reward={form_reward}: expected 0 … 1, since 1 is what a right text gets.")
    if reward == "process" and share != 0.1:
        raise TokenGymError(f"form_reward={form_reward} has no effect with reward='process': leave it out.")
    return share


@lru_cache
def _well_formed(num_numbers: int) -> tuple[tuple[int, ...], ...]:
    """Gives every well-formed text that uses each number exactly once, as token ids, in ascending order."""
    texts = []
    operators = range(num_numbers, num_numbers + len(OPERATORS))
    for shape in itertools.product((True, False), repeat=2 * num_numbers - 1):
        heights = list(itertools.accumulate(1 if is_number else -1 for is_number in shape))
        if heights[-1] != 1 or min(heights) < 1:
            continue
        for order in itertools.permutations(range(num_numbers)):
            for chosen in itertools.product(operators, repeat=num_numbers - 1):
                numbers, signs = iter(order), iter(chosen)
                texts.append(tuple(next(numbers) if is_number else next(signs) for is_number in shape))
    return tuple(sorted(texts))


def _num_well_formed(num_numbers: int, length: int) -> int:
    """Counts the well-formed texts, with numbers in any place and however often.

    Those that use each number once are num_numbers! of the num_numbers^num_numbers ways to fill the places.
    """
    orders = len(list(itertools.permutations(range(num_numbers))))
    return len(_well_formed(num_numbers)) // orders * num_numbers ** ((length + 1) // 2)


def _evaluate(text: tuple[int, ...], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the value of a well-formed text for many draws of the numbers at once, (P, num_numbers) to (P,)."""
    stack: list[npt.NDArray[np.int64]] = []
    for token in text:
        if token < numbers.shape[1]:
            stack.append(numbers[:, token])
            continue
        second, first = stack.pop(), stack.pop()
        operator = OPERATORS[token - numbers.shape[1]]
        stack.append(first + second if operator == "+" else first - second if operator == "-" else first * second)
    return stack[0]


@lru_cache
def _solvable(num_numbers: int, max_number: int, max_target: int) -> npt.NDArray[np.int64]:
    """Returns all prompts with a right text: the numbers and the target, (P, num_numbers + 1)."""
    numbers = np.array(list(itertools.product(range(1, max_number + 1), repeat=num_numbers)), np.int64)
    reached = np.zeros((len(numbers), max_target + 1), np.bool_)
    for text in _well_formed(num_numbers):
        values = _evaluate(text, numbers)
        inside = np.flatnonzero((values >= 1) & (values <= max_target))
        reached[inside, values[inside]] = True
    rows, targets = np.nonzero(reached)
    return np.column_stack([numbers[rows], targets])


def _solve(numbers: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> tuple[Problem, ...]:
    """Returns prompts with all their right texts, for numbers (P, num_numbers) and targets (P,)."""
    right: list[list[tuple[int, ...]]] = [[] for _ in targets]
    for text in _well_formed(numbers.shape[1]):
        for index in np.flatnonzero(_evaluate(text, numbers) == targets):
            right[index].append(text)
    return tuple(
        Problem(tuple(row), target, tuple(texts))
        for row, target, texts in zip(numbers.tolist(), targets.tolist(), right, strict=True)
    )
