"""Putting letters into their order."""

from __future__ import annotations

from ...checking import TokenGymError, positive_int
from ...vocabulary import Vocabulary
from .prompt_choice import choose_prompts
from .written_answer import Problem, WrittenAnswer

_MOST_LENGTH = 16


class Sort(WrittenAnswer):
    """Write the letters of the prompt in alphabetical order.

    ## Description
    k letters are shown, repetitions among them, and the agent writes the same letters sorted. It isolates an algorithm
    over a whole set: each letter of the answer depends on all letters of the prompt and on how many were written
    already. Mirrors the sorting tasks of algorithmic reasoning benchmarks.

    ## Action space
    `num_letters` tokens `a`, `b`, ….

    ## Observation space
    `[<bos>]`, the letters, `:`, then the letters that the agent wrote.

    ## Rewards
    With V letters that can be said:
    * `reward="outcome"`: 1 with the last letter if all are in place, otherwise 0. Random V^−k, optimal 1.
    * `reward="fraction"`: the fraction of the letters in place, with the last one. Random 1/V, optimal 1.
    * `reward="process"`: 1/k with each letter in its place, whatever came before. Random 1/V, optimal 1.

    ## Starting state
    One of the prompts, uniformly: all V^k of them where these are at most 10,000, otherwise 10,000 of them.

    ## Episode end
    Terminated after k letters.

    ## Information
    No keys of its own.

    ## Arguments
    * `length=4`: letters to sort (k), at most 16.
    * `num_letters=8`: different letters (V), from 2 to 26.
    * `reward="outcome"`: `"outcome"`, `"fraction"` or `"process"`.
    * `num_prompts=None`: how many different prompts to draw; None for all of them, or 10,000 where there are more.
    * `split="train"`, `held_out=0.0`: ask the prompts of one side, `"train"`, `"held_out"` or `"all"`, where this
      fraction of the prompts is held out.
    * `instance_seed=0`: draws the prompts and the split.

    ## References
    Veličković et al., "The CLRS Algorithmic Reasoning Benchmark", ICML 2022.

    ## Version history
    * v0: first release.
    """

    name = "Sort"
    family = "reasoning"
    isolates = "an algorithm over a whole set"
    mirrors = "sorting in CLRS"

    def __init__(
        self,
        length: int = 4,
        num_letters: int = 8,
        reward: str = "outcome",
        num_prompts: int | None = None,
        split: str = "train",
        held_out: float = 0.0,
        instance_seed: int = 0,
    ) -> None:
        self.length, self.num_letters = positive_int("length", length), positive_int("num_letters", num_letters)
        if length > _MOST_LENGTH:
            raise TokenGymError(f"length={length}: expected at most {_MOST_LENGTH}.")
        if not 2 <= num_letters <= 26:
            raise TokenGymError(f"num_letters={num_letters}: expected 2 … 26 letters of the alphabet.")
        # Above 2^62 prompts they could not be numbered any more.
        available = min(num_letters**length, 2**62)
        chosen = choose_prompts(available, num_prompts, split, held_out, instance_seed)
        vocabulary = Vocabulary.of([chr(ord("a") + letter) for letter in range(num_letters)], [":"])
        self._pose(vocabulary, [self._problem(number) for number in chosen.tolist()], reward)

    def _problem(self, number: int) -> Problem:
        """Returns the prompt with this number: its digits in base V are the letters."""
        letters: list[int] = []
        for _ in range(self.length):
            number, letter = divmod(number, self.num_letters)
            letters.append(letter)
        colon = self.num_letters
        return Problem((*letters, colon), tuple(sorted(letters)))
