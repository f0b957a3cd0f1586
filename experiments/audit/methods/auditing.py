"""The audit of a method of ours: its own `prepare` and `loss` over every batch that it might have drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....algorithms import ALGORITHMS, Episodes
from ....envs import FiniteTask, TokenGymError
from ....envs.checking import Count, NotNegative, Seed, checked
from ..bounds import Bounds, likeliest, within
from ..claims import Comparison, compare
from ..enumeration import Policy, all_episodes
from ..objectives import Objective, gradient_of
from ..tables import observations, table_agent
from ..trees import LeafTree
from .invariances import critic_residual, invariances
from .resting import ends, residual_at_optimum, vanishes_everywhere
from .results import AuditResult, Behaviour, Smallest
from .running import MOST_BATCHES, expected_direction, listed, policy_gradients, standard_error
from .setting import Setting, Units, drawn_policy
from .smallest import smallest_failure


def usual_tree(claim: str | None = None) -> LeafTree:
    """Return what is audited on unless something else is said: 7 leaves of one and two tokens, rewards in 0…1."""
    rewards = np.random.default_rng(0).uniform(size=7).round(3).tolist()
    return LeafTree.stopping(3, 2, (1, 0, 0, 1, 0, 0, 1) if claim in ("max_rl", "pass_at_k") else rewards)


@checked
def audit_method(
    method: Any,
    task: FiniteTask | None = None,
    claim: str | None = None,
    *,
    group_size: Count | None = None,
    groups: Count | None = None,
    policy: Policy | None = None,
    reference: Policy | None = None,
    critic: str = "exact",
    moved: NotNegative = 0.3,
    fixed_points: bool = True,
    starts: Count = 3,
    smallest: bool = True,
    draws: Count | None = None,
    context: Sequence[int] = (),
    seed: Seed = 0,
    progress: Callable[[str], None] | None = None,
    **overrides: Any,
) -> AuditResult:
    """Enumerate what a method does in expectation, and hold it against what it claims.

    Args:
        method: a name in `ALGORITHMS`, or a class that is registered there.
        task: a finite task; None is a tree of seven leaves.
        claim: a name in `CLAIMS`; None is what the method is said to do: the KL-regularised return where it has a KL,
            a likelihood where it clones, the KL to a teacher where it has one, else the return.
        group_size: episodes that are compared with one another; None leaves it to the configuration.
        groups: how many groups, or episodes of their own, make a batch. None takes 1, and 2 and 4 beside it where the
            direction depends on it.
        policy: where the gradient is taken; None draws one.
        reference: what a KL is to, or the teacher; None is uniform, or the method's own teacher.
        critic: "exact" or "zero".
        moved: standard deviation of what the logits are moved by for a stale behaviour.
        fixed_points: look for the points of rest, too.
        starts: from how many policies they are looked for.
        smallest: look for the smallest tree that shows a failure, too.
        draws: how many batches are drawn, each text being the first of its own share, where there are too many to list;
            their gradients then have standard errors. None refuses.
        context: numbers of texts, as `all_episodes` lists them, of other groups that stand in every batch beside the
            audited one, which alone is differentiated; the gradient is then in units of one group.
        seed: draws policies.
        progress: is told what begins, in a few words.
        **overrides: fields of the method's configuration.

    Raises:
        TokenGymError: the method cannot be audited, or has more batches than can be listed.
    """
    say = progress or (lambda said: None)
    task = usual_tree(claim) if task is None else task
    setting = _setting(method, task, reference, critic, group_size, overrides)
    setting.draws, setting.context = draws, tuple(context)
    if len(setting.context) % setting.group_size or (context and (setting.fed != "episodes" or groups is not None)):
        raise TokenGymError(
            f"context={list(context)}: {setting.name} is given {setting.fed} in groups of {setting.group_size}; "
            "expected whole groups of texts, beside one audited group (groups=None), of a method given episodes."
        )
    held = setting.claim(claim)
    policies = _Policies(task, policy, moved, seed)
    base = groups or 1
    behaviours = {}
    if setting.directed:
        say("the gradient of what it draws itself")
        behaviours = {"fresh": _fresh(setting, held, policies, base)}
        say("gradients of what other behaviours draw")
        behaviours |= _other_behaviours(setting, held, policies, base)
        say("batches of 1, 2 and 4 groups")
    batches = {} if groups is not None or not setting.directed else _batches(setting, held, seed)
    say(f"where it ends, from {starts} policies" if fixed_points else "what should change nothing")
    followed = method_of(setting, _resting(setting))
    vanishes = fixed_points and vanishes_everywhere(followed, seed)
    result = AuditResult(
        method=setting.name,
        task=getattr(task, "name", type(task).__name__),
        episodes=len(all_episodes(task)[0]),
        claim=held,
        group_size=setting.group_size,
        groups=base,
        level=_level(setting),
        settings={name: getattr(setting.config, name) for name in sorted({*overrides, *_neutral(setting)})},
        behaviours=behaviours,
        batches=batches,
        invariances=invariances(setting, held, policies.policy),
        bounded=setting.bounds(None) is not None,
        critic=critic_residual(setting, policies.policy),
        optimum=None if groups is not None and groups > 1 else residual_at_optimum(followed, held),
        ends=tuple(ends(followed, held, seed, starts)) if fixed_points and not vanishes else (),
        vanishes=vanishes,
        smallest=None,
    )
    if smallest and not result.right:
        say("the smallest tree that shows the failure")
        result = replace(result, smallest=_failure(setting, held))
    elif smallest and "stale" in behaviours and not behaviours["stale"].unbiased:
        say("the smallest tree on which stale data mislead")
        result = replace(result, smallest=_failure(setting, held, stale=True))
    return result


def _failure(setting: Setting, claim: Objective, stale: bool = False) -> Smallest | None:
    """The smallest tree on which a gradient that is claimed is not the one that comes, on fresh data or on stale."""
    if not setting.directed:
        return None

    def audited(task: FiniteTask, policy: Policy | None) -> dict[str, tuple[Tensor, Tensor]]:
        here, uniform = method_of(setting, task), table_agent(task, policy).probabilities
        behaviour = here.data or uniform
        bounds = here.bounds(uniform)
        episodes, chances = here.listing(uniform, behaviour)
        units = listed(here, episodes, chances, 1)
        if stale:  # said by the uniform policy, learnt from by one that moved
            moved = drawn_policy(task, 1, 0.3)
            algorithm, after = _after(here, uniform, moved)
            weights, rows = policy_gradients(here, algorithm, episodes, units, after)
            found = (torch.from_numpy(weights)[:, None] * rows).sum(0)
            return {"stale": (found, _claimed(here, claim, moved, uniform, bounds))}
        found = expected_direction(here, here.algorithm(uniform), episodes, units)
        return {"fresh": (found, _claimed(here, claim, uniform, behaviour, bounds))}

    try:
        return smallest_failure(audited)
    except TokenGymError:  # a tree whose groups are too many to list, and none before it failed
        return None


def _resting(setting: Setting) -> FiniteTask:
    """Where fixed points are looked for: the task itself where it is small enough, else a tree of four leaves."""
    leaves = len(all_episodes(setting.task)[0])
    if leaves <= 4 and setting.group_size <= 4:
        return setting.task
    return LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.2])


# What is audited ------------------------------------------------------------------------------------------------------


def _setting(
    method: Any,
    task: FiniteTask,
    reference: Policy | None,
    critic: str,
    group_size: int | None,
    overrides: dict[str, Any],
) -> Setting:
    name = method if isinstance(method, str) else getattr(method, "name", None)
    if not isinstance(name, str):
        raise TokenGymError(f"{method!r} is no method; give a name such as 'ppo', a registered class, or a loss.")
    if critic not in ("exact", "zero"):
        raise TokenGymError(f"critic={critic!r}; expected 'exact' or 'zero'.")
    ALGORITHMS.config(name)  # an unknown one stops here, with the nearest
    if group_size is not None and "group_size" not in ALGORITHMS.config(name).__dataclass_fields__:
        raise TokenGymError(f"{name} has no group_size; leave it out.")
    if group_size is not None:
        overrides = {**overrides, "group_size": group_size}
    return Setting(name, task, overrides, reference, "exact" if critic == "exact" else "zero")


def method_of(setting: Setting, task: FiniteTask) -> Setting:
    """The same method on another task, without a reference that belongs to the first."""
    return Setting(setting.name, task, setting.overrides, None, setting.critic, setting.group_size)


def _neutral(setting: Setting) -> set[str]:
    usual = type(setting.config)()
    names = setting.config.__dataclass_fields__
    return {name for name in names if getattr(usual, name) != getattr(setting.config, name)}


def _level(setting: Setting) -> str:
    if setting.declared.level is not None:
        return setting.declared.level
    if setting.fed in ("pairs", "ranks"):
        return "sequence"
    rule = getattr(setting.config, "rule", setting.config)  # a preset says it, where the configuration does not
    return str(getattr(rule, "ratio_level", getattr(rule, "ratio", "token")))


class _Policies:
    """The policy that is audited, one that it has moved away from, and behaviours that draw otherwise."""

    def __init__(self, task: FiniteTask, policy: Policy | None, moved: float, seed: int) -> None:
        self.task = task
        self.policy: Policy = drawn_policy(task, seed) if policy is None else policy
        self.moved = drawn_policy(task, seed + 1, moved, self.policy)

    def truncated(self, top_p: float = 0.7) -> Policy:
        """The likeliest tokens that make up a share alone."""
        return within(self.policy, lambda tokens, lengths: likeliest(self.policy(tokens, lengths), top_p))

    def tempered(self, temperature: float = 0.7) -> Policy:
        """The policy with its logits divided."""

        def policy(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            said = self.policy(tokens, lengths) ** (1 / temperature)
            return said / said.sum(axis=1, keepdims=True)

        return policy


# Gradients ------------------------------------------------------------------------------------------------------------


def _behaviour(
    setting: Setting,
    algorithm: Any,
    episodes: Episodes,
    units: Units,
    claimed: Tensor,
    effective: float = 1.0,
    after: dict[str, Tensor] | None = None,
) -> Behaviour:
    chances, rows = policy_gradients(setting, algorithm, episodes, units, after)
    weights = torch.from_numpy(chances)
    mean = (weights[:, None] * rows).sum(0)
    variance = float((weights * (rows - mean).square().sum(1)).sum())
    error = standard_error(units, rows) / max(float(mean.norm()), 1e-300)
    return Behaviour(compare(mean, claimed), variance, effective, len(rows), error)


def _fresh(setting: Setting, claim: Objective, policies: _Policies, groups: int) -> Behaviour:
    # What is cloned was said by another: of its own episodes a policy has nothing to learn.
    behaviour = setting.data or policies.policy
    episodes, chances = setting.listing(policies.policy, behaviour)
    algorithm = setting.algorithm(policies.policy)
    units = listed(setting, episodes, chances, groups)
    claimed = _claimed(setting, claim, policies.policy, behaviour, setting.bounds(policies.policy))
    return _behaviour(setting, algorithm, episodes, units, claimed)


def _claimed(setting: Setting, claim: Objective, policy: Policy, behaviour: Policy, bounds: Bounds | None) -> Tensor:
    agent = table_agent(setting.task, policy)
    return gradient_of(agent, setting.task, claim, setting.anchor, behaviour, bounds).flatten()


def _other_behaviours(setting: Setting, claim: Objective, policies: _Policies, groups: int) -> dict[str, Behaviour]:
    """Stale, truncated and tempered draws; what is claimed stays the gradient at the policy that learns."""
    found: dict[str, Behaviour] = {}
    bounds = setting.bounds(policies.policy)
    if setting.fed == "episodes":
        episodes, chances = setting.listing(policies.policy)
        algorithm, after = _after(setting, policies.policy, policies.moved)
        units = listed(setting, episodes, chances, groups)
        claimed = _claimed(setting, claim, policies.moved, policies.policy, bounds)
        effective = _effective(setting.task, within(policies.moved, bounds), within(policies.policy, bounds))
        found["stale"] = _behaviour(setting, algorithm, episodes, units, claimed, effective, after)
    draws = {"top-p .7": policies.truncated(), "temperature .7": policies.tempered()}
    if setting.cloned:
        return {}
    if setting.context:  # whose numbers are of all texts
        del draws["top-p .7"]
    if setting.fed == "replay":
        draws = {"stale": policies.moved, **draws}
    for name, behaviour in draws.items():
        episodes, chances = setting.listing(policies.policy, behaviour)
        algorithm = setting.algorithm(policies.policy, on_policy=False)
        units = listed(setting, episodes, chances, groups)
        claimed = _claimed(setting, claim, policies.policy, behaviour, bounds)
        effective = _effective(setting.task, within(policies.policy, bounds), within(behaviour, bounds))
        found[name] = _behaviour(setting, algorithm, episodes, units, claimed, effective)
    return found


def _after(setting: Setting, spoke: Policy, learns: Policy) -> tuple[Any, dict[str, Tensor] | None]:
    """A method that learns from what another policy said, and what its table holds by the time of the loss."""
    algorithm = setting.algorithm(spoke)
    if setting.fed == "replay" or getattr(algorithm, "weighs_behaviour", False):  # which `prepare` sees
        return setting.algorithm(learns, on_policy=False), None
    table = table_agent(setting.task, learns).readouts["policy"].weight
    assert isinstance(table, Tensor)
    return algorithm, {"readouts.policy.weight": table.detach()}


def _effective(task: FiniteTask, policy: Policy, behaviour: Policy) -> float:
    """The share of draws that whole weights π/μ leave: (E w)²/E w² under the behaviour."""
    episodes, chances = all_episodes(task, behaviour)
    flat = episodes.flat
    tokens, lengths = observations(episodes)
    said = np.asarray(policy(tokens, lengths))[np.arange(len(flat)), flat.action]
    weights = np.exp(np.bincount(flat.episode, np.log(said) - flat.log_prob, len(episodes)))
    return float((chances @ weights) ** 2 / (chances @ weights**2))


# Batches --------------------------------------------------------------------------------------------------------------


def _small(rewards: Iterable[float] = (0.3, 0.0, 1.0)) -> LeafTree:
    return LeafTree.stopping(2, 2, list(rewards))


def _batches(setting: Setting, claim: Objective, seed: int) -> dict[int, Comparison]:
    """The gradient of batches of 1, 2 and 4 groups beside the claimed one, on a tree of three leaves."""
    here = method_of(setting, _small())
    policies = _Policies(here.task, None, 0.3, seed)
    found: dict[int, Comparison] = {}
    for groups in (1, 2, 4):
        if comb(comb(2 + here.group_size, here.group_size) + groups - 1, groups) > MOST_BATCHES:
            break
        found[groups] = _fresh(here, claim, policies, groups).comparison
        if groups == 2 and abs(found[1].cosine - found[2].cosine) < 1e-12 and _equal(found[1].scale, found[2].scale):
            return {1: found[1], 2: found[2]}
    return found


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-9 * max(abs(one), abs(other), 1e-12)
