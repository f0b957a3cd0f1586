"""Low-rank adapters (LoRA) of `peft`: put around a model's layers, taken off, and read together with these."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from ...envs import TokenGymError
from ..linear import multiply
from ..specs import LinearKernel, LoRA

ModuleT = TypeVar("ModuleT", bound=nn.Module)

KINDS = (nn.Linear, Conv1D)
"""The layers that get adapters; GPT-2 keeps the weights of its own kind the other way round, (in, out)."""


@dataclass(frozen=True, eq=False)
class Delta:
    """What an adapter adds to a layer of weight (out, in): scale · up · down.

    Attributes:
        down: (r, in).
        up: (out, r).
        scale: α / r.
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the layer's output for x (N, in): (N, out), in the adapter's own precision."""
        return F.linear(F.linear(x.to(self.down.dtype), self.down), self.up) * self.scale

    def whole(self) -> torch.Tensor:
        """What is added to the layer's weight, (out, in)."""
        return (self.up @ self.down) * self.scale


def adapt(body: nn.Module, lora: LoRA) -> None:
    """Put an adapter around every layer that ``lora`` targets; what it adds is 0 at first.

    What the adapters begin with is drawn from the global generator. Parameters of the model itself need no gradient
    any more.

    Raises:
        TokenGymError: no layer to adapt, or one narrower than the rank.
    """
    import peft  # pyright: ignore[reportMissingImports]

    layers: dict[str, Any] = {name: module for name, module in body.named_modules() if type(module) in KINDS}
    if lora.targets == "attention":
        layers = {name: module for name, module in layers.items() if "att" in name.lower()}
    if not layers:
        raise TokenGymError(
            f"{type(body).__name__} has no linear layer that lora_targets {lora.targets!r} names: take 'all', or "
            "train the whole model"
        )
    widths = {name: min(module.weight.shape) for name, module in layers.items()}
    narrow = min(widths, key=lambda name: widths[name])
    if lora.rank > widths[narrow]:
        raise TokenGymError(
            f"lora_rank is {lora.rank}; {narrow} is {widths[narrow]} wide, beyond which a rank adds nothing: give at "
            f"most {widths[narrow]}"
        )
    settings: Any = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=list(layers),
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(type(module) is Conv1D for module in layers.values()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where a model has layers of both kinds, it mends this setting by itself
        peft.inject_adapter_in_model(settings, body)
    own = {id(parameter) for layer in adapted(body).values() for parameter in parameters_of(layer)}
    for parameter in body.parameters():
        parameter.requires_grad_(id(parameter) in own)


def adapted(module: nn.Module) -> dict[str, Any]:
    """The layers under a module that have an adapter around them, by name."""
    return {name: layer for name, layer in module.named_modules() if hasattr(layer, "lora_A")}


def parameters_of(layer: Any) -> list[nn.Parameter]:
    """The parameters of an adapted layer's adapter."""
    inside = {id(parameter) for parameter in layer.base_layer.parameters()}
    return [parameter for parameter in layer.parameters() if id(parameter) not in inside]


def add_nothing(module: nn.Module) -> bool:
    """Whether the adapters under a module leave its layers as they are, as they do at first."""
    return all(not bool(up.weight.any()) for layer in adapted(module).values() for up in layer.lora_B.values())


def take_off(module: nn.Module) -> None:
    """Put the layers themselves where adapted ones stand."""
    for name, layer in adapted(module).items():
        module.set_submodule(name, layer.base_layer)


def merge(module: nn.Module) -> None:
    """Put layers that do by themselves what adapted ones do where these stand, with weights of their own."""
    for name, layer in adapted(module).items():
        alone = copy.deepcopy(layer.base_layer)
        alone.weight = nn.Parameter(merged_weight(layer))
        module.set_submodule(name, alone)


def sharing(module: ModuleT, parts: Sequence[Any]) -> ModuleT:
    """Return a copy of a module that has these very parameters and modules of it, and copies of all others."""
    return copy.deepcopy(module, {id(part): part for part in parts})


def taken_apart(layer: Any) -> tuple[Any, Delta | None]:
    """The layer itself, and what its adapter adds, or None where there is none or it is switched off."""
    base = getattr(layer, "base_layer", None)
    if base is None:
        return layer, None
    names = [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.lora_A]
    if not names:
        return base, None
    return base, Delta(layer.lora_A[names[0]].weight, layer.lora_B[names[0]].weight, float(layer.scaling[names[0]]))


def are_simple(layers: Iterable[Any], kind: type[nn.Module]) -> bool:
    """Whether layers are of this very class, each with at most one low-rank adapter around it, and nothing else.

    Then the output of each is that of the layer itself and a `Delta`. Variants (DoRA), dropout, biases, several
    adapters at once, merged ones and hooks are left to the layer's own code.
    """
    return all(_unhooked(layer) if type(layer) is kind else _is_simple(layer, kind) for layer in layers)


def _is_simple(layer: Any, kind: type[nn.Module]) -> bool:
    if type(layer).__module__ != "peft.tuners.lora.layer" or type(layer).__name__ != "Linear" or not _unhooked(layer):
        return False
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    return (
        len(names) <= 1
        and not layer.merged_adapters
        and not getattr(layer, "lora_variant", None)
        and not any(getattr(layer, "use_dora", {}).values())
        and type(layer.base_layer) is kind
        and _unhooked(layer.base_layer)
        and all(_is_small(layer, name) for name in names)
    )


def _is_small(layer: Any, name: str) -> bool:
    """Whether an adapter is two matrices and a scale."""
    matrices = layer.lora_A[name], layer.lora_B[name]
    dropout = layer.lora_dropout[name]
    return all(type(one) is nn.Linear and one.bias is None and _unhooked(one) for one in matrices) and (
        type(dropout) is nn.Identity or getattr(dropout, "p", 1.0) == 0.0
    )


def _unhooked(module: nn.Module) -> bool:
    return not module._forward_hooks and not module._forward_pre_hooks


def product(layer: Any, x: torch.Tensor, kernel: LinearKernel = "blas") -> torch.Tensor:
    """The output (N, out) of a layer that is simple, for x (N, in)."""
    if type(layer) in KINDS:
        return multiply(x, layer.weight.T if type(layer) is Conv1D else layer.weight, layer.bias, kernel)
    base, delta = taken_apart(layer)
    out = product(base, x, kernel)
    return out if delta is None else out + delta.of(x).to(out.dtype)


@torch.no_grad()
def merged_weight(layer: Any) -> torch.Tensor:
    """A layer's weight with what its adapter adds, in the layout and dtype of the weight; itself without one."""
    if type(layer) in KINDS:
        return layer.weight
    base, delta = taken_apart(layer)
    if delta is None:
        return base.weight
    added = delta.whole()
    return base.weight + (added.T if type(base) is Conv1D else added).to(base.weight.dtype)


@torch.no_grad()
def joined_delta(layers: Sequence[Any]) -> Delta | None:
    """What adapters add to layers that read the same input and are computed as one, one behind the other."""
    deltas = [taken_apart(layer) for layer in layers]
    if all(delta is None for _, delta in deltas):
        return None
    downs = [delta.down * delta.scale for _, delta in deltas if delta is not None]
    widths = [0 if delta is None else len(delta.down) for _, delta in deltas]
    first = downs[0]
    rows, column = [], 0
    for (base, delta), width in zip(deltas, widths, strict=True):
        row = first.new_zeros(base.weight.shape[0], sum(widths))
        if delta is not None:
            row[:, column : column + width] = delta.up
        rows.append(row)
        column += width
    return Delta(torch.cat(downs), torch.cat(rows), 1.0)
