"""Specifications of agents, read and checked without torch: names, and dicts of the sizes of a model from scratch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ..envs import TokenGymError
from ..envs.checking import Range, check_fields, from_mapping, shown, unknown_name

Width = Annotated[int, Range(least=1, most=65_536)]
Layers = Annotated[int, Range(least=1, most=1_024)]
Spread = Annotated[float, Range(above=0, most=100)]

Dtype = Literal["float32", "bfloat16", "float64"]
"""What numbers a model computes with: bfloat16 takes half the memory, float64 is for tests of exactness."""
LinearKernel = Literal["blas", "onednn"]
"""What multiplies by a transformer's weights on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a model from scratch."""

    def __post_init__(self) -> None:
        check_fields(self)

    def parameters(self, num_tokens: int, num_actions: int, max_length: int) -> int:
        """Return about how many numbers are learnt, the policy head's included."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TransformerSizes(Sizes):
    """Sizes of a transformer."""

    hidden_size: Width = 64
    """Width of the features, a multiple of `num_heads`."""
    num_layers: Layers = 2
    """Blocks."""
    num_heads: Width = 4
    """Heads of attention a block."""
    initial_std: Spread = 0.1
    """Standard deviation of the initial weights."""
    policy_bias: bool = False
    """Whether the policy head has a bias. GPT-2 and Llama have none: an agent with one cannot be exported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.num_heads:
            raise TokenGymError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")

    def parameters(self, num_tokens: int, num_actions: int, max_length: int) -> int:
        """Return about how many numbers are learnt: see `Sizes`."""
        embedded = num_tokens + num_actions + max_length
        return self.hidden_size * (embedded + 12 * self.hidden_size * self.num_layers)


@dataclass(frozen=True, kw_only=True)
class MLPSizes(Sizes):
    """Sizes of a feed-forward network over places."""

    hidden_size: Width = 256
    """Width of the hidden layers, the features among them."""
    num_layers: Layers = 1
    """Hidden layers. Each further one wants more tokens."""
    embedding_size: Width = 32
    """Width of a token's embedding."""
    initial_std: Spread = 1.0
    """Standard deviation of what a token adds at first. Larger changes it more slowly."""

    def parameters(self, num_tokens: int, num_actions: int, max_length: int) -> int:
        """Return about how many numbers are learnt: see `Sizes`."""
        layers = self.hidden_size * self.hidden_size * (self.num_layers - 1)
        places = self.embedding_size * (num_tokens + max_length * self.hidden_size)
        return places + layers + self.hidden_size * num_actions


@dataclass(frozen=True, kw_only=True)
class GRUSizes(Sizes):
    """Sizes of a recurrent network."""

    hidden_size: Width = 64
    """Width of embedding and state."""
    num_layers: Layers = 1
    """Layers, one upon the other."""
    initial_std: Spread = 0.1
    """Standard deviation of the initial embeddings."""

    def parameters(self, num_tokens: int, num_actions: int, max_length: int) -> int:
        """Return about how many numbers are learnt: see `Sizes`."""
        return self.hidden_size * (num_tokens + num_actions + 6 * self.hidden_size * self.num_layers)


@dataclass(frozen=True, kw_only=True)
class TableSizes(Sizes):
    """Size of a table."""

    capacity: Annotated[int, Range(least=1, most=2**31 - 1)] = 65_536
    """The most prefixes that it can hold."""

    def parameters(self, num_tokens: int, num_actions: int, max_length: int) -> int:
        """Return about how many numbers are learnt: see `Sizes`."""
        return self.capacity * (num_actions + 1)


KINDS: dict[str, type[Sizes]] = {
    "mlp": MLPSizes,
    "gpt2": TransformerSizes,
    "llama": TransformerSizes,
    "gru": GRUSizes,
    "table": TableSizes,
}
"""The sizes of each kind of model from scratch; a spec's dict overrides the defaults key by key."""

NAMES: dict[str, str] = {
    "mlp-tiny": "mlp",
    "gpt2-tiny": "gpt2",
    "llama-tiny": "llama",
    "gru-tiny": "gru",
    "table": "table",
}
"""Named specs and the kind whose defaults they are."""

LEARNING_RATES: dict[str, float] = {
    "mlp": 2e-3,
    "gpt2": 1e-3,
    "llama": 1e-3,
    "gru": 3e-3,
    "table": 2e-2,
    "transformers": 1e-5,
}
"""Adam's step size that suits each kind of model at its default size; "transformers" are checkpoints and instances."""


ADAPTER_RATE = 10.0
"""How much larger a step suits adapters than the whole of a pretrained model."""


def learning_rate(kind: str, lora: LoRA | None = None) -> float:
    """Return Adam's step size that suits a kind of model, all of it or adapters around its layers."""
    rate = LEARNING_RATES[kind]
    return rate * ADAPTER_RATE if lora is not None and kind == "transformers" else rate


def check_agent_spec(spec: Any, also: Iterable[str] = ()) -> None:
    """Raise a `TokenGymError` unless ``spec`` is a name, a folder or a dict that `build_agent` takes; imports no torch.

    A folder is not read, and whether a model fits a task's vocabulary and context shows when it is built.

    Args:
        spec: a specification such as a study file holds: no instance of a model or agent.
        also: further names that are right, such as "mlp" of Stable-Baselines3's algorithms.
    """
    if isinstance(spec, Mapping):
        if spec.get("kind") == "transformers":
            check_transformers(spec)
        else:
            sizes_of(spec)
    elif isinstance(spec, (str, os.PathLike)):
        if spec not in (*NAMES, *also) and not is_folder(spec):
            raise unknown_name("agent", str(spec), [*NAMES, *also, "a checkpoint folder"])
    else:
        names = ", ".join([*NAMES, *also])
        raise TokenGymError(f"agent is {shown(spec)}; expected {names}, a checkpoint folder or a dict with a 'kind'")


def check_agent_dtype(spec: Any, dtype: str | None) -> None:
    """Raise a `TokenGymError` where a kind of model from scratch is not made for a dtype; imports no torch."""
    if dtype != "bfloat16":
        return
    kind = spec.get("kind") if isinstance(spec, Mapping) else NAMES.get(str(spec))
    if kind in ("mlp", "gru", "table"):
        raise TokenGymError(
            f"dtype is 'bfloat16' and the agent a {kind}, which adds up small numbers along a sequence and would lose "
            "them: take float32, or a transformer (gpt2, llama, a checkpoint folder)"
        )


Targets = Literal["all", "attention"]
"""Which layers of a model get adapters: all its linear ones, or those of its attention."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): a layer of weight W computes W x + α/r · B A x.

    W is frozen, A and B are learnt. B starts at 0, so that the model is at first what it was.
    """

    rank: Annotated[int, Range(least=1, most=65_536)]
    """r, the width between A and B."""
    alpha: Annotated[float, Range(above=0, most=1_000_000)] = 32.0
    """α, over r the weight of what is added."""
    targets: Targets = "all"
    """Which layers get adapters."""

    def __post_init__(self) -> None:
        check_fields(self)


def check_lora(spec: Any, lora: LoRA | None) -> None:
    """Raise a `TokenGymError` where adapters do not fit a kind of model, or `peft` is missing; imports no torch."""
    if lora is None:
        return
    kind = spec.get("kind") if isinstance(spec, Mapping) else NAMES.get(str(spec))
    if kind in ("mlp", "gru", "table"):
        raise TokenGymError(
            f"lora_rank is {lora.rank} and the agent a {kind}; adapters go around the layers of transformers: take "
            "a checkpoint folder, gpt2-tiny or llama-tiny"
        )
    if importlib.util.find_spec("peft") is None:
        raise TokenGymError(f"lora_rank is {lora.rank}, and adapters need peft: pip install 'tokengym[peft]'")


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a folder at ``path``; an empty path is none, although `Path` takes it for this one."""
    try:
        return bool(os.fspath(path)) and Path(path).is_dir()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def sizes_of(spec: Mapping[str, Any]) -> tuple[str, Sizes]:
    """Return kind and sizes of a model from scratch.

    Raises:
        TokenGymError: an unknown kind or key (the nearest are listed), or a size of a wrong type or out of range.
    """
    if "kind" not in spec:
        raise TokenGymError(f"the agent {shown(dict(spec))} has no 'kind'; expected one of {', '.join(KINDS)}")
    kind = spec["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name("kind of agent", kind, KINDS)
    values = {name: value for name, value in spec.items() if name != "kind"}
    try:
        return kind, from_mapping(KINDS[kind], f"a {kind} agent", values)
    except TokenGymError as error:
        text = str(error)
        raise error if f"a {kind} agent" in text else TokenGymError(f"a {kind} agent: {text}") from None


def check_transformers(spec: Mapping[str, Any]) -> None:
    """Check what an agent says of a model of transformers: ``{"kind": "transformers", "config": {…}}``."""
    for key in spec:
        if key not in ("kind", "config"):
            raise unknown_name("key of a transformers agent", key, ("kind", "config"))
    config = spec.get("config")
    if not isinstance(config, Mapping) or not isinstance(config.get("model_type"), str):
        raise TokenGymError(
            f"config of a transformers agent is {shown(config)}; expected a mapping with a 'model_type', as the "
            "config.json of a model has it"
        )


def check_memory(what: str, parameters: int) -> None:
    """Raise a `TokenGymError` if learning that many parameters takes more memory than the machine has.

    A parameter in float32 takes 16 bytes: itself, its gradient, and two averages of the optimiser.
    """
    needed, there = 16 * parameters, machine_memory()
    if needed > there:
        raise TokenGymError(
            f"{what} has about {parameters:,} parameters, for which learning takes {needed / 2**30:,.1f} GiB; this "
            f"machine has {there / 2**30:,.1f} GiB: make it smaller"
        )


def machine_memory() -> int:
    """Return the bytes of memory that this process may use at most, as far as the system says."""
    found = [2**63]
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not on Windows
        pass
    try:
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no control group, or "max"
        pass
    return min(one for one in found if one > 0)


def to_dict(kind: str, sizes: Sizes) -> dict[str, Any]:
    """Return the JSON-able spec of a kind and its sizes."""
    return {"kind": kind, **asdict(sizes)}
