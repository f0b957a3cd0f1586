"""The command line of tokengym: a command each beside its options.

Commands import what they need when they run, so that ``tokengym list`` and ``--help`` need no torch. Bad input is one
line and exit code 2; a run that failed is exit code 1; an interruption is 130.
"""

from __future__ import annotations

import os
import sys
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

import tyro
from rich.console import Console
from rich.markup import escape

from ...envs import TokenGymError
from ...envs.checking import check_value, unknown_name
from ..console import Terminal
from ..streams import make_readable
from ..study import REMEDY, is_disk_full, parse_arguments
from .options import (
    AuditOptions,
    CompareOptions,
    EvaluateOptions,
    ExportOptions,
    LabelOptions,
    ListOptions,
    ModelOptions,
    PlayOptions,
    RecordOptions,
    ReportOptions,
    RLHFOptions,
    TrainOptions,
    WatchOptions,
)

_USAGE = """[bold]tokengym[/]: reinforcement learning for language models, one action is one token

  [bold]tokengym list[/]                       environments and algorithms
  [bold]tokengym train[/] ALGORITHM ENV        train one agent
  [bold]tokengym evaluate[/] CHECKPOINT        exact or sampled value of a trained agent
  [bold]tokengym compare[/] STUDY              run a study, or what is missing of it, and write its report
  [bold]tokengym report[/] STUDY               write the report again, without running anything
  [bold]tokengym rlhf[/] PIPELINE              from a model to a judged one: tuning, comparisons, reward model, methods
  [bold]tokengym audit[/] METHOD               what a method does in expectation, by enumeration
  [bold]tokengym export[/] RUN FOLDER          write a trained policy as a transformers folder
  [bold]tokengym model[/] smollm2 FOLDER       make a checkpoint folder of a pretrained model
  [bold]tokengym record[/] ENV FILE            play episodes and keep them, for methods that learn from data
  [bold]tokengym label[/] FILE                 say which of two answers is better, again and again
  [bold]tokengym play[/] ENV                   play an environment yourself
  [bold]tokengym watch[/] ENV --agent WHO      watch random, expert, optimal or a trained agent play

[dim]--help after a command lists its options.[/]"""


OptionsT = TypeVar("OptionsT")
Command: TypeAlias = Callable[[list[str], Console], int]
"""What a command does with the words behind its name; returns the exit code."""


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
        from ..report import installed_version

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


def _of_module(kind: type[Any], command: str, module: str, function: str) -> Command:
    """Return a command whose function, in a module of this folder, takes its options and the console."""

    def run(arguments: list[str], console: Console) -> int:
        options = _parse(kind, command, arguments)
        return getattr(import_module(f".{module}", __package__), function)(options, console)

    return run


def _list(arguments: list[str], console: Console) -> int:
    options = _parse(ListOptions, "list", arguments)
    from .list import show_list

    show_list(console, family=options.family, variants=options.all, as_json=options.json)
    return 0


def _train(arguments: list[str], console: Console) -> int:
    from ...algorithms import ALGORITHMS
    from .flags import as_flags, with_truths

    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(ALGORITHMS)
        console.print("tokengym train ALGORITHM ENV [options]", highlight=False, markup=False)
        console.print(f"algorithms: {names}\n`tokengym train ppo --help` lists the options of one.", highlight=False)
        return 0 if arguments else 2
    name = arguments[0]

    def both(run: Any, config: Any) -> tuple[Any, Any]:
        return run, config

    kind = ALGORITHMS.config(name)
    typed = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    for flag, (_, reason) in ((f"--{field.replace('_', '-')}", why) for field, why in kind.retired.items()):
        if flag in typed:
            raise TokenGymError(f"{name} has no {flag}: {reason}")
    flat = tyro.conf.OmitArgPrefixes
    both.__annotations__ = {
        "run": flat[TrainOptions],
        "config": Annotated[flat[as_flags(kind)], tyro.conf.arg(name=name)],
    }
    options, config = tyro.cli(
        both,
        prog=f"tokengym train {name}",
        description=f"Train {name} on one environment and write a run folder.",
        args=with_truths(arguments[1:], TrainOptions, kind),
    )
    _check(options)
    config = kind(**config.to_dict())  # before the import that takes seconds
    from .train import train

    return train(name, options, config, console)


def _play(arguments: list[str], console: Console) -> int:
    options = _parse(PlayOptions, "play", arguments)
    from ...envs import make_task
    from ..terminal import play_episodes

    task = make_task(options.env, **parse_arguments(options.kwargs))
    name = task.spec["id"] if task.spec is not None else task.name
    play_episodes(task, seed=options.seed, episodes=options.episodes, console=console, name=name)
    return 0


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


_COMMANDS: dict[str, Command] = {
    "list": _list,
    "train": _train,
    "evaluate": _of_module(EvaluateOptions, "evaluate", "train", "evaluate"),
    "compare": _of_module(CompareOptions, "compare", "compare", "compare"),
    "report": _of_module(ReportOptions, "report", "compare", "report"),
    "rlhf": _of_module(RLHFOptions, "rlhf", "rlhf", "rlhf"),
    "audit": _of_module(AuditOptions, "audit", "audit", "audit"),
    "export": _of_module(ExportOptions, "export", "export", "export"),
    "model": _of_module(ModelOptions, "model", "export", "fetch_model"),
    "record": _of_module(RecordOptions, "record", "record", "record"),
    "label": _of_module(LabelOptions, "label", "label", "label"),
    "play": _play,
    "watch": _of_module(WatchOptions, "watch", "watch", "watch"),
}
