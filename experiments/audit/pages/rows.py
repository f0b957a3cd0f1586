"""Rows of the audit's page: what is shown of each loss, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..claims import Comparison
from ..ends import End
from ..verdicts import LossAudit, audit_loss

OBJECTIVES = {
    "return": "E[R]",
    "kl_return": "E[R] − β·KL",
    "kl_quantile": "E[quantile of R] − β·KL",
    "best": "E[max of G]",
    "pass_at_k": "P(one of G is above 0)",
    "max_rl": "MaxRL, order G − 1",
}
"""How tables name what a loss is held against."""


def row_of(name: str, origin: str, audit: LossAudit, stale_scale: bool = False) -> dict[str, Any]:
    """What the page shows of an audit; on request also how long the gradient of stale data is, which it does not."""
    claim = audit.claim
    objective = OBJECTIVES[claim.objective] + (f" (β = {claim.beta:g})" if claim.beta else "")
    return {
        "name": name,
        "origin": origin,
        "objective": objective,
        "group_size": claim.group_size,
        "level": claim.level,
        "rests": claim.rests,
        "right": audit.right,
        "fresh_cosine": None if audit.fresh.vanishes else short(audit.fresh.cosine),
        "fresh_scale": short(audit.fresh.scale),
        "fresh_bias": short(audit.fresh.bias),
        "stale_cosine": None if audit.stale.vanishes else short(audit.stale.cosine),
        **({"stale_scale": short(audit.stale.scale)} if stale_scale else {}),
        "stale_bias": short(audit.stale.bias),
        "batches": of_batches(audit.batches),
        "ends": "; ".join(dict.fromkeys(_end(end) for end in audit.ends)),
        "counterexample": "" if audit.counterexample is None else str(audit.counterexample),
        "leaves": None if audit.counterexample is None else audit.counterexample.leaves,
        "vectorised": audit.vectorised,
    }


def audited_row(name: str, origin: str, make: Callable[[], Any], claim: dict[str, Any]) -> dict[str, Any]:
    """Audit a loss and give its row."""
    return row_of(name, origin, audit_loss(make(), **claim))


def of_batches(batches: Mapping[int, Comparison]) -> dict[str, list[float | None]]:
    """Cosine and scale in batches of B groups, by B."""
    return {str(number): [short(one.cosine), short(one.scale)] for number, one in batches.items()}


def short(value: float | None) -> float | None:
    """Three digits, and nothing for what rounding makes of 0; None where there is no number."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(f"{value:.3g}") if abs(value) > 1e-9 else 0.0


def _end(end: End) -> str:
    where = {
        "interior": "at rest",
        "vertex": "one leaf alone",
        "face": "some tokens given up, then at rest",
        "kink": "at a kink",
        "everywhere": "no gradient anywhere",
        "moving": "still moving",
    }[end.kind]
    regret = 0.0 if abs(end.regret) < 1e-4 else float(f"{end.regret:.2g}")
    return f"{where}, regret {regret:g}"
