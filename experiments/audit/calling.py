"""How a stranger's loss is called: by the names of what it asks for, and with what goes wrong in it said in words."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...envs import TokenGymError

Loss = Callable[..., Tensor]
"""Takes what it names, and gives a scalar to be minimised: see `GIVEN`."""

GIVEN = {
    "log_probs": "float64 (B, T), of the tokens under the policy that learns; the gradient is taken in these",
    "entropies": "float64 (B, T), of that policy's distributions; the gradient is taken in these, too",
    "old_log_probs": "float64 (B, T), under the policy as it was when the update began",
    "sampling_log_probs": "float64 (B, T), under the distribution that drew",
    "reference_log_probs": "float64 (B, T), under the reference policy",
    "rewards": "float64 (B,), of whole episodes",
    "token_rewards": "float64 (B, T)",
    "values": "float64 (B, T), what the policy that learns earns from before each token on: an exact critic",
    "mask": "bool (B, T), where the agent spoke; elsewhere everything of shape (B, T) holds random numbers",
    "groups": "int64 (B,), the number of each row's group",
}
"""What a loss can ask for by the names of its arguments; one that takes ``**others`` is given all of them."""

LEARNT = ("log_probs", "entropies")
"""Of these, what gradients are taken in."""


def asked(loss: Loss) -> tuple[str, ...]:
    """Return the names of what a loss asks for, or raise where it asks for what there is not."""
    names: list[str] = []
    for parameter in _parameters(loss):
        if parameter.name in GIVEN and parameter.kind is parameter.POSITIONAL_ONLY:
            raise TokenGymError(
                f"The loss takes {parameter.name} by its place alone; it is given everything by name: take out the '/'."
            )
        if parameter.name in GIVEN and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            names.append(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            return tuple(GIVEN)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise TokenGymError(f"The loss asks for {parameter.name!r}; it can ask for {', '.join(GIVEN)}.")
    if not set(names) & set(LEARNT):
        raise TokenGymError(
            "The loss asks for neither log_probs nor entropies, so that it has no gradient; it has to name them among "
            "its arguments."
        )
    return tuple(names)


def _parameters(loss: Loss) -> Iterable[inspect.Parameter]:
    # A module's own __call__ takes anything; what it takes stands at its `forward`.
    named = loss.forward if isinstance(loss, torch.nn.Module) else loss
    try:
        return inspect.signature(named).parameters.values()
    except (TypeError, ValueError) as error:
        raise TokenGymError(
            f"The loss is {loss!r}, whose arguments have no names to ask by: wrap it in a function that names them."
        ) from error


def scalar(value: Any) -> Tensor:
    """Return what a loss gave, or raise where that is no float64 tensor without dimensions."""
    if not isinstance(value, Tensor) or value.ndim:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise TokenGymError(f"The loss gave {shape}; expected a tensor without dimensions, such as .mean() gives.")
    if value.dtype != torch.float64:
        kind = str(value.dtype).removeprefix("torch.")
        raise TokenGymError(
            f"The loss gave {kind}; expected float64, as everything is that it is given: take out what casts, such as "
            ".float() or torch.tensor(…), whose rounding would look like a bias."
        )
    return value


def called(loss: Loss, given: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a loss once and return its value and its gradients, by name of what they are taken in.

    Raises:
        TokenGymError: the loss raises anything itself, gives no scalar, or cannot be differentiated.
    """
    leaves = {name: given[name].clone().requires_grad_() for name in LEARNT if name in given}
    # As out of a model they are no leaves, so that a loss may change them in place as it may in a trainer.
    told = {**given, **{name: leaf.clone() for name, leaf in leaves.items()}}
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in told.items())
    try:
        value = scalar(loss(**told))
        found = (
            torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
            if value.requires_grad
            else [None] * len(leaves)
        )
    except TokenGymError:
        raise
    except Exception as error:  # whatever a stranger's code may raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise TokenGymError(
            f"The loss raised {type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno}), when "
            f"it was given {shapes}."
        ) from error
    gradients = (
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves.values(), found, strict=True)
    )
    return value.detach(), dict(zip(leaves, gradients, strict=True))


def require_steady(first: Tensor, again: Tensor) -> None:
    """Raise where a loss gave two values or gradients for one and the same group: (…, 1 + N), the value first."""
    steady = torch.isclose(first, again, rtol=1e-9, atol=1e-12, equal_nan=True) | first.isnan() | again.isnan()
    if not bool(steady.all()):
        *_, place = wrong = tuple((~steady).nonzero()[0].tolist())
        what = "a gradient of " if place else ""
        raise TokenGymError(
            f"The loss gave {what}{float(first[wrong]):.6g} and then {float(again[wrong]):.6g} for one and the same "
            "group; expected a function of what it is given: take out what it draws at random (dropout: put a module "
            "in .eval()), and what it keeps from one call to the next (a running mean)."
        )
