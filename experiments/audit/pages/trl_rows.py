"""The losses of TRL that `docs/audit.md` holds, each with what it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..trl import dpo_loss, group_loss, kto_loss, reference_free_loss

BETA = 0.5
"""The weight of the KL in all rows that have one: with TRL's own .1 the optimum is next to a single leaf."""


@dataclass(frozen=True)
class Entry:
    """A row of the page.

    Attributes:
        name: TRL's trainer and what is set of its configuration.
        make: builds the callable.
        claim: keyword arguments of `audit_loss`.
    """

    name: str
    make: Callable[[], Callable[..., Tensor]]
    claim: dict[str, Any] = field(default_factory=dict)


def _group(trainer: str, level: str = "token", claim: dict[str, Any] | None = None, **options: Any) -> Entry:
    said = ", ".join(f"{name}={value}" for name, value in options.items())
    held = {"scale": None, "level": level, **(claim or {})}
    return Entry(f"{trainer}Trainer({said})", lambda: group_loss(trainer, **options), held)


def _corrected(mode: str, most: float) -> Entry:
    """Advantages less their mean, times the weight π_old/μ of a sampler that disagrees, truncated or masked."""
    level = mode.split("_")[0]
    options = {"loss_type": "dr_grpo", "scale_rewards": "none", "use_vllm": True}
    options |= {"vllm_importance_sampling_mode": mode, "vllm_importance_sampling_clip_max": most}
    return _group("GRPO", level, {"off_policy": True, "mismatched": True}, **options)


_SOFT = {"objective": "kl_return", "beta": BETA}
GROUPS = (
    _group("GRPO", loss_type="grpo"),
    _group("GRPO", loss_type="grpo", scale_rewards="none"),
    _group("GRPO", loss_type="grpo", scale_rewards="batch"),
    _group("GRPO", loss_type="bnpo"),
    _group("GRPO", loss_type="dr_grpo"),
    _group("GRPO", loss_type="dr_grpo", scale_rewards="none"),
    _group("GRPO", loss_type="dapo"),
    _group("GRPO", loss_type="dapo", epsilon_high=0.28),
    _group("GRPO", loss_type="cispo"),
    _group("GRPO", loss_type="cispo", epsilon_high=5.0),
    _group("GRPO", loss_type="sapo"),
    _group("GRPO", loss_type="vespo"),
    _group("GRPO", "sequence", loss_type="grpo", importance_sampling_level="sequence"),
    _group("GRPO", "sequence", loss_type="luspo", importance_sampling_level="sequence"),
    _group("GRPO", "sequence", loss_type="luspo", importance_sampling_level="sequence", scale_rewards="none"),
    _group("GRPO", loss_type="dr_grpo", scale_rewards="none", delta=1.5),
    _group("GRPO", loss_type="dr_grpo", scale_rewards="none", off_policy_mask_threshold=0.1),
    _group("GRPO", loss_type="dr_grpo", scale_rewards="none", top_entropy_quantile=0.5),
    _corrected("token_truncate", 2.0),
    _corrected("token_mask", 2.0),
    _corrected("sequence_truncate", 2.0),
    _corrected("sequence_mask", 1.5),
    _corrected("sequence_truncate", 1e9),
    _group("GRPO", claim=_SOFT, loss_type="grpo", beta=BETA),
    _group("GRPO", claim=_SOFT, loss_type="dr_grpo", scale_rewards="none", beta=BETA),
    _group("GRPO", claim=_SOFT, loss_type="dr_grpo", scale_rewards="none", beta=BETA, use_bias_correction_kl=False),
    _group("GMPO", "sequence"),
    _group("RLOO", "sequence", {"scale": 1.0}, beta=0.0),
    _group("RLOO", "sequence", {"scale": 1.0, **_SOFT}, beta=BETA),
    _group("RLOO", "sequence", beta=0.0, normalize_advantages=True),
)
_PAIRS = {"group_size": 2, "rests": True, "scale": None, **_SOFT}
_SMOOTH = {"exo_pair": 1e-3, "robust": 0.1}
_KINDS = ("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired")
_KINDS += ("apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm")


def _dpo(kind: str) -> Entry:
    smooth = {"label_smoothing": _SMOOTH[kind]} if kind in _SMOOTH else {}
    said = "".join(f", {name}={value:g}" for name, value in smooth.items())
    return Entry(f"DPOTrainer(loss_type={kind}{said})", lambda: dpo_loss(kind, beta=BETA, **smooth), _PAIRS)


def _kto(kind: str) -> Entry:
    return Entry(f"KTOTrainer(loss_type={kind})", lambda: kto_loss(kind, beta=BETA), _PAIRS)


def _free(trainer: str, **options: Any) -> Entry:
    said = ", ".join(f"{name}={value}" for name, value in options.items())
    return Entry(f"{trainer}Trainer({said})", lambda: reference_free_loss(trainer, beta=BETA, **options), _PAIRS)


PAIRS = (
    *(_dpo(kind) for kind in _KINDS),
    *(_kto(kind) for kind in ("kto", "apo_zero_unpaired")),
    *(_free("CPO", loss_type=kind) for kind in ("sigmoid", "hinge", "ipo")),
    _free("CPO", loss_type="simpo", cpo_alpha=0.0),
    _free("ORPO"),
)
TRL = GROUPS + PAIRS
