"""The commands ``train`` and ``evaluate``: one agent, one environment."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..algorithms.callbacks import SaveEvery
from ..algorithms.registry import ALGORITHMS, load_algorithm
from ..envs.errors import TokenGymError, positive_int
from ..envs.registration import make_task
from ..envs.task import Task
from ..envs.visible import visible
from .cli import parse_arguments
from .evaluation import evaluate_agent, known_references, uses_masks
from .guarded import guarded
from .statistics import normalised_score
from .transcribing import transcripts
from .yaml_text import read_yaml

if TYPE_CHECKING:
    from .cli import EvaluateOptions, TrainOptions


def train(name: str, options: TrainOptions, config: Any, console: Console) -> int:
    """Train one agent, save it, evaluate it, and return the exit code.

    Args:
        name: Registered name of the algorithm.
        options: What the command line gave.
        config: The algorithm's configuration.
        console: Where to print.

    Raises:
        TokenGymError: If something is unknown or out of range, or the folder already holds a run.
    """
    guarded(console)
    positive_int("total_tokens", options.total_tokens)
    positive_int("episodes", options.episodes)
    if options.save_every is not None:
        positive_int("save_every", options.save_every)
    task = make_task(options.env, **parse_arguments(options.kwargs))
    out = options.out or Path("results") / "train" / task.name / name / f"seed-{options.seed}"
    checkpoints = out / "checkpoints"
    if options.resume:
        algorithm: Any = load_algorithm(checkpoints)
        _check_resumed(algorithm, name, task, out)
        _check_settings(algorithm, options, config)
        console.print(f"going on from {algorithm.num_timesteps:,} tokens in {out}", highlight=False, markup=False)
    elif out.exists() and not out.is_dir():
        raise TokenGymError(f"{out} is a file; --out names a folder, choose another")
    elif out.exists() and any(out.iterdir()):
        raise TokenGymError(f"{out} already holds a run; pass --resume to go on with it, or another --out")
    else:
        agent = {} if options.agent is None else {"agent": agent_specification(options.agent)}
        algorithm = ALGORITHMS[name](task, config=config, seed=options.seed, **agent)
    callback = SaveEvery(checkpoints, options.save_every or options.total_tokens)
    algorithm.learn(options.total_tokens, callback=callback, progress_bar=console.is_terminal, log_dir=out)
    console.print(
        f"trained {name} on {task.name} for {algorithm.num_timesteps:,} tokens; saved in {out}",
        highlight=False,
        markup=False,
    )
    show_evaluation(algorithm, task, console, episodes=options.episodes)
    return 0


def evaluate(options: EvaluateOptions, console: Console) -> int:
    """Evaluate a saved agent, greedy and sampled, and return the exit code.

    Raises:
        TokenGymError: If the checkpoint is missing or broken, or the environment does not fit it.
    """
    guarded(console)
    positive_int("episodes", options.episodes)
    if options.samples < 0:
        raise TokenGymError(f"samples={options.samples} is negative; give 0 to show no episodes")
    algorithm: Any = load_algorithm(options.checkpoint, env=options.env, allow_imports=options.allow_imports)
    show_evaluation(algorithm, algorithm.task, console, episodes=options.episodes, seed=options.seed, beta=options.beta)
    masks = uses_masks(algorithm)
    for one in transcripts(algorithm, algorithm.task, options.samples, seed=options.seed, action_masks=masks):
        console.print(f"[dim]return {one.total_reward:.3g}[/] {escape(visible(one.text()))}", highlight=False)
    return 0


def show_evaluation(
    player: Any,
    task: Task,
    console: Console,
    *,
    episodes: int = 1000,
    seed: int = 1_000_003,
    beta: float | None = None,
) -> None:
    """Print a table of the greedy and the sampled evaluation of a player."""
    between = known_references(task, beta=beta)
    masks = uses_masks(player)
    table = Table(title=Text(visible(task.name, one_line=True), "table.title"), title_justify="left")
    for column in ("play", "return", "score", "length", "entropy", "KL to uniform", "how"):
        table.add_column(column, justify="left" if column in ("play", "how") else "right")
    for mode in ("greedy", "sampled"):
        found = evaluate_agent(
            player, task, episodes=episodes, seed=seed, deterministic=mode == "greedy", beta=beta, action_masks=masks
        )
        score = "–" if between is None else f"{normalised_score(found.value, between.random, between.optimal):.3f}"
        spread = "" if found.half_width is None else f" ± {found.half_width:.2g}"
        sampling = found.play.removeprefix(mode).strip(" ()")
        table.add_row(
            mode,
            f"{found.expected_return:.4g}{spread}",
            score,
            f"{found.length:.1f}",
            "–" if found.entropy is None else f"{found.entropy:.3f}",
            "–" if found.kl is None else f"{found.kl:.3f}",
            "exact" if found.exact else f"{found.episodes:,} episode{'s' * (found.episodes != 1)}",
        )
    told = [] if not sampling else [f"sampled by {sampling}: the agent has no policy"]
    if between is not None:
        told.append(f"random {between.random:.4g}, optimal {between.optimal:.4g}")
    if told:
        table.caption = "\n".join(told)
        table.caption_justify = "left"
    guarded(console).print(table)


def _check_resumed(algorithm: Any, name: str, task: Task, out: Path) -> None:
    """Refuse to go on with a run of another algorithm or on another environment than the command names."""
    if algorithm.name != name:
        raise TokenGymError(
            f"{out} holds a run of {algorithm.name!r}, not of {name!r}; resume it as {algorithm.name!r}, or choose "
            "another --out"
        )
    if algorithm.env_spec != task.spec:
        raise TokenGymError(
            f"{out} holds a run on {algorithm.env_spec}, not on {task.spec}; resume it with the same environment and "
            "--kwargs, or choose another --out"
        )


def _check_settings(algorithm: Any, options: TrainOptions, config: Any) -> None:
    """Refuse settings given with --resume that are not the run's own: the saved ones are what goes on."""
    differ = [
        f"--{field.name.replace('_', '-')} {value!r} (the run's is {getattr(algorithm.config, field.name)!r})"
        for field in fields(config)
        if (value := getattr(config, field.name)) not in (getattr(algorithm.config, field.name), field.default)
    ]
    if options.seed not in (algorithm.seed, type(options).seed):
        differ.append(f"--seed {options.seed} (the run's is {algorithm.seed})")
    if differ:
        raise TokenGymError(
            f"a resumed run keeps its settings, but {', '.join(differ)} was given: leave that out, or begin another "
            "run with another --out"
        )


def agent_specification(text: str) -> Any:
    """Return what ``--agent`` names: a text as it is, a mapping in YAML as a dictionary.

    Raises:
        TokenGymError: If a text that begins with ``{`` is no YAML mapping.
    """
    if not text.lstrip().startswith("{"):
        return text
    return read_yaml(text, f"the agent {text!r}")
