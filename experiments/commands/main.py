"""The command line: ``tokengym list | train | evaluate | compare | report | play | watch``.

Commands import what they need when they run, so that ``tokengym list`` and ``--help`` need no torch. Bad input is one
line and exit code 2; a run that failed is exit code 1; an interruption is 130.
"""

from __future__ import annotations

import os
import sys
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from rich.console import Console
from rich.markup import escape

from ...envs.checking.errors import TokenGymError, unknown_name
from ...envs.checking.fields import Range, check_value
from ..console import Terminal
from ..streams import make_readable
from ..study.full_disk import REMEDY, is_disk_full

_USAGE = """[bold]tokengym[/]: reinforcement learning for language models, one action is one token

  [bold]tokengym list[/]                       environments and algorithms
  [bold]tokengym train[/] ALGORITHM ENV        train one agent
  [bold]tokengym evaluate[/] CHECKPOINT        exact or sampled value of a trained agent
  [bold]tokengym compare[/] STUDY              run a study, or what is missing of it, and write its report
  [bold]tokengym report[/] STUDY               write the report again, without running anything
  [bold]tokengym play[/] ENV                   play an environment yourself
  [bold]tokengym watch[/] ENV --agent WHO      watch random, expert, optimal or a trained agent play

[dim]--help after a command lists its options.[/]"""


def _named(metavar: str) -> Any:
    """Say in the help what a flag takes; that it is left out by default needs no words."""
    return tyro.conf.arg(
        metavar=metavar, help_behavior_hint=lambda shown: "" if shown in ("None", "") else f"(default: {shown})"
    )


Count = Annotated[int, Range(least=1, most=10**15)]
"""How many there are to be."""
Seed = Annotated[int, Range(least=0, most=2**63 - 1)]
"""What draws begin from."""
OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True)
class ListOptions:
    """List the registered environments and algorithms."""

    family: Annotated[str | None, _named("FAMILY")] = None
    """Environments of one family only: diagnostics, text, games, control or reasoning."""
    all: bool = False
    """Show the variants of the environments, too."""
    json: bool = False
    """Print the environments as JSON, variants included, and nothing else."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a trained agent, greedy and sampled, from starts that training never sees."""

    checkpoint: Annotated[Path, tyro.conf.Positional, _named("FOLDER")]
    """A run folder or a checkpoint that `train` or `compare` wrote."""
    env: Annotated[str | None, _named("ENV")] = None
    """Environment id; by default the one it was trained on."""
    episodes: Count = 1000
    """Episodes, where the exact value is out of reach."""
    seed: Seed = 1_000_003
    """Seed of the evaluation starts."""
    beta: Annotated[Annotated[float, Range(least=0)] | None, _named("FLOAT")] = None
    """Take beta times the KL to the uniform policy off the return."""
    samples: Annotated[int, Range(least=0, most=1_000_000)] = 2
    """Episodes to show."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""
    allow_imports: bool = False
    """Import what the checkpoint names, such as a reward of your own: this runs that code, so trust who wrote it."""


@dataclass(frozen=True)
class CompareOptions:
    """Run a study, or what is missing of it, and write its report."""

    study: Annotated[Path | None, tyro.conf.Positional, _named("STUDY")] = None
    """The study's YAML file, or the name of a study that comes with the package."""
    list: bool = False
    """List the studies that come with the package, and run none."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder of the results; by default results/<study>."""
    workers: Annotated[Annotated[int, Range(least=1, most=4096)] | None, _named("INT")] = None
    """Processes; by default one for each core."""
    seeds: Annotated[tuple[Seed, ...] | None, _named("SEED …")] = None
    """Training seeds, instead of the study's."""
    budget: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens of every run, instead of the study's."""
    replace_changed: bool = False
    """Run again what was finished under another configuration, instead of stopping."""
    json: bool = False
    """Print the results as one line of JSON, and everything else to standard error."""


@dataclass(frozen=True)
class ReportOptions:
    """Write the report of a study again from its run folders, without running anything."""

    study: Annotated[Path, tyro.conf.Positional, _named("STUDY")]
    """The study's YAML file, or the name of a study that comes with the package."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder of the results; by default results/<study>."""
    seeds: Annotated[tuple[Seed, ...] | None, _named("SEED …")] = None
    """Training seeds, instead of the study's."""
    budget: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens of every run, instead of the study's."""
    json: bool = False
    """Print the results as one line of JSON, and everything else to standard error."""


@dataclass(frozen=True)
class PlayOptions:
    """Play an environment in the terminal, and see at the end what random and optimal play get."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    seed: Seed = 0
    """Seed of the episodes."""
    episodes: Count = 1
    """Episodes to play."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class WatchOptions:
    """Watch a player token by token: what it sees, how probable its tokens are, and what they are exactly worth."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    agent: Annotated[str, _named("WHO")] = "random"
    """random, expert, optimal, or the folder of a run or a checkpoint."""
    episodes: Count = 1
    """Episodes to watch."""
    seed: Seed = 0
    """Seed of the episodes and of the draws."""
    greedy: bool = False
    """Say the most probable token always, instead of drawing one."""
    masked: bool = False
    """Keep to the legal tokens; an agent that learnt with masks does so anyway."""
    delay: Annotated[Annotated[float, Range(least=0, most=3600)] | None, _named("FLOAT")] = None
    """Seconds between two tokens; by default .6 on a terminal."""
    frames: Annotated[Path | None, _named("FOLDER")] = None
    """New folder for a PNG of every position and an animated GIF of every episode."""
    allow_imports: bool = False
    """Import what the agent's checkpoint names, such as a reward of your own: this runs that code."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class TrainOptions:
    """Train one agent on one environment and write a run folder."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    agent: Annotated[str | None, _named("AGENT")] = None
    """mlp-tiny (the default of most), gpt2-tiny, llama-tiny, gru-tiny, table, a checkpoint folder, or YAML."""
    total_tokens: Count = 20_000
    """Agent tokens to train for."""
    seed: Seed = 0
    """Seed of the run."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder for metrics and checkpoints; by default results/train/<environment>/<algorithm>/seed-<seed>."""
    resume: bool = False
    """Go on with a run whose folder is there, a finished one to a larger total; an interrupted one needs no flag."""
    save_every: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens between two checkpoints; by default a tenth of all, and one every five minutes."""
    keep: Annotated[Count | None, _named("INT")] = None
    """Checkpoints to keep; by default two while it learns and the last one then."""
    episodes: Count = 1000
    """Episodes of the evaluation after training, where the exact value is out of reach."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What stands after ``tokengym``; by default that of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())  # where a module of the user's own is looked for: my_tasks:tokengym/Lamp-v0
    make_readable()
    console = Terminal()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        console.print(_USAGE)
        return 0
    if arguments[0] == "--version":
        from ..report.page import installed_version

        console.print(f"tokengym {installed_version()}", highlight=False)
        return 0
    try:
        _check_typed(arguments)
        if arguments[0] not in _COMMANDS:
            raise unknown_name("command", arguments[0], _COMMANDS)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _COMMANDS[arguments[0]](arguments[1:], console)
    except TokenGymError as error:
        Terminal(stderr=True).print(f"[bold red]error:[/] {_one_line(error)}", highlight=False, soft_wrap=True)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
            return 0
        message = escape(": ".join(filter(None, [error.strerror or str(error), str(error.filename or "")])))
        remedy = REMEDY if is_disk_full(error) else "choose another folder or file, or make this one writable"
        Terminal(stderr=True).print(
            f"[bold red]error:[/] {message}; {remedy}",
            highlight=False,
            soft_wrap=True,
        )
        return 2
    except KeyboardInterrupt:
        message = "interrupted; what was written stays, the same command goes on from there"
        Terminal(stderr=True).print(f"[yellow]{message}[/]", highlight=False)
        return 130
    except SystemExit as leaving:  # tyro has printed help or what is wrong with a flag
        return leaving.code if isinstance(leaving.code, int) else 2


def _parse(kind: type[OptionsT], command: str, arguments: list[str]) -> OptionsT:
    options = tyro.cli(kind, prog=f"tokengym {command}", args=arguments)
    _check(options)
    return options


def _check(options: Any) -> None:
    """Check what was given against the ranges that the options declare, which tyro knows nothing of."""
    for name, annotation in get_type_hints(type(options), include_extras=True).items():
        check_value(f"--{name.replace('_', '-')}", annotation, getattr(options, name))


def _list(arguments: list[str], console: Console) -> int:
    options = _parse(ListOptions, "list", arguments)
    from .list import show_list

    show_list(console, family=options.family, variants=options.all, as_json=options.json)
    return 0


def _train(arguments: list[str], console: Console) -> int:
    from ...algorithms.registry import ALGORITHMS

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(ALGORITHMS)
        console.print("tokengym train ALGORITHM ENV [options]", highlight=False, markup=False)
        console.print(f"algorithms: {names}\n`tokengym train ppo --help` lists the options of one.", highlight=False)
        return 0 if arguments else 2
    name = arguments[0]
    if name not in ALGORITHMS:
        raise unknown_name("algorithm", name, list(ALGORITHMS))

    def both(run: Any, config: Any) -> tuple[Any, Any]:
        return run, config

    kind = ALGORITHMS.config(name)
    # Checked when it is built below: inside tyro an error would become a box of its own making.
    unchecked = type(kind.__name__, (kind,), {"__post_init__": lambda self: None, "__doc__": kind.__doc__})
    flat = tyro.conf.OmitArgPrefixes
    both.__annotations__ = {
        "run": flat[TrainOptions],
        "config": Annotated[flat[unchecked], tyro.conf.arg(name=name)],
    }
    options, config = tyro.cli(
        both,
        prog=f"tokengym train {name}",
        description=f"Train {name} on one environment and write a run folder.",
        args=arguments[1:],
    )
    _check(options)
    config = kind(**config.to_dict())  # before the import that takes seconds
    from .train import train

    return train(name, options, config, console)


def _evaluate(arguments: list[str], console: Console) -> int:
    options = _parse(EvaluateOptions, "evaluate", arguments)
    from .train import evaluate

    return evaluate(options, console)


def _compare(arguments: list[str], console: Console) -> int:
    options = _parse(CompareOptions, "compare", arguments)
    from .compare import compare

    return compare(options, console)


def _report(arguments: list[str], console: Console) -> int:
    options = _parse(ReportOptions, "report", arguments)
    from .compare import report

    return report(options, console)


def _play(arguments: list[str], console: Console) -> int:
    options = _parse(PlayOptions, "play", arguments)
    from ...envs.registration import make_task
    from ..terminal.play import play

    task = make_task(options.env, **parse_arguments(options.kwargs))
    name = task.spec["id"] if task.spec is not None else task.name
    play(task, seed=options.seed, episodes=options.episodes, console=console, name=name)
    return 0


def _watch(arguments: list[str], console: Console) -> int:
    options = _parse(WatchOptions, "watch", arguments)
    from ..terminal.watch import watch

    return watch(options, console)


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``{"length": 3}`` for ``["length=3"]``; values are YAML.

    Raises:
        TokenGymError: If a pair has no ``=``, its value is no YAML, or a name is given twice.
    """
    from ..study.yaml_text import read_yaml

    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise TokenGymError(f"an argument of the environment is name=value, got {pair!r}")
        if name in found:
            raise TokenGymError(f"the argument {name!r} of the environment is given twice; keep one")
        found[name] = read_yaml(value, f"the value of {pair!r}")
    return found


def _check_typed(arguments: Sequence[str]) -> None:
    """Refuse control characters, which what reads the flags would send on to the terminal."""
    for argument in arguments:
        if any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in argument):
            raise TokenGymError(f"the argument {argument!r} holds a control character; leave it out")


def _show_warning(message: Warning | str, *_: Any) -> None:
    """Print a warning as one line: where in the code it was raised is of no use on the command line."""
    text = escape(" ".join(str(message).split()))
    Terminal(stderr=True).print(f"[yellow]warning:[/] {text}", highlight=False, soft_wrap=True)


def _one_line(error: Exception) -> str:
    return escape(" ".join(str(error).split()))


_COMMANDS: dict[str, Callable[[list[str], Console], int]] = {
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "compare": _compare,
    "report": _report,
    "play": _play,
    "watch": _watch,
}
