"""What each method says that it does, and what it is to be given: a line each, by its name or by what it derives from.

An algorithm that derives from one of these bases and keeps its promise needs no line of its own. One that claims
something else, or takes something else, gets one: `DECLARED` is looked through by the names of the class and of its
bases, nearest first, after the name that it is registered by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ....envs import FiniteTask, TokenGymError
from ..bounds import likeliest
from ..enumeration import Policy
from ..tables import optimum

Fed = Literal["episodes", "replay", "dataset", "pairs", "ranks"]
"""What `prepare` takes: fresh episodes (groups, where the configuration has a ``group_size``), draws of a replay,
episodes of a dataset, comparisons, or rankings."""

Claims = Literal["gradient", "rest"]
"""That the expected step is the gradient of the objective; or only that it vanishes at the objective's optimum."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum of a KL- and entropy-regularised return on all S states of a listed task, in the order of a table.

    Attributes:
        q: float64 (S, A), what each token is worth if the optimum goes on after it.
        values: float64 (S,), what the states are worth.
        log_policy: float64 (S, A); of several best tokens, without KL and entropy, the first is said.
        log_reference: float64 (S, A).
        beta: weight of the KL.
        alpha: weight of the entropy.
    """

    q: np.ndarray
    values: np.ndarray
    log_policy: np.ndarray
    log_reference: np.ndarray
    beta: float
    alpha: float


def _none(config: Any) -> float:
    return 0.0


def _never(config: Any) -> bool:
    return False


def weight_of_kl(config: Any) -> float:
    """β as the configurations of preferences and of rewards have it; 0 without a KL."""
    if hasattr(config, "chosen_beta"):
        return float(config.chosen_beta)
    return float(config.kl_coef) if getattr(config, "has_kl", False) else 0.0


@dataclass(frozen=True)
class Declared:
    """What a method claims.

    Attributes:
        fed: what its `prepare` takes.
        claims: a gradient, or only to rest at an optimum.
        objective: from its configuration to a name in `CLAIMS`; None, or where it gives None, is "kl_return" where β
            or α is above 0, else "return".
        beta: from its configuration to the weight of the KL.
        alpha: from its configuration to the weight of the entropy.
        stale: whether the claim covers what an older policy, or anybody, drew. One that only rests is then looked at on
            what two fixed policies say; else on what it says itself.
        level: whether its ratios are of "token" or "sequence"; None asks the configuration.
        logits_hold_q: from its configuration to whether the policy's logits are Q/β over the reference's, so that their
            level counts, too.
        tables: from the optimum and the configuration to what the named heads ("policy", "value", "q", "q2") hold
            there, (S, A) or (S, 1), in place of the usual: Q*, V*, and for the policy log π* or ℓ_ref + Q*/β.
        ready: is called with the algorithm once it is built, say to give it estimates that `learn` would have made.
        acts: from the algorithm to who is judged, a policy (tokens (m, L), lengths (m,)) → (m, A); None is its policy
            head, or else the best token of Q.
        anchor: from the task and the configuration to what the KL of the claim is to where no reference is given; None
            is uniform.
        ranks: whether it ranks episodes among what the reference earns, of which it is then given all.
        bounds: from its configuration to what it keeps its policy to: from probabilities (m, A) to bool (m, A), or None
            for everything. It has just looked at the policy that draws, and is held against the claim within that.
    """

    fed: Fed
    claims: Claims
    objective: Callable[[Any], str | None] | None = None
    beta: Callable[[Any], float] = weight_of_kl
    alpha: Callable[[Any], float] = _none
    stale: bool = False
    level: str | None = None
    logits_hold_q: Callable[[Any], bool] = _never
    tables: Callable[[Optimum, Any], Mapping[str, np.ndarray]] | None = None
    ready: Callable[[Any], None] | None = None
    acts: Callable[[Any], Callable[..., np.ndarray]] | None = None
    anchor: Callable[[FiniteTask, Any], Policy] | None = None
    ranks: bool = False
    bounds: Callable[[Any], Callable[[np.ndarray], np.ndarray] | None] | None = None


def _of_dqn(optimum: Optimum, config: Any) -> dict[str, np.ndarray]:
    """A dueling Q is V + A − mean A. A Munchausen Q is (Q − α V)/(1 − α); read off logits it is λ times theirs."""
    alpha = config.munchausen
    q = (optimum.q - alpha * optimum.values[:, None]) / (1 - alpha)
    if config.has_kl:
        reference = 0.0 if config.kl_reference == "uniform" else optimum.log_reference  # the levels that they have
        return {"policy": reference + q * (1 - alpha) / optimum.beta}
    if config.head_free:
        return {"policy": q / config.tau}
    return _dueling(q, config)


def _dueling(q: np.ndarray, config: Any) -> dict[str, np.ndarray]:
    """V + A − mean A."""
    mean = q.mean(axis=1, keepdims=True)
    return {"value": mean, "q": q - mean} if config.dueling else {"q": q}


def _said_by_dqn(algorithm: Any) -> Callable[..., np.ndarray]:
    """The best token of Q, or the soft policy: what its behaviour explores around."""

    def rule(output: Any, masks: Any) -> Any:
        return algorithm.policy_probabilities(output, masks)[0].log()

    return lambda tokens, lengths: algorithm.agent.probabilities(tokens, lengths, rule=rule)


def _likelihood(config: Any) -> str:
    return "likelihood"


def _of_pairs(config: Any) -> str:
    return "kl_return" if config.has_reference else "return"


def _of_groups(config: Any) -> str | None:
    """The lead of the best over the second is of the best of a group, and of nothing that has a KL."""
    return "best" if config.rule.baseline == "second_best" and not config.kl_coef else None


def _return(config: Any) -> str:
    return "return"


def _teacher(config: Any) -> str:
    return "teacher"


def _quantile(config: Any) -> str:
    return "kl_quantile"


def _solved(task: FiniteTask, config: Any) -> Policy:
    """The solver's teacher, which distillation has unless it is given another."""
    if config.teacher != "optimal":
        raise TokenGymError(
            f"teacher is {config.teacher!r}, and an audit asks a teacher of several small tasks; expected 'optimal', "
            "or reference=policy for the first of them."
        )
    return optimum(task, config.teacher_beta)


def _nucleus(config: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """The tokens that a lagged policy thinks likely, where it has just caught up."""
    if config.top_p >= 1:
        return None
    return lambda said: likeliest(said, config.top_p)


def _decoded(algorithm: Any) -> Callable[..., np.ndarray]:
    """Who says what a decoding rule makes of the heads."""
    return algorithm.policy.probabilities


DECLARED: dict[str, Declared] = {
    # by registered name, or by the name of a class in `algorithms` that others derive from
    "SAC": Declared("replay", "gradient", alpha=lambda config: float(config.alpha)),
    "DQN": Declared(
        "replay",
        "rest",
        alpha=lambda config: (1 - config.munchausen) * config.tau,
        stale=True,
        logits_hold_q=lambda config: config.from_logits,
        tables=_of_dqn,
        acts=_said_by_dqn,
    ),
    "OffPolicy": Declared("replay", "rest", stale=True),
    "TrajectoryBalance": Declared("episodes", "gradient", level="sequence"),
    "APO": Declared("episodes", "gradient", level="sequence"),
    "QRPO": Declared("episodes", "gradient", _quantile, level="sequence", ranks=True),
    "OfflineQRPO": Declared("dataset", "rest", _quantile, stale=True, level="sequence", ranks=True),
    "TBRM": Declared("episodes", "rest", stale=True, level="sequence", logits_hold_q=lambda config: True),
    "PathConsistency": Declared("episodes", "rest", stale=True, logits_hold_q=lambda config: config.values == "logits"),
    "GRPO": Declared("episodes", "gradient", _of_groups),
    "TOPR": Declared("episodes", "gradient", level="sequence"),
    "Cloning": Declared("dataset", "gradient", _likelihood),
    "CQL": Declared("dataset", "rest", _return, stale=True, tables=lambda optimum, config: _dueling(optimum.q, config)),
    "Valued": Declared("dataset", "rest", _return, stale=True, acts=_decoded),
    "ExpertIteration": Declared("dataset", "gradient", _likelihood),
    "RRHF": Declared("ranks", "rest", _return, stale=True, level="sequence"),
    "DPO": Declared("pairs", "rest", _of_pairs, stale=True, level="sequence"),
    "OnlineDPO": Declared("pairs", "rest", _of_pairs, stale=True, level="sequence"),
    "RAFT": Declared("episodes", "gradient"),
    "Distill": Declared("episodes", "gradient", _teacher, anchor=_solved),
    "NLPO": Declared("episodes", "gradient", bounds=_nucleus),
    "OnPolicy": Declared("episodes", "gradient"),
}


def declare(name: str, declared: Declared) -> None:
    """Say what a method outside the library claims, by the name that it is registered by, or of its class."""
    DECLARED[name] = declared


def declared_of(name: str, algorithm: Any) -> Declared:
    """Return what a method declares, or what the nearest of its bases does.

    Raises:
        TokenGymError: none of them does, or it has no `prepare`.
    """
    for one in (name, *(base.__name__ for base in algorithm.__mro__)):
        if one in DECLARED and hasattr(algorithm, "prepare"):
            return DECLARED[one]
    raise TokenGymError(
        f"{name} cannot be audited: it has no prepare(batch) and loss(part, prepared) of a kind that is known; "
        "declare what it claims (see experiments/audit/methods/declared.py), or give its loss as a function instead."
    )
