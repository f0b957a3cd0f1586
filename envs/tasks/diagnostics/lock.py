"""Combination locks: exploration where greed misleads, and where the lever slips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .basics import not_negative

_LONGEST = 10_000


class _Combination(FiniteTask):
    """A hidden code of `length` tokens out of `num_tokens`; a state is (tokens said, whether all of them took)."""

    family = "diagnostics"

    def __init__(self, num_tokens: int, length: int, instance_seed: int) -> None:
        self.num_tokens, self.length = positive_int("num_tokens", num_tokens), positive_int("length", length)
        if num_tokens < 2:
            raise TokenGymError(f"num_tokens={num_tokens}: a code needs at least 2 different tokens.")
        if num_tokens * length > _LONGEST:
            raise TokenGymError(
                f"num_tokens={num_tokens}, length={length}: at most {_LONGEST} tokens times places can be compiled; "
                "take fewer of either."
            )
        self.turn_tokens = length
        self.vocabulary = Vocabulary.of([f"t{token}" for token in range(num_tokens)])
        self.code: tuple[int, ...] = tuple(instance_random(instance_seed).integers(num_tokens, size=length).tolist())

    def initial(self) -> Iterable[Initial]:
        """Return the closed lock."""
        return [Initial(1.0, (0, True))]

    def _follow(self, said: int, opening: bool) -> tuple[tuple[int, bool] | None, float]:
        """Return the state after `said` tokens and what it pays: 1 where the lock opens."""
        if said < self.length:
            return (said, opening), 0.0
        return None, float(opening)


class Lock(_Combination):
    """Open a combination lock of which every right digit costs a little.

    ## Description
    A hidden code of N tokens opens the lock and pays 1; nothing tells which tokens are right before the whole code was
    said. Every token that matches its place costs `cost`/N, whatever came before, so a learner that follows the reward
    which it sees learns to avoid the code: it has to explore N tokens deep against its own experience. It isolates deep
    exploration, and N is the knob. Mirrors bsuite's Deep Sea, and the search for the one right answer among V^N.

    ## Action space
    `num_tokens` tokens `t0`, `t1`, ….

    ## Observation space
    `[<bos>]`, then what the agent said. The code is not shown: it belongs to the instance.

    ## Rewards
    −`cost`/N for every token that matches its place, and +1 with the last token if all do. Random V^−N − cost/V,
    optimal 1 − cost.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after N tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_tokens=2`: tokens that can be said (V), at least 2.
    * `length=8`: length of the code (N). A random player opens the lock once in V^N episodes.
    * `cost=0.01`: what all the tokens of the code cost together, less than 1.
    * `instance_seed=0`: draws the code.

    ## References
    Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020 (Deep Sea); Osband et al., "Deep Exploration
    via Randomized Value Functions", JMLR 2019.

    ## Version history
    * v0: first release.
    """

    name = "Lock"
    isolates = "deep exploration"
    mirrors = "bsuite Deep Sea"

    def __init__(self, num_tokens: int = 2, length: int = 8, cost: float = 0.01, instance_seed: int = 0) -> None:
        super().__init__(num_tokens, length, instance_seed)
        self.cost = not_negative("cost", cost)
        if self.cost >= 1:
            raise TokenGymError(f"cost={cost}: expected less than 1, or opening the lock would not pay.")
        self.random_return = float(num_tokens) ** -length - self.cost / num_tokens
        self.optimal_return = 1 - self.cost

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Charge a token that matches its place; pay for the whole code with the last one."""
        said, opening = state
        matches = action == self.code[said]
        following, prize = self._follow(said + 1, opening and matches)
        return [Transition(1.0, following, prize - matches * self.cost / self.length)]

    def expert_action(self, state: Any) -> int | None:
        """Return the code's next token, or one that costs nothing where the lock can no longer open."""
        said, opening = state
        return self.code[said] if opening else (self.code[said] + 1) % self.num_tokens


class SlipLock(_Combination):
    """Open a combination lock whose dial slips.

    ## Description
    A hidden code of N tokens opens the lock and pays 1, but each token is replaced by a uniformly drawn one with
    probability `slip` before it reaches the lock. The observation shows what was said, not what arrived: even the right
    code fails often, and a lucky wrong one opens. It isolates exploration under noise: a single outcome proves nothing.
    Mirrors bsuite's stochastic Deep Sea and tools that fail at random.

    ## Action space
    `num_tokens` tokens `t0`, `t1`, ….

    ## Observation space
    `[<bos>]`, then what the agent said.

    ## Rewards
    +1 with the last token if all tokens that arrived match the code. Random V^−N, optimal (1 − p + p/V)^N with
    p = `slip`.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after N tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_tokens=4`: tokens that can be said (V), at least 2.
    * `length=6`: length of the code (N).
    * `slip=0.1`: probability (p) that a token is replaced by a uniform one (which may be the same), in 0…1.
    * `instance_seed=0`: draws the code.

    ## References
    Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020 (Deep Sea Stochastic).

    ## Version history
    * v0: first release.
    """

    name = "SlipLock"
    isolates = "exploration under noise"
    mirrors = "bsuite Deep Sea Stochastic"

    def __init__(self, num_tokens: int = 4, length: int = 6, slip: float = 0.1, instance_seed: int = 0) -> None:
        super().__init__(num_tokens, length, instance_seed)
        self.slip = not_negative("slip", slip)
        if self.slip > 1:
            raise TokenGymError(f"slip={slip}: expected a probability, in 0 … 1.")
        self.random_return = float(num_tokens) ** -length
        self.optimal_return = (1 - self.slip + self.slip / num_tokens) ** length

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Let the token arrive as said or as another one."""
        said, opening = state
        arrives = self.slip / self.num_tokens + (1 - self.slip) * (action == self.code[said])
        # Only whether the right token arrived matters; where the lock is already stuck, not even that.
        chances = ((arrives, True), (1 - arrives, False)) if opening else ((1.0, False),)
        return [Transition(chance, *self._follow(said + 1, opens)) for chance, opens in chances]

    def expert_action(self, state: Any) -> int | None:
        """Return the code's next token: whether it still helps cannot be known."""
        return self.code[state[0]]
