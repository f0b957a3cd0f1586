"""Diagnostics: the smallest tasks, each of which isolates one capability of a learner and has closed-form scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import TokenGymError, positive_int
from ..finite import FiniteTask, Initial, Transition
from ..vocabulary import Vocabulary

_MOST_PROMPTS = 100_000


def not_negative(name: str, value: float) -> float:
    """Return `value` as a float, or raise TokenGymError if it is not a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise TokenGymError(f"{name}={value!r}: expected a finite number of at least 0.")
    return float(value)


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

    def __init__(
        self, num_arms: int = 11, noise: float = 0.0, reward_scale: float = 1.0, instance_seed: int = 0
    ) -> None:
        self.num_arms = positive_int("num_arms", num_arms)
        if num_arms < 2:
            raise TokenGymError(f"num_arms={num_arms}: a choice needs at least 2 arms.")
        if not math.isfinite(reward_scale):
            raise TokenGymError(f"reward_scale={reward_scale!r}: expected a finite number.")
        self.noise = not_negative("noise", noise)
        self.vocabulary = Vocabulary.of([f"a{arm}" for arm in range(num_arms)])
        ranks = np.random.default_rng(instance_seed).permutation(num_arms)
        self.arm_rewards: list[float] = (reward_scale * ranks / (num_arms - 1)).tolist()

    def initial(self) -> Iterable[Initial]:
        """Return the one start."""
        return [Initial(1.0, "start")]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay the arm and end."""
        return [Transition(1.0, None, self.arm_rewards[action], noise=self.noise)]

    def expert_action(self, state: Any) -> int | None:
        """Return the best arm."""
        return int(np.argmax(self.arm_rewards))


class Probe1(FiniteTask):
    """Probe 1: a constant reward. Isolates the value estimate.

    ## Description
    Two tokens, and whichever is said pays 1. If the value of the first observation does not become 1, then the value
    loss, its optimiser or the reward's path to it is broken. The probes are the first thing to run when learning fails:
    each adds one thing to the one before, and its exact Q and V come from `tokengym.envs.exact.solve`.

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`.

    ## Rewards
    1. Exact: Q = (1, 1), V = 1. Random 1, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021 (probe environments).

    ## Version history
    * v0: first release.
    """

    name = "Probe1"
    family = "diagnostics"

    def __init__(self) -> None:
        self.vocabulary = Vocabulary.of(["0", "1"], ["x", "y"])

    def initial(self) -> Iterable[Initial]:
        """Return the starts: one, which shows nothing."""
        return [Initial(1.0, 0)]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay 1 and end."""
        return [Transition(1.0, None, 1.0)]


class _ShowsXOrY(Probe1):
    """A probe that starts by showing `x` (state −1) or `y` (state 1), equally likely."""

    def initial(self) -> Iterable[Initial]:
        """Return the two starts."""
        x, y = self.vocabulary.encode(["x", "y"])
        return [Initial(0.5, -1, (x,)), Initial(0.5, 1, (y,))]


class Probe2(_ShowsXOrY):
    """Probe 2: the observation decides the reward. Adds to probe 1 that values must depend on the prompt.

    ## Description
    The prompt is `x` or `y`, equally likely; any token pays −1 after `x` and 1 after `y`. If probe 1 works and this
    does not, then the observation does not reach the value (wrong position, padding, or attention mask).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>, x]` or `[<bos>, y]`.

    ## Rewards
    ±1. Exact: Q = (−1, −1) after `x`, (1, 1) after `y`. Random 0, optimal 0.

    ## Starting state
    The prompt, drawn anew in each episode.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe2"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay what the prompt says and end."""
        return [Transition(1.0, None, float(state))]


class Probe3(Probe1):
    """Probe 3: a reward that comes one token later. Adds bootstrapping and discounting.

    ## Description
    Two tokens are said; the second one pays 1, whatever they are. If probe 2 works and this does not, then the
    backup from one token to the one before is broken (bootstrap target, discount, end-of-episode flag).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`, then `[<bos>, token]`.

    ## Rewards
    0, then 1. Exact (undiscounted): Q = (1, 1) at both tokens; with discount γ the first is γ. Random 1, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after two tokens.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe3"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Wait for one token, then pay 1 and end."""
        return [Transition(1.0, 1, 0.0)] if state == 0 else [Transition(1.0, None, 1.0)]


class Probe4(Probe1):
    """Probe 4: the action decides the reward. Adds the policy to probe 1.

    ## Description
    Token `1` pays 1, token `0` pays −1. If probe 1 works and this does not, then the policy loss, the advantage's sign
    or the greedy choice is broken.

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>]`.

    ## Rewards
    ±1. Exact: Q = (−1, 1), V = 1. Random 0, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe4"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay for the token and end."""
        return [Transition(1.0, None, 2.0 * action - 1.0)]


class Probe5(_ShowsXOrY):
    """Probe 5: action and observation decide the reward together. Adds a policy that reads.

    ## Description
    After `x` token `0` pays 1, after `y` token `1` does; the other token pays −1. If probes 2 and 4 work and this does
    not, then value and policy disagree about which observation an action belongs to (an off-by-one in positions).

    ## Action space
    Tokens `0` and `1`.

    ## Observation space
    `[<bos>, x]` or `[<bos>, y]`.

    ## Rewards
    ±1. Exact: Q = (1, −1) after `x`, (−1, 1) after `y`; V = 1. Random 0, optimal 1.

    ## Starting state
    The prompt, drawn anew in each episode.

    ## Episode end
    Terminated after one token.

    ## Information
    No keys of its own.

    ## Arguments
    None.

    ## References
    Andy L. Jones, "Debugging RL, without the agonizing pain", 2021.

    ## Version history
    * v0: first release.
    """

    name = "Probe5"

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Pay for the token that fits the prompt and end."""
        return [Transition(1.0, None, state * (2.0 * action - 1.0))]


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

    def __init__(self, k: int = 3, num_tokens: int = 8, gap: int = 0) -> None:
        self.k, self.num_tokens = positive_int("k", k), positive_int("num_tokens", num_tokens)
        if num_tokens**k > _MOST_PROMPTS:
            raise TokenGymError(
                f"k={k}, num_tokens={num_tokens} make {num_tokens**k} prompts: at most {_MOST_PROMPTS} can be "
                "compiled; take a smaller k or fewer tokens."
            )
        if isinstance(gap, bool) or not isinstance(gap, int) or gap < 0:
            raise TokenGymError(f"gap={gap!r}: expected a whole number of at least 0.")
        self.gap = gap
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
