"""The expected gradient of a loss that is a function of log-probabilities, over every group that may be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...envs import TokenGymError
from .calling import LEARNT, Loss, asked, called, scalar
from .groups import Groups, all_groups, drawn_groups
from .listing import Listing
from .spread import Spread

_TOKENS = (*LEARNT, "old_log_probs", "sampling_log_probs", "reference_log_probs", "token_rewards", "values")
_CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Sampled:
    """Who drew the episodes and what else a loss is told, all as logits (S, A).

    Attributes:
        logits: the policy that learns.
        behaviour: drew the episodes; None: the policy itself.
        old: the policy when the update began; None: the behaviour.
        reference: None is uniform.
    """

    logits: Tensor
    behaviour: Tensor | None = None
    old: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Expected:
    """What the gradient of a loss comes to on average.

    Attributes:
        gradient: float64 (S, A), of the loss in the logits: the policy goes against it.
        loss: the expected loss.
        variance: E‖g‖² − ‖E g‖² of one group's gradient; NaN where it was not asked for.
        standard_error: float64 (S, A), of the gradient where groups were drawn; 0 where all were listed.
        leak: the largest absolute gradient at a position that the mask leaves out.
        groups: how many were listed.
        vectorised: whether `torch.func.vmap` took the loss.
    """

    gradient: Tensor
    loss: float
    variance: float
    standard_error: Tensor
    leak: float
    groups: int
    vectorised: bool


def tensors_of(listing: Listing, sampled: Sampled, poison: int = 0, padding: int = 0) -> dict[str, Tensor]:
    """Everything in `GIVEN` but ``groups``, of all E episodes, with random numbers where the mask is not.

    Args:
        listing: the episodes.
        sampled: the policies.
        poison: seeds what stands where the agent did not speak.
        padding: columns to add on the right.
    """
    logits = sampled.logits.detach()
    behaviour = logits if sampled.behaviour is None else sampled.behaviour
    old = behaviour if sampled.old is None else sampled.old
    reference = listing.uniform() if sampled.reference is None else sampled.reference
    tensors = {
        "log_probs": listing.log_probs(logits),
        "entropies": listing.entropies(logits),
        "old_log_probs": listing.log_probs(old),
        "sampling_log_probs": listing.log_probs(behaviour),
        "reference_log_probs": listing.log_probs(reference),
        "token_rewards": listing.token_rewards,
        "values": listing.values(logits),
    }
    mask = torch.nn.functional.pad(listing.mask, (0, padding))
    generator = torch.Generator().manual_seed(poison)
    for name in _TOKENS:
        values = torch.nn.functional.pad(tensors[name], (0, padding))
        noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        tensors[name] = torch.where(mask, values, noise if name != "entropies" else noise.abs())
    return tensors | {"rewards": listing.rewards, "mask": mask}


def expected(
    loss: Loss,
    listing: Listing,
    sampled: Sampled,
    group_size: int = 4,
    *,
    context: Tensor | None = None,
    context_size: int | None = None,
    poison: int = 0,
    padding: int = 0,
    with_variance: bool = False,
    ordered: bool = False,
    draws: int | None = None,
    seed: int = 0,
) -> Expected:
    """Average the gradient of a loss over all groups that the behaviour may draw.

    Args:
        loss: asks by name for what `GIVEN` holds.
        listing: the episodes.
        sampled: the policies.
        group_size: G.
        context: int64 (C,), episodes of other groups that stand beside the audited one in every batch, without a
            gradient of their own.
        context_size: how many of them make a group; None: G.
        poison: seeds what stands where the mask is not.
        padding: columns to add on the right.
        with_variance: work it out, too.
        ordered: list groups in every order of their members, for a loss that such an order changes.
        draws: draw about so many groups, stratified by their first member, in place of listing all.
        seed: of such draws.
    """
    names = asked(loss)
    behaviour = sampled.logits if sampled.behaviour is None else sampled.behaviour
    chances = listing.chances(behaviour.detach()).numpy()
    if draws is not None:
        groups = drawn_groups(chances, group_size, draws, seed)
    elif ordered:
        groups = _in_every_order(listing, behaviour, group_size)
    else:
        groups = all_groups(chances, group_size)
    members, weights = torch.from_numpy(groups.members), torch.from_numpy(groups.probabilities)
    tensors = tensors_of(listing, sampled, poison, padding)
    beside = torch.zeros(0, dtype=torch.int64) if context is None else context
    other = 1 + torch.arange(len(beside)) // (context_size or group_size)
    labels = torch.cat([torch.zeros(group_size, dtype=torch.int64), other])
    given = _Given(loss, names, tensors, beside, labels, group_size)
    values, gradients, vectorised = _evaluated(given, members)
    leak, flat = 0.0, torch.zeros_like(sampled.logits)
    logits = sampled.logits.detach().clone().requires_grad_()
    learnt = {"log_probs": listing.log_probs(logits), "entropies": listing.entropies(logits)}
    inside = listing.mask[members]
    width = listing.mask.shape[1]
    total = torch.zeros((), dtype=torch.float64)
    for name, gradient in gradients.items():
        if bool((outside := gradient[..., :width][~inside].abs()).numel()):
            leak = max(leak, float(outside.max()))
        if padding:
            leak = max(leak, float(gradient[..., width:].abs().max()))
        shared = torch.where(inside, gradient[..., :width], 0.0)
        of_episodes = torch.zeros_like(learnt[name])
        of_episodes.index_add_(0, members.flatten(), (weights[:, None, None] * shared).flatten(0, 1))
        total = total + (of_episodes * learnt[name]).sum()
    if total.requires_grad:
        flat = torch.autograd.grad(total, logits)[0]
    variance, error = float("nan"), torch.zeros_like(flat)
    if with_variance or groups.strata is not None:
        each = Spread(listing, sampled.logits, members, gradients)
        variance = each.square(weights) - float(flat.square().sum())
        error = error if groups.strata is None else each.standard_error(weights, torch.from_numpy(groups.strata))
    return Expected(flat, float(weights @ values), variance, error, leak, len(groups), vectorised)


@dataclass(frozen=True, eq=False)
class _Given:
    """A loss, and where what it is told comes from."""

    loss: Loss
    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    beside: Tensor
    labels: Tensor
    size: int

    @property
    def learnt(self) -> tuple[str, ...]:
        """The names of what a gradient is taken in."""
        return tuple(name for name in self.names if name in LEARNT)

    def of(self, members: Tensor) -> dict[str, Tensor]:
        """The audited rows' own part of what is learnt."""
        return {name: self.tensors[name][members] for name in self.learnt}

    def told(self, learnt: Mapping[str, Tensor], members: Tensor) -> dict[str, Any]:
        """What the loss of one group is given, the group beside its context; (G,) members."""
        rows = torch.cat([members, self.beside]) if len(self.beside) else members
        given: dict[str, Any] = {}
        for name in self.names:
            if name == "groups":
                given[name] = self.labels.clone()
            elif name in learnt:
                own = learnt[name]
                given[name] = torch.cat([own, self.tensors[name][self.beside]]) if len(self.beside) else own
            else:
                given[name] = self.tensors[name][rows]
        return given

    def value(self, learnt: Mapping[str, Tensor], members: Tensor) -> Tensor:
        """The loss of one group."""
        return scalar(self.loss(**self.told(learnt, members)))


def _evaluated(given: _Given, members: Tensor) -> tuple[Tensor, dict[str, Tensor], bool]:
    """Values (M,), and gradients (M, G, T) by name."""
    try:
        values, gradients = _at_once(given, members)
        vectorised = True
    except TokenGymError:
        raise
    except Exception:  # whatever a loss does that vmap cannot: asking for a number, a shape that depends on data
        values, gradients = _one_by_one(given, members)
        vectorised = False
    _require_finite(given, members, values, gradients)
    return values, gradients, vectorised


def _at_once(given: _Given, members: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    each = torch.func.vmap(torch.func.grad_and_value(given.value))
    parts = [each(given.of(chunk), chunk) for chunk in members.split(_CHUNK)]
    gradients = {name: torch.cat([part[0][name].detach() for part in parts]) for name in given.learnt}
    return torch.cat([part[1].detach() for part in parts]), gradients


def _one_by_one(given: _Given, members: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    values, gradients = [], {name: [] for name in given.learnt}
    for group in members:
        value, found = called(given.loss, given.told(given.of(group), group))
        values.append(value)
        for name, gradient in found.items():
            gradients[name].append(gradient[: len(group)])  # what stands beside has no gradient of its own
    return torch.stack(values), {name: torch.stack(each) for name, each in gradients.items()}


def _require_finite(given: _Given, members: Tensor, values: Tensor, gradients: Mapping[str, Tensor]) -> None:
    for name, found in (("loss", values), *((f"gradient of {name}", part) for name, part in gradients.items())):
        wrong = (~found.isfinite()).nonzero()
        if len(wrong):
            group, *place = wrong[0].tolist()
            where = f", row {place[0]}, column {place[1]}" if place else ""
            rewards = given.tensors["rewards"][members[group]].tolist()
            raise TokenGymError(
                f"The {name} is {float(found[tuple(wrong[0])])} in group {group} of {len(members)}{where}, whose "
                f"rewards are {rewards}: guard what it divides by, or takes a root or logarithm of."
            )


def _in_every_order(listing: Listing, behaviour: Tensor, size: int) -> Groups:
    """All tuples of episodes."""
    chances = listing.chances(behaviour.detach())
    if len(chances) ** size > 500_000:
        raise TokenGymError(
            f"The order of a group changes this loss, and {len(chances)} episodes have {len(chances) ** size:,} tuples "
            f"of {size}: take a smaller tree or groups."
        )
    members = torch.cartesian_prod(*[torch.arange(len(chances))] * size).reshape(-1, size)
    return Groups(members.numpy(), chances[members].prod(1).numpy())


def changed(sampled: Sampled, **policies: Tensor | None) -> Sampled:
    """Other policies in place of some."""
    return replace(sampled, **policies)
