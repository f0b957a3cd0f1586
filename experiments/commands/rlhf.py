"""The command ``rlhf``: a pipeline, from a model and a task to the report of what its methods made of comparisons."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...envs import TokenGymError
from ...envs.checking import visible
from ..console import Terminal, guarded
from ..rlhf import (
    Pipeline,
    StageEvent,
    check_pipeline,
    find_pipeline,
    gather,
    load_pipeline,
    packaged_pipelines,
    plan,
    run_pipeline,
    summary,
)
from ..study import plain
from .interruption import StopOnSignal
from .options import RLHFOptions


def rlhf(options: RLHFOptions, console: Console) -> int:
    """Do what is missing of a pipeline, write its report, and return the exit code.

    Raises:
        TokenGymError: If the pipeline or a folder is wrong; nothing was run then.
        KeyboardInterrupt: After an interruption, when what was learnt has been saved.
    """
    guarded(console)
    if options.list:
        return _list(options, console)
    if options.pipeline is None:
        raise TokenGymError("name a pipeline's YAML file, or one of --list")
    pipeline = load_pipeline(find_pipeline(options.pipeline)).with_seeds(options.seeds)
    pipeline = pipeline.with_model(options.model).with_device(options.device)
    out = options.out or Path("results") / "rlhf" / pipeline.name
    console = Terminal(stderr=True) if options.json else console
    if options.report_only:
        if not out.is_dir():
            raise TokenGymError(f"{out} holds nothing to report; leave --report-only out, or name the --out")
    else:
        check_pipeline(pipeline)
        with StopOnSignal() as stop, PipelineProgress(pipeline, out, console) as progress:
            run_pipeline(pipeline, out, replace_changed=options.replace_changed, stop=stop, on_event=progress.event)
    return _write(pipeline, out, options, console)


class PipelineProgress:
    """Shows how a pipeline gets on: a bar for the stage under way, a line for each that ended.

    Args:
        pipeline: The pipeline.
        out: Folder of its results.
        console: Where to show it; without a terminal only the lines are printed.
    """

    def __init__(self, pipeline: Pipeline, out: Path, console: Console) -> None:
        self.console = guarded(console)
        self.many = len(pipeline.seeds) > 1
        self.expected = sum(len(plan(pipeline, out, seed)) for seed in pipeline.seeds)
        self.ended = 0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28 if console.width >= 100 else 10),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.line: TaskID | None = None
        self.console.print(f"[bold]{escape(pipeline.name)}[/]: {self.expected} stages, in {escape(str(out))}")

    def __enter__(self) -> PipelineProgress:
        """Start showing."""
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop showing."""
        self.progress.stop()

    def event(self, event: StageEvent) -> None:
        """Show what happened to a stage."""
        name = escape(f"{event.stage}, seed {event.seed}" if self.many else event.stage)
        if event.kind == "started":
            self.line = self.progress.add_task(name, total=1.0)
        elif event.kind == "alive" and self.line is not None:
            self.progress.update(self.line, completed=min(event.part, 1.0))
        elif event.kind == "told":
            self.console.print(f"[dim]{name}[/] {escape(event.text)}", highlight=False, soft_wrap=True)
        elif event.kind in ("finished", "kept"):
            if self.line is not None:
                self.progress.remove_task(self.line)
                self.line = None
            self.ended += 1
            place = f"[dim]{self.ended:>{len(str(self.expected))}}/{self.expected}[/]"
            when = "done before" if event.kind == "kept" else f"{event.seconds:.1f} s"
            told = escape(told_of(event.facts or {}))
            self.console.print(f"{place} {name}  {told}  [dim]{when}[/]", highlight=False, soft_wrap=True)


def told_of(facts: dict) -> str:
    """Return in a few words what a stage found."""
    final = facts.get("final")
    if final is not None:
        told = [f"gold {final['gold']:.3f}"]
        if final.get("proxy") is not None:
            told.append(f"proxy {final['proxy']:.3f}")
        if final.get("kl") is not None:
            told.append(f"KL {'≤ ' if final['kl_is_bound'] else ''}{final['kl']:.2f}")
        return ", ".join(told)
    if "train" in facts:
        return f"{facts['train']:,} to learn from, {facts['held_out']:,} held out"
    if facts.get("accuracy") is not None:
        return f"{100 * facts['accuracy']:.1f}% of held-out comparisons right"
    return f"{facts['texts']:,} texts" if "texts" in facts else ""


def _list(options: RLHFOptions, console: Console) -> int:
    found = {}
    for name, path in packaged_pipelines().items():
        pipeline = load_pipeline(path)
        sentence = re.split(r"(?<=[.?!])\s", pipeline.description.strip(), maxsplit=1)[0]
        found[name] = f"{sentence} ({len(pipeline.methods)} methods, {len(pipeline.seeds)} seeds)"
    if options.json:
        print(json.dumps(found))
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, told in found.items():
        table.add_row(f"[bold]{escape(name)}[/]", escape(told))
    console.print(table)
    return 0


def _write(pipeline: Pipeline, out: Path, options: RLHFOptions, console: Console) -> int:
    from ..rlhf import write_report

    results = gather(pipeline, out)
    command = ["tokengym", "rlhf", str(options.pipeline)]
    command += ["--out", str(options.out)] if options.out is not None else []
    command += ["--seeds", *map(str, options.seeds)] if options.seeds is not None else []
    command += ["--model", options.model] if options.model is not None else []
    command += ["--device", options.device] if options.device is not None else []
    files = write_report(results, out, command=shlex.join(command))
    shown = Table(title=files.outcome.title, title_justify="left")
    for column in files.outcome.header:
        shown.add_column(column)
    for row in files.outcome.rows:
        shown.add_row(*(escape(visible(cell.text, one_line=True)) for cell in row))
    console.print(shown)
    console.print(f"report: [bold]{escape(str(files.html))}[/]", highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(plain({"report": str(files.html), **summary(results)}), allow_nan=False))
    return 1 if any(one.missing for one in results.seeds) else 0
