"""What the stages of one seed share: the task with and without its reward model, who begins, and the comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...agents import Agent
from ...algorithms import PPO, Callback, PreferenceDataset, load_algorithm
from ...algorithms.making import make_agent
from ...algorithms.parts import derive_seed
from ...algorithms.reward_models import load_reward_model
from ...envs import Task, make_task
from .spec import Pipeline
from .stages import COMPARISONS, MODEL, TUNED

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
    def judged(self) -> Task:
        """The task as methods are paid in it and all are judged: around it the reward model, where there is one."""
        if self.model_folder is None:
            return self.task
        kwargs = dict(self.pipeline.environment.kwargs)
        around = {"name": "reward_model", "path": str(self.model_folder)}
        transforms = [*kwargs.pop("transforms", ()), around]
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
        return load_reward_model(self.model_folder)

    def drawn_from(self, purpose: str) -> int:
        """Return the seed of one of the pipeline's own generators."""
        return derive_seed(self.seed, f"rlhf/{purpose}")
