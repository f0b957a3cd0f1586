"""Watching a player: the position, what it would say and how surely, beside what that is exactly worth."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from ...agents import Act, Policy, policy_of
from ...algorithms.collecting import Observer, Step, play, queue
from ...envs import Task, derive_start
from ...envs.checking import visible
from ..console import guarded
from .episode import Episode
from .guide import Guide
from .screen import Screen, View, panel_width, summary_of, talk_of

_OPTIMAL_NODES = 3_000_000
_BARS = 7  # tokens whose probabilities are shown


def show(
    task: Task,
    player: Any,
    console: Console,
    *,
    guide: Guide | None = None,
    called: str = "agent",
    episodes: int = 1,
    seed: int = 0,
    greedy: bool = False,
    masked: bool = False,
    delay: float | None = None,
    film: Any = None,
) -> list[float]:
    """Play episodes before somebody's eyes, and return their returns; an interruption ends it early.

    Args:
        task: The task.
        player: Who plays: a policy, or what `policy_of` makes one of.
        console: Where to draw: a whole screen on a terminal, a line a token elsewhere.
        guide: What knows the exact values; by default one is made.
        called: What the player is called.
        episodes: Episodes to show.
        seed: Seed of the episodes and of the draws.
        greedy: Say the most probable token always.
        masked: Choose among legal tokens only.
        delay: Seconds between two tokens; by default .6 on a terminal and 0 elsewhere.
        film: A `Film` to which every position is handed, or None.
    """
    starts = [derive_start(seed, index) for index in range(episodes)]
    audience = _Audience(task, guarded(console), guide or Guide(task), called, delay, film)
    policy = policy_of(player, seed)
    returns: list[float] = []
    try:
        for index, start in enumerate(starts):
            returns.append(audience.episode(policy, index, episodes, start, greedy, masked))
    except KeyboardInterrupt:
        console.print("\nstopped")
    finally:
        if film is not None:
            for path in film.close(audience.delay):
                console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if len(returns) > 1:
        console.print(f"mean of {len(returns)} episodes: [bold]{np.mean(returns):.4g}[/]", highlight=False)
    return returns


class _Audience(Observer):
    """Draws one token after the other."""

    def __init__(
        self,
        task: Task,
        console: Console,
        guide: Guide,
        player: str,
        delay: float | None,
        film: Any,
    ) -> None:
        self.task = task
        self.console = console
        self.screen = Screen(console)
        self.guide = guide
        self.player = visible(player, one_line=True)
        self.delay = (0.6 if self.screen.live else 0.0) if delay is None else delay
        self.film = film
        self.now = Episode(task)
        self.heading = ""
        self._line = Text()
        self._reward: float | None = None
        with console.status("looking up exact values …"):
            _ = self.guide.references, self.guide.solution  # solved once, under the message

    def episode(self, policy: Policy, index: int, episodes: int, start: Any, greedy: bool, masked: bool) -> float:
        """Play and draw one episode, and return its return."""
        spec = self.task.spec  # tells variants from one another, which the name does not
        called = (
            visible(self.task.name, one_line=True)
            if spec is None
            else spec["id"].removeprefix("tokengym/").removesuffix("-v0")
        )
        self.heading = f"{called}, played by {self.player}" + (f", episode {index + 1}" if episodes > 1 else "")
        self.now = episode = Episode(self.task)
        observers: list[Observer] = [episode, self]
        if isinstance(policy, Observer):
            observers.append(policy)
        starts = queue(np.array([start], np.uint64))
        play(episode.engine, policy, starts, observers, action_masks=masked, deterministic=greedy)
        verdict = self._verdict(episode)
        if self.film is not None:
            self.film.take(self._reward, verdict[0].plain)
        if self.screen.live:
            # What is printed below must not push the top off the screen: films, and the mean.
            below = 0 if index + 1 < episodes else (episodes > 1) + (0 if self.film is None else episodes)
            self.screen.draw(self._view([], verdict), spare=1 + min(below, self.console.height // 3))
            if index + 1 < episodes:
                time.sleep(2 * self.delay)
        else:
            for line in verdict:
                self._print(line)
        return episode.total

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Draw the opening."""
        self._reward = None
        if self.film is not None:
            self.film.begin(self.now)
        if not self.screen.live:
            self._print(Text.assemble((self.heading, "bold"), f": {summary_of(self.task)}"))
            self._print(Text(self.now.text(self.now.exchanges[0].shown) or "(nothing is shown at the start)"))

    def chose(self, rows: np.ndarray, act: Act) -> None:
        """Draw the position, and what will be said in it."""
        token = int(act.tokens[0, 0])
        probabilities, values = self._given(act), self.guide.q_values(self.now)
        self._line = self._about(token, int(act.counts[0]), probabilities, values)
        if self.film is not None:
            self.film.take(self._reward, self._line.plain)
        if self.screen.live:
            panel = choices(self.now.names, probabilities, values, token, panel_width())
            self.screen.draw(self._view(panel, [self._line]))
            time.sleep(self.delay)

    def stepped(self, step: Step) -> None:
        """Print what came of it."""
        episode = self.now
        self._reward = episode.reward
        if self.screen.live:
            return
        if episode.reward:
            self._line.append(f"  reward {episode.reward:+.4g}")
        self._print(self._line)
        shown = episode.exchanges[-1].shown
        if episode.turn_over and shown:
            self._print(Text(f"     → {episode.text(shown)}"))

    def _given(self, act: Act) -> np.ndarray:
        """Return what is known of the probabilities of the next token, float64 (A,); the rest is 0."""
        if act.probabilities is not None:
            return act.probabilities[0]
        known = np.zeros(self.task.vocabulary.num_actions)
        known[act.tokens[0, 0]] = np.exp(np.nan_to_num(float(act.log_probs[0, 0]), nan=-np.inf))
        return known

    def _print(self, line: Text) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def _view(self, panel: list[Text], notes: list[Text]) -> View:
        episode = self.now
        talk = talk_of(episode, max(20, self.screen.width - panel_width() - 3), "says")
        return View(
            title=self.heading,
            facts=f"token {len(episode.actions)} of {self.task.max_episode_tokens} · return {episode.total:.4g}",
            subtitle=summary_of(self.task),
            legend=episode.legend(),
            picture=episode.picture(),
            talk=talk if any(text.plain for text in talk) else [Text("(nothing has been said yet)", "dim")],
            panel=panel,
            notes=notes,
        )

    def _about(self, token: int, count: int, probabilities: np.ndarray, values: np.ndarray | None) -> Text:
        """Return one line about what is said now."""
        name = self.now.names[token] + (f" and {count - 1} more" if count > 1 else "")
        line = Text.assemble((f"{len(self.now.actions) + 1:>3}  ", "dim"), (name, "bold cyan"))
        if probabilities.any():
            line.append(f"  p {probabilities[token]:.2f}", "dim")
        if values is not None:
            lost = float(values.max() - values[token])
            line.append(f"  Q {values[token]:.4g}", "dim")
            line.append("  best" if lost < 1e-9 else f"  {lost:.4g} worse than best", "green" if lost < 1e-9 else "red")
        return line

    def _verdict(self, episode: Episode) -> list[Text]:
        why = "ended" if episode.ended == "terminated" else "was cut"
        line = Text.assemble(
            (f"{why} after {len(episode.actions)} tokens: ", "dim"), "return ", (f"{episode.total:.4g}", "bold")
        )
        with self.console.status("measuring what random play and the expert get …"):
            ends, score = self.guide.judge(episode.total)
        line.append(f"  {ends}", "dim")
        return [line] if score is None else [line, score]


def choices(
    names: tuple[str, ...], probabilities: np.ndarray, values: np.ndarray | None, token: int, width: int
) -> list[Text]:
    """Return the most probable tokens as bars, with their exact values where known; the chosen one is marked.

    Args:
        names: The vocabulary.
        probabilities: Of the next token, float64 (A,).
        values: Optimal Q of each, float64 (A,), or None.
        token: The chosen one; it is among those shown.
        width: Columns.
    """
    order = np.argsort(-probabilities, kind="stable")[:_BARS].tolist()
    if token not in order:
        order[-1] = token
    label = max(3, min(10, max(len(names[index]) for index in order)))
    numbers = 6 + (9 if values is not None else 0)
    room = max(3, width - label - 3 - numbers)
    head = f"  {'says':<{label}} {'probability':<{room}}" + " " * 5 + ("     Q" if values is not None else "")
    lines = [Text(head.rstrip(), "dim")]
    for index in order:
        filled = round(float(probabilities[index]) * room)
        chosen = index == token
        line = Text.assemble(
            ("▸ " if chosen else "  ", "bold cyan"),
            (f"{_short(names[index], label):<{label}} ", "bold cyan" if chosen else ""),
            ("█" * filled, "cyan" if chosen else "blue"),
            ("·" * (room - filled), "dim"),
            f" {probabilities[index]:4.2f}",
        )
        if values is not None:
            best = values[index] >= values.max() - 1e-9
            line.append(f" {values[index]:8.3g}", "green" if best else "")
        lines.append(line)
    if values is not None:
        lines.append(Text(f"  V {values.max():.4g}, played best from here", "dim"))
    return lines


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
