"""Building agents: from a specification, or again from what an agent says of itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..envs import TokenGymError, Vocabulary, derive_start
from ..envs.checking import Count, Positive, Seed, checked
from .agent import Agent
from .base_weights import Source
from .chunks import WIDE, return_large_blocks
from .devices import is_half, name_of, usable_device, usable_dtype
from .heads import CRITIC_HEADS, POLICY_STD, OwnHead, TableHead, check_heads, make_head
from .models import TableTrunk, TransformerTrunk, Trunk, adapt, adapted, build_trunk, parameters_of, sharing
from .seeding import seeded_initialisation
from .specs import NAMES, Dtype, LoRA, Width, check_agent_dtype, check_lora, is_folder


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
    lora: LoRA | None = None,
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
        lora: put low-rank adapters around the layers of a transformer and freeze the rest; heads that are added are
            learnt whole. None learns everything.

    Raises:
        TokenGymError: unknown spec or head (with the nearest names), sizes that are not positive, a context longer
            than the model's positions, a vocabulary larger than the checkpoint's embeddings, a device or dtype that is
            not there, or adapters that do not fit.
    """
    heads = check_heads(heads)
    if vocabulary.num_actions >= WIDE:
        return_large_blocks()
    device = usable_device(device)
    check_agent_dtype(spec, dtype)
    check_lora(spec, lora)
    chosen = None if dtype is None else usable_dtype(dtype, device)
    critic = separate_critic and any(head in CRITIC_HEADS for head in heads)
    with seeded_initialisation(seed):
        trunk, own_head, spec_config = build_trunk(spec, vocabulary, max_length, chosen)
        chosen = trunk_dtype(trunk) if chosen is None else chosen
        shares = lora is not None and _source(spec)[0] != "given"
        critic_trunk = None if not critic else _sharing(trunk) if shares else trunk.another()
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
    if lora is not None:
        adapt_agent(agent, lora, *_source(spec))
    agent.eval().to(device)
    if lora is not None and _source(spec)[0] == "folder":
        agent.share_base()
    return agent


@checked
def adapt_agent(agent: Agent, lora: LoRA, source: Source = "given", folder: str | None = None) -> Agent:
    """Put adapters around the layers of an agent, freeze what it was, and return it.

    Heads that a language model did not bring, such as values and Qs, are learnt whole, as before.

    Args:
        agent: a transformer without adapters; what it says does not change.
        lora: the adapters.
        source: where the frozen weights can be had again; what is "given" is saved with every checkpoint.
        folder: of "folder", its path.

    Raises:
        TokenGymError: another kind of model, one that has adapters, or adapters that do not fit.
    """
    settings = agent.config()
    check_lora(settings["spec"], lora)
    if agent.lora is not None:
        raise TokenGymError(f"the agent has adapters of rank {agent.lora.rank}; build it without, or leave lora out")
    trunks = [trunk for trunk in (agent.trunk, agent.critic_trunk) if isinstance(trunk, TransformerTrunk)]
    with seeded_initialisation(derive_start(settings["seed"], 1) >> 1):
        for trunk in trunks:
            adapt(trunk.body, lora)
    for trunk in trunks:
        for layer in adapted(trunk.body).values():
            for parameter in parameters_of(layer):
                half = is_half(agent.dtype)  # in which small steps would be rounded away
                parameter.data = parameter.data.to(agent.device, torch.float32 if half else agent.dtype)
    head = agent.readouts["policy"] if "policy" in agent.heads else None
    if isinstance(head, OwnHead):
        head.whole.requires_grad_(False)
    agent.lora = lora
    agent.stand_on(source, folder)
    return agent


def _sharing(trunk: Trunk) -> Trunk | None:
    """A second trunk under adapters of its own: on the same weights where they are pretrained, else on others."""
    if isinstance(trunk, TransformerTrunk) and trunk.pretrained:
        return sharing(trunk, list(trunk.parameters()))
    return trunk.another()


def _source(spec: Any) -> tuple[Source, str | None]:
    """Where the weights that a specification gives can be had again."""
    if isinstance(spec, Mapping) or (isinstance(spec, str) and spec in NAMES):
        return "seed", None
    if isinstance(spec, (str, os.PathLike)):
        return "folder", str(Path(spec).absolute())
    return "given", None


def trunk_dtype(trunk: Trunk) -> torch.dtype:
    """The dtype of a trunk's weights; float32 for a table, which has none."""
    return next((parameter.dtype for parameter in trunk.parameters()), torch.float32)


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring a module's weights into a dtype; buffers, such as the frequencies of rotations, keep their precision."""
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def rebuild_agent(
    config: dict[str, Any], device: str | torch.device = "cpu", base: Mapping[str, torch.Tensor] | None = None
) -> Agent:
    """Build an agent of the shapes that `Agent.config` described; load its weights with `load_state_dict`.

    Args:
        config: what `Agent.config()` gave, also after a way through JSON.
        device: where to put it.
        base: the frozen weights under its adapters, `Agent.base`, where they can be had from nowhere else.

    Raises:
        TokenGymError: the frozen weights under its adapters are not there, or are not those that it was trained on.
    """
    config = dict(config)
    under = config.pop("base", None)
    if under is not None:
        return _rebuild_adapted(config, under, device, base)
    names = dict(config.pop("vocabulary"))
    names["tokens"] = tuple(names["tokens"])
    config["heads"] = tuple(config["heads"])
    if isinstance(config["spec"], Mapping) and config["spec"].get("kind") in (
        "gpt2",
        "llama",
    ):  # written when the head had a bias and nothing said so
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


def _rebuild_adapted(
    config: dict[str, Any],
    under: Mapping[str, Any],
    device: str | torch.device,
    base: Mapping[str, torch.Tensor] | None,
) -> Agent:
    """Build an agent on frozen weights, and see that they are those of before."""
    settings = config.pop("lora")
    folder = under.get("folder")
    if folder is not None:
        if not is_folder(folder):
            raise TokenGymError(
                f"the agent stands on the model in {folder}, which is not there; a checkpoint with adapters holds what "
                "was learnt alone: put the model back, or a link to it"
            )
        config["spec"] = folder
    lora = LoRA(rank=1) if settings is None else LoRA(**settings)
    if under["source"] == "given":
        agent = adapt_agent(rebuild_agent(config, device), lora)
    else:
        agent = rebuild_agent({**config, "lora": lora}, device)
    if settings is None:
        agent.take_adapters_off()
    if base is not None:
        agent.load_base(base)
    if agent.base_hash != under["sha256"]:
        where = f"in {folder}" if folder is not None else "that its seed draws"
        if agent.base_is_given:
            where = "given"
        raise TokenGymError(
            f"the weights {where} are not those that the agent's adapters were trained on (their hash is another): "
            "take the model that it was"
        )
    return agent
