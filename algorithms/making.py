"""Making: the agent, the reference and the optimiser of an algorithm, from its configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ..agents import Agent, build_agent
from ..envs import Task, TokenGymError
from .configs import AlgorithmConfig
from .parts import AgentReference, Reference, UniformReference


def make_agent(
    agent: Any, task: Task, config: AlgorithmConfig, device: torch.device, heads: tuple[str, ...], **options: Any
) -> Agent:
    """Build an agent for ``task`` from its specification; an `Agent` is taken as it is.

    Args:
        agent: a specification or an `Agent`.
        task: gives the vocabulary and the longest sequence.
        config: gives the temperature.
        device: where the agent goes.
        heads: what a specification is built with.
        **options: further arguments of `build_agent`.

    Raises:
        TokenGymError: the agent has a temperature of its own, and the config another.
    """
    if isinstance(agent, Agent):
        if config.temperature not in (1.0, agent.temperature):
            raise TokenGymError(
                f"temperature is {config.temperature} in the config and {agent.temperature} in the agent; "
                "set it in one place, the agent."
            )
        return agent.to(device)
    return build_agent(
        agent,
        task.vocabulary,
        task.max_length,
        heads=heads,
        device=device,
        temperature=config.temperature,
        **options,
    )


def make_reference(reference: Agent | None, agent: Agent, config: AlgorithmConfig) -> Reference | None:
    """Build what the KL is measured to: None where β is 0 and no reference agent was given."""
    if reference is not None:
        return AgentReference(reference.to(agent.device))
    if not config.has_kl:
        return None
    if config.kl_reference == "uniform":
        return UniformReference(agent.vocabulary.num_actions)
    return AgentReference(agent.clone_frozen())


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: AlgorithmConfig, learning_rate: float
) -> torch.optim.Optimizer:
    """Build Adam (AdamW where there is weight decay), with the fused step that tiny models gain most from."""
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
    return kind(parameters, lr=learning_rate, eps=config.adam_eps, weight_decay=config.weight_decay, fused=True)
