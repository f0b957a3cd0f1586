"""Configurations: frozen, keyword-only dataclasses in which every field says what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from ...envs import TokenGymError
from ...envs.checking import Range, check_fields, check_value, described, shown, unknown_name
from .schedule import Schedule, ends

if TYPE_CHECKING:
    from typing_extensions import Self

Rate = Annotated[float, Range(above=0, most=100)]
"""A step size."""
Positive = Annotated[float, Range(above=0, most=1_000_000)]
"""A number above 0, in whatever unit."""
NotNegative = Annotated[float, Range(least=0, most=1_000_000)]
"""A weight or coefficient, which 0 turns off."""
Temperature = Annotated[float, Range(least=0.000001, most=1_000_000)]
"""Divides logits; smaller ones would leave the range of float32."""
Share = Annotated[float, Range(least=0, most=1)]
"""A part of a whole, a probability or a discount."""
Norm = Annotated[float, Range(above=0, infinite=True)]
"""A norm to clip at; infinite clips nothing."""
Rows = Annotated[int, Range(least=1, most=65_536)]
"""How many are worked on at once: each takes memory for its tokens and for what the model remembers of them."""
Repeats = Annotated[int, Range(least=1, most=10_000)]
"""How often something is done before anything else happens."""
Tokens = Annotated[int, Range(least=1, most=10_000_000)]
"""Tokens or transitions that are held in memory together."""
Interval = Annotated[int, Range(least=1, most=1_000_000_000)]
"""Something is counted that takes no memory."""
Delay = Annotated[int, Range(least=0, most=1_000_000_000)]
"""What is waited for, perhaps not at all."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A configuration: checks its values, names the nearest field for a wrong one, and becomes a dict and back.

    The annotation of a field says its type and its range, and is checked (see `envs.fields`). A subclass adds to
    ``__post_init__`` what only holds between several fields, and to `idle` which fields do nothing beside others: to
    set one of those is refused, since whoever does so expects something of it.
    """

    retired: ClassVar[Mapping[str, tuple[Any, str]]] = {}
    """Fields of earlier versions that did nothing: what they had by default, which is still taken, and why."""
    budget: ClassVar[Literal["tokens", "updates"]] = "tokens"
    """What the algorithm's budget is in, and its schedules run over: agent tokens asked of environments, or updates."""

    def __init_subclass__(cls) -> None:
        # `dataclass` gives every subclass a ``__repr__`` of all its fields, unless there is one already.
        cls.__repr__ = Config.__repr__

    def __post_init__(self) -> None:
        for name in _scheduled(type(self)):
            self._read_schedule(name)
        check_fields(self)
        for name, annotation in _scheduled(type(self)).items():
            self._check_schedule(name, annotation)
        for name, reason in self.idle():
            default = _default(type(self), name)
            self.require(getattr(self, name) == default, name, f"{default!r}, since it does nothing while {reason}")

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        changed = (
            f"{field.name}={shown(value)}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others, each with what makes it so: "kl_target is None"."""
        yield from ()

    def delays(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that a budget must outlast, each with what follows where it does not."""
        yield from ()

    def require(self, condition: bool, name: str, expected: str) -> None:
        """Raise a `TokenGymError` that names the field, its value and what was expected, unless ``condition``."""
        if not condition:
            raise TokenGymError(f"{name} is {_said(getattr(self, name))}; expected {expected}.")

    def replace(self, **overrides: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            TokenGymError: a name is not a field (the nearest are listed), or a value is out of range or without effect.
        """
        known = [field.name for field in dataclasses.fields(self)]
        changes = {}
        for name, value in overrides.items():
            if name in known:
                changes[name] = value
            elif name not in self.retired:
                raise unknown_name(f"{type(self).__name__} field", name, known)
            elif value != self.retired[name][0]:
                raise TokenGymError(f"{name} is {shown(value)}; leave it out: {self.retired[name][1]}.")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict; ``Config().replace(**config.to_dict())`` equals ``config``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(value) if isinstance(value, Schedule) else value for name, value in values.items()}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that a file holds, one of an earlier version too.

        What did nothing there does nothing here: retired fields are left out, and idle ones get their defaults.

        Raises:
            TokenGymError: as `replace`.
        """
        kept = {name: value for name, value in values.items() if name not in cls.retired}
        unchecked = object.__new__(cls)
        for field in dataclasses.fields(cls):
            object.__setattr__(unchecked, field.name, kept.get(field.name, field.default))
        for name in _scheduled(cls):
            unchecked._read_schedule(name)
        idle = {name for name, _ in unchecked.idle()}
        return cls().replace(**{name: value for name, value in kept.items() if name not in idle})

    def _read_schedule(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, Mapping) or (isinstance(value, str) and value.rstrip().endswith(")")):
            try:
                object.__setattr__(self, name, Schedule.read(value))
            except TokenGymError as error:
                why = str(error).removeprefix("schedule: ").rstrip(".")
                raise TokenGymError(f"{name} is {shown(value)}; expected {Schedule.described_as} ({why}).") from None

    def _check_schedule(self, name: str, annotation: Any) -> None:
        value = getattr(self, name)
        if isinstance(value, Schedule):
            numbers = next(one for one in get_args(annotation) if one not in (Schedule, type(None)))
            try:
                for end in ends(value):
                    check_value(name, numbers, end)
            except TokenGymError:
                self.require(False, name, f"ends that are each {described(numbers)}")


@lru_cache(maxsize=256)
def _scheduled(kind: type[Config]) -> dict[str, Any]:
    """Return the annotations of the fields that take a schedule."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(kind) if Schedule in get_args(hints[field.name])
    }


def _default(kind: type[Config], name: str) -> Any:
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


def _said(value: Any) -> str:
    return repr(str(value)) if isinstance(value, Schedule) else shown(value)
