"""Losses as people write them: right ones, and a dozen that are broken in one place, each of which the audit finds.

Each takes by name what `losses.GIVEN` describes and gives a scalar to be minimised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

BETA = 0.5
_GAMMA = _LAMBDA = 0.9


def _said(values: Tensor, mask: Tensor) -> Tensor:
    """Sums over the agent's tokens, (B,)."""
    return torch.where(mask, values, 0.0).sum(-1)


def _without(rewards: Tensor) -> Tensor:
    """Each reward less the mean of the group's others."""
    return (rewards - rewards.mean()) * len(rewards) / (len(rewards) - 1)


# --- right ---------------------------------------------------------------------------------------------------------


def reinforce(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """−R·log π."""
    return -(rewards * _said(log_probs, mask)).mean()


def rloo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The others' mean as baseline."""
    return -(_without(rewards) * _said(log_probs, mask)).mean()


def weighted_rloo(log_probs: Tensor, sampling_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """RLOO with the whole episode's importance weight, and none of the others'."""
    ratio = torch.exp(_said(log_probs - sampling_log_probs, mask))
    # The others' rewards are of the behaviour, but any baseline that the own sample is not in adds nothing.
    return -(ratio * _without(rewards)).mean()


def rloo_with_kl(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The KL, k1, in the reward."""
    paid = rewards - BETA * _said(log_probs.detach() - reference_log_probs, mask)
    return -(_without(paid) * _said(log_probs, mask)).mean()


def rloo_with_sequence_k2(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The whole episode's k2 in the loss."""
    log_ratio = _said(log_probs - reference_log_probs, mask)
    return rloo(log_probs, rewards, mask) + BETA * (log_ratio**2).mean() / 2


def trajectory_balance(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The squared imbalance, log Z being the group's own mean: VarGrad."""
    imbalance = _said(log_probs - reference_log_probs, mask) - rewards / BETA
    return BETA / 2 * len(rewards) / (len(rewards) - 1) * (imbalance - imbalance.mean()).square().mean()


def to_go(log_probs: Tensor, token_rewards: Tensor, mask: Tensor) -> Tensor:
    """Each token is credited with what was paid from it on, less a constant."""
    paid = torch.where(mask, token_rewards, 0.0).flip(1).cumsum(1).flip(1) - 0.5
    return -_said(paid * torch.where(mask, log_probs, 0.0), mask).mean()


def gae(log_probs: Tensor, values: Tensor, token_rewards: Tensor, mask: Tensor) -> Tensor:
    """Generalised advantages with an exact critic, which are unbiased whatever λ is."""
    advantages, later, worth = [], torch.zeros_like(log_probs[:, 0]), torch.zeros_like(log_probs[:, 0])
    for column in range(log_probs.shape[1] - 1, -1, -1):
        said = mask[:, column]
        here = token_rewards[:, column] + worth - values[:, column] + _LAMBDA * later
        later = torch.where(said, here, later)
        worth = torch.where(said, values[:, column], worth)
        advantages.insert(0, torch.where(said, here, 0.0))
    return -_said(torch.stack(advantages, 1) * torch.where(mask, log_probs, 0.0), mask).mean()


def best_less_second(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Only the best of a group learns, from its lead over the second."""
    values, places = rewards.topk(2)
    chosen = torch.where(torch.arange(len(rewards)) == places[0], values[0] - values[1], 0.0)
    return -(chosen * _said(log_probs, mask)).sum()


def max_rl(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Advantages divided by the group's mean, on rewards 0 and 1."""
    mean = rewards.mean()
    advantages = torch.where(mean > 0, (rewards - mean) / torch.where(mean > 0, mean, 1.0), 0.0)
    return -(advantages * _said(log_probs, mask)).mean()


# --- broken --------------------------------------------------------------------------------------------------------


def wrong_sign(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Descends."""
    return (_without(rewards) * _said(log_probs, mask)).mean()


def discounted_twice(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """A γ^t too many."""
    discount = _GAMMA ** (mask.cumsum(1) - 1).clamp(min=0)
    return -(_without(rewards) * _said(discount * torch.where(mask, log_probs, 0.0), mask)).mean()


def observations_in_gae(log_probs: Tensor, values: Tensor, token_rewards: Tensor, mask: Tensor) -> Tensor:
    """What the task said counts as a step, worth 0."""
    worths = torch.where(mask, values, 0.0)
    advantages, later, worth = [], torch.zeros_like(log_probs[:, 0]), torch.zeros_like(log_probs[:, 0])
    for column in range(log_probs.shape[1] - 1, -1, -1):
        paid = torch.where(mask[:, column], token_rewards[:, column], 0.0)
        later = paid + worth - worths[:, column] + _LAMBDA * later
        worth = worths[:, column]
        advantages.insert(0, later)
    return -_said(torch.stack(advantages, 1) * torch.where(mask, log_probs, 0.0), mask).mean()


def kl_twice(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The KL in the reward and again in the loss."""
    log_ratio = _said(log_probs - reference_log_probs, mask)
    return rloo_with_kl(log_probs, reference_log_probs, rewards, mask) + BETA * (log_ratio**2).mean() / 2


def mean_over_tokens(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Mean instead of sum over what was said."""
    return -(_without(rewards) * _said(log_probs, mask) / mask.sum(1)).mean()


def own_sample_in_baseline(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The group's mean, the own sample included, as RLOO."""
    return -((rewards - rewards.mean()) * _said(log_probs, mask)).mean()


def gradient_at_padding(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The mask is forgotten."""
    return -(_without(rewards) * log_probs.sum(1)).mean()


def detached_ratio(log_probs: Tensor, old_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """A clipped objective whose ratio carries no gradient."""
    ratio = torch.exp(_said(log_probs.detach() - old_log_probs, mask)) + 0.0 * _said(log_probs, mask)
    return -torch.minimum(ratio * _without(rewards), ratio.clamp(0.8, 1.2) * _without(rewards)).mean()


def forgotten_weights(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Claims to learn from an older policy's episodes as they are."""
    return rloo(log_probs, rewards, mask)


def inverted_ratio(log_probs: Tensor, old_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """π_old/π."""
    return -(torch.exp(_said(old_log_probs - log_probs, mask)) * _without(rewards)).mean()


def divided_by_deviation(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Advantages in units of the group's standard deviation."""
    centred = rewards - rewards.mean()
    deviation = (centred.square().sum() / (len(rewards) - 1) + 1e-12).sqrt()
    return -(centred / deviation * _said(log_probs, mask)).mean()


def kl_without_gradient(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """k1 in the loss, whose expected gradient is 0."""
    return rloo(log_probs, rewards, mask) + BETA * _said(log_probs - reference_log_probs, mask).mean()


def kl_of_each_token(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """k3 of each token in the loss, as most trainers have it."""
    log_ratio = torch.where(mask, reference_log_probs - log_probs, 0.0)
    return rloo(log_probs, rewards, mask) + BETA * _said(log_ratio.exp() - log_ratio - 1, mask).mean()


def credit_one_late(log_probs: Tensor, token_rewards: Tensor, mask: Tensor) -> Tensor:
    """Each token is credited with what was paid after it, its own pay left out."""
    paid = torch.where(mask, token_rewards, 0.0)
    after = paid.flip(1).cumsum(1).flip(1) - paid
    return -_said(after * torch.where(mask, log_probs, 0.0), mask).mean()


@dataclass(frozen=True)
class Specimen:
    """A loss and what it claims.

    Attributes:
        loss: the callable.
        claim: keyword arguments of `audit_loss`.
    """

    loss: Callable[..., Tensor]
    claim: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The loss's own."""
        return getattr(self.loss, "__name__", type(self.loss).__name__)

    @property
    def about(self) -> str:
        """What it says of itself."""
        return (self.loss.__doc__ or "").strip().split("\n")[0]


_KL = {"objective": "kl_return", "beta": BETA}
RIGHT = (
    Specimen(reinforce),
    Specimen(rloo),
    Specimen(weighted_rloo, {"off_policy": True}),
    Specimen(rloo_with_kl, _KL),
    Specimen(rloo_with_sequence_k2, _KL),
    Specimen(trajectory_balance, _KL),
    Specimen(to_go, {"level": "token"}),
    Specimen(gae, {"level": "token"}),
    Specimen(best_less_second, {"objective": "best"}),
    Specimen(max_rl, {"objective": "max_rl"}),
)
BROKEN = (
    Specimen(wrong_sign),
    Specimen(discounted_twice, {"level": "token"}),
    Specimen(observations_in_gae, {"level": "token"}),
    Specimen(kl_twice, _KL),
    Specimen(mean_over_tokens),
    Specimen(own_sample_in_baseline),
    Specimen(gradient_at_padding),
    Specimen(detached_ratio),
    Specimen(forgotten_weights, {"off_policy": True}),
    Specimen(inverted_ratio, {"off_policy": True}),
    Specimen(divided_by_deviation, {"scale": None}),
    Specimen(kl_without_gradient, _KL),
    Specimen(kl_of_each_token, {**_KL, "level": "token"}),
    Specimen(credit_one_late, {"level": "token"}),
)
