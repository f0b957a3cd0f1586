"""Losses of comparisons: how well a policy tells the better of two completions from the worse, one value a pair.

All are entries of one table, `PAIR_LOSSES`, of functions of what the policy and perhaps a reference think of the
two completions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu


@dataclass(frozen=True, eq=False)
class Completions:
    """What is thought of P whole completions.

    Attributes:
        log_probs: float (P,), log π(y|x), the sum over the tokens that the agent said.
        lengths: (P,), how many those are.
        reference: float (P,), log π_ref(y|x), without a gradient, or None where there is no reference.
    """

    log_probs: Tensor
    lengths: Tensor
    reference: Tensor | None = None

    @property
    def log_ratios(self) -> Tensor:
        """R = log π(y|x) − log π_ref(y|x), (P,)."""
        assert self.reference is not None
        return self.log_probs - self.reference

    @property
    def means(self) -> Tensor:
        """Length-normalised log π(y|x)/|y|, (P,)."""
        return self.log_probs / self.lengths

    def __getitem__(self, index: Tensor) -> Completions:
        """Some of the completions; an index may occur more than once."""
        reference = None if self.reference is None else self.reference[index]
        return Completions(self.log_probs[index], self.lengths[index], reference)


@dataclass(frozen=True)
class PairLossOptions:
    """The numbers in the losses; each loss reads those that it has.

    Attributes:
        beta: β of every loss, λ of ORPO.
        label_smoothing: the share of labels that cDPO takes to be wrong, below ½.
        target_margin: SimPO's γ.
        better_weight, worse_weight: KTO's λ of desirable and undesirable completions.
        reference_point: KTO's z, a scalar without a gradient.
    """

    beta: float
    label_smoothing: float = 0.0
    target_margin: float = 0.0
    better_weight: float = 1.0
    worse_weight: float = 1.0
    reference_point: float | Tensor = 0.0


PairLoss = Callable[[Completions, Completions, PairLossOptions], Tensor]
"""From the better completions and the worse to the losses (P,)."""


def dpo(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """−log σ(β(r_w − r_l)) (Rafailov et al. 2023, equation 7)."""
    return -logsigmoid(options.beta * (better.log_ratios - worse.log_ratios))


def cdpo(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """−(1 − ε)·log σ(βh) − ε·log σ(−βh), h = r_w − r_l (Mitchell 2023): DPO where a share ε of labels is wrong."""
    logits = options.beta * (better.log_ratios - worse.log_ratios)
    return -(1 - options.label_smoothing) * logsigmoid(logits) - options.label_smoothing * logsigmoid(-logits)


def ipo(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """(r_w − r_l − 1/(2β))² (Azar et al. 2023, equation 17)."""
    return (better.log_ratios - worse.log_ratios - 1 / (2 * options.beta)) ** 2


def simpo(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """−log σ(β(log π_w/|y_w| − log π_l/|y_l|) − γ) (Meng et al. 2024, equation 6)."""
    return -logsigmoid(options.beta * (better.means - worse.means) - options.target_margin)


def kto(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """λ_w·(1 − σ(β(r_w − z))) + λ_l·(1 − σ(β(z − r_l))) (Ethayarajh et al. 2024, equation 8).

    Each completion is judged alone, against the point z; that they come in pairs does not matter to it.
    """
    beta, point = options.beta, options.reference_point
    gained = torch.sigmoid(beta * (better.log_ratios - point))
    avoided = torch.sigmoid(beta * (point - worse.log_ratios))
    return options.better_weight * (1 - gained) + options.worse_weight * (1 - avoided)


def orpo(better: Completions, worse: Completions, options: PairLossOptions) -> Tensor:
    """−log π_w/|y_w| − λ·log σ(log odds_w − log odds_l) (Hong et al. 2024, equations 4 to 7).

    The odds are of the length-normalised probability P = exp(log π/|y|): P/(1 − P).
    """
    return -better.means - options.beta * logsigmoid(log_odds(better.means) - log_odds(worse.means))


PAIR_LOSSES: Mapping[str, PairLoss] = {
    "dpo": dpo,
    "cdpo": cdpo,
    "ipo": ipo,
    "simpo": simpo,
    "kto": kto,
    "orpo": orpo,
}
"""The losses by name."""


def ranking_hinges(better: Completions, worse: Completions) -> Tensor:
    """RRHF's max(0, p_l − p_w), p = log π/|y| (Yuan et al. 2023, equation 4), (P,)."""
    return relu(worse.means - better.means)


def log_odds(log_probs: Tensor) -> Tensor:
    """log(P/(1 − P)) of log P; where P is 1 to the last digit it stays finite, and without a gradient."""
    below = log_probs.clamp(max=-torch.finfo(log_probs.dtype).eps)
    return below - torch.log(-torch.expm1(below))
