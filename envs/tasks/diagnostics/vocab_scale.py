"""A few good tokens in a vocabulary of any size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random

_MOST_TRANSITIONS = 1_000_000


class VocabScale(FiniteTask):
    """Say the good tokens of each position, out of a vocabulary that may be large.

    ## Description
    Each position of the text has `num_good` good tokens of its own; the text pays the fraction of its tokens that are
    good. Nothing else changes when the vocabulary grows, so the task isolates the size of the action space: how many
    tokens an algorithm wastes, and how its entropy, its KL term and its Q head behave, as V goes from 8 to the
    thousands of a language model. Keep `num_good` and good tokens become rare; raise it with V and only the size
    changes. Mirrors the step from control problems with few actions to language models.

    ## Action space
    `num_tokens` tokens `t0`, `t1`, ….

    ## Observation space
    `[<bos>]`, then what the agent said. The good tokens are not shown: they belong to the instance.

    ## Rewards
    With the last token: the fraction of tokens that were good in their position. Random `num_good`/V, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after `length` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_tokens=256`: tokens that can be said (V).
    * `length=4`: tokens in a text.
    * `num_good=4`: good tokens in each position (m), at most V.
    * `instance_seed=0`: draws the good tokens of each position.

    ## References
    Dulac-Arnold et al., "Deep Reinforcement Learning in Large Discrete Action Spaces", 2015.

    ## Version history
    * v0: first release.
    """

    name = "VocabScale"
    family = "diagnostics"
    isolates = "a large vocabulary"
    mirrors = "the step to language-model vocabularies"
    optimal_return = 1.0

    def __init__(self, num_tokens: int = 256, length: int = 4, num_good: int = 4, instance_seed: int = 0) -> None:
        self.num_tokens, self.length = positive_int("num_tokens", num_tokens), positive_int("length", length)
        self.num_good = positive_int("num_good", num_good)
        if num_good > num_tokens:
            raise TokenGymError(f"num_good={num_good}: expected at most num_tokens={num_tokens}.")
        if num_tokens * length * (length + 1) // 2 > _MOST_TRANSITIONS:
            raise TokenGymError(
                f"num_tokens={num_tokens}, length={length} make more than {_MOST_TRANSITIONS} transitions: take a "
                "shorter text or fewer tokens."
            )
        self.turn_tokens = length
        self.vocabulary = Vocabulary.of([f"t{token}" for token in range(num_tokens)])
        rng = instance_random(instance_seed)
        self.good_tokens: tuple[frozenset[int], ...] = tuple(
            frozenset(rng.choice(num_tokens, size=num_good, replace=False).tolist()) for _ in range(length)
        )
        self.random_return = num_good / num_tokens

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (tokens said, good ones among them)."""
        return [Initial(1.0, (0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Count a good token; pay the fraction with the last one."""
        said, good = state
        good += action in self.good_tokens[said]
        if said + 1 == self.length:
            return [Transition(1.0, None, good / self.length)]
        return [Transition(1.0, (said + 1, good))]

    def expert_action(self, state: Any) -> int | None:
        """Return the first good token of the position."""
        return min(self.good_tokens[state[0]])
