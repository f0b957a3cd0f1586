"""Haggle: sell to a buyer whose limit is hidden."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary

_MOST_STATES = 100_000


class Haggle(FiniteTask):
    """Ask prices of a buyer whose limit is hidden, and sell dear before the delay costs too much.

    ## Description
    A buyer will pay up to a hidden limit, uniform on 4…10, and accepts the first ask that does not exceed it. Each
    token asks a price in 1…10. A refused ask tells that the limit is lower, but every refusal costs a tenth of
    whatever is paid later; the buyer neither remembers nor gets angry. It isolates weighing a sure gain against
    information: the optimum asks high first and comes down by what the refusals have ruled out. Mirrors the car dealer
    of LMRL-Gym, in a size that is solved exactly. `HaggleChat` is the same bargain in words.

    ## Action space
    `num_prices` tokens `1`, `2`, …: the price asked.

    ## Observation space
    `[<bos>]`, then every ask and the reply to it: `no` (and after the bargain `deal`).

    ## Rewards
    With an accepted ask: price · discount^(refusals before). A bargain that fails pays 0. An agent that asks uniformly
    gets Σ_r discount^r · mean over the limits L of (1 − L/n)^r · L(L + 1)/2n, r = 0 … rounds − 1, for n prices
    (attribute `random_return`).

    ## Starting state
    A limit, uniform over lowest_limit … num_prices and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by an accepted ask or after `num_rounds` refusals.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_prices=10`: the highest price that can be asked, and the highest limit.
    * `lowest_limit=4`: the lowest limit.
    * `num_rounds=4`: asks in an episode.
    * `discount=0.9`: what a refusal leaves of a later price, above 0 and at most 1.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023 (Car
    Dealer).

    ## Version history
    * v0: first release.
    """

    name = "Haggle"
    family = "games"
    isolates = "a sure gain against information"
    mirrors = "LMRL-Gym Car Dealer"

    def __init__(self, num_prices: int = 10, lowest_limit: int = 4, num_rounds: int = 4, discount: float = 0.9) -> None:
        self.num_prices, self.lowest_limit = (
            positive_int("num_prices", num_prices),
            positive_int("lowest_limit", lowest_limit),
        )
        self.num_rounds = positive_int("num_rounds", num_rounds)
        if self.lowest_limit > self.num_prices:
            raise TokenGymError(
                f"lowest_limit={lowest_limit} is above num_prices={num_prices}: give one of 1 … {num_prices}."
            )
        if isinstance(discount, bool) or not isinstance(discount, (int, float)) or not 0 < discount <= 1:
            raise TokenGymError(f"discount={discount!r}: give a number above 0 and at most 1.")
        self.discount = float(discount)
        if self.num_prices**2 * self.num_rounds > _MOST_STATES:
            raise TokenGymError(
                f"num_prices={num_prices}, num_rounds={num_rounds} make more than {_MOST_STATES} states: take fewer "
                "prices or rounds."
            )
        self.vocabulary = Vocabulary.of([str(price) for price in range(1, self.num_prices + 1)], ["no", "deal"])
        self.limits = range(self.lowest_limit, self.num_prices + 1)
        self.random_return = self.return_of_uniform_asks(1 / self.num_prices)

    def return_of_uniform_asks(self, chance: float) -> float:
        """Return the mean return of an agent that asks each price with this probability, independently each round.

        Args:
            chance: Probability of each single price, at most 1/num_prices; with what is left nothing is asked, which
                counts as a refusal.
        """
        total = 0.0
        for limit in self.limits:
            refused = 1 - chance * limit
            paid = chance * limit * (limit + 1) / 2
            total += sum((self.discount * refused) ** refusals * paid for refusals in range(self.num_rounds))
        return total / len(self.limits)

    def initial(self) -> Iterable[Initial]:
        """Return every limit, equally likely and hidden; a state is (limit, refusals so far, lowest refused ask)."""
        unrefused = self.num_prices + 1
        return [Initial(1 / len(self.limits), (limit, 0, unrefused)) for limit in self.limits]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Ask the price action + 1."""
        limit, refusals, lowest = state
        price = action + 1
        if price <= limit:
            return [Transition(1.0, None, price * self.discount**refusals, (self.vocabulary.ids["deal"],))]
        following = None if refusals + 1 == self.num_rounds else (limit, refusals + 1, min(lowest, price))
        return [Transition(1.0, following, 0.0, (self.vocabulary.ids["no"],))]

    def expert_action(self, state: Any) -> int:
        """Return the optimal ask, by backward induction over (refusals so far, lowest refused ask)."""
        _, refusals, lowest = state
        return self.plan[refusals, lowest][1] - 1

    @cached_property
    def plan(self) -> dict[tuple[int, int], tuple[float, int]]:
        """The optimal return from here and the optimal ask, by (refusals so far, lowest refused ask)."""
        plan: dict[tuple[int, int], tuple[float, int]] = {}
        for refusals in reversed(range(self.num_rounds)):
            for lowest in range(self.lowest_limit + 1, self.num_prices + 2):
                possible = lowest - self.lowest_limit  # how many limits are below every refused ask
                options = []
                for price in range(1, self.num_prices + 1):
                    accepting = max(0, lowest - max(price, self.lowest_limit))
                    value = accepting / possible * price * self.discount**refusals
                    if accepting < possible and refusals + 1 < self.num_rounds:
                        value += (1 - accepting / possible) * plan[refusals + 1, min(price, lowest)][0]
                    options.append((value, -price))
                value, price = max(options)
                plan[refusals, lowest] = value, -price
        return plan
