"""Beginning from what was learnt: an agent made of the policy in the folder of a run or a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..agents import Agent, adapt_agent, build_agent
from ..agents.specs import Dtype, LoRA, is_folder
from ..envs import Task, TokenGymError
from .registry import ALGORITHMS
from .runs import MANIFEST, complete, has_checkpoint, load_agent, read


def holds_run(spec: Any) -> bool:
    """Return whether a specification of an agent is a folder that a run, or `Algorithm.save`, wrote."""
    if not isinstance(spec, (str, os.PathLike)) or not is_folder(spec):
        return False
    folder = Path(spec)
    return (folder / MANIFEST).is_file() or any(has_checkpoint(folder / part) for part in ("", "checkpoints", "final"))


def agent_of_run(
    folder: str | Path,
    task: Task,
    heads: tuple[str, ...],
    *,
    device: torch.device,
    dtype: Dtype | None = None,
    temperature: float | None = None,
    seed: int = 0,
    lora: LoRA | None = None,
    **options: Any,
) -> Agent:
    """Build an agent that begins as the one in a run's newest checkpoint ended.

    What both have is the same, bit for bit; heads that the other lacks begin as new ones do. A critic's trunk of its
    own begins as a copy of the policy's. Where the other learnt adapters, they go on if they are those that are asked
    for; else they are merged into its weights first.

    Args:
        folder: of a run, of its checkpoints, or one checkpoint.
        task: what it is to play; of the same vocabulary.
        heads: the heads that it needs.
        device: where it goes.
        dtype: what it computes with; None is what it learnt with.
        temperature: divides the policy's logits; None is what it learnt with.
        seed: starts what is new, and the agent's generator.
        lora: the adapters that it learns; None learns everything.
        **options: further arguments of `build_agent`.

    Raises:
        TokenGymError: the checkpoint is broken, or of another vocabulary or a shorter context.
    """
    learnt = _learnt_in(folder)
    _check(learnt, task, folder)
    settings = learnt.config()
    goes_on = lora is not None and learnt.lora == lora
    if learnt.lora is not None and not goes_on:
        learnt.merge_adapters()
    agent = build_agent(
        settings["spec"],
        task.vocabulary,
        settings["max_length"],  # what learns its places has them, and no others
        heads=heads,
        seed=seed,
        device=device,
        dtype=settings["dtype"] if dtype is None else dtype,
        temperature=learnt.temperature if temperature is None else temperature,
        head_dim=settings["head_dim"],
        **options,
    )
    if lora is not None and goes_on:
        under = settings["base"]
        adapt_agent(agent, lora, "folder" if under["source"] == "folder" else "given", under["folder"])
    known = {**learnt.state_dict(), **learnt.base_state()}
    if agent.critic_trunk is not None and learnt.critic_trunk is None:
        trunk = {name: value for name, value in known.items() if name.startswith("trunk.")}
        known.update({f"critic_{name}": value for name, value in trunk.items()})
    mine = {**agent.state_dict(), **agent.base_state()}
    taken = {name: value for name, value in known.items() if name in mine and _fits(value, mine[name])}
    agent.load_state_dict({**mine, **taken})
    if lora is not None and goes_on:
        del mine, taken, known  # what they name is let go by sharing
        agent.share_base()
        return agent
    return agent if lora is None else adapt_agent(agent, lora)


def heads_of_run(folder: str | Path) -> tuple[str, ...]:
    """Return the heads of the agent in a run's newest checkpoint.

    Raises:
        TokenGymError: the checkpoint is broken.
    """
    return _learnt_in(folder).heads


def weighs_policy(folder: str | Path) -> str | None:
    """Return the name of a run's algorithm where it says its agent's policy weighed by values, or None.

    Raises:
        TokenGymError: the checkpoint is broken.
    """
    name = read(folder)[1].get("algorithm")
    if not isinstance(name, str) or name not in ALGORITHMS:
        return None
    return name if getattr(ALGORITHMS[name], "weighs_policy", False) else None


def _learnt_in(folder: str | Path) -> Agent:
    tensors, data = read(folder)
    if str(data.get("algorithm")).startswith("sb3-"):
        raise TokenGymError(
            f"{folder} is a run of {data['algorithm']}, whose network is Stable-Baselines3's own: it can be evaluated "
            "and recorded, and bc learns what it says from the recording; begin from a run of another algorithm"
        )
    with complete(data):
        return load_agent(tensors, data)


def _fits(value: Any, place: Any) -> bool:
    """Whether a state, a tensor or what a module keeps beside its tensors, can stand in the place of another."""
    return not isinstance(value, torch.Tensor) or value.shape == place.shape


def _check(learnt: Agent, task: Task, folder: str | Path) -> None:
    theirs, wanted = learnt.vocabulary, task.vocabulary
    if (theirs.tokens, theirs.num_actions) != (wanted.tokens, wanted.num_actions):
        raise TokenGymError(
            f"the agent in {folder} learnt another vocabulary ({theirs.num_actions} of {theirs.size} tokens are said) "
            f"than that of {task.name} ({wanted.num_actions} of {wanted.size}): begin from one of the same"
        )
    if learnt.max_length < task.max_length:
        raise TokenGymError(
            f"the agent in {folder} reads {learnt.max_length} tokens, and {task.name} shows up to {task.max_length}: "
            "begin from one with a longer context"
        )
