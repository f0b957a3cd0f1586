"""Credit for the first token, at the end of a noisy episode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .basics import not_negative

_LONGEST = 10_000


class Umbrella(FiniteTask):
    """Take the umbrella or leave it; whether that was right shows only at the end of a noisy day.

    ## Description
    The first token, `take` or `leave`, is right or wrong for good; the last token pays +1 or −1 for it. All tokens in
    between change nothing, and every one of them pays a coin flip of ±`noise`. It isolates credit assignment over a
    distance: one token in `length` matters, and the sum of the flips has a standard deviation of √length. Mirrors
    bsuite's Umbrella Length, and an early choice that decides a long answer.

    ## Action space
    Tokens `take` and `leave`.

    ## Observation space
    `[<bos>]`, then what the agent said.

    ## Rewards
    With every token +`noise` or −`noise`, equally likely; with the last one also +1 if the first token was right and −1
    if it was wrong. Random 0, optimal 1; the return's variance is length·noise², and 1 more for the random player.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after `length` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `length=10`: tokens in an episode: the distance between the choice and its reward is one less.
    * `noise=1.0`: size of the coin flips; 0 for none.
    * `instance_seed=0`: draws which token is right.

    ## References
    Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020 (Umbrella Length).

    ## Version history
    * v0: first release.
    """

    name = "Umbrella"
    family = "diagnostics"
    isolates = "credit over a noisy distance"
    mirrors = "bsuite Umbrella Length"
    random_return = 0.0
    optimal_return = 1.0

    def __init__(self, length: int = 10, noise: float = 1.0, instance_seed: int = 0) -> None:
        self.length, self.noise = positive_int("length", length), not_negative("noise", noise)
        if length > _LONGEST:
            raise TokenGymError(f"length={length}: at most {_LONGEST} tokens can be compiled; take a shorter day.")
        self.turn_tokens = length
        self.vocabulary = Vocabulary.of(["take", "leave"])
        self.right_token = int(instance_random(instance_seed).integers(2))

    def initial(self) -> Iterable[Initial]:
        """Return the morning; a state is (tokens said, whether the first was right, None before it)."""
        return [Initial(1.0, (0, None))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Flip a coin; pay for the first token with the last one."""
        said, right = state
        if said == 0:
            right = action == self.right_token
        following, prize = (said + 1, right), 0.0
        if said + 1 == self.length:
            following, prize = None, 1.0 if right else -1.0
        if self.noise == 0:
            return [Transition(1.0, following, prize)]
        return [Transition(0.5, following, prize + flip) for flip in (self.noise, -self.noise)]

    def expert_action(self, state: Any) -> int | None:
        """Return the right token, although only the first one matters."""
        return self.right_token
