"""Adding two numbers, digit by digit."""

from __future__ import annotations

from ...checking import TokenGymError, flag, positive_int, unknown_name
from ...vocabulary import Vocabulary
from .prompt_choice import choose_prompts
from .written_answer import Problem, WrittenAnswer

ORDERS = ("most_first", "least_first")

_MOST_DIGITS = 6
_NO_CARRY = [(a, b) for a in range(10) for b in range(10 - a)]
"""The 55 pairs of digits whose sum is a digit."""


class Addition(WrittenAnswer):
    """Add two numbers of k digits and write the sum digit by digit.

    ## Description
    Two numbers of k digits are shown, and the agent writes the k + 1 digits of their sum, with leading zeros. It
    isolates an algorithm in several steps: written from the least significant digit, each digit depends on two shown
    digits and one carry; written from the most significant one, as people write, the first digit already depends on
    all of them. The reward can wait for the whole answer (outcome) or follow every digit (process). Mirrors the
    arithmetic tasks on which small transformers are studied.

    ## Action space
    The 10 digits `0` … `9`.

    ## Observation space
    `[<bos>]`, the digits of the first number, `+`, the digits of the second, `=` (both numbers as people write them,
    with leading zeros), then the digits that the agent wrote.

    ## Rewards
    * `reward="outcome"`: 1 with the last digit if all are right, otherwise 0. Random 10^−(k + 1), optimal 1.
    * `reward="fraction"`: the fraction of right digits, with the last one. Random .1, optimal 1.
    * `reward="process"`: 1/(k + 1) with each right digit, whatever came before. Random .1, optimal 1.

    ## Starting state
    One of the prompts, uniformly: all 100^k pairs of numbers where these are at most 10,000 (k ≤ 2), otherwise 10,000
    of them.

    ## Episode end
    Terminated after k + 1 digits.

    ## Information
    No keys of its own.

    ## Arguments
    * `digits=2`: digits of a number (k), at most 6.
    * `order="most_first"`: which digit of the sum is written first, `"most_first"` or `"least_first"`.
    * `reward="outcome"`: `"outcome"`, `"fraction"` or `"process"`.
    * `carry=True`: ask all pairs; False only those in which no two digits add up to more than 9.
    * `num_prompts=None`: how many different prompts to draw; None for all of them, or 10,000 where there are more.
    * `split="train"`, `held_out=0.0`: ask the prompts of one side, `"train"`, `"held_out"` or `"all"`, where this
      fraction of the prompts is held out.
    * `instance_seed=0`: draws the prompts and the split.

    ## References
    Lee et al., "Teaching Arithmetic to Small Transformers", ICLR 2024; Lightman et al., "Let's Verify Step by Step",
    ICLR 2024.

    ## Version history
    * v0: first release.
    """

    name = "Addition"
    family = "reasoning"
    isolates = "an algorithm in steps, with carries"
    mirrors = "arithmetic for small transformers"

    def __init__(
        self,
        digits: int = 2,
        order: str = "most_first",
        reward: str = "outcome",
        carry: bool = True,
        num_prompts: int | None = None,
        split: str = "train",
        held_out: float = 0.0,
        instance_seed: int = 0,
    ) -> None:
        self.digits = positive_int("digits", digits)
        if digits > _MOST_DIGITS:
            raise TokenGymError(f"digits={digits}: expected at most {_MOST_DIGITS}.")
        if order not in ORDERS:
            raise unknown_name("order", order, ORDERS)
        self.order, self.carry = order, flag("carry", carry)
        available = 100**digits if self.carry else len(_NO_CARRY) ** digits
        chosen = choose_prompts(available, num_prompts, split, held_out, instance_seed)
        vocabulary = Vocabulary.of([str(digit) for digit in range(10)], ["+", "="])
        self._pose(vocabulary, [self._problem(number) for number in chosen.tolist()], reward)

    def _problem(self, number: int) -> Problem:
        """Returns the prompt with this number: its digits in base 100 (or 55) are the pairs of digits to add."""
        columns: list[tuple[int, int]] = []
        for _ in range(self.digits):
            number, pair = divmod(number, 100 if self.carry else len(_NO_CARRY))
            columns.append(divmod(pair, 10) if self.carry else _NO_CARRY[pair])
        first, second = zip(*columns, strict=True)
        total = sum((a + b) * 10**place for place, (a, b) in enumerate(reversed(columns)))
        answer = tuple(int(digit) for digit in f"{total:0{self.digits + 1}d}")
        plus, equals = self._signs
        prompt = (*first, plus, *second, equals)
        return Problem(prompt, answer if self.order == "most_first" else answer[::-1])

    # The signs' ids follow the ten digits, whose ids are their values.
    _signs = (10, 11)
