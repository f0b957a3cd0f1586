"""One iteration of every algorithm of this package, in tokens per second; alone: `python -m benchmarks.run algorithms`.

An iteration is one update and what it takes before: a collection where episodes are played, with all that the
algorithm's own defaults make of it, such as four epochs or four draws from a replay. So the numbers say what to expect
of each, and not which is the better one. What learns from a dataset reads one that a random player made; its tokens are
those that it reads.
"""

from __future__ import annotations

import time
from typing import Any

from tokengym.agents import build_agent
from tokengym.algorithms.base import Algorithm
from tokengym.algorithms.configs import OffPolicyConfig
from tokengym.algorithms.registry import ALGORITHMS

from .measure import Comparison, rate
from .workload import NEW, PROMPT, Completion

MODEL = {"kind": "gpt2", "hidden_size": 64, "num_layers": 2, "num_heads": 4}
SMALL_MODEL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
ROWS = 32


def comparisons(quick: bool) -> list[Comparison]:
    """Return a row for each algorithm; those of Stable-Baselines3, which are peers, are left out."""
    return [alone(name, quick) for name in names()]


def names() -> list[str]:
    """Return the algorithms that have a row."""
    return [name for name in ALGORITHMS.built_in if issubclass(ALGORITHMS[name], Algorithm)]


def alone(name: str, quick: bool) -> Comparison:
    """Return the row of one algorithm."""
    new, rows = (8, 8) if quick else (NEW, ROWS)
    model = SMALL_MODEL if quick else MODEL
    runner = Runner(name, model, new, rows)
    about = f"GPT-2 d {model['hidden_size']}, layers: {model['num_layers']}"
    return Comparison(
        name=f"{name}, one iteration",
        setting=f"{about}; {PROMPT}+{new} tokens, {runner.amount}",
        peer="no peer; processor time",
        unit="tokens/s",
        ours=rate(runner.iterate, time.process_time),
        warm_up=[runner.iterate],
    )


class Runner:
    """An algorithm with its defaults, made when it is first run.

    Attributes:
        amount: of an iteration, in words.
    """

    def __init__(self, name: str, model: dict[str, Any], new: int, rows: int) -> None:
        self._name, self._model, self._new = name, model, new
        config = ALGORITHMS.config(name)()
        fields = config.to_dict()
        self._options: dict[str, Any] = {}
        self._taught = "teacher" in fields  # the task cannot be solved, so that another agent has to teach
        if "player" in fields:
            self._options["player"] = "random"
            if "labels" in fields:  # how many are made says nothing about what a batch of them costs
                self._options["labels"] = 64
        self.amount = "batches of the default size"
        if isinstance(config, OffPolicyConfig):
            # What is collected between updates is a choice of the algorithm's, which a larger collection would undo.
            self._options |= {"num_rows": 1, "rollout_tokens": new, "learning_starts": 0}
            self.amount = "one row"
        elif "rollout_tokens" in fields:
            self._options |= {"num_rows": rows, "rollout_tokens": rows * new}
            self.amount = f"rows: {rows}"
        self._algorithm: Any = None

    def iterate(self) -> int:
        """Learn once; return how many tokens were said or read for it."""
        if self._algorithm is None:
            task = Completion(new=self._new)
            if self._taught:
                self._options["reference"] = build_agent(self._model, task.vocabulary, task.max_length)
            self._algorithm = ALGORITHMS[self._name](task, self._model, **self._options)
        before = self._algorithm.num_tokens
        self._algorithm.learn(self._algorithm.spent + 1)
        return self._algorithm.num_tokens - before
