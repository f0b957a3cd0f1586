"""Building agents: from a specification, or again from what an agent says of itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from ..envs import Vocabulary
from ..envs.checking import Count, Positive, Seed, checked
from .agent import Agent
from .chunks import WIDE, return_large_blocks
from .devices import is_half, name_of, usable_device, usable_dtype
from .heads import CRITIC_HEADS, POLICY_STD, OwnHead, TableHead, check_heads, make_head
from .models import TableTrunk, Trunk, build_trunk
from .seeding import seeded_initialisation
from .specs import Dtype, Width, check_agent_dtype


@checked
def build_agent(
    spec: Any,
    vocabulary: Vocabulary,
    max_length: Count,
    heads: tuple[str, ...] = ("policy",),
    seed: Seed = 0,
    separate_critic: bool = False,
    device: str | torch.device = "cpu",
    temperature: Positive = 1.0,
    head_dim: Width | None = None,
    dtype: Dtype | None = None,
) -> Agent:
    """Build an agent.

    Args:
        spec: `"mlp-tiny"`, `"gpt2-tiny"`, `"llama-tiny"`, `"gru-tiny"`, `"table"`; a dict such as
            `{"kind": "gpt2", "hidden_size": 64, "num_layers": 2, "num_heads": 4}`; a checkpoint folder; or a
            transformers causal LM instance (used as it is, not copied).
        vocabulary: the ids that it reads (V) and says (A).
        max_length: longest sequence that it will read, the task's context window.
        heads: any of `policy`, `value`, `q`, `twin_q`.
        seed: starts the initialisation and the generator that `predict` draws from.
        separate_critic: give the value and Q heads a trunk of their own, initially different for a model from
            scratch, a copy for a pretrained one.
        device: where to put it.
        temperature: divides the policy's logits, positive.
        head_dim: width of a hidden layer in the value and Q heads; None for linear heads (twin heads always have
            one, as wide as the trunk's features unless this says otherwise).
        dtype: what the model computes with: ``"float32"``, ``"bfloat16"`` (transformers alone; heads that are added to
            them stay in float32) or ``"float64"``; None is float32, and for an instance what it is in.

    Raises:
        TokenGymError: unknown spec or head (with the nearest names), sizes that are not positive, a context longer
            than the model's positions, a vocabulary larger than the checkpoint's embeddings, a device or dtype that is
            not there.
    """
    heads = check_heads(heads)
    if vocabulary.num_actions >= WIDE:
        return_large_blocks()
    device = usable_device(device)
    check_agent_dtype(spec, dtype)
    chosen = None if dtype is None else usable_dtype(dtype, device)
    critic = separate_critic and any(head in CRITIC_HEADS for head in heads)
    with seeded_initialisation(seed):
        trunk, own_head, spec_config = build_trunk(spec, vocabulary, max_length, chosen)
        chosen = trunk_dtype(trunk) if chosen is None else chosen
        critic_trunk = trunk.another() if critic else None
        bias = spec_config.get("policy_bias", True)
        modules = _make_heads(trunk, own_head, heads, vocabulary.num_actions, head_dim, bias)
    for module in (trunk, critic_trunk, own_head):
        if module is not None and dtype is not None:
            convert(module, chosen)
    for module in modules.values():
        if module is not own_head:  # a head of its own is small, and what it says is what is learnt from
            convert(module, torch.float32 if is_half(chosen) else chosen)
    settings = {
        "spec": spec_config,
        "vocabulary": asdict(vocabulary),
        "max_length": max_length,
        "heads": list(heads),
        "seed": seed,
        "separate_critic": separate_critic,
        "head_dim": head_dim,
        "dtype": name_of(chosen),
    }
    agent = Agent(trunk, critic_trunk, modules, heads, vocabulary, max_length, temperature, seed, settings)
    return agent.eval().to(device)


def trunk_dtype(trunk: Trunk) -> torch.dtype:
    """The dtype of a trunk's weights; float32 for a table, which has none."""
    return next((parameter.dtype for parameter in trunk.parameters()), torch.float32)


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring a module's weights into a dtype; buffers, such as the frequencies of rotations, keep their precision."""
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def rebuild_agent(config: dict[str, Any], device: str | torch.device = "cpu") -> Agent:
    """Build an agent of the shapes that `Agent.config` described; load its weights with `load_state_dict`.

    Args:
        config: what `Agent.config()` gave, also after a way through JSON.
        device: where to put it.
    """
    config = dict(config)
    names = dict(config.pop("vocabulary"))
    names["tokens"] = tuple(names["tokens"])
    config["heads"] = tuple(config["heads"])
    if config["spec"].get("kind") in ("gpt2", "llama"):  # written when the head had a bias and nothing said so
        config["spec"] = {"policy_bias": True, **config["spec"]}
    return build_agent(vocabulary=Vocabulary(**names), device=device, **config)


def _make_heads(
    trunk: Trunk,
    own_head: OwnHead | None,
    heads: tuple[str, ...],
    num_actions: int,
    head_dim: int | None,
    policy_bias: bool,
) -> nn.ModuleDict:
    """Modules named `policy`, `value`, `q`, `q2`, as the heads need them."""
    modules = nn.ModuleDict()
    size = trunk.feature_size
    for head in heads:
        outputs = {"policy": ["policy"], "value": ["value"], "q": ["q"], "twin_q": ["q", "q2"]}[head]
        width = 1 if head == "value" else num_actions
        for output in outputs:
            if isinstance(trunk, TableTrunk):
                modules[output] = TableHead(trunk.capacity, width)
            elif head == "policy":
                modules[output] = (
                    own_head if own_head is not None else make_head(size, width, std=POLICY_STD, bias=policy_bias)
                )
            else:
                hidden = (head_dim or size) if head == "twin_q" else head_dim
                modules[output] = make_head(size, width, hidden)
    return modules
