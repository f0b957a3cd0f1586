"""QRPO from a dataset: an episode's quantile among those recorded from its start is regressed on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...agents import RandomPlayer
from ...envs import TokenGymError
from ..configs import OfflineQRPOConfig
from ..data import Batch, EpisodeDataset, Episodes, prompts_of, require_finite_rewards
from ..making import make_reference
from ..parts import (
    AgentReference,
    Loss,
    Reference,
    consistency_loss,
    episodes_within,
    log_probs_under,
    path_sums,
    ranked_aims,
    returns_to_go,
)
from .of_episodes import OfEpisodes
from .valued import clipped

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import OfflineQRPOOverrides


@dataclass(frozen=True, eq=False)
class Ranked:
    """Whole episodes, E of them with N tokens, and what their log-ratios are held against; without gradients.

    Attributes:
        batch: the tokens.
        reference: float (N,), log-probability of each token under the reference.
        aims: float (E,), q − β log Z.
        beta: the weight of the KL.
        metrics: what was seen on the way.
    """

    batch: Batch
    reference: Tensor
    aims: Tensor
    beta: float
    metrics: dict[str, float]


class OfflineQRPO(OfEpisodes[OfflineQRPOConfig]):
    """Quantile reward policy optimisation (Matrenok et al. 2025, QRPO) on recorded episodes; nothing is asked anew.

    Loss: the mean over episodes of ½ (q − β log Z − β log π/π_ref)², where q is the share of the recorded episodes of
    the same start that earn at most as much, itself among them. It is the reference's quantile where the reference was
    recorded; of another player, the quantile under that player. A start that was said once ranks nothing and is left
    out.

    Attributes:
        start_returns: what was earned from each start, float64 (N,) each, in the task's units; filled when first asked.
    """

    name: ClassVar[str] = "offline-qrpo"
    requires: ClassVar[tuple[str, ...]] = ("deterministic",)
    making: ClassVar[tuple[str, ...]] = (*OfEpisodes.making, "reference_samples")
    unit = "episode"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: OfflineQRPOConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[OfflineQRPOOverrides],
        ) -> None: ...

    reference: Reference

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What the KL is measured to: the given agent, or what ``config.kl_reference`` says."""
        return make_reference(given, self.agent, self.config)

    def make_parts(self) -> None:
        """Leave the returns by start until they are asked for: they need the data, which acting does not."""
        super().make_parts()
        self.start_returns: dict[int, np.ndarray] = {}

    # The data --------------------------------------------------------------------------------------------------------

    def make_data(self) -> EpisodeDataset:
        """Record the reference, or the player that the configuration names, several times from each start."""
        if self.config.player != "reference":
            player = self.named_player(also=("reference",))
        elif isinstance(self.reference, AgentReference):
            player = self.reference.agent
        else:
            player = RandomPlayer(self.task.vocabulary)
        each = self.config.reference_samples
        return self.recorded(player, -(-self.config.demonstrations // each) * each, each)

    def refuse(self, dataset: EpisodeDataset) -> None:
        """Refuse rewards that are not finite, and episodes that cannot be ranked among one another."""
        require_finite_rewards(dataset.episodes)
        episodes = dataset.episodes.select(np.flatnonzero(dataset.episodes.episode_lengths > 0))
        if not len(episodes):
            return
        require_prompts(episodes, self.name)
        by_start = self.returns_by_start(episodes)
        again = [returns for returns in by_start.values() if len(returns) > 1]
        if not again:
            raise TokenGymError(
                f"the dataset holds {len(episodes)} episodes from {len(by_start)} different starts: none was said "
                f"twice, and {self.name} ranks an episode among others of its start. Record several of each: "
                "tokengym record … --group-size 16, or record(…, group_size=16)"
            )
        if not any(np.ptp(returns) for returns in again):
            warnings.warn(
                f"{self.name}: within every one of the {len(again)} recorded groups all returns are equal, so that "
                "ranks say nothing, and the KL to the reference is all that is learnt from: record more of each start, "
                "or a player who sometimes earns more",
                RuntimeWarning,
                stacklevel=2,
            )

    def kept(self, episodes: Episodes) -> np.ndarray:
        """Return which episodes have others of their start, bool (E,)."""
        _, place, counts = np.unique(episodes.starts, return_inverse=True, return_counts=True)
        return counts[place.reshape(-1)] > 1

    def returns_of(self, episodes: Episodes) -> np.ndarray:
        """Return what whole episodes earned, float64 (E,), clipped and discounted, in the task's units."""
        flat = episodes.flat
        returns = returns_to_go(flat, self.config.gamma, clipped(flat.reward, self.config.reward_clip))
        return returns[flat.episode_offsets[:-1]].astype(np.float64)

    def returns_by_start(self, episodes: Episodes) -> dict[int, np.ndarray]:
        """Return what episodes earned from each start."""
        returns, order = self.returns_of(episodes), np.argsort(episodes.starts, kind="stable")
        starts, first = np.unique(episodes.starts[order], return_index=True)
        return dict(zip(starts.tolist(), np.split(returns[order], first[1:]), strict=True))

    # The update ------------------------------------------------------------------------------------------------------

    def prepare(self, batch: Episodes) -> Ranked:
        """Rank episodes among all of their starts, take off what Z makes of it, and ask the reference about them."""
        if not self.start_returns:
            self.start_returns = self.returns_by_start(self.data.dataset.episodes.select(self.data.learnt))
        beta, whole = self.scheduled(self.config.kl_coef), Batch.from_episodes(batch, self.device)
        returns = self.returns_of(batch)
        quantiles, aims = ranked_aims(returns, batch.starts, self.start_returns, beta, self.config.partition)
        width = self.agent.vocabulary.num_actions
        parts = whole.parts(self.config.micro_batch_tokens, self.unit)
        return Ranked(
            batch=whole,
            reference=torch.cat([log_probs_under(self.reference, part, width) for part in parts]),
            aims=torch.as_tensor(aims.astype(batch.rewards.dtype), device=self.device),
            beta=beta,
            metrics={
                "data/return": float(batch.returns.mean()),
                "path/quantile": float(quantiles.mean()),
                "objective/kl_coef": beta,
            },
        )

    def loss(self, part: Batch, prepared: Ranked) -> Loss:
        """½ (β Σ log π/π_ref − (q − β log Z))², the mean over episodes."""
        episodes, grid = episodes_within(part)
        log_ratio = part.score(self.agent).log_probs - prepared.reference[part.index]
        said, count = path_sums(log_ratio, grid, 1.0), len(prepared.aims)
        residuals = prepared.beta * said - prepared.aims[episodes]
        named = {"reference": prepared.reference, "aims": prepared.aims}
        return consistency_loss(residuals, count, log_ratio, count, named)


def require_prompts(episodes: Episodes, name: str) -> None:
    """Raise a `TokenGymError` where episodes of one start answer different prompts, among which none can be ranked."""
    prompts, lengths = prompts_of(episodes)
    width = prompts.shape[1]
    shown = np.where(np.arange(width) < lengths[:, None], prompts, -1)
    _, first, place = np.unique(episodes.starts, return_index=True, return_inverse=True)
    differs = np.flatnonzero((shown != shown[first[place.reshape(-1)]]).any(axis=1))
    if len(differs):
        raise TokenGymError(
            f"the dataset numbers episodes that answer different prompts by one start ({episodes.starts[differs[0]]}, "
            f"for one), and {name} ranks an episode among others of its start. That comes of joining datasets that "
            "count their starts from 0, as texts do: put the texts into one file, or give the starts other numbers"
        )
