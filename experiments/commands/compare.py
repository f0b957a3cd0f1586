"""The commands ``compare`` and ``report``: run a study with progress on the terminal, and write what it found."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...envs import TokenGymError
from ..console import Terminal, guarded
from ..statistics import rounded
from ..study import Event, RunSpec, Study, descriptions, find_study, load_study, plain, run_study
from .options import CompareOptions, ReportOptions

_WARNINGS_SHOWN = 3
"""Different warnings that the terminal shows; the report has all."""


def compare(options: CompareOptions, console: Console) -> int:
    """Run what is missing of a study, write its report, and return the exit code: 1 if a run failed, else 0.

    Raises:
        TokenGymError: If the study or a run folder is wrong; nothing was run then.
    """
    if options.list:
        return _list(options, console)
    study, out = _study(options)
    console = Terminal(stderr=True) if options.json else console
    with StudyProgress(study, console) as progress:
        run_study(
            study,
            out,
            workers=options.workers,
            replace_changed=options.replace_changed,
            on_plan=progress.plan,
            on_event=progress.event,
        )
    return _write(study, out, options, console)


def report(options: ReportOptions, console: Console) -> int:
    """Write a study's report from its run folders, and return the exit code: 1 if a run failed or is missing.

    Raises:
        TokenGymError: If the study or a run folder is wrong, or there is no run at all.
    """
    study, out = _study(options, check=False)  # perhaps run elsewhere, with what is not here
    console = Terminal(stderr=True) if options.json else console
    if not (out / "runs").is_dir():
        raise TokenGymError(f"{out} holds no runs; run `tokengym compare {options.study}` first, or name the --out")
    return _write(study, out, options, console)


class StudyProgress:
    """Shows how a study gets on: a bar for all runs, a line for each one under way, a line for each that ended.

    Args:
        study: The study.
        console: Where to show it; without a terminal only the lines are printed.
    """

    def __init__(self, study: Study, console: Console) -> None:
        self.study = study
        self.console = guarded(console)
        self.progress = Progress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=28 if console.width >= 100 else 10),
            TextColumn("{task.fields[note]}"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.overall: TaskID | None = None
        self.lines: dict[str, TaskID] = {}
        self.ended = 0
        self.expected = 0

    def __enter__(self) -> StudyProgress:
        """Start showing."""
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop showing."""
        self.progress.stop()

    def plan(self, todo: Sequence[RunSpec]) -> None:
        """Show how many runs there are to do."""
        whole, self.expected = len(self.study.runs()), len(todo)
        finished = f", {whole - len(todo)} finished before" if len(todo) < whole else ""
        self.console.print(f"[bold]{escape(self.study.name)}[/]: {len(todo)} of {whole} runs to do{finished}")
        self.overall = self.progress.add_task("[bold]runs[/]", total=len(todo), note="")

    def event(self, event: Event) -> None:
        """Show what happened to a run."""
        name = event.spec.name
        if event.kind in ("checking", "solving"):
            what = event.spec.environment + (f"/{event.spec.label}" if event.kind == "checking" else "")
            self._note(f"{event.kind} {what}")
        elif event.kind == "started":
            self._note("")
            self.lines[name] = self.progress.add_task(escape(name), total=event.spec.total_tokens, note="")
        elif event.kind == "told":
            self.console.print(f"[dim]{escape(name)}[/] {escape(event.text)}", highlight=False, soft_wrap=True)
        elif event.kind == "alive":
            note = "" if event.score is None else f"score {rounded(event.score, 2)}"
            self.progress.update(self.lines[name], completed=min(event.tokens, event.spec.total_tokens), note=note)
        else:
            self._ended(event)

    def _note(self, text: str) -> None:
        if self.overall is not None:
            self.progress.update(self.overall, note=escape(text))

    def _ended(self, event: Event) -> None:
        self.progress.remove_task(self.lines.pop(event.spec.name))
        self.ended += 1
        if self.overall is not None:
            self.progress.advance(self.overall)
        place = f"[dim]{self.ended:>{len(str(self.expected))}}/{self.expected}[/]"
        if event.kind == "failed":
            text = f"[bold red]failed[/] {escape(event.error)}"
        else:
            assert event.score is not None  # what is sealed has one
            text = f"score [bold]{rounded(event.score, 3)}[/]  [dim]{event.seconds:.1f} s[/]"
        self.console.print(f"{place} {escape(event.spec.name)}  {text}", highlight=False, soft_wrap=True)


def _list(options: CompareOptions, console: Console) -> int:
    found = descriptions()
    if options.json:
        print(json.dumps(found))
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, sentence in found.items():
        table.add_row(f"[bold]{escape(name)}[/]", escape(sentence))
    guarded(console).print(table)
    console.print("`tokengym compare NAME` runs one, into results/NAME", highlight=False)
    return 0


def _study(options: CompareOptions | ReportOptions, check: bool = True) -> tuple[Study, Path]:
    if options.study is None:
        raise TokenGymError("name a study: a YAML file, or one of those that `tokengym compare --list` shows")
    study = load_study(find_study(options.study), check=check).with_changes(
        seeds=options.seeds, total_tokens=options.budget
    )
    return study, options.out or Path("results") / study.name


def _write(study: Study, out: Path, options: CompareOptions | ReportOptions, console: Console) -> int:
    # Matplotlib takes a second to import, which bad input should not cost.
    from ..report import collect, summary, tables, write_report

    results = collect(study, out)
    guarded(console)
    with console.status("writing the report"):
        files = write_report(results, out, command=_command(options))
    for table in files.tables.shown():
        console.print(tables.to_rich(table))
    for run in results.failures():
        console.print(
            f"[bold red]failed[/] {escape(run.spec.name)}: {escape(run.error)}", highlight=False, soft_wrap=True
        )
    warned = results.warnings()
    for text, runs in list(warned.items())[:_WARNINGS_SHOWN]:
        console.print(
            f"[yellow]warning[/] of {len(runs)} of {len(results.runs)} runs, {escape(runs[0].spec.name)} first: "
            f"{escape(text)}",
            highlight=False,
            soft_wrap=True,
        )
    if len(warned) > _WARNINGS_SHOWN:
        console.print(f"[yellow]{len(warned) - _WARNINGS_SHOWN} other warnings[/] are in the report")
    if results.missing():
        console.print(f"[yellow]{len(results.missing())} runs are missing[/]")
    console.print(
        f"report [bold]{escape(str(files.html))}[/], table {escape(str(files.table))}, "
        f"pictures {escape(str(out / 'plots'))}",
        soft_wrap=True,
    )
    if options.json:
        written = {"report": files.html, "table": files.table, "summary": files.summary, **files.plots}
        places = {name: str(path.absolute()) for name, path in written.items()}
        names = {text: [run.spec.name for run in runs] for text, runs in warned.items()}
        content = {"folder": str(out.absolute()), "files": places, **summary(results), "warnings": names}
        print(json.dumps(plain(content), allow_nan=False))
    return 1 if results.failures() or results.missing() else 0


def _command(options: CompareOptions | ReportOptions) -> str:
    words = ["tokengym", "compare", str(options.study)]
    if options.out is not None:
        words += ["--out", str(options.out)]
    if options.seeds is not None:
        words += ["--seeds", *map(str, options.seeds)]
    if options.budget is not None:
        words += ["--budget", str(options.budget)]
    # What a terminal without Unicode hands over as no character stays readable in the report.
    return shlex.join(words).encode("utf-8", "backslashreplace").decode("utf-8")
