"""What the stages of one seed share: the task with and without its reward model, who begins, and the comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...agents import Agent
from ...agents.devices import usable_device
from ...algorithms import PPO, Callback, PreferenceDataset, load_algorithm
from ...algorithms.making import make_agent
from ...algorithms.parts import derive_seed
from ...envs import Task, make_task
from ...envs.rewards import open_reward_model
from ..study import at_place
from .spec import Pipeline
from .stages import COMPARISONS, MODEL, TUNED


def check_device(pipeline: Pipeline) -> None:
    """Raise a `TokenGymError` where the pipeline's device is none of this machine's."""
    with at_place("device"):
        usable_device(pipeline.device)


TRAIN, HELD_OUT = "train.safetensors", "held-out.safetensors"
"""The comparisons that are learnt from and those that are not, in the folder of their stage."""


@dataclass
class Setting:
    """One seed of a pipeline.

    Attributes:
        pipeline: the pipeline.
        seed: the seed.
        folder: where its stages are.
        stop: a callback that may end learning early.
        progress: told the part of a stage that is done.
        tell: told what a reader should know.
    """

    pipeline: Pipeline
    seed: int
    folder: Path
    stop: Callback = field(default_factory=Callback)
    progress: Callable[[float], None] = lambda part: None
    tell: Callable[[str], None] = lambda text: None

    @cached_property
    def task(self) -> Task:
        """The task, paying its own reward."""
        environment = self.pipeline.environment
        return make_task(environment.id, **environment.kwargs)

    @property
    def model_folder(self) -> Path | None:
        """Where the reward model is; None where there is none."""
        part = self.pipeline.reward_model
        if part is None:
            return None
        return self.folder / MODEL / "model" if part.path is None else Path(part.path)

    @cached_property
    def paid(self) -> Task:
        """The task as methods are paid in it: around it the reward model, where there is one."""
        return self.task if self.model_folder is None else self._made({})

    @cached_property
    def judged(self) -> Task:
        """The task as all are judged in it, which has the reward model around it, too."""
        changes = self.pipeline.judgement.kwargs
        return self._made(changes) if changes else self.paid

    def _made(self, changes: Mapping[str, Any]) -> Task:
        kwargs = {**self.pipeline.environment.kwargs, **changes}
        around = []
        if self.model_folder is not None:
            around.append({"name": "reward_model", "path": str(self.model_folder)})
            self.reward_model.to(self.pipeline.device)  # the tasks' model is the very same
        transforms = [*kwargs.pop("transforms", ()), *around]
        return make_task(self.pipeline.environment.id, transforms=transforms, **kwargs)

    @property
    def start(self) -> Any:
        """What methods begin from: the folder of the tuned model's run, or the model as it is."""
        return self.pipeline.model if self.pipeline.sft is None else str(self.folder / TUNED)

    @cached_property
    def reference(self) -> Agent:
        """The agent that methods begin from."""
        if self.pipeline.sft is not None:
            return load_algorithm(self.folder / TUNED, env=self.task, device=self.pipeline.device).agent.clone_frozen()
        agent = make_agent(
            self.pipeline.model,
            self.task,
            PPO.Config(),
            torch.device(self.pipeline.device),
            ("policy",),
            dtype=self.pipeline.dtype,
            seed=derive_seed(self.seed, "agent"),  # as every algorithm of this seed makes it
        )
        return agent.clone_frozen()

    def comparisons(self, name: str) -> PreferenceDataset:
        """Return the comparisons, `TRAIN` or `HELD_OUT`."""
        return PreferenceDataset.load(self.folder / COMPARISONS / name, self.task.vocabulary)

    @cached_property
    def reward_model(self) -> Any:
        """The reward model."""
        assert self.model_folder is not None
        return open_reward_model(self.model_folder)

    def drawn_from(self, purpose: str) -> int:
        """Return the seed of one of the pipeline's own generators."""
        return derive_seed(self.seed, f"rlhf/{purpose}")
