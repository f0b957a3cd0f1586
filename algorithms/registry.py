"""The registry of algorithms: names to classes, imported when first asked for, and to their configurations.

Besides those of this package it knows what a program registered with `register_algorithm`, and what installed packages
declare as entry points of the group ``tokengym.algorithms``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..envs import TokenGymError
from ..envs.checking import AllowImports, checked, load_object, shown, trusted, unknown_name, untrusted
from ..envs.checking import import_module as import_named
from . import configs

if TYPE_CHECKING:
    from .learner import Learner

GROUP = "tokengym.algorithms"
"""The entry points that an installed package declares its algorithms with: ``name = "package.module:Class"``."""


class Entry(NamedTuple):
    """An algorithm: where its class is, or the class, its configuration's where it is known, and who registered it."""

    target: str | type[Any]
    config: type[configs.Config] | None = None
    registered_by: str | None = None


class AlgorithmRegistry(Mapping[str, "type[Learner]"]):
    """A mapping from names to classes that holds "module:Class" until a name is looked up.

    The name of an algorithm of another program may have its module in front, as ``"my_module:reinforce"``, which is
    then imported to register it, as with environments.

    Args:
        entries: those of this package by name, where the class is, and the class of its configuration.
    """

    def __init__(self, entries: dict[str, tuple[str, type[configs.Config]]]) -> None:
        self._own = {name: Entry(target, config) for name, (target, config) in entries.items()}
        self._registered: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> type[Learner]:
        """Import and return the class of ``name``.

        Raises:
            TokenGymError: an unknown name (the nearest are listed), a module that a file may not import, or a class
                that is no algorithm.
        """
        short, entry = self._find(name)
        if short in self._own:
            module, attribute = str(entry.target).split(":")
            return getattr(import_module(module, __package__), attribute)
        if isinstance(entry.target, type):
            return entry.target
        with trusted():  # the user registered it, or installed what declares it
            return _checked_class(short, load_object("algorithm", entry.target))

    @property
    def built_in(self) -> tuple[str, ...]:
        """The names of this package's own."""
        return tuple(self._own)

    def target(self, name: str) -> str:
        """Return where the class of ``name`` is, as "package.module:Class"; imports nothing."""
        target = self._find(name)[1].target
        if isinstance(target, type):
            return f"{target.__module__}:{target.__qualname__}"
        return f"{__package__}{target}" if target.startswith(".") else target

    def config(self, name: str) -> type[configs.Config]:
        """Return the class of the configuration of ``name``; imports nothing for one of this package's own.

        Raises:
            TokenGymError: an unknown name; the nearest are listed.
        """
        known = self._find(name)[1].config
        return self[name].Config if known is None else known

    def qualified(self, name: str) -> str:
        """Return a name that finds the algorithm from any process; a script's own is known in that process alone."""
        short, entry = self._find(name)
        return short if entry.registered_by in (None, "__main__") else f"{entry.registered_by}:{short}"

    def is_to_be_imported(self, name: str) -> bool:
        """Whether a module stands in front of ``name`` that has not registered it yet."""
        module, _, short = name.rpartition(":")
        known = self._registered.get(short)
        return bool(module) and (known is None or known.registered_by != module)

    def register(self, name: str, target: str | type[Any], module: str) -> None:
        """Enter an algorithm on behalf of ``module``; see `register_algorithm`."""
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
            raise TokenGymError(f"name={shown(name)}: give small letters and digits, parted by '-', as 'reinforce'")
        known = self._all().get(name)
        if known is not None and known.registered_by != module:
            owner = f"module {known.registered_by!r}" if known.registered_by else "tokengym or an installed package"
            raise TokenGymError(f"name={name!r} belongs to {owner} already: take another")
        if isinstance(target, str):
            if not re.fullmatch(r"[\w.]+:[\w.]+", target):
                raise TokenGymError(f"algorithm={target!r}: give 'module:Class', importable from here")
        else:
            _checked_class(name, target)
        self._registered[name] = Entry(target, None, module)

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is known; imports nothing."""
        if name in self._own:
            return True
        return isinstance(name, str) and not self.is_to_be_imported(name) and name.rpartition(":")[2] in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Entry]:
        installed = {point.name: Entry(point.value) for point in metadata.entry_points(group=GROUP)}
        return {**installed, **self._registered, **self._own}

    def _find(self, name: str) -> tuple[str, Entry]:
        """Return the short name and the entry, after importing the module in front of the name."""
        if name in self._own:
            return name, self._own[name]
        short = str(name).rpartition(":")[2]
        if self.is_to_be_imported(str(name)):
            module = str(name).rpartition(":")[0]
            import_named(module, "algorithm", name)
            if self.is_to_be_imported(name):
                of_module = [known for known, entry in self._registered.items() if entry.registered_by == module]
                raise unknown_name(f"algorithm of module {module!r}", short, of_module)
        known = self._all()
        if short not in known:
            raise unknown_name("algorithm", name, list(known))
        return short, known[short]


ALGORITHMS = AlgorithmRegistry(
    {
        "ppo": (".on_policy.ppo:PPO", configs.PPOConfig),
        "a2c": (".on_policy.a2c:A2C", configs.A2CConfig),
        "reinforce": (".on_policy.reinforce:Reinforce", configs.ReinforceConfig),
        "rloo": (".on_policy.rloo:RLOO", configs.RLOOConfig),
        "reinforce-pp": (".on_policy.reinforce_pp:ReinforcePP", configs.ReinforcePPConfig),
        "grpo": (".on_policy.grpo:GRPO", configs.GRPOConfig),
        "topr": (".on_policy.topr:TOPR", configs.TOPRConfig),
        "asymre": (".on_policy.asymre:AsymRE", configs.AsymREConfig),
        "v-trace": (".on_policy.vtrace:VTrace", configs.VTraceConfig),
        "nlpo": (".turns.nlpo:NLPO", configs.NLPOConfig),
        "gigpo": (".turns.gigpo:GiGPO", configs.GiGPOConfig),
        "distill": (".turns.distill:Distill", configs.DistillConfig),
        "vine-ppo": (".turns.vine_ppo:VinePPO", configs.VinePPOConfig),
        "raft": (".on_policy.raft:RAFT", configs.RAFTConfig),
        "expert-iteration": (".on_policy.expert_iteration:ExpertIteration", configs.ExpertIterationConfig),
        "dqn": (".off_policy.dqn:DQN", configs.DQNConfig),
        "sac": (".off_policy.sac:SAC", configs.SACConfig),
        "trajectory-balance": (".off_policy.trajectory_balance:TrajectoryBalance", configs.TrajectoryBalanceConfig),
        "path-consistency": (".off_policy.path_consistency:PathConsistency", configs.PathConsistencyConfig),
        "tbrm": (".off_policy.tbrm:TBRM", configs.TBRMConfig),
        "apo": (".off_policy.apo:APO", configs.APOConfig),
        "qrpo": (".off_policy.qrpo:QRPO", configs.QRPOConfig),
        "sft": (".offline.sft:SFT", configs.SFTConfig),
        "bc": (".offline.bc:BC", configs.BCConfig),
        "filtered-bc": (".offline.filtered_bc:FilteredBC", configs.FilteredBCConfig),
        "offline-qrpo": (".offline.offline_qrpo:OfflineQRPO", configs.OfflineQRPOConfig),
        "q-sharp": (".offline.q_sharp:QSharp", configs.QSharpConfig),
        "mc-returns": (".offline.mc_returns:MCReturns", configs.MCReturnsConfig),
        "ilql": (".offline.ilql:ILQL", configs.ILQLConfig),
        "cql": (".offline.cql:CQL", configs.CQLConfig),
        "dpo": (".preferences.dpo:DPO", configs.DPOConfig),
        "rrhf": (".preferences.rrhf:RRHF", configs.RRHFConfig),
        "online-dpo": (".preferences.online_dpo:OnlineDPO", configs.OnlineDPOConfig),
        "sb3-ppo": (".sb3.algorithm:SB3PPO", configs.SB3PPOConfig),
        "sb3-a2c": (".sb3.algorithm:SB3A2C", configs.SB3A2CConfig),
        "sb3-dqn": (".sb3.algorithm:SB3DQN", configs.SB3DQNConfig),
        "sb3-qrdqn": (".sb3.contrib:SB3QRDQN", configs.SB3QRDQNConfig),
        "sb3-maskable-ppo": (".sb3.contrib:SB3MaskablePPO", configs.SB3MaskablePPOConfig),
        "sb3-trpo": (".sb3.contrib:SB3TRPO", configs.SB3TRPOConfig),
    }
)
"""Every algorithm by name. Looking a name up imports its module; listing the names imports nothing."""


def register_algorithm(name: str, algorithm: str | type[Any]) -> None:
    """Register an algorithm of your own, which is then trained, compared and loaded as those of the package.

    Another process, such as the command line, finds it by its module: ``my_module:reinforce`` imports ``my_module``,
    which must be where this is called. An installed package declares its algorithms as entry points of the group
    ``tokengym.algorithms`` instead, and they are found by their names alone.

        register_algorithm("reinforce", Reinforce)
        register_algorithm("reinforce", "my_package.reinforce:Reinforce")  # imported when first asked for

    Registering again from the same module replaces what was there.

    Args:
        name: small letters and digits, parted by "-"; the same as the class's ``name``.
        algorithm: the class, or where it is, "module:Class".

    Raises:
        TokenGymError: a name that is not well formed or belongs to another algorithm, or a class that is none.
    """
    ALGORITHMS.register(name, algorithm, sys._getframe(1).f_globals.get("__name__", "__main__"))


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
) -> Any:
    """Read an algorithm of any kind back from a checkpoint; see `Algorithm.load`."""
    from . import runs

    _, data = runs.read(path)
    if not isinstance(data.get("algorithm"), str):
        raise TokenGymError(f"The checkpoint at {path} does not say of which algorithm it is; take another one.")
    with untrusted(f"the checkpoint {path}", allow_imports):
        kind = ALGORITHMS[data["algorithm"]]
    return kind.load(path, env, device, allow_imports=allow_imports, **arguments)


def _checked_class(name: str, found: Any) -> type[Learner]:
    lacking = [part for part in ("Config", "learn", "predict", "save", "load") if not hasattr(found, part)]
    if not isinstance(found, type) or lacking or not issubclass(getattr(found, "Config"), configs.Config):  # noqa: B009
        raise TokenGymError(
            f"algorithm {name!r}: {shown(found)} is no algorithm; give a subclass of OnPolicy, OffPolicy or Algorithm"
        )
    if getattr(found, "name", None) != name:
        raise TokenGymError(
            f"algorithm {name!r}: {found.__name__}.name is {getattr(found, 'name', None)!r}; give it the same name"
        )
    return cast("type[Learner]", found)
