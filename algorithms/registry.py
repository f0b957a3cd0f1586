"""The registry of algorithms: names to classes, imported when first asked for, and to their configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..envs import TokenGymError
from ..envs.checking import AllowImports, checked, unknown_name
from . import configs

if TYPE_CHECKING:
    from .base import Algorithm


class AlgorithmRegistry(Mapping[str, "type[Algorithm]"]):
    """A mapping from names to classes that holds "module:Class" until a name is looked up.

    Args:
        entries: by name, where the class is, and the class of its configuration.
    """

    def __init__(self, entries: dict[str, tuple[str, type[configs.Config]]]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> type[Algorithm]:
        """Import and return the class of ``name``.

        Raises:
            TokenGymError: an unknown name; the nearest are listed.
        """
        module, attribute = self._entry(name)[0].split(":")
        return getattr(import_module(module, __package__), attribute)

    def target(self, name: str) -> str:
        """Return where the class of ``name`` is, as "package.module:Class"; imports nothing."""
        return f"{__package__}{self._entry(name)[0]}"

    def config(self, name: str) -> type[configs.Config]:
        """Return the class of the configuration of ``name``; imports nothing.

        Raises:
            TokenGymError: an unknown name; the nearest are listed.
        """
        return self._entry(name)[1]

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is known; imports nothing."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, name: str) -> tuple[str, type[configs.Config]]:
        if name not in self._entries:
            raise unknown_name("algorithm", name, list(self._entries))
        return self._entries[name]


ALGORITHMS = AlgorithmRegistry(
    {
        "ppo": (".on_policy.ppo:PPO", configs.PPOConfig),
        "a2c": (".on_policy.a2c:A2C", configs.A2CConfig),
        "dqn": (".off_policy.dqn:DQN", configs.DQNConfig),
        "sac": (".off_policy.sac:SAC", configs.SACConfig),
        "sb3-ppo": (".sb3.algorithm:SB3PPO", configs.SB3PPOConfig),
        "sb3-a2c": (".sb3.algorithm:SB3A2C", configs.SB3A2CConfig),
        "sb3-dqn": (".sb3.algorithm:SB3DQN", configs.SB3DQNConfig),
    }
)
"""Every algorithm by name. Looking a name up imports its module; listing the names imports nothing."""


@checked
def check_config(algorithm: str, values: Mapping[str, Any]) -> configs.Config:
    """Return the configuration of ``algorithm`` with the fields in ``values`` changed; imports no torch.

    Args:
        algorithm: a name in `ALGORITHMS`.
        values: fields of its configuration, such as a study's ``config``.

    Raises:
        TokenGymError: an unknown algorithm or field (the nearest are listed), or a value of a wrong type or range.
    """
    return ALGORITHMS.config(algorithm)().replace(**values)


@checked
def load_algorithm(
    path: str | Path, env: Any = None, device: Any = "cpu", *, allow_imports: AllowImports = False, **arguments: Any
) -> Algorithm:
    """Read an algorithm of any kind back from a checkpoint; see `Algorithm.load`."""
    from .runs import checkpoint

    _, data = checkpoint.read(path)
    if not isinstance(data.get("algorithm"), str):
        raise TokenGymError(f"The checkpoint at {path} does not say of which algorithm it is; take another one.")
    return ALGORITHMS[data["algorithm"]].load(path, env, device, allow_imports=allow_imports, **arguments)
