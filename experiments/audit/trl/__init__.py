"""TRL's own losses as functions of log-probabilities, for the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....envs.lazy import lazy_names

if TYPE_CHECKING:
    from .driven import available, dpo_loss, group_loss, kto_loss, reference_free_loss

__all__ = [
    "available",
    "dpo_loss",
    "group_loss",
    "kto_loss",
    "reference_free_loss",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "available": "driven",
        "dpo_loss": "driven",
        "group_loss": "driven",
        "kto_loss": "driven",
        "reference_free_loss": "driven",
    },
)
