"""What the tasks of this family share: a text is written, a learned proxy is paid, gold and proxy are reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, finite_number, flag, positive_int, unknown_name
from ...columns import How
from ...exact import best_of_draws, divergence, tilted
from ...finite import FiniteArrays, FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from ..proxies import COMBINATIONS, Combine, combined, fitted, labelled, standardised
from .gold import random_network
from .texts import Array, Texts

_MOST_TEXTS = 300_000
_MOST_LABELS = 1_000_000


@dataclass(frozen=True)
class Optimised:
    """What a distribution over texts is worth.

    Attributes:
        kl: Its KL divergence from the reference, in nats.
        proxy: Its expected proxy reward.
        gold: Its expected gold reward.
        probabilities: The distribution, float64 (N,).
    """

    kl: float
    proxy: float
    gold: float
    probabilities: Array


class ProxyTask(FiniteTask):
    """A text of up to T words is paid by models that were fitted to comparisons, and a gold reward is reported beside.

    Attributes:
        texts: All the texts, by number; arrays (N,) below are in their order.
        gold: The gold reward of every text, float64 (N,), of mean 0 and variance 1 under random play.
        members: The score of every text by each model, float64 (members, N), each of mean 0 and variance 1.
        proxy: What every text is paid, float64 (N,).
        reported: The columns, by name, float64 (N,) each.
        random_gold, optimal_gold: The mean gold reward of random play, and the highest of any text.
    """

    family = "learned"
    columns: Mapping[str, How] = {"gold": "sum", "proxy": "sum"}

    def _learn(
        self,
        texts: Texts,
        *,
        instance_seed: int,
        num_labels: int,
        labeller: Mapping[str, Any],
        roughness: float,
        repeats_count: bool = True,
        model: Mapping[str, Any],
        combine: Combine = "mean",
        coefficient: float = 1.0,
    ) -> None:
        """Draws the gold reward, has texts compared, fits the models and sets the attributes."""
        positive_int("num_labels", num_labels, _MOST_LABELS)
        if finite_number("roughness", roughness) <= 0:
            raise TokenGymError(f"roughness={roughness}: give a number above 0, such as 1 for a smooth gold reward.")
        if combine not in COMBINATIONS:
            raise unknown_name("combination of reward models", combine, COMBINATIONS)
        self.texts, self.turn_tokens = texts, texts.length
        words = [f"t{word}" for word in range(texts.num_words)]
        self.vocabulary = Vocabulary.of([*words, "<eos>"], eos="<eos>") if texts.can_stop else Vocabulary.of(words)
        random = instance_random(instance_seed)
        self.gold = random_network(texts, roughness, random, flag("repeats_count", repeats_count))
        first, second = texts.pairs(num_labels, random)
        label_seed, model_seed = random.integers(2**31, size=2).tolist()
        self.compared = labelled(first, second, self.gold, texts.lengths, labeller, label_seed)
        settings = {**model, "num_tokens": texts.num_words, "seed": model_seed}
        self.members = standardised(fitted(texts.tokens, texts.lengths, *self.compared, settings), texts.log_random)
        self.proxy = combined(self.members, combine, coefficient)
        self.reported = {"gold": self.gold, "proxy": self.proxy}
        beside = {"disagreement": self.members.std(axis=0), "words": texts.lengths.astype(np.float64)}
        self.reported |= {name: values for name, values in beside.items() if name in self.columns}
        chance = np.exp(texts.log_random)
        # What standardising leaves of a mean that is 0 counts as 0.
        self.random_return, self.random_gold = (
            round(float(chance @ values), 12) + 0.0 for values in (self.proxy, self.gold)
        )
        self.optimal_return, self.optimal_gold = float(self.proxy.max()), float(self.gold.max())

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (words said, the text read as a number)."""
        return [Initial(1.0, (0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Append a word, or end the text; pay at its end."""
        said, number = state
        if action < self.texts.num_words:
            said, number = said + 1, number * self.texts.num_words + action
            if said < self.texts.length:
                return [Transition(1.0, (said, number))]
        text = self.texts.first(said) + number
        told = {name: float(values[text]) for name, values in self.reported.items()}
        return [Transition(1.0, None, float(self.proxy[text]), columns=told)]

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The task as arrays: exactly what compiling `initial` and `transitions` gives, sooner."""
        texts, words = self.texts, self.texts.num_words
        offsets = [sum(words**shorter for shorter in range(said)) for said in range(texts.length + 1)]
        end, width = offsets[-1], texts.num_actions
        following = np.full((end, width, 1), end, np.int32)
        text = np.full((end, width, 1), -1, np.int64)
        for said in range(texts.length):
            rows, numbers = slice(offsets[said], offsets[said + 1]), np.arange(words**said)
            after = numbers[:, None] * words + np.arange(words)
            if said + 1 < texts.length:
                following[rows, :words, 0] = offsets[said + 1] + after
            else:
                text[rows, :words, 0] = texts.first(texts.length) + after
            if texts.can_stop:
                text[rows, words, 0] = texts.first(said) + numbers
        ends = text >= 0
        return FiniteArrays(
            next=following,
            probability=np.ones(following.shape),
            reward=np.where(ends, self.proxy[text], 0.0),
            noise=np.zeros(following.shape),
            reply=np.zeros(following.shape, np.int32),
            reply_tokens=np.zeros((1, 0), np.int32),
            reply_counts=np.zeros(1, np.int32),
            initial_state=np.zeros(1, np.int32),
            initial_probability=np.ones(1),
            initial_reply=np.zeros(1, np.int32),
            legal=None,
            states=[(said, number) for said in range(texts.length) for number in range(words**said)],
            columns={name: np.where(ends, values[text], np.nan) for name, values in self.reported.items()},
        )

    def expert_action(self, state: Any) -> int | None:
        """Return the token on the way to the text that is paid most."""
        said, number = state
        return int(self._best_tokens[said][number])

    @cached_property
    def _best_tokens(self) -> list[npt.NDArray[np.int64]]:
        """For each number of words said, the best next token after each text of that length."""
        texts = self.texts
        best, tokens = self.proxy[texts.first(texts.length) :], []
        for said in reversed(range(texts.length)):
            after = best.reshape(-1, texts.num_words)
            if texts.can_stop:
                after = np.column_stack([after, self.proxy[texts.first(said) : texts.first(said + 1)]])
            tokens.append(after.argmax(axis=1))
            best = after.max(axis=1)
        return tokens[::-1]

    def optimised(self, probabilities: Array, log_reference: Array | None = None) -> Optimised:
        """Return what a distribution over the texts (N,) is worth, exactly.

        Args:
            probabilities: One a text, float64 (N,).
            log_reference: Log-probabilities (N,) of the texts under the reference; random play by default.
        """
        reference = self.texts.log_random if log_reference is None else log_reference
        return Optimised(
            kl=divergence(probabilities, reference),
            proxy=float(probabilities @ self.proxy),
            gold=float(probabilities @ self.gold),
            probabilities=probabilities,
        )

    def tilted(self, beta: float, log_reference: Array | None = None) -> Optimised:
        """Return the optimum of E[proxy] − β·KL: where reinforcement learning with a KL penalty ends.

        Args:
            beta: Weight of the KL divergence, above 0.
            log_reference: Log-probabilities (N,) of the texts under the reference; random play by default.
        """
        reference = self.texts.log_random if log_reference is None else log_reference
        return self.optimised(tilted(self.proxy, beta, reference), reference)

    def best_of(self, n: int, log_reference: Array | None = None) -> Optimised:
        """Return what the one of n texts that the proxy likes best is worth.

        Args:
            n: How many are drawn, at least 1.
            log_reference: Log-probabilities (N,) of the texts under the reference; random play by default.
        """
        reference = self.texts.log_random if log_reference is None else log_reference
        return self.optimised(best_of_draws(self.proxy, n, reference), reference)


def all_texts(num_words: int, length: int, can_stop: bool, name: str = "num_tokens") -> Texts:
    """Return the texts, or raise `TokenGymError` where there are too few words or too many texts to list."""
    positive_int(name, num_words)
    positive_int("length", length)
    if num_words < 2:
        raise TokenGymError(f"{name}={num_words}: a text needs at least 2 words to choose from.")
    # By logarithm: the power itself may be astronomically large.
    if length * np.log(num_words) > np.log(_MOST_TEXTS):
        raise TokenGymError(
            f"{name}={num_words}, length={length} make more than {_MOST_TEXTS} texts, too many to score each: take a "
            "smaller length or fewer tokens."
        )
    return Texts(num_words, length, can_stop)
