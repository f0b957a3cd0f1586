"""Offline: learn from a dataset, in a shuffled order, for a number of updates; nothing is played."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent
from ...agents.specs import Dtype
from ...envs import TokenGymError
from ...envs.checking import Seed, checked
from ..base import Algorithm
from ..configs import OfflineConfig
from ..data import Batch, EpisodeOrder
from ..parts import Loss, Step, derive_seed
from ..runs import take

OfflineConfigT = TypeVar("OfflineConfigT", bound=OfflineConfig)


class Prepared(Protocol):
    """What `Offline.prepare` returns: all of a batch that needs no gradient."""

    @property
    def batch(self) -> Batch:
        """The tokens."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was seen on the way."""
        ...


@dataclass(frozen=True, eq=False)
class SavedData:
    """What a checkpoint holds of a dataset: all of it, or its path and its hash.

    Attributes:
        tensors: the dataset as `Offline.data_state` gave it; empty where there is a path.
        told: the rest of that, the path and the hash.
    """

    tensors: dict[str, Any]
    told: dict[str, Any]


class Offline(Algorithm[OfflineConfigT]):
    """Learns from a dataset; an environment only says what tokens mean, and is played to judge what was learnt.

    Budget, schedules and checkpoints count updates: ``learn(1000)`` makes a thousand. The dataset is given in Python
    (``dataset=``), read from the path that the configuration names, or made (`make_data`). It is looked at when the
    algorithm is built, so that whatever is wrong with it stops at the door.

    A subclass says what its data are: `read_data`, `make_data`, `check_data`, `num_items` and `take`, `data_state` and
    `data_from_state` for checkpoints; and what it learns from them: `prepare`, `loss`, `batch_size`.

    Args:
        env: as of `Algorithm`, as are the others but one.
        agent: see there.
        config: see there.
        dataset: what is learnt from; None takes ``config.data``, or makes it.
        seed: see there; shuffles the data, too.
        device: see there.
        dtype: see there.
        reference: see there.
        **overrides: fields of the config to change.

    Raises:
        TokenGymError: as `Algorithm`; the data are not there, or not for this task or agent; data are given twice.
    """

    making: ClassVar[tuple[str, ...]] = ()
    """The fields that say how data are made (`make_data`), and do nothing where data are given in Python."""

    @checked
    def __init__(
        self,
        env: Any,
        agent: Any = "mlp-tiny",
        config: OfflineConfigT | None = None,
        *,
        dataset: Any = None,
        seed: Seed = 0,
        device: str | torch.device = "cpu",
        dtype: Dtype | None = None,
        reference: Agent | None = None,
        **overrides: Any,
    ) -> None:
        self._given = dataset
        super().__init__(env, agent, config, seed=seed, device=device, dtype=dtype, reference=reference, **overrides)

    # Hooks -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def read_data(self, path: Path) -> Any:
        """Read what ``config.data`` names."""

    @abstractmethod
    def make_data(self) -> Any:
        """Make the data where none are given or named; add the tokens asked of environments to ``num_timesteps``."""

    @abstractmethod
    def check_data(self, data: Any) -> Any:
        """Return what is to be learnt from, after looking whether it can be: by this agent, on this task.

        Raises:
            TokenGymError: it cannot.
        """

    @abstractmethod
    def num_items(self, data: Any) -> int:
        """Return how many episodes, pairs or groups there are to draw."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many of them an update draws."""

    @abstractmethod
    def take(self, indices: np.ndarray) -> Any:
        """Return some items of the data, int64 (k,), as a batch for `prepare`; an item may be drawn twice."""

    @abstractmethod
    def prepare(self, batch: Any) -> Prepared:
        """Return all of a batch that needs no gradient."""

    @abstractmethod
    def loss(self, part: Batch, prepared: Any) -> Loss:
        """Return what ``part``, all of a batch or some of its `unit`, adds to the loss; it changes nothing."""

    def report(self, step: Step) -> dict[str, float]:
        """Return the metrics of a step."""
        return dict(step.terms)

    @abstractmethod
    def data_state(self, data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (named tensors or arrays, JSON-able data) that a checkpoint must hold of data without a path."""

    @abstractmethod
    def data_from_state(self, tensors: dict[str, Any], told: dict[str, Any]) -> Any:
        """Return what `data_state` was given."""

    # The data --------------------------------------------------------------------------------------------------------

    def make_parts(self) -> None:
        """Look at the data, unless a checkpoint is being read: then they are looked at when they are needed."""
        super().make_parts()
        self.num_drawn = 0
        self.num_tokens_learnt = 0
        self._order: EpisodeOrder | None = None
        self._saved: SavedData | None = self._given if isinstance(self._given, SavedData) else None
        self._data: Any = None
        self._digest: str | None = None
        if self._saved is None:
            self._data = self.check_data(self._found())
            if not self.num_items(self._data):
                raise TokenGymError(f"{self.name} has nothing to learn from: the data are empty; give some")
        self._given = None

    def _found(self) -> Any:
        path = self.config.data
        if self._given is not None:
            if path is not None:
                raise TokenGymError(f"dataset is given, and config.data names {path!r}: leave one of them out")
            default = type(self.config)()
            for name in self.making:
                if getattr(self.config, name) != getattr(default, name):
                    raise TokenGymError(f"dataset is given, beside which {name} does nothing: leave one of them out")
            return self._given
        return self.make_data() if path is None else self.read_data(Path(path))

    @property
    def data(self) -> Any:
        """What is learnt from; after a checkpoint was loaded it is read again when it is first asked for.

        Raises:
            TokenGymError: it is not there any more, or is not what it was.
        """
        if self._data is None:
            assert self._saved is not None
            path, told = self.config.data, self._saved.told
            if path is None:
                self._data = self.data_from_state(self._saved.tensors, told["data"])
            else:
                self._data = self.check_data(self.read_data(Path(path)))
                if self.digest(self._data) != told["digest"]:
                    raise TokenGymError(
                        f"the data at {path} are not those that learning began with: put them back to go on, or begin "
                        "anew"
                    )
            self._saved = None
        return self._data

    def digest(self, data: Any) -> str:
        """Return a hash of the data."""
        if self._digest is None:
            self._digest = self._hash(data)
        return self._digest

    def _hash(self, data: Any) -> str:
        tensors, told = self.data_state(data)
        found = hashlib.sha256(repr(sorted(told.items())).encode())
        for name in sorted(tensors):
            values = np.ascontiguousarray(tensors[name])
            found.update(f"{name} {values.dtype.str} {values.shape};".encode())
            found.update(values.data)
        return found.hexdigest()

    # Learning --------------------------------------------------------------------------------------------------------

    @property
    def num_tokens(self) -> int:
        """Agent tokens that were learnt from, each as often as it was."""
        return self.num_tokens_learnt

    def next_batch(self) -> Any:
        """Draw the next items, in an order that is shuffled anew in every pass."""
        if self._order is None:
            self._order = EpisodeOrder(self.num_items(self.data), derive_seed(self.seed, "order"))
        self._order.drawn = self.num_drawn
        indices = self._order.next(self.batch_size)
        self.num_drawn = self._order.drawn
        return self.take(indices)

    def update(self, batch: Any) -> dict[str, float]:
        """Take one step on a batch; metrics as documented on the algorithm's page."""
        prepared = self.prepare(batch)
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit)
        step = self.optimise(self.loss(part, prepared) for part in parts)
        self.num_tokens_learnt += len(prepared.batch)
        return {
            **prepared.metrics,
            **self.report(step),
            "optim/grad_norm": step.grad_norm,
            "optim/learning_rate": self.learning_rate,
            "data/passes": self.num_drawn / self.num_items(self.data),
            "data/tokens": float(self.num_tokens_learnt),
        }

    # Saving ----------------------------------------------------------------------------------------------------------

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """How much was drawn, and the data, or their hash where they have a path."""
        tensors, data = super().shared_state()
        saved = self._saved or self._state_of_data()
        counts = {"drawn": self.num_drawn, "tokens": self.num_tokens_learnt}
        tensors |= {f"data/{name}": values for name, values in saved.tensors.items()}
        return tensors, {**data, "offline": {**counts, **saved.told}}

    def _state_of_data(self) -> SavedData:
        if self.config.data is not None:
            return SavedData({}, {"digest": self.digest(self.data)})
        tensors, told = self.data_state(self.data)
        return SavedData(tensors, {"data": told})

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned."""
        super().load_shared_state(tensors, data)
        self.num_drawn, self.num_tokens_learnt = int(data["offline"]["drawn"]), int(data["offline"]["tokens"])

    @classmethod
    def saved_arguments(cls, tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
        """Return the data as the checkpoint has them."""
        told = {name: value for name, value in data["offline"].items() if name in ("data", "digest")}
        return {"dataset": SavedData(take(tensors, "data/"), told)}
