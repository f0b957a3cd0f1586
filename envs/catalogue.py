"""The suite's table of contents: every registered environment, by family."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .checking import TokenGymError, import_module, trusted


@dataclass(frozen=True)
class Entry:
    """One registered environment.

    Attributes:
        task: Where its task class lives, `"module:Class"`, loaded when it is first made: the suite's own below
            `tokengym.envs.tasks`, a registered one anywhere; or for a registered one the class itself.
        kwargs: The arguments in which a variant differs from the class's defaults, JSON-able. A user's own come on top.
        reward_threshold: Mean return from which the environment counts as solved, or None.
        variant_of: The name of the base environment, or None for a base.
        extra: The optional dependency that brings what it needs, `pip install tokengym[extra]`, or None.
        modules: The modules that must be importable; all of them where `extra` is installed.
        registered_by: The module that registered it, for a task that is not the suite's own; else None.
    """

    task: str | Callable[..., Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reward_threshold: float | None = None
    variant_of: str | None = None
    extra: str | None = None
    modules: tuple[str, ...] = ()
    registered_by: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(module for module in self.modules if importlib.util.find_spec(module) is None)

    @property
    def install_command(self) -> str:
        """The command that brings what is missing."""
        return f"pip install 'tokengym[{self.extra}]'" if self.extra else f"pip install {' '.join(self.missing)}"

    def load(self) -> Any:
        """Imports the task's module and returns its class, or the function that makes it.

        Raises:
            TokenGymError: If a registered task is not where it was said to be.
        """
        if callable(self.task):
            return self.task
        module, _, attribute = self.task.partition(":")
        if self.registered_by is None:
            return getattr(importlib.import_module(f"{__package__}.tasks.{module}"), attribute)
        with trusted():  # the user's program registered it
            maker: Any = import_module(module)
        for part in attribute.split("."):
            if not hasattr(maker, part):
                raise TokenGymError(f"module {module!r} has no {attribute!r}: give 'module:Class' as it stands there")
            maker = getattr(maker, part)
        return maker


DIAGNOSTICS = {
    "TokenBandit": Entry("diagnostics.basics:TokenBandit", reward_threshold=0.95),
    "TokenBandit-noise": Entry(
        "diagnostics.basics:TokenBandit", {"noise": 1.0}, reward_threshold=0.95, variant_of="TokenBandit"
    ),
    "TokenBandit-scale": Entry(
        "diagnostics.basics:TokenBandit", {"reward_scale": 100.0}, reward_threshold=95.0, variant_of="TokenBandit"
    ),
    "Probe1": Entry("diagnostics.probes:Probe1", reward_threshold=1.0),
    "Probe2": Entry("diagnostics.probes:Probe2"),
    "Probe3": Entry("diagnostics.probes:Probe3", reward_threshold=1.0),
    "Probe4": Entry("diagnostics.probes:Probe4", reward_threshold=0.99),
    "Probe5": Entry("diagnostics.probes:Probe5", reward_threshold=0.99),
    "Lock": Entry("diagnostics.lock:Lock", reward_threshold=0.95),
    "Lock-10": Entry("diagnostics.lock:Lock", {"length": 10}, reward_threshold=0.95, variant_of="Lock"),
    "Lock-20": Entry("diagnostics.lock:Lock", {"length": 20}, reward_threshold=0.95, variant_of="Lock"),
    "SlipLock": Entry("diagnostics.lock:SlipLock", reward_threshold=0.6),
    "SlipLock-often": Entry("diagnostics.lock:SlipLock", {"slip": 0.3}, reward_threshold=0.2, variant_of="SlipLock"),
    "SlipLock-short": Entry("diagnostics.lock:SlipLock", {"length": 3}, reward_threshold=0.75, variant_of="SlipLock"),
    "Umbrella": Entry("diagnostics.umbrella:Umbrella", reward_threshold=0.95),
    "Umbrella-20": Entry("diagnostics.umbrella:Umbrella", {"length": 20}, reward_threshold=0.95, variant_of="Umbrella"),
    "Umbrella-100": Entry(
        "diagnostics.umbrella:Umbrella", {"length": 100}, reward_threshold=0.95, variant_of="Umbrella"
    ),
    "DelayChain": Entry("diagnostics.delay_chain:DelayChain", reward_threshold=1.09),
    "DelayChain-10": Entry(
        "diagnostics.delay_chain:DelayChain", {"delays": [1, 3, 10]}, reward_threshold=1.09, variant_of="DelayChain"
    ),
    "DelayChain-30": Entry(
        "diagnostics.delay_chain:DelayChain", {"delays": [1, 3, 10, 30]}, reward_threshold=1.09, variant_of="DelayChain"
    ),
    "Copy": Entry("diagnostics.basics:Copy", reward_threshold=0.95),
    "Copy-gap20": Entry("diagnostics.basics:Copy", {"gap": 20}, reward_threshold=0.95, variant_of="Copy"),
    "Copy-gap100": Entry("diagnostics.basics:Copy", {"gap": 100}, reward_threshold=0.95, variant_of="Copy"),
    "Copy-long": Entry("diagnostics.basics:Copy", {"k": 6, "num_tokens": 4}, reward_threshold=0.95, variant_of="Copy"),
    "RandomWalks": Entry("diagnostics.random_walks:RandomWalks", reward_threshold=0.95),
    "RandomWalks-node": Entry(
        "diagnostics.random_walks:RandomWalks", {"observed": "node"}, reward_threshold=0.95, variant_of="RandomWalks"
    ),
    "VocabScale": Entry("diagnostics.vocab_scale:VocabScale", reward_threshold=0.95),
    "VocabScale-8": Entry(
        "diagnostics.vocab_scale:VocabScale",
        {"num_tokens": 8, "num_good": 1},
        reward_threshold=0.95,
        variant_of="VocabScale",
    ),
    "VocabScale-64": Entry(
        "diagnostics.vocab_scale:VocabScale", {"num_tokens": 64}, reward_threshold=0.95, variant_of="VocabScale"
    ),
    "VocabScale-1024": Entry(
        "diagnostics.vocab_scale:VocabScale", {"num_tokens": 1024}, reward_threshold=0.95, variant_of="VocabScale"
    ),
    "VocabScale-8192": Entry(
        "diagnostics.vocab_scale:VocabScale", {"num_tokens": 8192}, reward_threshold=0.95, variant_of="VocabScale"
    ),
    "KLTree": Entry("diagnostics.tree:KLTree", reward_threshold=0.95),
    "KLTree-8": Entry("diagnostics.tree:KLTree", {"depth": 8}, reward_threshold=0.95, variant_of="KLTree"),
}

TEXT = {
    "Dyck": Entry("text.brackets:Dyck", reward_threshold=0.95),
    "Dyck-8": Entry("text.brackets:Dyck", {"num_pairs": 8}, reward_threshold=0.95, variant_of="Dyck"),
    "Dyck-20": Entry("text.brackets:Dyck", {"num_pairs": 20}, reward_threshold=0.95, variant_of="Dyck"),
    "Dyck-trap": Entry("text.brackets:Dyck", {"bonus": 0.5}, reward_threshold=3.95, variant_of="Dyck"),
    "Palindrome": Entry("text.palindrome:Palindrome", reward_threshold=0.95),
    "Palindrome-8": Entry("text.palindrome:Palindrome", {"length": 8}, reward_threshold=0.95, variant_of="Palindrome"),
    "Palindrome-12": Entry(
        "text.palindrome:Palindrome", {"length": 12}, reward_threshold=0.95, variant_of="Palindrome"
    ),
    "KeywordCover": Entry("text.keywords:KeywordCover", reward_threshold=0.95),
    "KeywordCover-6": Entry(
        "text.keywords:KeywordCover",
        {"num_keywords": 6, "length": 12},
        reward_threshold=0.95,
        variant_of="KeywordCover",
    ),
    "Sentiment": Entry("text.sentiment:Sentiment", reward_threshold=0.95),
    "Sentiment-8": Entry("text.sentiment:Sentiment", {"length": 8}, reward_threshold=0.95, variant_of="Sentiment"),
    "Sentiment-learned": Entry(
        "text.sentiment:Sentiment", {"num_labels": 1000}, reward_threshold=8.7, variant_of="Sentiment"
    ),
    "TextGeneration": Entry("text.text_generation:TextGeneration"),
    "TextGym": Entry("text.text_gym:TextGym", reward_threshold=0.95),
}

GAMES = {
    "WordleMini": Entry("games.wordle:WordleMini", reward_threshold=-1.5),
    "WordleMini-words": Entry("games.wordle:WordleMini", {"words_only": True}, -1.5, variant_of="WordleMini"),
    "Wordle": Entry("games.full_wordle:Wordle"),
    "Wordle-words": Entry("games.full_wordle:Wordle", {"words_only": True}, variant_of="Wordle"),
    "Mastermind": Entry("games.mastermind:Mastermind", reward_threshold=-1.8),
    "Mastermind-2x3": Entry("games.mastermind:Mastermind", {"num_colours": 2}, -1.3, variant_of="Mastermind"),
    "Mastermind-4x3": Entry(
        "games.mastermind:Mastermind", {"num_colours": 4, "num_guesses": 3}, -2.3, variant_of="Mastermind"
    ),
    "TwentyQuestions": Entry("games.twenty_questions:TwentyQuestions", reward_threshold=-4.0),
    "TwentyQuestions-8": Entry(
        "games.twenty_questions:TwentyQuestions",
        {"num_items": 8, "num_questions": 4, "num_turns": 8},
        reward_threshold=-3.0,
        variant_of="TwentyQuestions",
    ),
    "Haggle": Entry("games.haggle:Haggle", reward_threshold=5.6),
    "Haggle-patient": Entry("games.haggle:Haggle", {"discount": 1.0}, reward_threshold=6.2, variant_of="Haggle"),
    "HaggleChat": Entry("games.haggle_chat:HaggleChat", reward_threshold=5.4),
    "TicTacToe": Entry("games.tictactoe:TicTacToe", reward_threshold=0.9),
    "TicTacToe-optimal": Entry("games.tictactoe:TicTacToe", {"opponent": "optimal"}, -0.05, variant_of="TicTacToe"),
    "TicTacToe-second": Entry("games.tictactoe:TicTacToe", {"side": "second"}, 0.8, variant_of="TicTacToe"),
    "TicTacToe-both": Entry("games.tictactoe:TicTacToe", {"side": "both"}, 0.85, variant_of="TicTacToe"),
    "Nim": Entry("games.nim:Nim", reward_threshold=0.9),
    "Nim-optimal": Entry("games.nim:Nim", {"opponent": "optimal"}, 0.9, variant_of="Nim"),
    "Nim-second": Entry("games.nim:Nim", {"side": "second"}, 0.9, variant_of="Nim"),
    "Nim-both": Entry("games.nim:Nim", {"side": "both"}, 0.9, variant_of="Nim"),
    "Maze": Entry("games.maze:Maze", reward_threshold=-7.0),
    "Maze-partial": Entry("games.maze:Maze", {"observed": "partial"}, -9.0, variant_of="Maze"),
}

CONTROL = {
    "Lattice": Entry("control.lattice:Lattice", reward_threshold=-0.5),
    "PickPlace": Entry("control.pick_place:PickPlace", reward_threshold=0.9),
    "PickPlace-3": Entry(
        "control.pick_place:PickPlace", {"size": 3, "num_steps": 16}, reward_threshold=0.92, variant_of="PickPlace"
    ),
    "FrozenLake": Entry("control.toy_text:FrozenLake", reward_threshold=0.7),
    "FrozenLake-8x8": Entry(
        "control.toy_text:FrozenLake", {"map_name": "8x8"}, reward_threshold=0.85, variant_of="FrozenLake"
    ),
    "FrozenLake-deterministic": Entry(
        "control.toy_text:FrozenLake", {"is_slippery": False}, reward_threshold=0.99, variant_of="FrozenLake"
    ),
    "Taxi": Entry("control.toy_text:Taxi", reward_threshold=7.5),
    "Taxi-rainy": Entry("control.toy_text:Taxi", {"is_rainy": True}, reward_threshold=3.5, variant_of="Taxi"),
    "Gym": Entry("control.gym_task:Gym"),
    "CartPole": Entry("control.cartpole:CartPole", reward_threshold=475.0),
    "MountainCar": Entry("control.classic_control:MountainCar"),
    "Acrobot": Entry("control.classic_control:Acrobot"),
    "Pendulum": Entry("control.classic_control:Pendulum"),
    "InvertedPendulum": Entry(
        "control.mujoco_tasks:InvertedPendulum", reward_threshold=950.0, extra="mujoco", modules=("mujoco",)
    ),
    "Reacher": Entry("control.mujoco_tasks:Reacher", extra="mujoco", modules=("mujoco",)),
    "FetchReach": Entry("control.mujoco_tasks:FetchReach", extra="robotics", modules=("mujoco", "gymnasium_robotics")),
    "FetchReach-dense": Entry(
        "control.mujoco_tasks:FetchReach",
        {"dense": True},
        variant_of="FetchReach",
        extra="robotics",
        modules=("mujoco", "gymnasium_robotics"),
    ),
}

REASONING = {
    "Countdown": Entry("reasoning.countdown:Countdown", reward_threshold=0.95),
    "Countdown-2": Entry(
        "reasoning.countdown:Countdown",
        {"num_numbers": 2, "num_prompts": None},
        reward_threshold=0.95,
        variant_of="Countdown",
    ),
    "Countdown-4": Entry(
        "reasoning.countdown:Countdown",
        {"num_numbers": 4, "num_prompts": 200},
        reward_threshold=0.95,
        variant_of="Countdown",
    ),
    "Countdown-process": Entry(
        "reasoning.countdown:Countdown", {"reward": "process"}, reward_threshold=0.95, variant_of="Countdown"
    ),
    "Addition": Entry("reasoning.addition:Addition", reward_threshold=0.95),
    "Addition-1": Entry("reasoning.addition:Addition", {"digits": 1}, reward_threshold=0.95, variant_of="Addition"),
    "Addition-3": Entry("reasoning.addition:Addition", {"digits": 3}, reward_threshold=0.95, variant_of="Addition"),
    "Addition-nocarry": Entry(
        "reasoning.addition:Addition", {"carry": False}, reward_threshold=0.95, variant_of="Addition"
    ),
    "Addition-process": Entry(
        "reasoning.addition:Addition", {"reward": "process"}, reward_threshold=0.95, variant_of="Addition"
    ),
    "Addition-reversed": Entry(
        "reasoning.addition:Addition", {"order": "least_first"}, reward_threshold=0.95, variant_of="Addition"
    ),
    "Sort": Entry("reasoning.sort:Sort", reward_threshold=0.95),
    "Sort-8": Entry(
        "reasoning.sort:Sort", {"length": 8, "num_prompts": 2000}, reward_threshold=0.95, variant_of="Sort"
    ),
    "Sort-fraction": Entry("reasoning.sort:Sort", {"reward": "fraction"}, reward_threshold=0.95, variant_of="Sort"),
    "Sort-process": Entry("reasoning.sort:Sort", {"reward": "process"}, reward_threshold=0.95, variant_of="Sort"),
    "ReasoningGym": Entry(
        "reasoning.reasoning_gym_task:ReasoningGym",
        reward_threshold=0.95,
        extra="reasoning",
        modules=("reasoning_gym",),
    ),
}

LEARNED = {
    "GoldProxy": Entry("learned.gold_proxy:GoldProxy", reward_threshold=3.7),
    "GoldProxy-noisy": Entry(
        "learned.gold_proxy:GoldProxy",
        {"num_labels": 300, "flips": 0.25},
        reward_threshold=3.75,
        variant_of="GoldProxy",
    ),
    "GoldProxy-repeats": Entry(
        "learned.gold_proxy:GoldProxy",
        {
            "num_tokens": 32,
            "length": 3,
            "num_labels": 2000,
            "flips": 0.25,
            "roughness": 0.5,
            "repeats_count": False,
            "reads": "repeats",
            "hidden": 0,
        },
        reward_threshold=12.5,
        variant_of="GoldProxy",
    ),
    "NoisyPref": Entry("learned.noisy_pref:NoisyPref", reward_threshold=3.1),
    "NoisyPref-worst": Entry(
        "learned.noisy_pref:NoisyPref", {"combine": "worst"}, reward_threshold=2.9, variant_of="NoisyPref"
    ),
    "LengthBias": Entry("learned.length_bias:LengthBias", reward_threshold=3.3),
}

FAMILIES: dict[str, dict[str, Entry]] = {
    "diagnostics": DIAGNOSTICS,
    "text": TEXT,
    "games": GAMES,
    "control": CONTROL,
    "reasoning": REASONING,
    "learned": LEARNED,
}
"""The families in the order in which they are listed; a family's name is that of its page."""

TASKS: dict[str, Entry] = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
"""Every environment by its name, as in `tokengym/<name>-v0`; a variant's name is `<base>-<what differs>`."""
