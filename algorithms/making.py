"""Making: the agent, the reference and the optimiser of an algorithm, from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..agents import Agent, build_agent
from ..agents.devices import is_half, name_of
from ..agents.heads import OwnHead
from ..agents.specs import Dtype
from ..envs import Task, TokenGymError
from .configs import KLConfig, LearningConfig, OptimiserConfig
from .parts import AgentReference, MasterWeights, Reference, UniformReference
from .starting import agent_of_run, holds_run


def make_agent(
    agent: Any,
    task: Task,
    config: LearningConfig,
    device: torch.device,
    heads: tuple[str, ...],
    dtype: Dtype | None = None,
    **options: Any,
) -> Agent:
    """Build an agent for ``task`` from its specification; an `Agent` is taken as it is.

    Args:
        agent: a specification or an `Agent`.
        task: gives the vocabulary and the longest sequence.
        config: gives the temperature.
        device: where the agent goes.
        heads: what a specification is built with.
        dtype: what the agent computes with; None is float32, and for an `Agent` what it has.
        **options: further arguments of `build_agent`.

    Raises:
        TokenGymError: the agent has a temperature, dtype or adapters of its own, and others are asked for.
    """
    if isinstance(agent, Agent):
        check_adapters(agent, config)
        if config.temperature not in (1.0, agent.temperature):
            raise TokenGymError(
                f"temperature is {config.temperature} in the config and {agent.temperature} in the agent; "
                "set it in one place, the agent."
            )
        if dtype is not None and name_of(agent.dtype) != dtype:
            raise TokenGymError(
                f"dtype is {dtype!r} and the agent's is {name_of(agent.dtype)!r}; set it in one place: "
                "build_agent(…, dtype=…)."
            )
        return set_passes(agent.to(device), config)
    if holds_run(agent):
        temperature = None if config.temperature == 1.0 else config.temperature
        options = {"lora": config.lora, **options}
        begun = agent_of_run(agent, task, heads, device=device, dtype=dtype, temperature=temperature, **options)
        return set_passes(begun, config)
    built = build_agent(
        agent,
        task.vocabulary,
        task.max_length,
        heads=heads,
        device=device,
        dtype=dtype,
        temperature=config.temperature,
        lora=config.lora,
        **options,
    )
    return set_passes(built, config)


def check_adapters(agent: Agent, config: LearningConfig) -> None:
    """Raise a `TokenGymError` where a configuration asks for other adapters than an agent has."""
    if config.lora is not None and agent.lora != config.lora:
        has = "none" if agent.lora is None else f"those of {agent.lora}"
        raise TokenGymError(
            f"lora_rank is {config.lora_rank} in the config ({config.lora}), and the agent, built already, has {has}; "
            "say it in one place: build_agent(…, lora=LoRA(rank=…)), or give a specification and let it be built."
        )


def set_passes(agent: Agent, config: OptimiserConfig) -> Agent:
    """Let the passes of an agent's models keep and compute what the configuration says, and return the agent.

    Raises:
        TokenGymError: a model has no layers to compute again, or no other kernel to compute them with.
    """
    for trunk in agent.trunks_of(agent.heads):
        if config.gradient_checkpointing and not trunk.can_checkpoint:
            raise TokenGymError(
                f"gradient_checkpointing is True, and a {type(trunk).__name__} has no layers to compute again: leave "
                "it out, or take a transformer (gpt2, llama, a checkpoint folder)."
            )
        trunk.checkpointing = config.gradient_checkpointing
        trunk.choose_kernel(config.linear_kernel)
    for head in agent.readouts.values():
        if isinstance(head, OwnHead):
            head.linear_kernel = config.linear_kernel
    return agent


def make_reference(reference: Agent | None, agent: Agent, config: KLConfig) -> Reference | None:
    """Build what the KL is measured to: None where β is 0 and no reference agent was given.

    Raises:
        TokenGymError: a KL is held to an agent that divides its logits by another temperature.
    """
    if reference is None and not config.measures_kl:
        return None
    held = config.has_kl or config.kl_limit is not None  # who explores only may speak as it likes
    if held and reference is not None and reference.temperature != agent.temperature:
        raise TokenGymError(
            f"temperature is {agent.temperature:g} in the agent and {reference.temperature:g} in the reference, so "
            f"that equal weights have a KL; expected the same: build_agent(…, temperature={agent.temperature:g}), or "
            f"reference.temperature = {agent.temperature:g}."
        )
    return reference_named(reference, agent, config.kl_reference)


def reference_named(given: Agent | None, agent: Agent, name: Literal["initial", "uniform"]) -> Reference:
    """Return the given agent as a reference, or else the uniform policy, or the agent as it is now."""
    if given is not None:
        return AgentReference(given.to(agent.device))
    if name == "uniform":
        return UniformReference(agent.vocabulary.num_actions)
    return AgentReference(agent.as_reference())


def make_optimizer(
    agent: Agent, config: OptimiserConfig, learning_rate: float
) -> tuple[torch.optim.Optimizer | MasterWeights, list[torch.Tensor]]:
    """Build Adam (AdamW where there is weight decay), with the fused step that tiny models gain most from.

    Weights in half precision are learnt as float32 copies; those that need no gradient are left alone.

    Returns:
        The optimiser, and the tensors that it moves, whose gradients are clipped: a list, since walking the modules for
        them costs a tiny model several percent of every step.
    """
    parameters = [parameter for parameter in agent.parameters() if parameter.requires_grad]
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam

    def make(tensors: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        return kind(tensors, lr=learning_rate, eps=config.adam_eps, weight_decay=config.weight_decay, fused=True)

    if any(is_half(parameter.dtype) for parameter in parameters):
        masters = MasterWeights(parameters, make)
        return masters, masters.masters
    return make(parameters), [*parameters]


def named_gradients(agent: Agent, parameters: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the gradients that there are of the tensors that `make_optimizer` gave, by the names of the parameters."""
    names = [name for name, parameter in agent.named_parameters() if parameter.requires_grad]
    named = zip(names, parameters, strict=True)
    return {f"gradient of {name}": tensor.grad for name, tensor in named if tensor.grad is not None}
