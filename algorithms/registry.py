"""The registry of algorithms: names to classes, imported when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..envs.errors import TokenGymError, unknown_name

if TYPE_CHECKING:
    from .base import Algorithm


class AlgorithmRegistry(Mapping[str, "type[Algorithm]"]):
    """A mapping from names to classes that holds "module:Class" until a name is looked up."""

    def __init__(self, entries: dict[str, str]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> type[Algorithm]:
        """Import and return the class of ``name``.

        Raises:
            TokenGymError: an unknown name; the nearest are listed.
        """
        if name not in self._entries:
            raise unknown_name("algorithm", name, list(self._entries))
        module, attribute = self._entries[name].split(":")
        return getattr(import_module(module, __package__), attribute)

    def target(self, name: str) -> str:
        """Return where the class of ``name`` is, as "package.module:Class"; imports nothing."""
        return f"{__package__}{self._entries[name]}"

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is known; imports nothing."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


ALGORITHMS = AlgorithmRegistry(
    {
        "ppo": ".ppo:PPO",
        "a2c": ".a2c:A2C",
        "dqn": ".dqn:DQN",
        "sac": ".sac:SAC",
        "sb3-ppo": ".sb3:SB3PPO",
        "sb3-a2c": ".sb3:SB3A2C",
        "sb3-dqn": ".sb3:SB3DQN",
    }
)
"""Every algorithm by name. Looking a name up imports its module; listing the names imports nothing."""


def load_algorithm(path: str | Path, env: Any = None, device: str = "cpu") -> Algorithm:
    """Read an algorithm of any kind back from a checkpoint; see `Algorithm.load`."""
    from . import checkpoint

    _, data = checkpoint.read(path)
    if "algorithm" not in data:
        raise TokenGymError(f"The checkpoint at {path} does not say of which algorithm it is; take another one.")
    return ALGORITHMS[data["algorithm"]].load(path, env, device)
