"""GRPO and its kin: a group's returns are what each of its episodes is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ...agents import Scores
from ...envs import TokenGymError
from ..configs import GRPOConfig
from ..data import Batch, Episodes
from ..parts import Ratio, divergence_surrogate, group_advantages, group_numbers, returns_to_go, tied
from .base import Targets
from .repeated import Repeated

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import GRPOOverrides


GroupedConfigT = TypeVar("GroupedConfigT", bound=GRPOConfig)


class Grouped(Repeated[GroupedConfigT]):
    """The loss of GRPO and its presets; see `GRPO` and `GiGPO`."""

    @property
    def ratio(self) -> Ratio:
        """How the policy is weighed against the one that spoke."""
        return self.config.rule.ratio

    @property
    def detached(self) -> bool:
        """Whether the ratio only weighs −A·log π."""
        return self.config.rule.surrogate == "detached"

    @property
    def bounds(self) -> tuple[float, float]:
        """1 − ε below and 1 + ε above, which may differ; C above where it is probabilities that are bounded."""
        rule = self.config.rule
        if rule.surrogate == "divergence":
            return 0.0, rule.ratio_cap
        return 1 - rule.clip_low, 1 + rule.clip_high

    @property
    def weighs_behaviour(self) -> bool:
        """Whether what bounds it is the distance to who drew the tokens, whoever that was."""
        return self.config.rule.surrogate == "divergence"

    def surrogate(self, scores: Scores, part: Batch, targets: Targets) -> Tensor:
        """What is learnt from each token, (n,)."""
        rule = self.config.rule
        if rule.surrogate != "divergence":
            return super().surrogate(scores, part, targets)
        bounds = rule.clip_low, rule.clip_high, rule.ratio_cap
        return divergence_surrogate(scores.log_probs, part.log_probs, targets.advantages, *bounds)

    def prepare(self, batch: Episodes) -> Targets:
        """Turn groups into targets, without those whose returns are all equal where the preset drops them."""
        self.warn_of_ties(batch)
        group = group_numbers(batch.starts)
        even = tied(batch.returns, group)
        if not self.config.rule.drop_tied or even.all() or not even.any():
            return super().prepare(batch)
        targets = super().prepare(batch.select(np.flatnonzero(~even[group])))
        return replace(targets, metrics={**targets.metrics, "objective/score": float(batch.returns.mean())})

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """The return of each episode against those of its group, for all of its tokens.

        Raises:
            TokenGymError: a negative return where advantages are divided by the group's mean.
        """
        flat, rule = episodes.flat, self.config.rule
        returns = returns_to_go(flat, self.config.gamma, rewards)[flat.episode_offsets[:-1]]
        if rule.scale == "mean" and returns.min() < 0:
            raise TokenGymError(
                f"scale is 'mean' (preset {self.config.preset!r}), and an episode has the return {returns.min():.4g}: "
                "dividing by a mean of both signs turns gradients round. Give returns of at least 0, or another scale."
            )
        group = group_numbers(episodes.starts)
        advantages = group_advantages(returns, group, episodes.episode_lengths, rule.baseline, rule.scale)
        return advantages[flat.episode].astype(rewards.dtype), None, {}


class GRPO(Grouped[GRPOConfig]):
    """Group-relative policy optimisation (Shao et al. 2024), and what differs from it in a term, as presets.

    Loss: Σ w·[−min(ρA, clip(ρ)A)] + β·KL, where all tokens of an episode have one A: its return less the group's mean,
    divided by the group's standard deviation. A preset changes baseline, scale, ratio, clip or weights; `PRESETS` is
    the table of them.
    """

    name: ClassVar[str] = "grpo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: GRPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[GRPOOverrides],
        ) -> None: ...
