"""Fuzzed settings: configurations, agents, studies and command lines."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import os
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tokengym.agents.build import build_agent
from tokengym.algorithms.registry import ALGORITHMS
from tokengym.envs.registration import make_task
from tokengym.experiments.commands.main import main
from tokengym.experiments.study.file import load_study

from .fuzzing import Accepted, Case, pick, show
from .wrong_values import NOT_FINITE, NUMBERS, TEXTS, damaged, wrong_for


def configurations(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Fields of every algorithm's configuration with values of other types, or of any."""
    fields = []
    for name in ALGORITHMS:
        kind = ALGORITHMS[name].Config
        hints = typing.get_type_hints(kind, include_extras=True)
        fields += [(kind, field.name, hints[field.name]) for field in dataclasses.fields(kind)]
    for _ in range(count):
        kind, name, hint = pick(random, fields)
        wrong = wrong_for(hint)
        if wrong and random.random() < 0.8:
            value, right = pick(random, wrong), "refused"
        elif random.random() < 0.2:
            value, right = getattr(kind(), name), "taken"
        else:
            value, right = pick(random, [*NUMBERS, *NOT_FINITE]), "either"
        how = int(random.integers(2))

        def call(kind: Any = kind, name: str = name, value: Any = value, how: int = how) -> Any:
            return kind(**{name: value}) if how else kind().replace(**{name: value})

        yield Case(f"{kind.__name__}({name}={show(value)})", call, right)


def agents(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Specifications of agents: wrong kinds, keys, sizes and heads."""
    vocabulary = make_task("Copy", num_tokens=3, k=2).vocabulary
    sizes = {
        "gpt2": ["hidden_size", "num_layers", "num_heads"],
        "llama": ["hidden_size", "num_layers", "num_heads"],
        "gru": ["hidden_size", "num_layers"],
    }
    small = {"hidden_size": 8, "num_layers": 1, "num_heads": 2}
    for _ in range(count):
        kind = pick(random, sizes)
        spec: Any = {"kind": kind, **{key: small[key] for key in sizes[kind]}}
        right = "refused"
        what = int(random.integers(7))
        extra: dict[str, Any] = {}
        if what < 3:
            spec[pick(random, sizes[kind])] = pick(
                random, [0, -1, 1.5, True, None, "8", 2**31, 2**63, 10**30, *NOT_FINITE, [8], {}]
            )
        elif what == 3:
            spec[pick(random, ["hiden_size", "", "kindd", "dropout ", "lr", 3, None])] = 1
        elif what == 4:
            spec = pick(
                random, [None, 3, 2.5, [], (), set(), b"gpt2-tiny", {}, {"kind": None}, {"kind": "gpt3"}, *TEXTS]
            )
        elif what == 5:
            name = pick(random, ["heads", "seed", "temperature", "head_dim", "max_length"])
            extra[name] = pick(random, ["x", -1, 1.5, True, [], {}, (), float("nan"), object()])
            if (name, extra[name]) in [("heads", []), ("heads", ())] or (name == "temperature" and extra[name] == 1.5):
                right = "either"
            if name == "heads" and extra[name] == {}:
                right = "either"
        else:
            right = "taken"
        text = f"build_agent({show(spec)}, {extra})"

        def call(spec: Any = spec, extra: dict[str, Any] = extra) -> Any:
            return build_agent(spec, vocabulary, **{"max_length": 12, **extra})

        yield Case(text, call, right)


STUDY: dict[str, Any] = {
    "name": "fuzzed",
    "description": "What the fuzzer changes.",
    "total_tokens": 100,
    "seeds": [0, 1],
    "evaluation": {"episodes": 10, "points": 2},
    "environments": {"Copy": {"kwargs": {"num_tokens": 3}, "agent": "table"}, "Lattice": {}},
    "algorithms": {
        "ppo": {"config": {"learning_rate": 1e-3}, "overrides": {"Copy": {"epochs": 2}}},
        "mine": {"algorithm": "dqn", "environments": ["Copy"]},
    },
}
_WRONG_AT = {
    ("name",): [3, None, [], {}, "", "a/b", "../x", True, "\x1b"],
    ("total_tokens",): [0, -1, 1.5, "x", None, [], {}, True, float("inf"), float("nan"), 10**400, "01000"],
    ("seeds",): [[], 0, -1, 1.5, "x", [-1], [1.5], [True], ["0"], [0, 0], {}, True, 10**9, [None]],
    ("environments",): [
        [],
        {},
        None,
        3,
        "Copy",
        ["Copy"],
        {"Nowhere": {}},
        {"Copy": 3},
        {"Copy": [1]},
        {3: {}},
        {"a/b": {}},
    ],
    ("environments", "Copy", "kwargs"): [3, [], "x", {"nothing": 1}, {"num_tokens": "x"}, {"num_tokens": -1}],
    ("environments", "Copy", "agent"): [3, [], "gpt9", {"kind": "x"}, {"kind": "gpt2", "num_layers": -1}],
    ("environments", "Copy", "beta"): [-1, 0, "x", True, float("nan"), float("inf"), []],
    ("environments", "Copy", "score"): ["x", 3, True, []],
    ("environments", "Copy", "total_tokens"): [-1, 1.5, "x", True, float("inf")],
    ("evaluation",): [
        3,
        [1],
        "x",
        {"episodes": 0},
        {"episodes": "x"},
        {"points": 1.5},
        {"points": True},
        {"nothing": 1},
    ],
    ("algorithms",): [
        [],
        {},
        None,
        3,
        "ppo",
        ["ppo"],
        {"nope": {}},
        {"ppo": 3},
        {3: {}},
        {"a/b": {"algorithm": "ppo"}},
    ],
    ("algorithms", "ppo", "config"): [3, [1], "x", {"learning_rate": "x"}, {"lr": 1}, {"epochs": 1.5}, {"clip": True}],
    ("algorithms", "ppo", "overrides"): [
        3,
        [1],
        {"Nowhere": {}},
        {"Copy": 3},
        {"Copy": {"epochs": 0}},
        {"Copy": {"x": 1}},
    ],
    ("algorithms", "ppo", "reference"): ["false", 1, 0, []],
    ("algorithms", "mine", "environments"): ["Copy", ["Nowhere"], 3, [3], [], ["Copy", "Copy"]],
    ("algorithms", "mine", "algorithm"): ["dqm", 3, [], True],
}
_WRONG_TEXTS = [
    "",
    "3",
    "- a\n- b\n",
    "a: [",
    "%YAML 9.9\n---\na: 1\n",
    "name: x\nname: y\n",
    "---\na: 1\n---\nb: 2\n",
    "a: &a [*a]\n",
    "a: !!python/object/apply:os.system ['true']\n",
    "a: !!python/name:os.system\n",
    "\ta: 1\n",
    "? [a, b]\n: 1\n",
    "2020-01-01: 1\n",
    "name: 2020-01-01\n",
    "\x00",
    "name: \x1b[2J\n",
]


def studies(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Study files with a wrong value, a doubled key, damaged bytes, or nothing wrong."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-studies-"))
    path = folder / "study.yaml"

    def call_with(data: bytes) -> Any:
        def call() -> Any:
            path.write_bytes(data)
            runs = load_study(path).runs()
            # What is within its type and out of its range shows when the task is built, in a study's first jobs.
            return [make_task(run.env_id, **run.env_kwargs) for run in runs[:4]]

        return call

    for _ in range(count):
        kind = int(random.integers(8))
        study = copy.deepcopy(STUDY)
        right = "refused"
        if kind < 4:
            place = pick(random, _WRONG_AT)
            value = pick(random, _WRONG_AT[place])
            inner = study
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            text = f"{'.'.join(place)}={show(value)}"
            data = yaml.safe_dump(study, sort_keys=False, allow_unicode=True).encode("utf-8", "replace")
        elif kind == 4:
            lines = yaml.safe_dump(study, sort_keys=False).splitlines()
            keyed = [line for line in lines if line.rstrip().endswith(":") or ": " in line]
            line = pick(random, keyed)
            at = lines.index(line)
            body = [line]
            indent = len(line) - len(line.lstrip())
            for follower in lines[at + 1 :]:
                if len(follower) - len(follower.lstrip()) <= indent and not follower.lstrip().startswith("- "):
                    break
                body.append(follower)
            data = "\n".join([*lines[:at], *body, *lines[at:]]).encode()
            text = f"twice: {line.strip()}"
        elif kind == 5:
            data = pick(random, _WRONG_TEXTS).encode()
            text = show(data)
        elif kind == 6:
            data = damaged(random, yaml.safe_dump(study, sort_keys=False).encode())
            text, right = show(data[:200]), "either"
        else:
            data = yaml.safe_dump(study, sort_keys=bool(random.integers(2))).encode()
            text, right = "the study as it is", "taken"
        yield Case(text, call_with(data), right)


_COMMANDS = ["list", "train", "evaluate", "compare", "report", "play", "watch", "nonsense", "", "--version", "--help"]
_WORDS = [
    "ppo",
    "a2c",
    "sb3-ppo",
    "pppo",
    "Copy",
    "Lattice",
    "tokengym/Copy-v0",
    "evil:tokengym/Copy-v0",
    "Nowhere",
    "--help",
    "--seed",
    "--episodes",
    "--kwargs",
    "k=0",
    "k=1e400",
    "num_tokens=x",
    "=",
    "k",
    "reward=subprocess:getoutput",
    "--agent",
    "{kind: gpt2",
    "{kind: gpt9}",
    "[1]",
    "--clip",
    "--learning-rate",
    "--json",
    "--family",
    "games",
    "--out",
    "/dev/null/x",
    "--workers",
    "--total-tokens",
    "--resume",
    "--budget",
    "--seeds",
    "--",
    "-",
]


def command_lines(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Command lines of words in any order; whatever happens, it ends with 0, 1 or 2 and without a traceback."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-commands-"))
    values = [*TEXTS, "0", "-1", "1.5", "nan", "inf", "1e400", "x", "True", str(2**70)]
    for number in range(count):
        command = pick(random, _COMMANDS)
        words = [command]
        for _ in range(int(random.integers(0, 6))):
            words.append(pick(random, _WORDS if random.random() < 0.7 else values))
        # A training that nothing is wrong with is not what is looked for: it ends at once.
        if command == "train":
            words += ["--total-tokens", pick(random, ["0", "-5", "x", "1.5"])]
        words = [word for word in words if "\x00" not in word and "\ud800" not in word]

        def call(words: list[str] = words, number: int = number) -> None:
            out, err = io.StringIO(), io.StringIO()
            before = os.getcwd()
            os.chdir(folder)
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    stdin, code = os.dup(0), 0
                    null = os.open(os.devnull, os.O_RDONLY)
                    os.dup2(null, 0)
                    os.close(null)
                    try:
                        code = main(words)
                    finally:
                        os.dup2(stdin, 0)
                        os.close(stdin)
            finally:
                os.chdir(before)
            printed = out.getvalue() + err.getvalue()
            if code not in (0, 1, 2, 130) or "Traceback" in printed:
                raise Accepted(f"code {code}: {printed[-200:]}")
            if "\x1b[2J" in printed:
                raise Accepted("a control sequence reached the terminal")

        yield Case(f"tokengym {' '.join(map(show, words))}", call, "either")


AREAS = {"configurations": configurations, "agents": agents, "studies": studies, "command lines": command_lines}
