"""The frozen model under an agent's adapters: shared by its copies, left out of its state, told by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from ..envs import TokenGymError
from .chunks import return_free_memory
from .models import PrefixIndex, add_nothing, merge, sharing, take_off
from .specs import LoRA

StandingT = TypeVar("StandingT", bound="StandsOnBase")

LARGE = 64 << 20
"""From so many bytes on, what frozen weights took is given back to the system as soon as they are let go."""

_STANDING: WeakValueDictionary[tuple[str, str], StandsOnBase] = WeakValueDictionary()
"""The latest module on some frozen weights, by their hash and device; see `StandsOnBase.share_base`."""

Source = Literal["folder", "seed", "given"]
"""Where frozen weights can be had again: a checkpoint folder, the seed of a model from scratch, or nowhere."""


class StandsOnBase(nn.Module):
    """A module that may stand on weights which are never learnt: those of a model with adapters around its layers.

    They are the same tensors in every frozen clone, and `state_dict` leaves them out: who saves them once, or knows
    where they came from, gives them back.

    Attributes:
        lora: what the adapters are, or None without any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lora: LoRA | None = None
        self._base: list[nn.Parameter] = []
        self._base_source: dict[str, Any] = {}

    @property
    def base(self) -> dict[str, nn.Parameter]:
        """The frozen weights under the adapters by name, each once; none where everything is learnt."""
        ids = {id(parameter) for parameter in self._base}
        return {name: parameter for name, parameter in self.named_parameters() if id(parameter) in ids}

    def share_base(self) -> None:
        """Hold the very frozen weights of another module whose are the same, and no second copy of them.

        So an agent, what it is compared with and a reward model take the memory of one model where all are adapters
        around one folder. Weights are told by their hash. Who is given other weights, or learns them, parts first.
        """
        if not self._base:
            return
        key = (self.base_hash, str(self._base[0].device))
        other = _STANDING.get(key)
        if other is None or not _is_whole(other, key):
            _STANDING[key] = self
            return
        for mine, theirs in zip(self._base, other._base, strict=True):
            mine.data = theirs.data
        if sum(parameter.nbytes for parameter in self._base) >= LARGE:
            return_free_memory()

    def _part(self) -> None:
        """Have numbers of its own under the names that it may have shared."""
        for parameter in self._base:
            parameter.data = parameter.data.clone()

    def stand_on(self, source: Source, folder: str | None = None) -> None:
        """Count all parameters that need no gradient as base.

        Args:
            source: where they came from.
            folder: of "folder", its path.
        """
        self._base = [parameter for parameter in self.parameters() if not parameter.requires_grad]
        self._base_source = {"source": source, "folder": folder}

    @property
    def base_is_given(self) -> bool:
        """Whether the base can be had from nowhere else, so that it has to be saved."""
        return bool(self._base) and self._base_source["source"] == "given"

    def base_digest(self) -> str:
        """Return the SHA-256 of the base's numbers, in order; the same with the adapters on and taken off."""
        digest = hashlib.sha256()
        for parameter in self.base.values():
            digest.update(f"{parameter.dtype} {tuple(parameter.shape)} ".encode())
            digest.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def base_hash(self) -> str:
        """`base_digest`, worked out once: it takes a second, and the base never changes."""
        if "sha256" not in self._base_source:
            self._base_source["sha256"] = self.base_digest()
        return self._base_source["sha256"]

    def adapter_settings(self) -> dict[str, Any]:
        """Return what the adapters are and what they stand on, JSON-able; nothing where everything is learnt."""
        if not self._base:
            return {}
        lora, told = None if self.lora is None else asdict(self.lora), {"sha256": self.base_hash}
        return {"lora": lora, "base": {**self._base_source, **told}}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return what `torch.nn.Module` does, without the base."""
        state = super().state_dict(*args, **kwargs)
        for name in self.base_state():
            state.pop(f"{kwargs.get('prefix', '')}{name}", None)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take back what `state_dict` returned, as `torch.nn.Module` does; the base stays, unless it is given, too."""
        kept = self.base_state()
        if any(name in state_dict for name in kept):
            self._part()
            self._base_source.pop("sha256", None)
        return super().load_state_dict({**kept, **state_dict}, strict, assign)

    def load_base(self, state: Mapping[str, Tensor]) -> None:
        """Take back the frozen weights that `base` gave."""
        self._part()
        for name, parameter in self.base.items():
            if name not in state or state[name].shape != parameter.shape:
                raise TokenGymError(f"the weights under the adapters lack {name}, or it has another shape")
            parameter.data.copy_(state[name])
        self._base_source.pop("sha256", None)

    def clone_frozen(self: StandingT) -> StandingT:
        """A copy whose parameters need no gradient: a reference policy or a target network.

        It shares a table's numbering of prefixes with this agent, so that a number means the same prefix in both, and
        the frozen weights under adapters. Any other copy (`copy.deepcopy`, `pickle`) shares nothing.
        """
        shared = [module for module in self.modules() if isinstance(module, PrefixIndex)]
        return sharing(self, [*shared, *self._base]).requires_grad_(False)

    def as_reference(self: StandingT) -> StandingT:
        """A frozen copy to measure a KL to: what it says now; adapters that add nothing yet are off in it.

        With adapters there is no second model: see `clone_frozen`.
        """
        clone = self.clone_frozen()
        if clone.lora is not None and add_nothing(clone):
            clone.take_adapters_off()
        return clone

    def take_adapters_off(self) -> None:
        """Take the adapters off, for good."""
        take_off(self)
        self.lora = None

    def merge_adapters(self) -> None:
        """Add what the adapters add to the weights themselves, of which all are learnt from then on."""
        self._part()
        merge(self)
        self.lora, self._base, self._base_source = None, [], {}
        self.requires_grad_(True)

    def base_state(self) -> dict[str, Tensor]:
        """The base's weights by name, by all names that one has where several parts use it."""
        ids = {id(parameter) for parameter in self._base}
        if not ids:
            return {}
        named = self.named_parameters(remove_duplicate=False)
        return {name: parameter.detach() for name, parameter in named if id(parameter) in ids}


def _is_whole(module: StandsOnBase, key: tuple[str, str]) -> bool:
    """Whether a module still stands where and on what it did."""
    there = {str(parameter.device) for parameter in module._base}
    return module._base_source.get("sha256") == key[0] and there == {key[1]}


def stands_on_same(one: StandsOnBase, other: StandsOnBase) -> bool:
    """Return whether two modules stand on the same frozen weights, as an adapted agent and its frozen clone do."""
    return bool(one._base) and list(map(id, one._base)) == list(map(id, other._base))
