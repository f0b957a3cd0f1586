"""Learner: what registry, runner, callbacks and loggers know of whatever learns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from typing_extensions import Self

from .configs import Config

if TYPE_CHECKING:
    from torch import Tensor

    from ..agents import Agent
    from ..envs import Task


class Learner(Protocol):
    """Learns to say tokens within a budget of them or of updates: an `Algorithm`, or one of Stable-Baselines3's."""

    name: ClassVar[str]
    """The name that it is registered under."""
    Config: ClassVar[type[Any]]
    """The class of its configuration."""
    resumable: ClassVar[bool]
    """Whether a checkpoint holds all that learning on needs."""

    num_episodes: int
    num_updates: int
    total_timesteps: int

    def __init__(self, env: Any, agent: Any = ..., config: Any = None, *, seed: Any = 0, **arguments: Any) -> None: ...

    @property
    def config(self) -> Config:
        """Its configuration."""
        ...

    @property
    def task(self) -> Task:
        """What it learns on."""
        ...

    @property
    def agent(self) -> Any:
        """What speaks: an `Agent`, or something with its face."""
        ...

    @property
    def device(self) -> Any:
        """Where it lives."""
        ...

    @property
    def num_timesteps(self) -> int:
        """Agent tokens asked of the environment so far."""
        ...

    @property
    def spent(self) -> int:
        """What has been spent of the budget: agent tokens, or updates where `Config.budget` says so."""
        ...

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 … 1."""
        ...

    def finished(self) -> str | None:
        """Return why learning has ended before its budget was spent, or None."""
        ...

    def learn(self, total_timesteps: Any, callback: Any = None, *arguments: Any, **named: Any) -> Learner:
        """Learn until so much of the budget is spent in all."""
        ...

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Choose actions for one observation or a batch of them."""
        ...

    def save(self, path: str | Path) -> None:
        """Write a sealed checkpoint."""
        ...

    @classmethod
    def load(cls, path: str | Path, env: Any = None, device: Any = "cpu", **arguments: Any) -> Self:
        """Read one back."""
        ...


class Resumable(Learner, Protocol):
    """A learner whose whole state can be taken apart and put together again; see `runs.state`."""

    seed: Any
    env_spec: Any
    generator: Any
    optimizer: Any
    reference: Any
    callbacks: Any
    waiting_states: dict[str, tuple[dict[str, Any], dict[str, Any]]]

    @property
    def agent(self) -> Agent:
        """What speaks."""
        ...

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a checkpoint must hold for all algorithms of this kind."""
        ...

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take it back, out of all that a checkpoint holds."""
        ...

    @classmethod
    def saved_arguments(cls, tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
        """Return what else is to be given to the constructor, of a checkpoint."""
        ...

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a checkpoint must hold for this algorithm alone."""
        ...

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take it back."""
        ...
