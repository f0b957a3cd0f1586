"""HaggleChat: the bargain of `Haggle` in words, between a seller and a buyer who talk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, flag, positive_int
from ...saved_state import is_index
from ...task import Rows, State
from ...text import TEMPLATE_TOKENS, ChatTask, Message
from .haggle import Haggle

OPENING = "What do you want for the lamp?"
UNCLEAR = "Which price is that?"
DEAL = "It is a deal."


@dataclass
class Bargain:
    """The state of an episode: the buyer's limit, the refusals so far and the lowest refused ask."""

    limit: int
    refusals: int
    lowest: int


class HaggleChat(ChatTask):
    """Sell to a buyer with a hidden limit, in words.

    ## Description
    The bargain of `Haggle` as a dialogue in roles: the system message says what is for sale, the user is the buyer, and
    the agent answers as the assistant. The first number in an answer is the price it asks, so `I ask 7.`, `7` and
    `well, 7?` all ask for 7. An answer without a price that can be asked is met with `Which price is that?` and takes a
    round like a refusal. It isolates holding a dialogue: the form of an answer is to be found as well as its content,
    through a chat template. Mirrors the car dealer of LMRL-Gym.

    ## Action space
    The whole tokenizer: by default 43 tokens, the words and signs of the dialogue and the special tokens.

    ## Observation space
    `[<bos>]`, then the conversation in the chat template: by default a token for the role, then the words. The token
    that ends the assistant's messages ends a turn, and so does its length.

    ## Rewards
    As in `Haggle`: with the token that ends an accepted ask price · discount^(refusals before), 0 otherwise. With the
    default tokenizer, uniform tokens ask each price with one probability, which gives the closed form of `Haggle` for
    asks that may fail (attribute `random_return`); the optimum is that of `Haggle`, as the words add nothing to know.

    ## Starting state
    A limit, uniform over lowest_limit … num_prices and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by an accepted ask or after `num_rounds` answers.

    ## Information
    With `asks_only` the legal tokens are those of `I ask 1.`, `I ask 2.`, ….

    ## Arguments
    * `num_prices=10`, `lowest_limit=4`, `num_rounds=4`, `discount=0.9`: the bargain, as in `Haggle`.
    * `max_turn_tokens=6`: the most tokens of an answer, the end token included.
    * `asks_only=False`: let the action mask allow only whole asks.
    * `tokenizer=None`: a tokenizer or its specification; by default the words of the dialogue.
    * `template=None`: the chat template: a name (`plain`, `roles`, `chatml`), a Jinja text or `tokenizer`; by default
      `roles` with the default tokenizer, else the tokenizer's own if it has one, else `plain`.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023 (Car
    Dealer).

    ## Version history
    * v0: first release.
    """

    name = "HaggleChat"
    family = "games"
    isolates = "a dialogue in roles: form and content of an answer"
    mirrors = "LMRL-Gym Car Dealer"
    deterministic = True

    def __init__(
        self,
        num_prices: int = 10,
        lowest_limit: int = 4,
        num_rounds: int = 4,
        discount: float = 0.9,
        max_turn_tokens: int = 6,
        asks_only: bool = False,
        tokenizer: Any = None,
        template: str | None = None,
    ) -> None:
        self.game = Haggle(num_prices, lowest_limit, num_rounds, discount)
        if max_turn_tokens == 1 or positive_int("max_turn_tokens", max_turn_tokens) > 1000:
            raise TokenGymError(f"max_turn_tokens={max_turn_tokens}: an answer takes 2 … 1000 tokens.")
        prices = range(1, self.game.num_prices + 1)
        default = tokenizer is None
        if default:
            corpus = [self._system(), OPENING, UNCLEAR, DEAL, *(text for p in prices for text in _spoken(p))]
            if template not in (None, "roles"):
                corpus.append("system: user: assistant:")
            template = "roles" if template is None else template
            special_tokens = list(TEMPLATE_TOKENS.get(template, ())) if isinstance(template, str) else []
            tokenizer = {"kind": "words", "corpus": corpus, "special_tokens": special_tokens}
        # The context must hold the longest dialogue, which is known once the template is.
        super().__init__(
            tokenizer,
            max_turn_tokens=max_turn_tokens,
            max_length=1_000_000,
            max_turns=self.game.num_rounds,
            template=template,
        )
        said = [UNCLEAR, *(_refusal(price) for price in prices)]
        longest = max(len(self.reply_ids(text, [-1], over)) for text in said for over in (False, True))
        longest = max(longest, len(self.reply_ids(DEAL, [-1], True)))
        opening = len(self.prompt_ids(self._opening()))
        self.max_length = 1 + opening + self.game.num_rounds * (self.max_turn_tokens + longest)
        self.reward_range = (0.0, float(self.game.num_prices))
        self.has_action_mask = flag("asks_only", asks_only)
        self._asks = [self._ask(price) for price in prices]
        if None not in self._asks:
            self.optimal_return = self.game.plan[0, self.game.num_prices + 1][0]
        elif asks_only:
            raise TokenGymError(
                f"max_turn_tokens={max_turn_tokens}: an ask does not fit under this tokenizer: raise it."
            )
        if default and template in TEMPLATE_TOKENS:
            self.random_return = self.game.return_of_uniform_asks(self._chance_of_a_price())

    def _chance_of_a_price(self) -> float:
        """Returns the probability that a turn of uniform tokens asks one certain price, each price being one token."""
        size = self.vocabulary.num_actions
        going_on = 1 - (self.game.num_prices + 1) / size  # neither a price nor the end token
        return sum(going_on**said for said in range(self.max_turn_tokens)) / size

    def _system(self) -> str:
        return f"You sell a lamp. Ask a price from 1 to {self.game.num_prices}."

    def _opening(self) -> list[Message]:
        return [{"role": "system", "content": self._system()}, {"role": "user", "content": OPENING}]

    def _ask(self, price: int) -> str | None:
        """Returns the words of an ask that fit into a turn, or None where none do."""
        for text in (f"I ask {price}.", str(price)):
            if not self.writer.can_write(text):
                continue
            ids = self.encode(text)
            if len(ids) < self.max_turn_tokens and self.price_in(self.decode([ids])[0]) == price:
                return text
        return None

    def begin(self, random: np.random.Generator) -> tuple[Bargain, list[Message]]:
        """Draws the limit, and says what is for sale."""
        limit = int(random.choice(self.game.limits))
        return Bargain(limit, 0, self.game.num_prices + 1), self._opening()

    def is_episode(self, episode: Any) -> bool:
        """Tells whether a value is a bargain that this task can have come to."""
        return (
            isinstance(episode, Bargain)
            and is_index(episode.limit, self.game.num_prices + 1)
            and is_index(episode.refusals, self.game.num_rounds + 1)
            and is_index(episode.lowest, self.game.num_prices + 2)
        )

    def respond(self, episode: Bargain, completion: str) -> tuple[str, float, bool]:
        """Takes the price asked, refuses it, or asks what was meant."""
        price = self.price_in(completion)
        if price is not None and price <= episode.limit:
            return DEAL, price * self.game.discount**episode.refusals, True
        episode.refusals += 1
        over = episode.refusals == self.game.num_rounds
        if price is None:
            return UNCLEAR, 0.0, over
        episode.lowest = min(episode.lowest, price)
        return _refusal(price), 0.0, over

    def price_in(self, text: str) -> int | None:
        """Returns the first number in a text where it is a price that can be asked, else None."""
        number = re.search(r"[0-9]+", text)
        price = int(number.group()[:9]) if number else 0
        return price if 1 <= price <= self.game.num_prices else None

    def legal(self, episode: Bargain) -> Sequence[str] | None:
        """Returns the asks, where the task is restricted to them."""
        return [ask for ask in self._asks if ask is not None] if self.has_action_mask else None

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the next token of the optimal ask, shape (m,); None where no ask fits into a turn.

        It knows what was refused, not the limit. Where the words so far are no beginning of that ask, it ends the turn.
        """
        if None in self._asks:
            return None
        end = self.vocabulary.eos
        assert end is not None
        actions = np.zeros(len(rows), np.int64)
        for index, (episode, said) in enumerate(zip(state["episode"][rows], self._ids(state, rows), strict=True)):
            price = self.game.plan[episode.refusals, episode.lowest][1] if episode.refusals < self.max_turns else 1
            ids = [*self.encode(self._asks[price - 1] or ""), end]
            actions[index] = ids[len(said)] if said == ids[: len(said)] else end
        return actions


def _refusal(price: int) -> str:
    return f"{price} is too much for me."


def _spoken(price: int) -> tuple[str, str]:
    return f"I ask {price}.", _refusal(price)
