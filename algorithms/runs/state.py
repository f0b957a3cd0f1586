"""Saving: the whole state of an algorithm as named tensors and JSON data, and back."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, rebuild_agent, stands_on_same
from ...agents.models import shares_prefixes, sharing_prefixes
from ...envs import TokenGymError, make_task, missing_arguments
from ...envs.checking import AllowImports, untrusted
from ..parts import AgentReference
from .callbacks import callback_states

if TYPE_CHECKING:
    from ..learner import Resumable

AnyAlgorithm = TypeVar("AnyAlgorithm", bound="Resumable")

COUNTERS = ("num_timesteps", "num_episodes", "num_updates", "total_timesteps")
"""The counts that a checkpoint holds."""

_MISFITS = (KeyError, RuntimeError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What building an algorithm from contents of the wrong kind raises."""


def state_of(algorithm: Resumable) -> tuple[dict[str, Tensor | np.ndarray], dict[str, Any]]:
    """Return everything that going on needs: tensors or arrays by name, and JSON-able data.

    That is: agent, reference, optimiser, generators, counters, config, and what `Algorithm.shared_state` and
    `Algorithm.extra_state` add.
    """
    tensors: dict[str, Tensor | np.ndarray] = {
        "agent_sampler": algorithm.agent.sampler.get_state(),
        "generator": algorithm.generator.get_state(),
    }
    data: dict[str, Any] = {
        "algorithm": algorithm.name,
        "config": algorithm.config.to_dict(),
        "env": algorithm.env_spec,
        "seed": algorithm.seed,
        "agent": algorithm.agent.config(),
        "counters": {name: getattr(algorithm, name) for name in COUNTERS},
    }
    _put(tensors, "agent", algorithm.agent.state_dict())
    if algorithm.agent.base_is_given:
        _put(tensors, "base", algorithm.agent.base)
    for index, state in algorithm.optimizer.state_dict()["state"].items():
        _put(tensors, f"optimizer/{index}", state)
    if isinstance(algorithm.reference, AgentReference):
        _put(tensors, "reference", algorithm.reference.agent.state_dict())
        data["reference"] = algorithm.reference.agent.config()
        if shares_prefixes(algorithm.reference.agent, algorithm.agent):
            data["reference_shares_prefixes"] = True
        if stands_on_same(algorithm.reference.agent, algorithm.agent):
            data["reference_shares_base"] = True
    shared_tensors, shared_data = algorithm.shared_state()
    tensors.update(shared_tensors)
    data.update(shared_data)
    extra_tensors, data["extra"] = algorithm.extra_state()
    _put(tensors, "extra", extra_tensors)
    # What no callback has taken back yet is kept for the next who goes on.
    states = {**algorithm.waiting_states, **callback_states(algorithm.callbacks)}
    for name, (state_tensors, _) in states.items():
        _put(tensors, f"callbacks/{name}", state_tensors)
    if states:
        data["callbacks"] = {name: state_data for name, (_, state_data) in states.items()}
    return tensors, data


@contextmanager
def complete(data: dict[str, Any]) -> Iterator[None]:
    """Name what a checkpoint lacks, or what does not fit, where it is whole by its hashes but not by its contents."""
    try:
        yield
    except TokenGymError:
        raise
    except _MISFITS as error:
        # RuntimeError is what `load_state_dict` raises, over many lines.
        last = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        what = f"lacks {error}" if isinstance(error, KeyError) else f"does not fit ({last})"
        raise TokenGymError(
            f"The checkpoint of {data.get('algorithm', 'an unknown algorithm')!r} {what}: it was not written by this "
            "version's save(), or was altered and sealed again; train anew or take another checkpoint."
        ) from error


def rebuild(
    kind: type[AnyAlgorithm],
    tensors: dict[str, Tensor],
    data: dict[str, Any],
    env: Any,
    device: str | torch.device = "cpu",
) -> AnyAlgorithm:
    """Rebuild an algorithm of class ``kind`` on ``env`` from what `state_of` returned; see `Algorithm.load`."""
    agent = load_agent(tensors, data, device)
    reference = None
    if "reference" in data:
        if data.get("reference_shares_base"):
            reference = agent.clone_frozen()
            if data["reference"]["lora"] is None:
                reference.take_adapters_off()
        else:
            reference = rebuild_agent(data["reference"], device=device)
        reference.load_state_dict(take(tensors, "reference/"))
        reference = reference.clone_frozen()
    if reference is not None and data.get("reference_shares_prefixes"):
        reference = sharing_prefixes(reference, agent)
    config = kind.Config.restored(data["config"])
    given = kind.saved_arguments(tensors, data)
    algorithm = kind(env, agent, config, seed=data["seed"], device=device, reference=reference, **given)
    algorithm.env_spec = data["env"]
    algorithm.agent.sampler.set_state(tensors["agent_sampler"])
    algorithm.generator.set_state(tensors["generator"])
    _load_optimizer(algorithm.optimizer, take(tensors, "optimizer/"))
    for name in COUNTERS:
        setattr(algorithm, name, data["counters"][name])
    algorithm.load_shared_state(tensors, data)
    algorithm.load_extra_state(take(tensors, "extra/"), data["extra"])
    for name, state in data.get("callbacks", {}).items():
        algorithm.waiting_states[name] = (take(tensors, f"callbacks/{name}/"), state)
    return algorithm


def load_agent(tensors: dict[str, Tensor], data: dict[str, Any], device: str | torch.device = "cpu") -> Agent:
    """Rebuild the agent alone from what `state_of` returned."""
    agent = rebuild_agent(data["agent"], device=device, base=take(tensors, "base/") or None)
    agent.load_state_dict(take(tensors, "agent/"))
    return agent


def check_kind(kind: Any, data: dict[str, Any]) -> None:
    """Raise a `TokenGymError` unless the checkpoint's ``data`` are of the algorithm class ``kind``."""
    if data["algorithm"].rpartition(":")[2] != kind.name:
        raise TokenGymError(f"The checkpoint is of {data['algorithm']!r}; {kind.__name__} loads {kind.name!r}.")


def saved_task(
    data: dict[str, Any], env: Any, source: Any, allow_imports: AllowImports, arguments: dict[str, Any]
) -> Any:
    """Return ``env``, or the task that the checkpoint's ``data`` name where it is None.

    Args:
        data: what `state_of` returned.
        env: an environment, or None.
        source: where the checkpoint is, for messages.
        allow_imports: what the checkpoint may import; see `envs.entry_points.untrusted`.
        arguments: arguments of the environment, the user's own, that go before the saved ones.
    """
    if env is not None:
        if arguments:
            raise TokenGymError(
                f"env is given, and {', '.join(arguments)} for the saved one: give the env with its arguments, or none"
            )
        return env
    if data["env"] is None:
        raise TokenGymError("The checkpoint was saved from a task without an id; give load() the env.")
    missing = missing_arguments(data["env"])
    asked = [f"{name}=… (it was {was})" for name, was in missing.items() if name not in arguments]
    if asked:
        raise TokenGymError(
            f"The checkpoint {source} was saved from an environment with arguments that no file can hold: give "
            f"load() {', '.join(asked)}, or the whole env."
        )
    with untrusted(f"the checkpoint {source}", allow_imports):
        return make_task(data["env"]["id"], **{**data["env"]["kwargs"], **arguments})


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _put(tensors: dict[str, Tensor | np.ndarray], prefix: str, part: dict[str, Any]) -> None:
    tensors.update({f"{prefix}/{name}": value for name, value in part.items()})


def take(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``start``, such as "agent/", by the rest of their names."""
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def copied_by_pickling(algorithm: Any) -> Any:
    """Return a copy of an algorithm that goes on by itself, for one that `copy.deepcopy` cannot take apart.

    Raises:
        TokenGymError: something in it cannot be pickled, such as a reward that is a lambda.
    """
    try:
        return pickle.loads(pickle.dumps(algorithm))  # what was pickled here, and nobody's file
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TokenGymError(
            f"{algorithm.name} on {algorithm.task.name!r} cannot be copied: {error}. Give it what can be pickled, such "
            "as a reward at the top of a module, or save() it and load() it twice."
        ) from error
