"""The suite's table of contents: every registered environment, by family."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One registered environment.

    Attributes:
        task: Where its task class lives, `"module:Class"` below `tokengym.envs.tasks`; loaded when it is first made.
        kwargs: The arguments in which a variant differs from the class's defaults, JSON-able. A user's own come on top.
        reward_threshold: Mean return from which the environment counts as solved, or None.
        variant_of: The name of the base environment, or None for a base.
        extra: The optional dependency that brings what it needs, `pip install tokengym[extra]`, or None.
        modules: The modules that must be importable; all of them where `extra` is installed.
    """

    task: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reward_threshold: float | None = None
    variant_of: str | None = None
    extra: str | None = None
    modules: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(module for module in self.modules if importlib.util.find_spec(module) is None)

    def load(self) -> Any:
        """Imports the task's module and returns its class, or the function that makes it."""
        module, _, attribute = self.task.partition(":")
        return getattr(importlib.import_module(f"{__package__}.tasks.{module}"), attribute)


DIAGNOSTICS = {
    "TokenBandit": Entry("diagnostics:TokenBandit", reward_threshold=0.95),
    "Probe1": Entry("probes:Probe1", reward_threshold=1.0),
    "Probe2": Entry("probes:Probe2"),
    "Probe3": Entry("probes:Probe3", reward_threshold=1.0),
    "Probe4": Entry("probes:Probe4", reward_threshold=0.99),
    "Probe5": Entry("probes:Probe5", reward_threshold=0.99),
    "Copy": Entry("diagnostics:Copy", reward_threshold=0.95),
    "KLTree": Entry("tree:KLTree", reward_threshold=0.95),
}

TEXT = {
    "KeywordCover": Entry("keywords:KeywordCover", reward_threshold=0.95),
    "TextGeneration": Entry("text_generation:TextGeneration"),
}

GAMES = {
    "WordleMini": Entry("wordle:WordleMini", reward_threshold=-1.5),
}

CONTROL = {
    "Lattice": Entry("lattice:Lattice", reward_threshold=-0.5),
    "PickPlace": Entry("pick_place:PickPlace", reward_threshold=0.9),
    "PickPlace-3": Entry(
        "pick_place:PickPlace", {"size": 3, "num_steps": 16}, reward_threshold=0.92, variant_of="PickPlace"
    ),
    "FrozenLake": Entry("toy_text:FrozenLake", reward_threshold=0.7),
    "FrozenLake-8x8": Entry("toy_text:FrozenLake", {"map_name": "8x8"}, reward_threshold=0.85, variant_of="FrozenLake"),
    "FrozenLake-deterministic": Entry(
        "toy_text:FrozenLake", {"is_slippery": False}, reward_threshold=0.99, variant_of="FrozenLake"
    ),
    "Taxi": Entry("toy_text:Taxi", reward_threshold=7.5),
    "Taxi-rainy": Entry("toy_text:Taxi", {"is_rainy": True}, reward_threshold=3.5, variant_of="Taxi"),
    "Gym": Entry("gym_task:Gym"),
    "CartPole": Entry("cartpole:CartPole", reward_threshold=475.0),
}

REASONING: dict[str, Entry] = {}

FAMILIES: dict[str, dict[str, Entry]] = {
    "diagnostics": DIAGNOSTICS,
    "text": TEXT,
    "games": GAMES,
    "control": CONTROL,
    "reasoning": REASONING,
}
"""The families in the order in which they are listed; a family's name is that of its page."""

TASKS: dict[str, Entry] = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
"""Every environment by its name, as in `tokengym/<name>-v0`; a variant's name is `<base>-<what differs>`."""
