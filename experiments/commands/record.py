"""The command ``record``: episodes of any player in one file, for methods that learn from data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from ...algorithms import EpisodeDataset, Episodes
from ...algorithms.data import check_minari_id, to_minari
from ...algorithms.offline import named_player
from ...algorithms.offline import record as played
from ...algorithms.parts import derive_seed
from ...envs import Task, TokenGymError, make_task
from ..console import guarded
from ..evaluation import uses_masks
from ..report import installed_version
from ..study import parse_arguments
from .options import RecordOptions

MINARI = "minari:"


def record(options: RecordOptions, console: Console) -> int:
    """Play the episodes, write them, and return the exit code.

    Raises:
        TokenGymError: The environment or a player is unknown, the file is there already, or no file of episodes.
    """
    guarded(console)
    arguments = parse_arguments(options.kwargs)
    task = make_task(options.env, **arguments)
    check_target(options.file)
    shares = shares_of(options.episodes, len(options.player), options.group_size)
    players = [named_player(name, task, options.masked, options.allow_imports) for name in options.player]
    masked = options.masked or any(uses_masks(player) for player in players)
    with guarded(Console(stderr=True)).status("playing …") as status:
        parts: list[Episodes] = []
        for place, (name, player, share) in enumerate(zip(options.player, players, shares, strict=True)):
            status.update(f"{escape(name)} plays {share:,} episodes …")
            # Each player has starts and draws of its own; a single one those of the seed itself.
            seed = derive_seed(options.seed, f"player {place}") if place else options.seed
            parts.append(played(task, player, share, seed, action_masks=masked, group_size=options.group_size)[0])
    episodes = Episodes.concat(parts)
    about = {
        "env": options.env,
        "kwargs": arguments,
        "players": dict(zip(options.player, shares, strict=True)),
        "seed": options.seed,
        "group_size": options.group_size,
        "tokengym": installed_version(),
    }
    write(EpisodeDataset(episodes, task.vocabulary, about), task, options, arguments)
    tell(options, shares, parts, console)
    return 0


def check_target(file: str) -> None:
    """Say what is wrong with where the episodes are to be kept, before anything is played."""
    if file.startswith(MINARI):
        check_minari_id(file.removeprefix(MINARI))
        return
    path = Path(file)
    if path.suffix != ".safetensors":
        raise TokenGymError(f"FILE is {file!r}; expected a name that ends in .safetensors, or minari:ID")
    if path.exists():
        raise TokenGymError(f"{file} is there already: take another name, or remove it")


def shares_of(episodes: int, players: int, group_size: int) -> list[int]:
    """Return how many episodes each player plays, whole groups, the first ones more where they do not divide evenly."""
    groups, rest = divmod(episodes, group_size)
    if rest:
        raise TokenGymError(f"--episodes {episodes}: expected a multiple of --group-size {group_size}")
    if groups < players:
        raise TokenGymError(f"--episodes {episodes}: too few for {players} players; give one group each at least")
    return [(groups // players + (place < groups % players)) * group_size for place in range(players)]


def write(dataset: EpisodeDataset, task: Task, options: RecordOptions, arguments: dict[str, Any]) -> None:
    """Write the episodes where they are to be kept."""
    if not options.file.startswith(MINARI):
        dataset.save(options.file)
        return
    import gymnasium

    name = options.env if "/" in options.env else f"tokengym/{options.env}-v0"
    if name not in gymnasium.registry:
        raise TokenGymError(f"ENV is {options.env!r}; for a Minari dataset give a registered id, as 'tokengym/Copy-v0'")
    env = gymnasium.make(name, **arguments)
    players = " and ".join(Path(player).name for player in options.player)
    told = f"{task.name}, played by {players}"
    to_minari(dataset, env, options.file.removeprefix(MINARI), algorithm_name=players, description=told)


def tell(options: RecordOptions, shares: list[int], parts: list[Episodes], console: Console) -> None:
    """Print what was played by whom, and where it is."""
    for name, share, episodes in zip(options.player, shares, parts, strict=True):
        returns = episodes.returns
        told = f"{np.mean(returns):.4g} ± {np.std(returns):.4g} ({np.min(returns):.4g} to {np.max(returns):.4g})"
        console.print(
            f"{name}: {share:,} episodes, {episodes.num_tokens:,} tokens, return {told}", markup=False, highlight=False
        )
    console.print(f"written to {options.file}", markup=False, highlight=False, soft_wrap=True)
