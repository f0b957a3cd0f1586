"""The commands ``train`` and ``evaluate``: one agent, one environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...algorithms import OffPolicy, load_algorithm
from ...envs import Task, TokenGymError, make_task
from ...envs.checking import positive_int, visible
from ..console import guarded
from ..evaluation import Evaluation, References, evaluate_agent, known_references, uses_masks
from ..kl_reference import reference_of
from ..statistics import normalised_score, rounded
from ..study import (
    MODES,
    RunFolder,
    RunSpec,
    Saving,
    learn_and_seal,
    make_algorithm,
    parse_arguments,
    plain,
    read_yaml,
    run_references,
    sole_use,
    specification,
    take_up,
)
from ..transcribing import transcripts
from .interruption import StopOnSignal
from .options import EvaluateOptions, TrainOptions

_USUAL_TOTALS = {"tokens": 20_000, "updates": 1_000}
"""What a run is trained for where no flag says."""


def train(name: str, options: TrainOptions, config: Any, console: Console) -> int:
    """Train one agent, save it, evaluate it, seal its folder, and return the exit code.

    The same command given again takes an interrupted run up; see `single_run`.

    Args:
        name: Registered name of the algorithm.
        options: What the command line gave.
        config: The algorithm's configuration.
        console: Where to print.

    Raises:
        TokenGymError: If something is unknown or out of range, or the folder already holds another run.
        KeyboardInterrupt: After an interruption, when what was learnt has been saved.
    """
    guarded(console)
    total = _total(config, name, options)
    positive_int("episodes", options.episodes)
    for flag in ("save_every", "keep"):
        if getattr(options, flag) is not None:
            positive_int(flag, getattr(options, flag))
    console.quiet = console.quiet or options.json
    task = make_task(options.env, **parse_arguments(options.kwargs))
    agent = None if options.agent is None else agent_specification(options.agent)
    spec = specification(
        name,
        task,
        agent,
        config,
        options.seed,
        total,
        options.episodes,
        options.evaluations,
        options.dtype,
    )
    out = options.out or Path("results") / "train" / task.name / name.rpartition(":")[2] / f"seed-{options.seed}"
    folder = RunFolder(out.absolute())
    if out.exists() and not out.is_dir():
        raise TokenGymError(f"{out} is a file; --out names a folder, choose another")
    if options.resume and not out.is_dir():
        raise TokenGymError(f"there is no run in {out} to resume; leave --resume out to begin one")
    if not out.is_dir():
        tried = make_algorithm(spec, task, options.device)  # what is wrong with it is found before there is a folder
        if isinstance(tried, OffPolicy):
            tried.take_data()
        out.mkdir(parents=True, exist_ok=True)
    with sole_use(folder.path, "training"):
        algorithm, spec = take_up(
            folder,
            spec,
            task,
            config,
            options.resume,
            lambda text: console.print(f"[yellow]{escape(text)}[/]", highlight=False, soft_wrap=True),
            options.device,
        )
        if algorithm is None:
            summary = folder.verify()
            console.print(
                f"finished before: {summary['tokens']:,} {config.budget}, in {out}", highlight=False, markup=False
            )
        else:
            if algorithm.spent:
                told = f"going on from {algorithm.spent:,} {config.budget} in {out}"
                console.print(told, highlight=False, markup=False)
            summary = _learn(algorithm, folder, spec, options, console)
            told = f"trained {name} on {task.name} for {summary['tokens']:,} {config.budget}; saved in {out}"
            ended = algorithm.finished()
            told = told if ended is None else f"{told} ({ended})"
            console.print(told, highlight=False, markup=False)
    if options.json:
        print(json.dumps(plain({"folder": str(folder.path), **summary}), allow_nan=False))
    show_summary(task.name, summary, console)
    return 0


def _total(config: Any, name: str, options: TrainOptions) -> int:
    """Return the budget that the flags give, in what the algorithm counts."""
    flags = {"tokens": options.total_tokens, "updates": options.total_updates}
    asked = flags.pop(config.budget)
    other = next((unit for unit, given in flags.items() if given is not None), None)
    if other is not None:
        raise TokenGymError(
            f"--total-{other} is given, and the budget of {name} is in {config.budget}: give --total-{config.budget}"
        )
    if asked is None:
        return _USUAL_TOTALS[config.budget]
    return positive_int(f"total_{config.budget}", asked)


def _learn(algorithm: Any, folder: RunFolder, spec: RunSpec, options: TrainOptions, console: Console) -> dict[str, Any]:
    with StopOnSignal() as stop:
        return learn_and_seal(
            algorithm,
            spec,
            folder,
            _known_references(spec, algorithm.task),
            saving=Saving(every=options.save_every, keep=options.keep),
            stop=stop,
            progress_bar=console.is_terminal,
            tensorboard=True,
        )


def _known_references(spec: RunSpec, task: Task) -> References | None:
    try:
        return run_references(spec, task)
    except TokenGymError:
        return None


def evaluate(options: EvaluateOptions, console: Console) -> int:
    """Evaluate a saved agent, greedy and sampled, and return the exit code.

    Raises:
        TokenGymError: If the checkpoint is missing or broken, or the environment does not fit it.
    """
    guarded(console)
    positive_int("episodes", options.episodes)
    if options.samples < 0:
        raise TokenGymError(f"samples={options.samples} is negative; give 0 to show no episodes")
    algorithm: Any = load_algorithm(
        options.checkpoint, options.env, options.device, allow_imports=options.allow_imports
    )
    task = algorithm.task
    reference, kl_to = _reference(algorithm, options)
    summary = evaluated(
        algorithm, task, episodes=options.episodes, seed=options.seed, beta=options.beta, reference=reference
    )
    masks = uses_masks(algorithm)
    shown = list(transcripts(algorithm, task, options.samples, seed=options.seed, action_masks=masks))
    if options.json:
        episodes = [{"return": one.total_reward, "text": one.text()} for one in shown]
        place = {"checkpoint": str(options.checkpoint), "environment": task.name, "tokens": algorithm.spent}
        print(json.dumps(plain({**place, **summary, "episodes": episodes}), allow_nan=False))
        return 0
    show_summary(task.name, summary, console, kl_to)
    for one in shown:
        console.print(f"[dim]return {one.total_reward:.3g}[/] {escape(visible(one.text()))}", highlight=False)
    return 0


def _reference(algorithm: Any, options: EvaluateOptions) -> tuple[Any, str]:
    """Return what ``--kl-to`` names (None for the uniform policy), and what the table calls it."""
    if options.kl_to == "uniform":
        return None, "uniform"
    if options.kl_to == "reference":
        own = reference_of(algorithm)
        if own is None:
            raise TokenGymError(
                f"kl_to='reference': {algorithm.name} was trained without a reference agent (its kl_coef is 0, or its "
                "kl_reference is uniform); name a checkpoint folder, or leave kl_to out"
            )
        return own, "reference"
    other: Any = load_algorithm(options.kl_to, options.env, options.device, allow_imports=options.allow_imports)
    return other, "reference"


def evaluated(
    player: Any,
    task: Task,
    *,
    episodes: int = 1000,
    seed: int = 1_000_003,
    beta: float | None = None,
    reference: Any = None,
) -> dict[str, Any]:
    """Return the greedy and the sampled evaluation of a player and what they lie between, as JSON-able data.

    With a beta and a reference that is not uniform nothing is known that the value could lie between.
    """
    between = None if beta and reference is not None else known_references(task, beta=beta)
    masks = uses_masks(player)
    found: dict[str, Any] = {"references": None if between is None else between.to_dict()}
    for mode in MODES:
        one = evaluate_agent(
            player,
            task,
            episodes=episodes,
            seed=seed,
            deterministic=mode == "greedy",
            beta=beta,
            reference=reference,
            action_masks=masks,
        )
        score = None if between is None else normalised_score(one.value, between.random, between.optimal)
        found[mode] = {"score": score, **one.to_dict()}
    return found


def show_summary(name: str, summary: dict[str, Any], console: Console, kl_to: str = "uniform") -> None:
    """Print what `evaluated` returned as a table, and what was reported beside the reward as another."""
    table = Table(title=Text(visible(name, one_line=True), "table.title"), title_justify="left")
    for column in ("play", "return", "score", "length", "entropy", f"KL to {kl_to}", "how"):
        table.add_column(column, justify="left" if column in ("play", "how") else "right")
    sampling = ""
    for mode in MODES:
        score = summary[mode]["score"]
        one = Evaluation(**{key: value for key, value in summary[mode].items() if key != "score"})
        spread = "" if one.half_width is None else f" ± {one.half_width:.2g}"
        sampling = one.play.removeprefix(mode).strip(" ()")
        table.add_row(
            mode,
            f"{one.expected_return:.4g}{spread}",
            "–" if score is None else rounded(score, 3),
            f"{one.length:.1f}",
            "–" if one.entropy is None else rounded(one.entropy, 3),
            "–" if one.kl is None else rounded(one.kl, 3),
            "exact" if one.exact else f"{one.episodes:,} episode{'s' * (one.episodes != 1)}",
        )
    told = []
    if sampling:
        why = "the agent has no policy" if "Boltzmann" in sampling else "what is said is not the agent's policy alone"
        told = [f"sampled by {sampling}: {why}"]
    if summary["references"] is not None:
        told.append("random {random:.4g}, optimal {optimal:.4g}".format(**summary["references"]))
    if told:
        table.caption = "\n".join(told)
        table.caption_justify = "left"
    guarded(console).print(table)
    columns = {mode: summary[mode].get("columns", {}) for mode in MODES}
    if not any(columns.values()):
        return
    beside = Table(title="reported beside the reward", title_justify="left")
    beside.add_column("column", overflow="fold")
    for mode in MODES:
        beside.add_column(mode, justify="right")
    for name in sorted({*columns["greedy"], *columns["sampled"]}):
        numbers = (columns[mode].get(name) for mode in MODES)
        beside.add_row(Text(visible(name, one_line=True)), *("–" if one is None else f"{one:.4g}" for one in numbers))
    guarded(console).print(beside)


def agent_specification(text: str) -> Any:
    """Return what ``--agent`` names: a text as it is, a mapping in YAML as a dictionary.

    Raises:
        TokenGymError: If a text that begins with ``{`` is no YAML mapping.
    """
    if not text.lstrip().startswith("{"):
        return text
    return read_yaml(text, f"the agent {text!r}")
