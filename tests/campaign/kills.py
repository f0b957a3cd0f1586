"""Kill −9 over `train` and `compare`, at random and at aimed moments, until every chain of attempts has ended.

A chain is one command given again and again: killed some times, then left alone. It has to end with exit code 0 and
with the same bytes in its folder as the command that nothing disturbed, times apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
LIMIT = 300.0
"""Seconds after which a command that was left alone counts as stuck."""

_NOT_COMPARED = ("timings", "events.out.tfevents", "train_timings", "warnings")
"""How names begin of what holds times, or what an interrupted run may say again."""
_WORKER_LOGS = "logs"


@dataclass
class Chain:
    """One command and what became of it.

    Attributes:
        name: For the table.
        arguments: What stands after ``tokengym``, without the folder.
        kills: How often it is to be killed.
        delivered: Kills that met a running process, by kind.
        verdict: "identical", or what went wrong.
    """

    name: str
    arguments: list[str]
    kills: int
    delivered: dict[str, int] = field(default_factory=lambda: {"random": 0, "aimed": 0})
    verdict: str = ""


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended: its exit code (negative for a signal), its seconds and what it printed."""

    code: int
    seconds: float
    printed: str


def attempt(
    arguments: Sequence[str],
    out: Path,
    log: Path,
    *,
    after: float | None = None,
    at: int | None = None,
    record: Path | None = None,
    in_process: bool = True,
) -> Attempt:
    """Run a command once.

    Args:
        arguments: What stands after ``tokengym``.
        out: The folder that it writes.
        log: Where what it prints goes.
        after: Seconds after which it is killed.
        at: The change of its files before which it is killed.
        record: A file for the list of its changes.
        in_process: Fork this process, which has imported everything; else start a new one, whose own processes are
            aimed at, too.
    """
    started = time.monotonic()
    count = out.with_name(f".count-{out.name}")
    count.unlink(missing_ok=True)
    aim = {"root": str(out), "count": str(count), "at": at, "log": None if record is None else str(record)}
    aimed = at is not None or record is not None
    pid = (
        _forked(arguments, log, aim if aimed else None)
        if in_process
        else _started(arguments, log, aim if aimed else None)
    )
    deadline = started + (LIMIT if after is None else after)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # so young that it leads no group yet
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    try:  # what it started and left behind
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    text = log.read_text(errors="replace") if log.exists() else ""
    return Attempt(os.waitstatus_to_exitcode(status), time.monotonic() - started, text)


def _forked(arguments: Sequence[str], log: Path, aim: dict | None) -> int:
    from tokengym.experiments.commands.main import main

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if aim is not None:
            from . import aim as aiming

            aiming.install(**aim)
        code = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _started(arguments: Sequence[str], log: Path, aim: dict | None) -> int:
    environment = dict(os.environ)
    if aim is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "site"), environment.get("PYTHONPATH", "")])
        environment["TOKENGYM_CAMPAIGN_AIM"] = json.dumps(aim)
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tokengym", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    process.returncode = 0  # this module waits for it, by its own means
    return process.pid


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a folder that has to be the same each time: of a study's, its runs."""
    found = {}
    folder = folder / "runs" if (folder / "runs").is_dir() else folder
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        passed_by = any(part.startswith(_NOT_COMPARED) for part in path.relative_to(folder).parts)
        if path.is_file() and not passed_by and path.name != ".lock" and _WORKER_LOGS not in name.split(os.sep):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """Return what differs between two `contents`, or an empty text."""
    parts = [f"{name} is missing" for name in expected if name not in found]
    parts += [f"{name} is left over" for name in found if name not in expected]
    parts += [f"{name} differs" for name in expected if name in found and expected[name] != found[name]]
    return "; ".join(parts)


def run_chain(chain: Chain, folder: Path, random: np.random.Generator, *, in_process: bool) -> None:
    """Disturb a command ``chain.kills`` times, let it end, and compare it with the undisturbed one."""
    folder.mkdir(parents=True)
    whole, out, record = folder / "whole", folder / "chain", folder / "changes"

    def command(where: Path) -> list[str]:
        return [*chain.arguments, "--out", str(where)]

    undisturbed = attempt(command(whole), whole, folder / "whole.log", record=record, in_process=in_process)
    if undisturbed.code:
        chain.verdict = f"undisturbed, it ended with {undisturbed.code}: {undisturbed.printed[-300:]}"
        return
    changes = record.read_text().splitlines()
    aims = moments(changes, random)
    for number in range(chain.kills):
        aimed = number % 2 == 0
        log = folder / f"attempt-{number}.log"
        if aimed:
            ended = attempt(command(out), out, log, at=aims[number // 2 % len(aims)], in_process=in_process)
        else:
            share = float(random.uniform(0, 0.9)) * undisturbed.seconds
            ended = attempt(command(out), out, log, after=share, in_process=in_process)
        if ended.code == -signal.SIGKILL:
            chain.delivered["aimed" if aimed else "random"] += 1
        elif ended.code == 0:  # it was quicker than the kill: begin anew, so that the next one meets something
            wrong = difference(contents(whole), contents(out))
            if wrong:
                chain.verdict = f"after {number} kills: {wrong}"
                return
            out.rename(folder / f"ended-{number}")
        else:
            chain.verdict = f"stuck after {number} kills with {ended.code}: {ended.printed[-400:]}"
            return
    last = attempt(command(out), out, folder / "last.log", in_process=in_process)
    if last.code:
        chain.verdict = f"stuck at the end with {last.code}: {last.printed[-400:]}"
        return
    chain.verdict = difference(contents(whole), contents(out)) or "identical"


RECORDED = ["--demonstrations", "40", "--batch-episodes", "8"]
SMALL_DATA = {
    "sft": RECORDED,
    "bc": RECORDED,
    "filtered-bc": RECORDED,
    "offline-qrpo": RECORDED,
    "q-sharp": RECORDED,
    "mc-returns": RECORDED,
    "ilql": RECORDED,
    "cql": RECORDED,
    "dpo": ["--labels", "24", "--batch-pairs", "8"],
    "rrhf": ["--labels", "24", "--batch-rankings", "2"],
}
"""What algorithms that play nothing are given to learn from, so that a chain takes seconds."""
LEARNING = ["--learning-starts", "80"]
"""What algorithms with a replay are given, so that they learn at all within the budget."""


def moments(changes: list[str], random: np.random.Generator) -> list[int]:
    """Return numbers of changes to aim at: the first and the last of every sort, in an order that is drawn."""
    if not changes:
        return [1]
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, change in enumerate(changes, start=1):
        sort = "".join(letter for letter in change if not letter.isdigit())
        first.setdefault(sort, number)
        last[sort] = number
    chosen = sorted({*first.values(), *last.values()})
    return [chosen[i] for i in random.permutation(len(chosen))]


def chains(short: bool) -> list[tuple[Chain, bool]]:
    """Return the chains and whether each runs in a fork of this process."""
    from tokengym.algorithms.registry import ALGORITHMS

    kwargs = ["--kwargs", "num_tokens=3", "k=2"]
    found = []
    for name in ALGORITHMS:
        agent = [] if name.startswith("sb3") else ["--agent", "table"]
        budget, small = ["--total-tokens", "400", "--save-every", "80"], ["--rollout-tokens", "40"]
        if ALGORITHMS.config(name).budget == "updates":
            budget, small = ["--total-updates", "60", "--save-every", "12"], SMALL_DATA[name]
        elif name.startswith("sb3"):
            small = []
        if hasattr(ALGORITHMS.config(name), "learning_starts"):
            small = [*small, *LEARNING]
        budget += ["--episodes", "10"]
        kills = 2 if short else 16
        found.append((Chain(f"train {name}", ["train", name, "Copy", *budget, *kwargs, *small, *agent], kills), True))
    if not short:
        gpt2 = "{kind: gpt2, hidden_size: 16, num_layers: 1, num_heads: 2}"
        for name in ("ppo", "sac"):
            budget = ["--total-tokens", "400", "--save-every", "80", "--episodes", "10", "--rollout-tokens", "40"]
            budget += LEARNING if name == "sac" else []
            found.append((Chain(f"train {name}, GPT-2", ["train", name, "Copy", *budget, "--agent", gpt2], 10), True))
    kills = 4 if short else 24
    found.append((Chain("compare", ["compare", str(HERE / "study.yaml"), "--workers", "1"], kills), False))
    return found
