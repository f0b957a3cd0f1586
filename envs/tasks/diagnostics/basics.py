"""Diagnostics with closed-form scores: a bandit for exploration, copying for attention."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...checking import TokenGymError, finite_number, positive_int, whole_number
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random

_MOST_ARMS = 100_000
_MOST_PROMPTS = 100_000
_MOST_SHOWN = 10_000_000


def not_negative(name: str, value: float) -> float:
    """Return `value` as a float, or raise TokenGymError if it is not a finite number of at least 0."""
    number = finite_number(name, value)
    if number < 0:
        raise TokenGymError(f"{name}={value!r} is negative: give a finite number of at least 0")
    return number


class TokenBandit(FiniteTask):
    """A bandit whose arms are tokens: one token, one reward.

    ## Description
    Arm i of n pays i/(n − 1); which token is which arm is shuffled by `instance_seed`. It isolates exploration and the
    plain use of a reward: no prompt, no sequence, no credit to assign. After the bandit of bsuite.

    ## Action space
    `num_arms` tokens `a0`, `a1`, ….

    ## Observation space
    `[<bos>]`; the token that was said follows.

    ## Rewards
    `reward_scale · i/(n − 1)`, with normal noise of standard deviation `noise` added. Random .5, optimal 1 (times the
    scale).

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_arms=11`: number of arms, at least 2.
    * `noise=0.0`: standard deviation of the reward's noise.
    * `reward_scale=1.0`: factor on the expected rewards (not on the noise).
    * `instance_seed=0`: shuffles the arms.

    ## References
    Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020.

    ## Version history
    * v0: first release.
    """

    name = "TokenBandit"
    family = "diagnostics"
    isolates = "the use of a reward"
    mirrors = "bsuite Bandit"

    def __init__(
        self, num_arms: int = 11, noise: float = 0.0, reward_scale: float = 1.0, instance_seed: int = 0
    ) -> None:
        self.num_arms = positive_int("num_arms", num_arms, _MOST_ARMS)
        if num_arms < 2:
            raise TokenGymError(f"num_arms={num_arms}: a choice needs at least 2 arms.")
        scale = finite_number("reward_scale", reward_scale)
        self.noise = not_negative("noise", noise)
        self.vocabulary = Vocabulary.of([f"a{arm}" for arm in range(num_arms)])
        ranks = instance_random(instance_seed).permutation(num_arms)
        self.arm_rewards: list[float] = (scale * ranks / (num_arms - 1)).tolist()

    def initial(self) -> Iterable[Initial]:
        """Return the one start."""
        return [Initial(1.0, "start")]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay the arm and end."""
        return [Transition(1.0, None, self.arm_rewards[action], noise=self.noise)]

    def expert_action(self, state: Any) -> int | None:
        """Return the best arm."""
        return int(np.argmax(self.arm_rewards))


class Copy(FiniteTask):
    """Repeat a prompt, token by token.

    ## Description
    A prompt of k random tokens, then `gap` filler tokens, then the agent says k tokens: the prompt again. It isolates
    attention: the right token is always the one k + gap places back, and nothing else helps. Mirrors copying from the
    prompt, the circuit that language models form first (induction heads).

    ## Action space
    `num_tokens` tokens `t0`, `t1`, …; the prompt is made of the same ids.

    ## Observation space
    `[<bos>, k prompt tokens, gap times <gap>]`, then what the agent said.

    ## Rewards
    With the last token: the fraction of tokens that are right in their place. Random 1/num_tokens, optimal 1.

    ## Starting state
    The prompt, uniform over all `num_tokens^k`, drawn anew in each episode.

    ## Episode end
    Terminated after k tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `k=3`: length of the prompt.
    * `num_tokens=8`: number of tokens (V). V^k may be at most 100,000.
    * `gap=0`: filler tokens between the prompt and the answer.

    ## References
    Olsson et al., "In-context Learning and Induction Heads", 2022; the memory tasks of bsuite, ICLR 2020.

    ## Version history
    * v0: first release.
    """

    name = "Copy"
    family = "diagnostics"
    isolates = "attention to a fixed place back"
    mirrors = "copying from the prompt (induction heads)"

    def __init__(self, k: int = 3, num_tokens: int = 8, gap: int = 0) -> None:
        self.k, self.num_tokens = positive_int("k", k), positive_int("num_tokens", num_tokens)
        # By logarithm: the power itself may be astronomically large. A little room, for logarithms are rounded.
        if k * math.log(num_tokens) > math.log(_MOST_PROMPTS) + 1e-9:
            raise TokenGymError(
                f"k={k}, num_tokens={num_tokens} make more than {_MOST_PROMPTS} prompts, the most that can be "
                "compiled; take a smaller k or fewer tokens."
            )
        self.gap = whole_number("gap", gap)
        if num_tokens**k * (k + self.gap) > _MOST_SHOWN:
            raise TokenGymError(
                f"k={k}, num_tokens={num_tokens}, gap={gap}: the prompts and their fillers have more than "
                f"{_MOST_SHOWN} tokens: take a smaller k, fewer tokens or a shorter gap."
            )
        self.turn_tokens = k
        self.vocabulary = Vocabulary.of([f"t{token}" for token in range(num_tokens)], ["<gap>"])

    def initial(self) -> Iterable[Initial]:
        """Return every prompt, equally likely; a state is (what remains to be said, how much was right)."""
        filler = (self.num_tokens,) * self.gap
        for prompt in itertools.product(range(self.num_tokens), repeat=self.k):
            yield Initial(self.num_tokens**-self.k, (prompt, 0), prompt + filler)

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Compare with the next token of the prompt; pay the fraction with the last one."""
        remaining, right = state
        right += action == remaining[0]
        if len(remaining) == 1:
            return [Transition(1.0, None, right / self.k)]
        return [Transition(1.0, (remaining[1:], right))]

    def expert_action(self, state: Any) -> int | None:
        """Return the next token of the prompt."""
        return state[0][0]
