"""PolicyGradient: the one loss of REINFORCE, RLOO, REINFORCE++, GRPO and its presets."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from ...agents import Scores
from ..configs import PolicyGradientConfig
from ..data import Batch, Episodes, Unit
from ..parts import Loss, Ratio, Step, group_numbers, ratio_metrics, returns_to_go, surrogate, tied, value_errors
from .base import OnPolicy, Targets

PolicyGradientConfigT = TypeVar("PolicyGradientConfigT", bound=PolicyGradientConfig)


class PolicyGradient(OnPolicy[PolicyGradientConfigT]):
    """A policy that says more often what was better than what it is compared with; a subclass gives `advantages`.

    Loss: Σ w·[surrogate(π, π_old, A) − c_H·H(π)], plus the KL term where the config asks for it.
    """

    @property
    def ratio(self) -> Ratio:
        """How the policy is weighed against the one that spoke, see `surrogate`."""
        return "none"

    @property
    def detached(self) -> bool:
        """Whether the ratio only weighs −A·log π."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """Between what a ratio may move."""
        return 0.0, float("inf")

    @property
    def kept_whole(self) -> tuple[Unit, Unit]:
        """What minibatches and their parts keep whole: episodes, too, where their tokens share a ratio."""
        if self.ratio in ("sequence", "geometric"):
            return "group", "episode"
        return super().kept_whole

    def loss(self, part: Batch, prepared: Targets) -> Loss:
        """Σ w·[surrogate − c_H·H(π)] over the tokens of ``part``, and the loss of a critic where there is one."""
        scores, targets = self.score(part, prepared), prepared.of(part)
        weights, log_ratio = targets.weights, scores.log_probs - part.log_probs
        losses = self.controlled(self.surrogate(scores, part, targets), log_ratio, targets)
        policy_loss = (weights * losses).sum()
        entropy = (weights * scores.entropy).sum()
        total = policy_loss - self.entropy_coef * entropy + self.kl_loss(scores, targets)
        terms = {"policy/loss": policy_loss, "policy/entropy": entropy}
        named = {"advantages": prepared.advantages, "log_probs": scores.log_probs, "log_ratio": log_ratio}
        if targets.returns is not None:
            assert scores.values is not None and targets.values is not None
            terms["value/loss"] = (weights * value_errors(scores.values, targets.returns, targets.values)).sum()
            named |= {"returns": targets.returns, "values": scores.values}
            total = total + self.value_coef * terms["value/loss"]
        return Loss(total, terms=terms, tokens={"log_ratio": log_ratio}, named=named)

    def surrogate(self, scores: Scores, part: Batch, targets: Targets) -> Tensor:
        """What is learnt from each token, (n,); see the part of that name."""
        low, high = self.bounds
        episode = part.episodes[part.rows]
        return surrogate(
            self.ratio, scores.log_probs, part.log_probs, targets.advantages, low, high, episode, self.detached
        )

    @property
    def value_coef(self) -> float:
        """The weight of the value loss where there is a critic."""
        return 0.0

    def warn_of_ties(self, episodes: Episodes) -> None:
        """Warn, once, where in all groups of a collection all returns are equal, and what is learnt from them is, too.

        Discounts and penalties may tell episodes of equal returns apart, and bonuses for what is rare always may.
        """
        group = group_numbers(episodes.starts)
        if self.warned_of_ties or self.visits is not None or not tied(episodes.returns, group).all():
            return
        flat = episodes.flat
        learnt = returns_to_go(flat, self.config.gamma, self.learning_rewards(episodes))
        if not tied(learnt[flat.episode_offsets[:-1]], group).all():
            return
        kept = "; the gradient of the KL to the reference is still part of the objective" if self.reference else ""
        self.warn_where_tied(
            episodes,
            group,
            f"no episode is better than what it is compared with, and rewards teach nothing from this collection{kept}",
        )

    def report(self, step: Step) -> dict[str, float]:
        """Return the metrics of a step: also how far the policy has moved, where that matters."""
        metrics = super().report(step)
        if self.ratio == "none":
            return metrics
        return {**metrics, **ratio_metrics(step.tokens["log_ratio"], *self.bounds)}
