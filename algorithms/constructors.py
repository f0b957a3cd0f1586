"""What a constructor shows: its hyperparameters, to whoever asks or types, and afterwards what differs from them."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, ClassVar, TypeVar, get_args

from ..envs.describing import brief, call
from .configs import Config


class Constructed:
    """Gives an algorithm its `Config`, a signature with the fields of it, and a `repr` of what was chosen.

    `Config` is the class that an algorithm names as its parameter, as in ``class PPO(OnPolicy[PPOConfig])``, which
    types ``self.config`` for whoever reads it; a subclass that names none has its parent's.

    The fields are accepted as ``**overrides``. Editors read the same from `algorithms.configs.overrides`, which a test
    holds against the configurations.
    """

    name: ClassVar[str]
    Config: ClassVar[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        """Take the class's `Config` from its parameter, and write the fields into its signature."""
        super().__init_subclass__(**options)
        for base in vars(cls).get("__orig_bases__", ()):
            for parameter in get_args(base):
                kind = parameter.__bound__ if isinstance(parameter, TypeVar) else parameter
                if "Config" not in vars(cls) and isinstance(kind, type) and issubclass(kind, Config):
                    cls.Config = kind
        kind = getattr(cls, "Config", None)
        if "name" in vars(cls) and isinstance(kind, type) and issubclass(kind, Config):
            cls.__signature__ = full_signature(cls.__init__, kind)

    def __repr__(self) -> str:
        """Return the algorithm, its task and agent, the tokens so far, and the settings that are not the defaults."""
        if not hasattr(self, "num_timesteps"):  # while it is built
            return f"<{type(self).__name__}>"
        config, agent = getattr(self, "config"), getattr(self, "agent", None)  # noqa: B009
        shown = {} if agent is None else {"agent": agent if isinstance(agent, str) else _kind(agent)}
        shown |= {"seed": brief(getattr(self, "seed", None)), "num_timesteps": str(getattr(self, "num_timesteps"))}  # noqa: B009
        default = type(config)()
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if value != getattr(default, field.name):
                shown[field.name] = brief(value)
        return call(type(self).__name__, [repr(getattr(self, "task", None))], shown)


def full_signature(constructor: Any, config: type[Config]) -> inspect.Signature:
    """Return a constructor's signature with a keyword for each field of the configuration in place of ``**overrides``.

    Args:
        constructor: an ``__init__`` with ``self`` first.
        config: a dataclass, all of whose fields have defaults.
    """
    signature = inspect.signature(constructor)
    own = [p for p in list(signature.parameters.values())[1:] if p.kind is not p.VAR_KEYWORD]
    fields = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in dataclasses.fields(config)
    ]
    return signature.replace(parameters=[*own, *fields], return_annotation=inspect.Signature.empty)


def _kind(agent: Any) -> str:
    """Return the first words of an agent's `repr`: its kind and sizes are there in full."""
    text = repr(agent)
    return text if len(text) <= 40 else text.partition(",")[0] + ", …)"
