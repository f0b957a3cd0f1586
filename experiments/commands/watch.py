"""The command ``watch``: a scripted or a saved player, shown token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from ...envs import TokenGymError, make_task
from ...envs.checking import positive_int
from ..evaluation import play_of, uses_masks
from ..study import parse_arguments
from ..terminal import MOST_NODES, SCRIPTED, Guide, learned, saved_player, scripted, show
from .options import WatchOptions

_OPTIMAL_NODES = 3_000_000


def watch(options: WatchOptions, console: Console) -> int:
    """Show episodes of a player as the command line asks for it, and return the exit code.

    Raises:
        TokenGymError: If the environment or the player is unknown, they do not fit each other, or a number is wrong.
    """
    positive_int("episodes", options.episodes)
    if options.delay is not None and not 0 <= options.delay <= 60:
        raise TokenGymError(f"delay={options.delay}: give 0 to 60 seconds")
    task = make_task(options.env, **parse_arguments(options.kwargs))
    guide = Guide(task, _OPTIMAL_NODES if options.agent == "optimal" else MOST_NODES)
    masked = options.masked
    player = None
    if options.agent in SCRIPTED:
        policy = scripted(options.agent, guide)
    else:
        player, task = saved_player(options.agent, task, bool(options.kwargs), options.allow_imports)
        masked = masked or uses_masks(player)
        guide = guide if task is guide.task else Guide(task)
        policy = learned(player)
    recorder = None
    if options.frames is not None:
        from ..terminal import Film

        recorder = Film(options.frames)
    show(
        task,
        policy,
        console,
        guide=guide,
        called=_called(options.agent, player, options.greedy),
        episodes=options.episodes,
        seed=options.seed,
        greedy=options.greedy,
        masked=masked,
        delay=options.delay,
        film=recorder,
    )
    return 0


def _called(name: str, player: Any, greedy: bool) -> str:
    """Return what a player is called, with the rule by which it samples where that is not a policy of its own."""
    if player is None:
        return name
    play = play_of(player, greedy)
    return Path(name).name + ("" if play in ("greedy", "sampled") else f" ({play.removeprefix('sampled (')}")
