"""RRHF: rank responses, and follow the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ...envs import TokenGymError
from ..configs import RRHFConfig
from ..data import Batch, Episodes, PreferenceDataset, PreferencePairs, Ranks
from ..labelling import rank_episodes
from ..parts import Loss, derive_seed, ranking_hinges
from .base import Preferences
from .pairs import PreparedPairs

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import RRHFOverrides


class RRHF(Preferences[RRHFConfig]):
    """Rank responses to align with human feedback (Yuan et al. 2023).

    Loss: Σ max(0, p_l − p_w) over the pairs of each ranking, p = log π(y|x)/|y|, plus c·(−log π(y_best|x)), averaged
    over rankings. It knows no reference: it follows the best completion of each ranking, and keeps the others in order.

    Pairs without rankings are rankings of two.
    """

    name: ClassVar[str] = "rrhf"
    making: ClassVar[tuple[str, ...]] = (*Preferences.making, "ranking_size")

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: RRHFConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[RRHFOverrides],
        ) -> None: ...

    @property
    def batch_size(self) -> int:
        """Rankings a step."""
        return self.config.batch_rankings

    def make_data(self) -> PreferenceDataset:
        """Let the initial policy answer, and the simulated labeller compare all answers to a prompt with one another.

        Raises:
            TokenGymError: the labels do not pay for one ranking, or the answers are equal too often.
        """
        size, labels = self.config.ranking_size, self.config.labels
        price = size * (size - 1) // 2
        if labels < price:
            raise TokenGymError(
                f"labels is {labels}, and a ranking of ranking_size {size} costs {price}: buy more, or rank fewer."
            )
        count, seed, failed = labels // price, derive_seed(self.seed, "pairs"), TokenGymError()
        for episodes in self._samples(count, size):
            try:
                return rank_episodes(episodes, self.task.vocabulary, self.labeller(), count, size, seed)
            except TokenGymError as error:
                failed = error
        raise failed

    def check_data(self, data: Any) -> PreferenceDataset:
        """Return comparisons with rankings."""
        data = super().check_data(data)
        if data.ranks is not None:
            return data
        return PreferenceDataset(data.episodes, data.vocabulary, data.pairs, pairs_as_ranks(data.pairs), data.about)

    def num_items(self, data: PreferenceDataset) -> int:
        """The number of rankings."""
        assert data.ranks is not None
        return len(data.ranks)

    def take(self, indices: np.ndarray) -> tuple[Episodes, Ranks]:
        """Return some of the rankings and their episodes."""
        ranks = self.data.ranks[indices]
        kept, order = np.unique(ranks.order, return_inverse=True)
        return self.data.episodes.select(kept), Ranks(order.reshape(-1), ranks.sizes, ranks.places)

    def prepare(self, batch: tuple[Episodes, Ranks]) -> PreparedPairs:
        """Name the pairs of each ranking and its best; several that are best share its weight."""
        episodes, ranks = batch
        pairs = ranks.pairs()
        group = np.repeat(np.arange(len(ranks)), ranks.sizes)
        first = ranks.places == 0
        tied = np.bincount(group[first], minlength=len(ranks))
        return PreparedPairs.of(
            episodes,
            pairs,
            np.full(len(pairs), 1 / len(ranks)),
            self.device,
            self.config.micro_batch_tokens,
            best=ranks.order[first],
            best_weight=1 / (tied[group[first]] * len(ranks)),
        )

    def loss(self, part: Batch, prepared: PreparedPairs) -> Loss:
        """Σ w·max(0, p_l − p_w) over the pairs within ``part``, and −c·Σ w·log π(y_best|x)."""
        compared = prepared.within(part)
        said = compared.completions(self.agent)
        better, worse = said[compared.better], said[compared.worse]
        order_loss = (compared.weight * ranking_hinges(better, worse)).sum()
        best_loss = -(compared.best_weight * said.log_probs[compared.best]).sum()
        right = (compared.weight * (better.means > worse.means).to(order_loss.dtype)).sum()
        return Loss(
            order_loss + self.config.nll_coef * best_loss,
            terms={
                "preferences/ranking_loss": order_loss,
                "preferences/nll_best": best_loss,
                "preferences/accuracy": right / prepared.weight.sum().clamp(min=torch.finfo(right.dtype).tiny),
            },
            named={"log_probs": said.log_probs},
        )


def pairs_as_ranks(pairs: PreferencePairs) -> Ranks:
    """Return a ranking of two for each pair."""
    return Ranks(np.stack([pairs.better, pairs.worse], axis=1).reshape(-1), np.full(len(pairs), 2))
