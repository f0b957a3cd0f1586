"""Callbacks: look at a run while it learns, and stop it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..envs.errors import TokenGymError

if TYPE_CHECKING:
    from .base import Algorithm
    from .episodes import Episodes


class Callback:
    """Called at the boundaries of learning; override what is wanted.

    Weights change only inside `Algorithm.update`, so at every call the run may be saved, evaluated or stopped.
    """

    def on_start(self, algorithm: Algorithm) -> None:
        """Called once, before the first collection."""

    def on_episodes(self, algorithm: Algorithm, episodes: Episodes) -> None:
        """Called after each collection, before the update."""

    def on_update(self, algorithm: Algorithm, metrics: dict[str, float]) -> bool | None:
        """Called after each update; returning False stops learning."""

    def on_end(self, algorithm: Algorithm) -> None:
        """Called once, after the last update or the stop."""


class CallbackList(Callback):
    """Several callbacks, called in order; one that returns False stops learning, after all were called."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = [as_callback(callback) for callback in callbacks]

    def on_start(self, algorithm: Algorithm) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_start(algorithm)

    def on_episodes(self, algorithm: Algorithm, episodes: Episodes) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_episodes(algorithm, episodes)

    def on_update(self, algorithm: Algorithm, metrics: dict[str, float]) -> bool:
        """Call all; False if any returned False."""
        return False not in [callback.on_update(algorithm, metrics) for callback in self.callbacks]

    def on_end(self, algorithm: Algorithm) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_end(algorithm)


class StopAfter(Callback):
    """Stop at the first boundary at or after ``timesteps`` agent tokens, whatever the total that schedules run over."""

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps

    def on_update(self, algorithm: Algorithm, metrics: dict[str, float]) -> bool:
        """Return False once the tokens are reached."""
        return algorithm.num_timesteps < self.timesteps


class SaveEvery(Callback):
    """Write a sealed checkpoint into ``folder`` every ``timesteps`` agent tokens, and one at the end.

    Args:
        folder: gets one ``step-…`` folder a checkpoint.
        timesteps: agent tokens between two checkpoints, above 0.
        keep: how many of the newest to keep; None keeps all.
    """

    def __init__(self, folder: str | Path, timesteps: int, keep: int | None = 2) -> None:
        if timesteps < 1 or (keep is not None and keep < 1):
            raise TokenGymError(f"timesteps is {timesteps} and keep is {keep}; expected both to be at least 1.")
        self.folder = Path(folder)
        self.timesteps = timesteps
        self.keep = keep
        self.saved_at = 0

    def on_start(self, algorithm: Algorithm) -> None:
        """Count from where the run stands."""
        self.saved_at = algorithm.num_timesteps

    def on_update(self, algorithm: Algorithm, metrics: dict[str, float]) -> None:
        """Save where a multiple of ``timesteps`` was passed."""
        if algorithm.num_timesteps // self.timesteps > self.saved_at // self.timesteps:
            self.save(algorithm)

    def on_end(self, algorithm: Algorithm) -> None:
        """Save what was learnt since the last checkpoint."""
        if algorithm.num_timesteps > self.saved_at:
            self.save(algorithm)

    def save(self, algorithm: Algorithm) -> None:
        """Write one checkpoint and remove the oldest beyond ``keep``."""
        from . import checkpoint

        algorithm.save(self.folder / checkpoint.step_name(algorithm.num_timesteps))
        self.saved_at = algorithm.num_timesteps
        if self.keep is not None:
            checkpoint.prune(self.folder, self.keep)


def as_callback(callback: Callback | Iterable[Callback] | None) -> Callback:
    """Return one `Callback` for None, one, or several.

    Raises:
        TokenGymError: a Stable-Baselines3 callback, or something that is no callback.
    """
    if callback is None:
        return Callback()
    if isinstance(callback, Callback):
        return callback
    if any(base.__module__.startswith("stable_baselines3.") for base in type(callback).__mro__):
        raise TokenGymError(
            f"{type(callback).__name__} is a callback of Stable-Baselines3, made for its own loop of steps; "
            "write a tokengym.algorithms.callbacks.Callback (on_start, on_episodes, on_update, on_end), or "
            "use it with the algorithms 'sb3-ppo', 'sb3-a2c' and 'sb3-dqn'."
        )
    if isinstance(callback, (list, tuple)):
        return CallbackList(callback)
    raise TokenGymError(f"callback is {callback!r}; expected a Callback, a list of them, or None.")
