"""Callbacks: look at a run while it learns, and stop it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...envs import TokenGymError
from ...envs.checking import Count, NotNegative, Positive, checked

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Episodes
    from ..learner import Learner


class Callback:
    """Called at the boundaries of learning; override what is wanted.

    Weights change only inside `Algorithm.update`, so at every call the run may be saved, evaluated or stopped.

    Attributes:
        rank: callbacks of a list are called by rank, and in their order within one: 0 what measures and decides, 1 what
            keeps the best, 2 what saves the run with the states of all.
    """

    rank = 0

    def on_start(self, algorithm: Learner) -> None:
        """Called once, before the first collection."""

    def on_episodes(self, algorithm: Learner, episodes: Episodes) -> None:
        """Called after each collection, before the update."""

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> bool | None:
        """Called after each update; returning False stops learning."""

    def on_end(self, algorithm: Learner) -> None:
        """Called once, after the last update or the stop."""

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (named tensors, JSON-able data) that a checkpoint of the run must hold for this callback."""
        return {}, {}

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned; called before `on_start` where a loaded run goes on."""


class CallbackList(Callback):
    """Several callbacks, called by their `rank`, then in order; one that returns False stops learning."""

    @checked
    def __init__(self, callbacks: Iterable[Callback]) -> None:
        single = [one for callback in callbacks for one in _single(as_callback(callback))]
        self.callbacks = sorted(single, key=lambda callback: callback.rank)

    def on_start(self, algorithm: Learner) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_start(algorithm)

    def on_episodes(self, algorithm: Learner, episodes: Episodes) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_episodes(algorithm, episodes)

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> bool:
        """Call all; False if any returned False."""
        return False not in [callback.on_update(algorithm, metrics) for callback in self.callbacks]

    def on_end(self, algorithm: Learner) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_end(algorithm)


class StopAfter(Callback):
    """Stop at the first boundary at or after ``timesteps`` agent tokens, whatever the total that schedules run over."""

    @checked
    def __init__(self, timesteps: Count) -> None:
        self.timesteps = timesteps

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> bool:
        """Return False once the tokens are reached."""
        return algorithm.spent < self.timesteps


class SaveEvery(Callback):
    """Write a sealed checkpoint into ``folder`` every ``timesteps`` agent tokens, and one at the end.

    It is called after all other callbacks, so that what it saves holds their states of the same moment.

    Args:
        folder: gets one ``step-…`` folder a checkpoint.
        timesteps: agent tokens between two checkpoints, above 0.
        keep: how many of the newest to keep; None keeps all.
        seconds: save, too, where so many seconds have passed since the last checkpoint; None does not look at them.
        apart: seconds that lie between two checkpoints at least, the one at the end excepted; a multiple of
            ``timesteps`` passed before is made up for. When a checkpoint is written changes nothing that is learnt.
    """

    rank = 2

    @checked
    def __init__(
        self,
        folder: str | Path,
        timesteps: Count,
        keep: Count | None = 2,
        seconds: Positive | None = None,
        apart: NotNegative = 0.0,
    ) -> None:
        self.folder = Path(folder)
        self.timesteps = timesteps
        self.keep = keep
        self.seconds = math.inf if seconds is None else seconds
        self.apart = apart
        self.saved_at = 0
        self._since = 0.0

    def on_start(self, algorithm: Learner) -> None:
        """Count from where the run stands, and sweep what writers that were killed left."""
        from . import checkpoint

        self.saved_at = algorithm.spent
        self._since = time.monotonic()
        checkpoint.sweep(self.folder)

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> None:
        """Save where a multiple of ``timesteps`` was passed, or so many seconds."""
        passed = algorithm.spent // self.timesteps > self.saved_at // self.timesteps
        since = time.monotonic() - self._since
        if (passed and since >= self.apart) or since >= self.seconds:
            self.save(algorithm)

    def on_end(self, algorithm: Learner) -> None:
        """Save what was learnt since the last checkpoint."""
        if algorithm.spent > self.saved_at:
            self.save(algorithm)

    def save(self, algorithm: Learner) -> None:
        """Write one checkpoint and remove the oldest beyond ``keep``."""
        from . import checkpoint

        place = self.folder / checkpoint.step_name(algorithm.spent)
        checkpoint.make_way(place)
        algorithm.save(place)
        self.saved_at = algorithm.spent
        self._since = time.monotonic()
        if self.keep is not None:
            checkpoint.prune(self.folder, self.keep)


Callbacks = Annotated[Any, "Callback | Iterable[Callback] | None"]
"""What `as_callback` takes, which says what to write in place of a callback of another library."""
CallbackStates = dict[str, tuple[dict[str, Any], dict[str, Any]]]
"""What `Callback.state` returned, by the callback's name; see `named_callbacks`."""


def named_callbacks(callback: Callback) -> dict[str, Callback]:
    """Return one callback, or those of a list, by the names of their classes; the second of a class is "Name 2"."""
    named: dict[str, Callback] = {}
    for one in _single(callback):
        kind = type(one).__name__
        same = sum(type(other).__name__ == kind for other in named.values())
        named[f"{kind} {same + 1}" if same else kind] = one
    return named


def callback_states(callback: Callback) -> CallbackStates:
    """Return the state of each callback that has any."""
    states = {name: one.state() for name, one in named_callbacks(callback).items()}
    return {name: state for name, state in states.items() if any(state)}


def load_callback_states(callback: Callback, states: CallbackStates) -> None:
    """Hand the states back to the callbacks of the same names, and take them out of ``states``."""
    for name, one in named_callbacks(callback).items():
        if name in states:
            one.load_state(*states.pop(name))


def _single(callback: Callback) -> list[Callback]:
    if isinstance(callback, CallbackList):
        return [one for part in callback.callbacks for one in _single(part)]
    return [callback]


def as_callback(callback: Any) -> Callback:
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
            "write a tokengym.algorithms.runs.callbacks.Callback (on_start, on_episodes, on_update, on_end), or "
            "use it with the algorithms of that library, 'sb3-ppo' and its like."
        )
    if isinstance(callback, (list, tuple)):
        return CallbackList(callback)
    raise TokenGymError(f"callback is {callback!r}; expected a Callback, a list of them, or None.")
