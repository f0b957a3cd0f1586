"""Fuzzed inputs: arguments of environments, rewards, prompts, states, calls of the engine, and checkpoints."""

from __future__ import annotations

import copy
import inspect
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tokengym.algorithms.registry import ALGORITHMS, load_algorithm
from tokengym.envs import TASKS, Engine, TokenGymError, make_task

from .fuzzing import Accepted, Case, pick, show
from .wrong_values import NOT_FINITE, NOTHING, NUMBERS, TEXTS, damaged

_NEVER = [-(10**400), float("nan"), "neither a number nor a name", [[]], [None], object()]
"""Values that no argument of the suite's takes."""


def arguments(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Arguments of every environment with values of any type."""
    names = [name for name, entry in TASKS.items() if entry.variant_of is None and not entry.missing]
    signatures = {name: list(inspect.signature(TASKS[name].load().__init__).parameters)[1:] for name in names}
    for _ in range(count):
        name = pick(random, names)
        argument = pick(random, [*signatures[name], "nothing"])
        never = random.random() < 0.4 and argument != "stop"
        value = pick(random, _NEVER if never else [*NOTHING, *TEXTS, *NUMBERS, *NOT_FINITE, None, True])
        right = "refused" if never or argument == "nothing" else "either"

        def call(name: str = name, argument: str = argument, value: Any = value) -> Any:
            return make_task(name, **{argument: value})

        yield Case(f"{name}({argument}={show(value)})", call, right)


def _returning(value: Any) -> Any:
    def reward(prompts: Any, completions: Any, **columns: Any) -> Any:
        return value

    return reward


def _raising(error: BaseException) -> Any:
    def reward(prompts: Any, completions: Any, **columns: Any) -> Any:
        raise error

    return reward


_REWARD_SPECS = [
    {"name": "keyword"},
    {"name": "keyword", "words": []},
    {"name": "keyword", "words": [3]},
    {"name": "keyword", "words": "sea", "nothing": 1},
    {"name": "length", "target": -1},
    {"name": "length", "target": "x"},
    {"name": "regex", "pattern": "("},
    {"name": "regex", "pattern": 3},
    {"name": "nothing"},
    {"name": None},
    {},
    [],
    [3],
    3,
    object(),
    "no_module_of_this_name:f",
    "os:",
    ":f",
    "os:nothing",
    "os:sep",
    {"entry_point": "os:getcwd", "kwargs": {"x": 1}},
    {"entry_point": 3},
    {"entry_point": "os:getcwd", "nothing": 1},
    {"name": "weighted_sum", "terms": []},
    {"name": "weighted_sum", "terms": [{"weight": float("nan"), "reward": "keyword"}]},
    {"name": "weighted_sum", "terms": 3},
]


def rewards(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Specifications of rewards that are wrong, and functions that return or raise what they should not."""
    wrong = [
        None, 3, "x", [], [1.0, 2.0, 3.0], ["x", "y"], [float("nan")] * 2, [float("inf"), 0.0], [[1.0], ["x"]], {},
        [1 + 2j, 0], [object(), 0], np.zeros((2, 2)), b"ab",
    ]  # fmt: skip
    fine = [[0.0, 1.0], (1, 2), np.ones(2), np.array([0, 1], np.int32), [np.float32(1), 0.5], [[1.0], [2.0]]]
    for _ in range(count):
        kind = int(random.integers(4))
        if kind == 0:
            spec: Any = (
                copy.deepcopy(pick(random, _REWARD_SPECS))
                if random.random() < 0.8
                else pick(random, [*NOTHING, *NUMBERS])
            )
            if callable(spec):
                continue
            text, right = f"reward={show(spec)}", "refused"
        elif kind == 1:
            value = pick(random, wrong)
            spec, text, right = _returning(value), f"a reward that returns {show(value)}", "refused"
        elif kind == 2:
            value = pick(random, fine)
            spec, text, right = _returning(value), f"a reward that returns {show(value)}", "taken"
        else:
            error = pick(random, [ValueError("a"), KeyError("b"), ZeroDivisionError(), TypeError("c"), StopIteration()])
            spec, text, right = _raising(error), f"a reward that raises {error!r}", "refused"

        def call(spec: Any = spec) -> None:
            task = make_task("TextGeneration", reward=spec, max_new_tokens=1)
            engine = Engine(task, 2)
            engine.reset(None, [0, 1])
            for _ in range(2):
                if engine.over.all():
                    break
                engine.step(np.flatnonzero(~engine.over), np.zeros(int((~engine.over).sum()), np.int64))

        yield Case(text, call, right)


_ROWS = [
    {"prompt": 3},
    {"prompt": None},
    {"promt": "the sea"},
    {},
    3,
    None,
    b"x",
    [],
    {"prompt": []},
    {"prompt": [{"role": "user"}]},
    {"prompt": [{"role": "nobody", "content": "the"}]},
    {"prompt": [{"role": "user", "content": 3}]},
    {"prompt": [3]},
    "hello big world",
    "the sea<eos>",
    "<bos>",
    "<pad>",
    "é",
    "\ud800",
    "\x00",
    "the\x1b[2J",
    "",
]


def prompts(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Prompts of other types, of text that the tokenizer cannot write, and files that are damaged."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-prompts-"))
    good = "".join(json.dumps({"prompt": text, "k": 1}) + "\n" for text in ("the sea", "a ship"))
    for number in range(count):
        kind = int(random.integers(5))
        arguments: dict[str, Any] = {}
        if kind < 2:
            rows = [pick(random, [*_ROWS, "the sea"]) for _ in range(int(random.integers(1, 4)))]
            arguments["prompts"] = rows
            # The empty prompt is a right one: the policy writes from nothing.
            known = all(isinstance(row, str) and row in ("the sea", "") for row in rows)
            right = (
                "either"
                if known or any(isinstance(row, str) and row.startswith("the\x1b") for row in rows)
                else "refused"
            )
        elif kind == 2:
            arguments["prompts"] = pick(
                random, [3, {}, {"prompt": "x"}, b"x", [], (), object(), 1.5, True, "no/such/file.txt"]
            )
            right = "refused"
        elif kind == 3:
            path = folder / f"{number}.jsonl"
            path.write_bytes(damaged(random, good.encode()))
            arguments["prompts"] = str(path)
            right = "either"
        else:
            name, values = pick(
                random,
                {
                    "max_new_tokens": [0, -1, 1.5, "x", None, True, 2**70],
                    "split": ["nothing", 3, None, True],
                    "held_out": [-0.1, 1.5, "x", True, float("nan"), None],
                    "stop": [3, [3], [""], "", {}, True],
                    "template": ["nothing", 3, True, []],
                    "max_length": [0, -1, 1.5, "x", True, 2],
                    "split_seed": [-1, 1.5, "x", True, None],
                }.items(),
            )
            arguments[name] = pick(random, values)
            right = "refused"
        text = f"TextGeneration({', '.join(f'{k}={show(v)}' for k, v in arguments.items())})"

        def call(arguments: dict[str, Any] = arguments) -> Any:
            return make_task("TextGeneration", **arguments)

        yield Case(text, call, right)


def _snapshot(engine: Engine) -> list[Any]:
    return [engine.get_state(row) for row in range(engine.num_rows)]


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


_STATE_TASKS = ["Copy", "Lattice", "TextGeneration", "TicTacToe", "CartPole", "KeywordCover", "Countdown", "FrozenLake"]


def states(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Saved states with one part of another type, missing or of another task; a refusal changes nothing."""
    engines = {name: Engine(make_task(name), 2) for name in _STATE_TASKS}
    for engine in engines.values():
        engine.reset(None, [3, 4])
    for _ in range(count):
        name = pick(random, _STATE_TASKS)
        engine = engines[name]
        state: Any = copy.deepcopy(engine.get_state(0))
        kind, right = int(random.integers(6)), "refused"
        if kind == 0:
            state["tokens"] = pick(random, [[-5], [0.7], "x", None, 3, [[1]], [True], [10**6], [], [float("nan")], {}])
            what = f"tokens={show(state['tokens'])}"
        elif kind == 1:
            state["over"] = pick(random, ["no", 1, 0.5, None, [], 3])
            what = f"over={show(state['over'])}"
        elif kind == 2:
            state["random"] = pick(random, ["x", None, [], -1, {}, 1.5, [float("nan")], object()])
            what = f"random={show(state['random'])}"
        elif kind == 3:
            key = pick(random, list(state))
            del state[key]
            what = f"without {key}"
            # The specification serves to tell another variant's state; a state of an earlier version has none.
            right = "either" if key == "spec" else "refused"
        elif kind == 4:
            state = pick(random, [None, 3, [], "x", {}, {"name": name}, object()])
            what = show(state)
        else:
            inner = pick(random, [None, "x", 3, [], {"nothing": 1}, object(), -1, [1, 2, 3, 4, 5, 6, 7]])
            if isinstance(state["task"], int) and inner == 3:
                continue
            state["task"] = inner
            what = f"task={show(inner)}"
        row = pick(random, [0, 1])

        def call(engine: Engine = engine, row: int = row, state: Any = state) -> None:
            before = _snapshot(engine)
            try:
                engine.set_state(row, state)
            except TokenGymError:
                if not _same(before, _snapshot(engine)):
                    raise Accepted("refused, and changed all the same") from None
                raise
            finally:
                for number, old in enumerate(before):
                    engine.set_state(number, old)

        yield Case(f"{name}: set_state({row}, {what})", call, right)


def engine_calls(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Rows, starts, actions and counts of wrong types, shapes and ranges."""
    task = make_task("KeywordCover")
    engine = Engine(task, 3)
    bad_rows = [[0, 0], [3], [-1], [0.5], "x", [[0]], ["a"], [None], {}, object(), 10**400]
    bad_starts = [[-1] * 3, [0.5] * 3, "x", [None] * 3, [0, 1], [[0]], [2**64] * 3, [float("nan")] * 3, {}, object()]
    bad_actions = [[-1] * 3, [10**6] * 3, [0.5] * 3, "x", [None] * 3, [0, 1], [[0]] * 3, {}, object(), [2**70] * 3]
    bad_counts = [[0] * 3, [-1] * 3, [99] * 3, [0.5] * 3, "x", [1], {}, object()]
    for _ in range(count):
        kind = int(random.integers(5))
        if kind == 0:
            value = pick(random, bad_rows)
            text, give = f"reset({show(value)}, 0)", lambda value=value: engine.reset(value, 0)
        elif kind == 1:
            value = pick(random, bad_starts)
            text, give = f"reset(None, {show(value)})", lambda value=value: engine.reset(None, value)
        elif kind == 2:
            value = pick(random, bad_actions)
            text, give = f"step(None, {show(value)})", lambda value=value: engine.step(None, value)
        elif kind == 3:
            value = pick(random, [*bad_actions[:4], [[0], [1]], [["x"], [0], [0]], [[-1], [0], [0]], [[0.5], [0], [0]]])
            text, give = f"append(None, {show(value)}, 1s)", lambda value=value: engine.append(None, value, [1, 1, 1])
        else:
            value = pick(random, bad_counts)
            text = f"append(None, 3 x 2 tokens, {show(value)})"
            give = lambda value=value: engine.append(None, np.zeros((3, 2), int), value)  # noqa: E731

        def call(give: Any = give) -> None:
            engine.reset(None, [1, 2, 3])
            before = engine.tokens.copy(), engine.lengths.copy(), engine.over.copy()
            try:
                give()
            except TokenGymError:
                after = engine.tokens, engine.lengths, engine.over
                if not all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)):
                    raise Accepted("refused, and changed all the same") from None
                raise

        # 0 tokens for every row is a call that does nothing; NumPy's own True and False are rows to nobody.
        yield Case(text, call, "either" if value == [0] * 3 else "refused")


def _seal(folder: Path) -> None:
    """Write the manifest anew, as somebody would who wants altered files to be believed."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"] = {name: sha256((folder / name).read_bytes()).hexdigest() for name in manifest["sha256"]}
    path.write_text(json.dumps(manifest))


_STRANGE = [
    None,
    3,
    "x",
    [],
    {},
    -1,
    1e308,
    True,
    "subprocess:getoutput",
    "evil:tokengym/Copy-v0",
    {"entry_point": "evil:f"},
]


def _replace_somewhere(random: np.random.Generator, data: Any) -> str:
    """Put something strange at a place of a JSON structure, in place, and return where."""
    path = []
    while True:
        key = pick(random, data if isinstance(data, dict) else range(len(data)))
        path.append(str(key))
        inner = data[key]
        if isinstance(inner, (dict, list)) and inner and random.random() < 0.8:
            data = inner
            continue
        if isinstance(data, dict) and random.random() < 0.2:
            del data[key]
        else:
            data[key] = pick(random, _STRANGE)
        return "/".join(path)


def checkpoints(random: np.random.Generator, count: int) -> Iterator[Case]:
    """Checkpoints with files damaged or missing, and with altered contents that were sealed again."""
    root = Path(tempfile.mkdtemp(prefix="fuzzed-checkpoints-"))
    (root / "evil.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('harm').touch()\ndef f(*a, **k): ...\n"
    )
    sys.path.append(str(root))
    sources = {}
    for name in ("ppo", "sac", "sb3-dqn"):
        agent = {} if name.startswith("sb3") else {"agent": "table"}
        small = {} if name.startswith("sb3") else {"rollout_tokens": 20}
        task = make_task("Copy", num_tokens=3, k=2)
        algorithm: Any = ALGORITHMS[name](task, seed=1, **agent, **small)
        algorithm.learn(60)
        algorithm.save(root / name)
        sources[name] = root / name
    for number in range(count):
        name = pick(random, sources)
        folder = root / f"case-{number % 8}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sources[name], folder)
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        kind = int(random.integers(4))
        if kind == 0:
            file = pick(random, files)
            before = (folder / file).read_bytes()
            after = damaged(random, before)
            (folder / file).write_bytes(after)
            text, right = (
                f"{name}: damaged {file}",
                "either" if file == "manifest.json" or before == after else "refused",
            )
        elif kind == 1:
            file = pick(random, files)
            (folder / file).unlink()
            text, right = f"{name}: without {file}", "refused"
        else:
            data = json.loads((folder / "state.json").read_text())
            place = _replace_somewhere(random, data)
            (folder / "state.json").write_text(json.dumps(data))
            _seal(folder)
            text, right = f"{name}: {place} altered and sealed again: {show(data)}", "either"
        kept = root / f"kept-{number}"
        shutil.copytree(folder, kept)

        def call(kept: Path = kept) -> None:
            try:
                load_algorithm(kept)
            finally:
                shutil.rmtree(kept, ignore_errors=True)
                if (root / "harm").exists():
                    (root / "harm").unlink()
                    raise Accepted("loading it ran code")

        yield Case(text, call, right)


AREAS = {
    "arguments": arguments,
    "rewards": rewards,
    "prompts": prompts,
    "states": states,
    "engine calls": engine_calls,
    "checkpoints": checkpoints,
}
