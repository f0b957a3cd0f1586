"""A labeller simulated from a gold reward: noisy, now and then wrong, fond of length, and paid by the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from ...envs.checking import NotNegative, Range, Seed, checked

if TYPE_CHECKING:
    from ..configs import LabellerConfig
    from .asking import Comparisons

Flips = Annotated[float, Range(least=0, most=0.5)]
"""The part of answers that are reversed; at a half they say nothing."""


class SimulatedLabeller:
    """Prefers by gold reward as Bradley and Terry have it, with the faults that people have.

    The first of two is preferred with probability σ((u₁ − u₂) / temperature), where u is the gold reward plus
    `length_preference` for each token that the agent said; then an answer is reversed with probability `flips`.

    Args:
        temperature: noise; at 0 the better one is always preferred, and equal ones by a coin.
        flips: the probability with which an answer is reversed, whatever was compared.
        length_preference: what a token more is worth, in units of the gold reward; below 0 shorter ones are preferred.
        budget: how many comparisons it answers in all; None for any number.
        soft: whether it answers with the probability itself, as an endless number of labels would, and not with a draw.
        seed: of its draws.

    Attributes:
        spent: comparisons answered so far.
    """

    @checked
    def __init__(
        self,
        temperature: NotNegative = 1.0,
        flips: Flips = 0.0,
        length_preference: float = 0.0,
        budget: Annotated[int, Range(least=1)] | None = None,
        soft: bool = False,
        seed: Seed = 0,
    ) -> None:
        self.temperature = temperature
        self.flips = flips
        self.length_preference = length_preference
        self.budget = budget
        self.soft = soft
        self.seed = seed
        self.spent = 0
        self._random = np.random.default_rng(seed)

    @classmethod
    def of(cls, config: LabellerConfig, seed: int = 0) -> SimulatedLabeller:
        """Return the labeller that a configuration describes; its `labels`, if it has any, are the budget."""
        budget = getattr(config, "labels", None)
        return cls(config.label_temperature, config.label_flips, config.length_preference, budget, seed=seed)

    def __repr__(self) -> str:
        budget = "" if self.budget is None else f", budget={self.budget}"
        return (
            f"SimulatedLabeller(temperature={self.temperature:g}, flips={self.flips:g}, "
            f"length_preference={self.length_preference:g}{budget})"
        )

    @property
    def left(self) -> int | None:
        """How many comparisons it still answers, or None for any number."""
        return None if self.budget is None else self.budget - self.spent

    def probabilities(
        self, gold_first: npt.ArrayLike, gold_second: npt.ArrayLike, length_difference: npt.ArrayLike = 0
    ) -> npt.NDArray[np.float64]:
        """Return with which probability the first of two is preferred, float64 of the shape that all three fit.

        Args:
            gold_first: the gold reward of the first.
            gold_second: that of the second.
            length_difference: how many tokens more the first has.
        """
        longer = self.length_preference * np.asarray(length_difference, np.float64)
        difference = np.asarray(gold_first, np.float64) - np.asarray(gold_second, np.float64) + longer
        if self.temperature > 0:
            preferred = 0.5 * (1 + np.tanh(difference / (2 * self.temperature)))
        else:
            preferred = 0.5 * (1 + np.sign(difference))
        return self.flips + (1 - 2 * self.flips) * preferred

    def draw(
        self, gold_first: npt.ArrayLike, gold_second: npt.ArrayLike, length_difference: npt.ArrayLike = 0
    ) -> npt.NDArray[np.bool_]:
        """Answer comparisons: whether the first is preferred, bool (P,). Takes from the budget.

        Raises:
            TokenGymError: there are more than are left.
        """
        preferred = self.probabilities(gold_first, gold_second, length_difference)
        self._spend(preferred.size)
        return self._random.random(preferred.shape) < preferred

    def label(self, asked: Comparisons) -> npt.NDArray[np.float64]:
        """Answer comparisons of episodes by their gold rewards; see `Labeller.label`."""
        lengths = asked.episodes.episode_lengths
        told = (
            asked.gold[asked.first],
            asked.gold[asked.second],
            lengths[asked.first] - lengths[asked.second],
        )
        if self.soft:
            self._spend(len(asked))
            return self.probabilities(*told)
        return self.draw(*told).astype(np.float64)

    def state(self) -> dict[str, Any]:
        """Return what goes on from here, JSON-able."""
        return {"spent": self.spent, "random": self._random.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.spent = int(state["spent"])
        self._random.bit_generator.state = state["random"]

    def _spend(self, count: int) -> None:
        if self.left is not None and count > self.left:
            raise TokenGymError(
                f"{count} comparisons are asked of a labeller who answers {self.left} more of {self.budget}; ask "
                "fewer, or give a larger budget."
            )
        self.spent += count
