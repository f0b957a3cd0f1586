"""The run folder of ``train``: begun, taken up where it was interrupted, or said to be finished.

It is a folder as a study's runs have (see `runs`), and either may go on with the other's. The same command given again
takes an interrupted run up; other settings are refused with what differs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from ...agents.specs import Dtype
from ...algorithms import ALGORITHMS, load_algorithm
from ...algorithms.runs import has_checkpoint
from ...envs import Task, TokenGymError
from .folder import RESULTS, WARNINGS, RunFolder
from .lock import LOCK
from .run import make_algorithm, newest
from .spec import EvaluationSpec, RunSpec

_LENGTHENS = ("total_tokens", "evaluation")
"""What may differ where a run is resumed: a longer total, and how the result is evaluated."""

_OWN = (LOCK, "checkpoints", "tensorboard", "timings.jsonl", WARNINGS, "failed.json", *RESULTS)


def specification(
    name: str,
    task: Task,
    agent: Any,
    config: Any,
    seed: int,
    tokens: int,
    episodes: int,
    points: int = 0,
    dtype: Dtype = "float32",
) -> RunSpec:
    """Return everything that decides the run of one ``train`` command, all hyperparameters with their values.

    Args:
        name: Registered name of the algorithm.
        task: The task, made by its id.
        agent: Agent specification, or None for the algorithm's default.
        config: The algorithm's configuration.
        seed: Training seed.
        tokens: Agent tokens to train for.
        episodes: Episodes of the evaluation at the end.
        points: Evaluations while it learns.
        dtype: What the agent computes with.
    """
    assert task.spec is not None  # it was made by its id
    return RunSpec(
        environment=task.name,
        env_id=task.spec["id"],
        env_kwargs=task.spec["kwargs"],
        label=name,
        algorithm=name,
        config=config.to_dict(),
        agent=_default_agent(name) if agent is None else agent,
        seed=seed,
        total_tokens=tokens,
        beta=None,
        score_by="greedy",
        random_return=None,
        optimal_return=None,
        evaluation=EvaluationSpec(episodes=episodes, points=points, samples=2),
        dtype=dtype,
    )


def take_up(
    folder: RunFolder,
    spec: RunSpec,
    task: Task,
    config: Any,
    resume: bool,
    tell: Callable[[str], None],
    device: str = "cpu",
) -> tuple[Any, RunSpec]:
    """Return the algorithm of a run, new or gone on with, after making its folder ready; None for a finished run.

    With it comes the run as it now is: what a command with ``--resume`` leaves out is the run's own.

    Args:
        folder: The folder, which is there and locked.
        spec: The run that is asked for.
        task: Its task.
        config: Its algorithm's configuration.
        resume: Whether the command says that a run is to go on: a finished one to a larger total, or one of a version
            that recorded no configuration.
        tell: Takes what a reader should know of an interrupted run, such as that a checkpoint is broken.
        device: Where the agent lives and learns.

    Raises:
        TokenGymError: If the folder holds another run, or something else.
    """
    recorded = folder.recorded()
    if recorded is None:
        recorded = _of_earlier_version(folder, spec, task, resume)
    elif folder.format == 1:  # which evaluated at the end alone, whatever it said
        recorded = replace(recorded, evaluation=replace(recorded.evaluation, points=0))
    if recorded is None:
        algorithm = make_algorithm(spec, task, device)
        folder.begin(spec)
        return algorithm, spec
    recorded, sealed = recorded.completed(), folder.sealed()
    if resume:
        spec = _filled(spec, recorded, config)
    changed = _differences(recorded, spec)
    longer = spec.total_tokens >= recorded.total_tokens
    if not changed and sealed:
        return None, spec
    if changed and not (resume and longer and set(changed) <= set(_LENGTHENS)):
        kept = set(changed) <= set(_LENGTHENS) and longer
        hint = "pass --resume to go on to the new total" if kept else "leave that out, or choose another --out"
        state = "a finished run" if sealed else "an interrupted run"
        raise TokenGymError(f"{folder.path} holds {state} with other settings: {'; '.join(changed.values())}; {hint}")
    algorithm = newest(spec, folder, task, tell, device)
    return (make_algorithm(spec, task, device) if algorithm is None else algorithm), spec


def _of_earlier_version(folder: RunFolder, spec: RunSpec, task: Task, resume: bool) -> RunSpec | None:
    """Return the run that a folder without a configuration holds, or None where nothing has been done in it."""
    others = [child.name for child in folder.path.iterdir() if child.name not in _OWN and not _unfinished(child.name)]
    if others:
        raise TokenGymError(f"{folder.path} holds {sorted(others)[0]!r} and no run; --out names a folder of its own")
    if not has_checkpoint(folder.checkpoints):
        metrics = folder.path / "metrics.jsonl"
        if metrics.exists() and metrics.stat().st_size:
            raise TokenGymError(
                f"{folder.path} holds metrics.jsonl of a run that recorded no configuration and no checkpoint, which "
                "cannot go on; choose another --out"
            )
        return None
    if not resume:
        raise TokenGymError(
            f"{folder.path} already holds a run, of a version that recorded no configuration; pass --resume to go on "
            "with it, or another --out"
        )
    saved: Any = load_algorithm(folder.checkpoints, env=task)
    env = saved.env_spec or {"id": None, "kwargs": {}}
    return replace(
        spec,
        algorithm=saved.name,
        label=saved.name,
        env_id=env["id"],
        env_kwargs=env["kwargs"],
        config=saved.config.to_dict(),
        seed=saved.seed,
        total_tokens=min(saved.total_timesteps, spec.total_tokens),
    )


def _filled(spec: RunSpec, recorded: RunSpec, config: Any) -> RunSpec:
    """Return the run that a command with ``--resume`` asks for: what has its default is the recorded run's."""
    if spec.algorithm != recorded.algorithm:
        return spec
    default = type(config)().to_dict()
    own = {key: recorded.config.get(key, value) for key, value in spec.config.items() if value == default[key]}
    agent = recorded.agent if spec.agent == _default_agent(spec.algorithm) else spec.agent
    seed = recorded.seed if spec.seed == 0 else spec.seed
    usual = EvaluationSpec(points=0, samples=2)  # what `specification` gives where the command says nothing
    given = {item.name: getattr(spec.evaluation, item.name) for item in fields(usual)}
    evaluation = replace(
        recorded.evaluation, **{name: value for name, value in given.items() if value != getattr(usual, name)}
    )
    return replace(
        recorded,
        env_id=spec.env_id,
        env_kwargs=spec.env_kwargs,
        config={**spec.config, **own},
        agent=agent,
        seed=seed,
        total_tokens=spec.total_tokens,
        evaluation=evaluation,
        dtype=recorded.dtype if spec.dtype == "float32" else spec.dtype,
    )


def _default_agent(name: str) -> Any:
    return inspect.signature(ALGORITHMS[name]).parameters["agent"].default


def _differences(recorded: RunSpec, wanted: RunSpec) -> dict[str, str]:
    """Return what differs between two runs, by the field, said as the command line does."""
    old, new = (json.loads(json.dumps(asdict(spec), default=str)) for spec in (recorded, wanted))
    flags = {"env_id": "the environment", "algorithm": "the algorithm"}
    found = {}
    for key in new:
        if old[key] == new[key] or key in ("environment", "label"):
            continue
        parts = [(key, old[key], new[key])]
        if isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            inner = sorted({*old[key], *new[key]})
            parts = [
                (name, old[key].get(name), new[key].get(name))
                for name in inner
                if old[key].get(name) != new[key].get(name)
            ]
        said = []
        for name, before, after in parts:
            flag = f"--kwargs {name}" if key == "env_kwargs" else flags.get(name, f"--{name.replace('_', '-')}")
            said.append(f"{flag} is {after!r} (the run's is {before!r})")
        found[key] = ", ".join(said)
    return found


def _unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith((".new", ".writing"))
