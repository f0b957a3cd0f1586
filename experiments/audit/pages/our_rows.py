"""The rows of our own methods: their own code, by the audit of methods."""

from __future__ import annotations

from typing import Any

from ..methods import audit
from ..trees import LeafTree
from .rows import of_batches, short

Row = dict[str, Any]
_KL = {"kl_coef": 0.5}
_PLAIN = {"whiten_advantages": False, "loss_aggregation": "constant"}
_DPO = ("dpo", "cdpo", "ipo", "simpo", "kto", "orpo")
_PRESETS = ("grpo", "dr-grpo", "dapo", "gspo", "cispo", "max-rl", "pass-at-k", "gmpo", "opo", "rloo", "dppo")
OURS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("reinforce", {"baseline": baseline}) for baseline in ("none", "mean", "leave_one_out", "value")),
    ("reinforce", {"baseline": "leave_one_out", **_KL}),
    *(
        ("reinforce", {"baseline": baseline, "credit": "turn", "absent": absent, "group_size": 3})
        for baseline in ("mean", "leave_one_out")
        for absent in ("left_out", "zero")
    ),
    ("rloo", {}),
    ("rloo", _KL),
    ("topr", {"group_size": 3, "baseline": "leave_one_out"}),
    ("topr", {"group_size": 1}),
    ("asymre", {"group_size": 3}),
    ("v-trace", {}),
    ("v-trace", _KL),
    ("reinforce-pp", {}),
    *(("grpo", {"preset": preset, "group_size": 3}) for preset in _PRESETS),
    ("grpo", {"preset": "dr-grpo", "group_size": 3, **_KL}),
    ("grpo", {"preset": "dr-grpo", "group_size": 3, "entropy_control": "kl-cov"}),
    ("grpo", {"group_size": 3, "entropy_control": "clip-cov", "covariance_share": 1.0}),
    ("gigpo", {"preset": "rloo", "group_size": 3}),
    ("gigpo", {"preset": "dr-grpo", "group_size": 3}),
    ("gigpo", {"group_size": 3}),
    *(("nlpo", {"top_p": top_p, **plain}) for plain in ({}, _PLAIN) for top_p in (1.0, 0.7)),
    ("vine-ppo", {"loss_aggregation": "sum"}),
    ("vine-ppo", {"loss_aggregation": "sum", "branch_every": 2, **_KL}),
    ("vine-ppo", {}),
    ("a2c", {}),
    ("a2c", _KL),
    ("ppo", {}),
    ("ppo", _KL),
    ("sac", {}),
    ("sac", {"alpha": 0.0, **_KL}),
    ("dqn", {}),
    ("dqn", {"dueling": True}),
    ("dqn", {"returns": "n_step"}),
    ("dqn", _KL),
    ("dqn", {"tau": 0.5}),
    ("dqn", {"tau": 0.5, "head_free": True}),
    ("dqn", {"tau": 1.0, "munchausen": 0.5}),
    ("dqn", {"tau": 1.0, "munchausen": 0.5, "munchausen_clip": -0.2}),
    ("dqn", {"munchausen": 0.9, **_KL}),
    ("dqn", {"munchausen": 0.9, "munchausen_clip": -1.0, **_KL}),
    ("dqn", {"returns": "n_step", **_KL}),
    ("distill", {}),
    ("distill", {"credit": "to_go"}),
    ("distill", {"estimator": "exact"}),
    ("distill", {"estimator": "exact", "credit": "to_go"}),
    ("trajectory-balance", {}),
    ("trajectory-balance", {"preset": "gvpo"}),
    ("path-consistency", {}),
    ("path-consistency", {"values": "head"}),
    ("tbrm", {}),
    ("apo", {}),
    ("qrpo", {}),
    ("qrpo", {"partition": "sampled"}),
    ("qrpo", {"claim": "kl_return"}),
    ("raft", {}),
    ("expert-iteration", {}),
    *(("dpo", {"loss": loss}) for loss in _DPO),
    ("rrhf", {}),
    ("online-dpo", {}),
    ("sft", {}),
    ("bc", {}),
    ("filtered-bc", {}),
    ("mc-returns", {}),
    ("mc-returns", {"decoding": "greedy"}),
    ("offline-qrpo", {}),
    ("offline-qrpo", {"partition": "continuous"}),
    ("q-sharp", {}),
    ("ilql", {}),
    ("ilql", {"expectile": 0.95, "cql_coef": 0.0, "beta": 50.0}),
    ("cql", {}),
    ("cql", {"cql_coef": 0.0}),
)
"""Names of methods and what of their configuration is not the default."""


_HELD: dict[str, dict[str, Any]] = {
    "pass-at-k": {"claim": "best"},
    "max-rl": {"claim": "max_rl", "task": LeafTree.stopping(3, 2, (1, 0, 0, 1, 0, 0, 1))},
}
"""What presets are held against that do not claim the return; MaxRL is of rewards 0 and 1."""


def label(name: str, options: dict[str, Any]) -> str:
    """How a row is named."""
    said = ", ".join(f"{field}={value}" for field, value in options.items())
    return f"{name}({said})" if said else name


def our_row(name: str, options: dict[str, Any]) -> Row:
    """Audit a method of ours and give its row."""
    result = audit(name, **options, **_HELD.get(options.get("preset", ""), {}))
    smallest = result.smallest
    row = {**result.row(), "name": label(name, options), "origin": "tokengym"}
    row |= {
        "rests": not result.behaviours,
        "right": result.right,
        "leaves": None if smallest is None or result.right else len(smallest.leaves),
        "batches": of_batches(result.batches),
        "fresh_bias": row["fresh_bias"] if result.behaviours else result.optimum,
    }
    for field in ("fresh_cosine", "fresh_scale", "fresh_bias", "stale_cosine", "stale_bias"):
        row[field] = short(row[field])
    return row
