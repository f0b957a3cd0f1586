"""A person plays an environment in the terminal, and learns what random and optimal play would get."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from ..envs.engine import Engine
from ..envs.errors import TokenGymError, positive_int
from ..envs.random import derive_start
from ..envs.task import Task
from .evaluation import References, known_references

Ask = Callable[[], str]
"""Returns one line that the player typed, without its end; raises EOFError when there is no more."""

_SHOWN_TOKENS = 60


def play(task: Task, *, seed: int = 0, episodes: int = 1, console: Console, ask: Ask | None = None) -> list[float]:
    """Let a person play, and return the return of every finished episode.

    A line is one or more tokens by name (or ``#7`` for id 7), said one after another; an empty line asks the task's
    expert, ``?`` lists the legal tokens, ``quit`` leaves.

    Args:
        task: The task.
        seed: Seed of the episodes.
        episodes: Episodes to play.
        console: Where to print.
        ask: Where lines come from; by default the terminal.

    Raises:
        TokenGymError: If `episodes` is not positive or `seed` is negative.
    """
    positive_int("episodes", episodes)
    ask = ask or (lambda: console.input("[bold cyan]say[/] "))
    engine, finished = Engine(task, 1), []
    between = known_references(task)
    console.print(Panel(_rules(task, between), title=task.name, title_align="left", expand=False))
    for episode in range(episodes):
        engine.reset(None, derive_start(seed, episode))
        total = _play_episode(engine, console, ask)
        if total is None:
            break
        finished.append(total)
        console.print(Panel(_verdict(total, between), title=f"episode {episode + 1}", title_align="left", expand=False))
    if len(finished) > 1:
        console.print(f"mean of {len(finished)} episodes: [bold]{np.mean(finished):.4g}[/]", highlight=False)
    return finished


def _play_episode(engine: Engine, console: Console, ask: Ask) -> float | None:
    """Play one episode; return its return, or None where the player left."""
    total, said = 0.0, 0
    while True:
        _show(engine, console)
        actions = _read(engine, console, ask)
        if actions is None:
            return None
        for index, action in enumerate(actions):
            result = engine.step(None, [action])
            said += 1
            reward = float(result.rewards[0])
            total += reward
            if reward:
                console.print(f"  reward [bold]{reward:+.4g}[/], so far {total:.4g}", highlight=False)
            if result.terminated[0] or result.truncated[0]:
                _show(engine, console)
                why = "ended" if result.terminated[0] else "was cut"
                console.print(f"  the episode {why} after {said} tokens", highlight=False)
                return total
            if result.turn_ended[0] and index + 1 < len(actions):
                console.print("  [dim]your turn ended there; the rest of the line is dropped[/]")
                break


def _read(engine: Engine, console: Console, ask: Ask) -> list[int] | None:
    """Return the tokens that the player says, None to leave; asks again until a line makes sense."""
    while True:
        try:
            words = ask().split()
        except EOFError:
            return None
        if words in (["quit"], ["exit"]):
            return None
        if words == ["?"]:
            legal = np.flatnonzero(engine.action_mask()[0])
            names = engine.task.vocabulary.names(legal.tolist())
            shown = "  ".join(escape(name) for name in names[:_SHOWN_TOKENS])
            console.print(f"  {len(names)} legal: {shown}{' …' if len(names) > _SHOWN_TOKENS else ''}", highlight=False)
            continue
        if not words:
            advised = engine.expert()
            if advised is None:
                console.print("  [dim]this task has no expert; type a token, or ? for a list[/]")
                continue
            console.print(f"  [dim]the expert says {escape(engine.task.vocabulary.render([int(advised[0])]))}[/]")
            return [int(advised[0])]
        try:
            return [_token(engine.task, word) for word in words]
        except TokenGymError as error:
            console.print(f"  [red]{escape(str(error))}[/]", highlight=False)


def _token(task: Task, word: str) -> int:
    vocabulary = task.vocabulary
    if word.startswith("#") and word[1:].isdigit():
        token = int(word[1:])
        if token >= vocabulary.size:
            raise TokenGymError(f"{word!r} is outside the vocabulary, whose ids are 0 … {vocabulary.size - 1}")
    else:
        token = vocabulary.encode([word])[0]
    if token >= vocabulary.num_actions:
        raise TokenGymError(f"{word!r} cannot be said, only read; type ? for what can be said")
    return token


def _show(engine: Engine, console: Console) -> None:
    seen = engine.tokens[0, 1 : engine.lengths[0]]
    text = engine.task.render_tokens(seen) if len(seen) else ""
    console.print(f"[bold]{escape(text) or '[dim](nothing yet)[/]'}[/]", highlight=False)


def _rules(task: Task, between: References | None) -> str:
    lines = [
        f"{task.vocabulary.num_actions} tokens to say, up to {task.max_episode_tokens} an episode, "
        f"turns of up to {task.max_turn_tokens}.",
        "Type tokens; ? lists the legal ones, an empty line asks the expert, quit leaves.",
    ]
    if between is not None:
        lines.append(f"Random play gets {between.random:.4g} on average, optimal play {between.optimal:.4g}.")
    return "\n".join(escape(line) for line in lines)


def _verdict(total: float, between: References | None) -> str:
    text = f"return [bold]{total:.4g}[/]"
    if between is None:
        return text
    score = (total - between.random) / (between.optimal - between.random)
    return f"{text}\nrandom {between.random:.4g}, optimal {between.optimal:.4g}: a score of [bold]{score:.2f}[/]"
