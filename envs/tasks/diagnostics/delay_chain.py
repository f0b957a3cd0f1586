"""Rewards that come sooner or later, the best of which is only a little better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .basics import not_negative

_LONGEST = 10_000


class DelayChain(FiniteTask):
    """Choose a chain with the first token, and wait for what it pays.

    ## Description
    The first token picks a chain. Chain i pays its reward with the `delays[i]`-th token of the episode, whatever is
    said meanwhile; all chains pay 1, but one of them pays `bonus` more. The episode lasts until the longest delay, so
    no chain shuts out another. It isolates the horizon: discounting or a short trace makes a learner prefer the chain
    that pays first, and only one that credits a token across the whole delay finds the bonus. Mirrors bsuite's
    Discounting Chain.

    ## Action space
    One token a chain, `c0`, `c1`, ….

    ## Observation space
    `[<bos>]`, then what the agent said.

    ## Rewards
    1, or 1 + `bonus` for the one chain, with the `delays[i]`-th token; 0 otherwise. Random 1 + bonus/n for n chains,
    optimal 1 + bonus.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after as many tokens as the longest delay.

    ## Information
    No keys of its own.

    ## Arguments
    * `delays=(1, 3, 10, 30, 100)`: with which token each chain pays, at least 1; two chains or more.
    * `bonus=0.1`: what the best chain pays on top.
    * `instance_seed=0`: draws which chain is the best.

    ## References
    Osband et al., "Behaviour Suite for Reinforcement Learning", ICLR 2020 (Discounting Chain).

    ## Version history
    * v0: first release.
    """

    name = "DelayChain"
    family = "diagnostics"
    isolates = "a long horizon"
    mirrors = "bsuite Discounting Chain"

    def __init__(self, delays: Sequence[int] = (1, 3, 10, 30, 100), bonus: float = 0.1, instance_seed: int = 0) -> None:
        if isinstance(delays, (str, bytes)) or not isinstance(delays, Sequence) or len(delays) < 2:
            raise TokenGymError(f"delays={delays!r}: expected a list of two or more whole numbers, one a chain.")
        self.delays = tuple(positive_int(f"delays[{chain}]", delay) for chain, delay in enumerate(delays))
        self.length = max(self.delays)
        if self.length * len(self.delays) > _LONGEST:
            raise TokenGymError(
                f"delays={list(delays)}: at most {_LONGEST} chains times tokens can be compiled; take shorter delays."
            )
        self.bonus = not_negative("bonus", bonus)
        self.best_chain = int(instance_random(instance_seed).integers(len(self.delays)))
        self.turn_tokens = self.length
        self.vocabulary = Vocabulary.of([f"c{chain}" for chain in range(len(self.delays))])
        self.random_return = 1 + self.bonus / len(self.delays)
        self.optimal_return = 1 + self.bonus

    def initial(self) -> Iterable[Initial]:
        """Return the choice; a state is (tokens said, the chain that will pay, None before the choice and after)."""
        return [Initial(1.0, (0, None))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Go one token on; pay where the chain's delay is over."""
        said, chain = state
        if said == 0:
            chain = action
        said, reward = said + 1, 0.0
        if chain is not None and said == self.delays[chain]:
            reward = 1 + self.bonus * (chain == self.best_chain)
            chain = None
        return [Transition(1.0, None if said == self.length else (said, chain), reward)]

    def expert_action(self, state: Any) -> int | None:
        """Return the best chain, although only the first token matters."""
        return self.best_chain
