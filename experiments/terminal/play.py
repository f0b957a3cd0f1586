"""A person plays an environment in the terminal, and learns what random and optimal play would get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from ...agents import Act, Policy
from ...algorithms.collecting import Observer, Step, play
from ...envs import Task, TokenGymError, derive_start
from ...envs.checking import positive_int, visible
from ..console import guarded
from .episode import Episode
from .guide import Guide
from .rules import command_line, help_lines, pages_of
from .screen import Screen, View, name_columns, panel_width, summary_of, talk_of
from .speech import COMMANDS, read_command, read_tokens, sayable, speaks_text

Ask = Callable[[], str]
"""Returns one line that the player typed, without its end; raises EOFError when there is no more."""

_PANEL_LINES, _HELP_LINES = 7, 60  # of tokens: beside the game, and in the help


def play_episodes(
    task: Task,
    *,
    seed: int = 0,
    episodes: int = 1,
    console: Console,
    ask: Ask | None = None,
    name: str | None = None,
) -> list[float]:
    """Let a person play, and return the return of every finished episode.

    A line is one or more tokens by name (or `#7` for id 7), or a text where the task is one of strings. An empty line
    or `hint` asks what would be good, `undo` takes the last line back, `?` explains everything, `quit` leaves, as the
    end of the input and an interruption do.

    Args:
        task: The task.
        seed: Seed of the episodes.
        episodes: Episodes to play.
        console: Where to draw: a whole screen on a terminal, else one view below the other.
        ask: Where lines come from; by default the terminal.
        name: What the environment is called at the top; by default the task's name.

    Raises:
        TokenGymError: If `episodes` is not positive or `seed` is negative.
    """
    positive_int("episodes", episodes)
    starts = [derive_start(seed, episode) for episode in range(episodes)]
    table = _Table(task, guarded(console), ask, name or task.name, episodes)
    finished: list[float] = []
    try:
        for index, start in enumerate(starts):
            total = table.play_episode(index, start)
            if total is None:
                break
            finished.append(total)
            if table.left:
                break
    except KeyboardInterrupt:
        console.print()
    if len(finished) > 1:
        console.print(f"mean of {len(finished)} episodes: [bold]{np.mean(finished):.4g}[/]", highlight=False)
    return finished


class _Left(Exception):
    """The person left."""


class _Table(Policy, Observer):
    """Where a person sits: the screen, the episode under way, and the way back; the policy of what is typed."""

    def __init__(self, task: Task, console: Console, ask: Ask | None, name: str, episodes: int) -> None:
        self.task = task
        self.console = console
        self.screen = Screen(console)
        self.ask = ask or (lambda: console.input("[bold cyan]say[/] "))
        self.name = visible(name, one_line=True)
        self.episodes = episodes
        self.guide = Guide(task)
        self.episode = Episode(task)
        self.before: list[dict[str, Any]] = []
        self.undone = 0
        self.waiting: list[int] = []  # of the line that is being said
        self.notes: list[Text] = []
        self.paid, self.turns = 0.0, 0
        self.index = 0
        self.left = False  # whether the player left between two episodes
        with console.status("looking up what random and optimal play get …"):
            self.between = self.guide.references

    def play_episode(self, index: int, start: Any) -> float | None:
        """Play one episode; return its return, or None where the player left."""
        self.index, self.before, self.undone = index, [], 0
        self.waiting = []
        self.episode.begin(start)
        self.notes = self._welcome() if index == 0 else []
        while not self.episode.ended:
            try:
                play(self.episode.engine, self, None, [self.episode, self])
            except _Left:
                return None
            except EOFError:
                self.console.print()
                return None
            except TokenGymError as error:
                self.waiting, self.notes = [], [Text(str(error), "red")]
        last = index + 1 == self.episodes
        end = [] if last or not self.screen.live else [Text("Enter: the next episode", "dim")]
        # What follows, the mean and the shell's own line, must not push the top off the screen.
        self.screen.draw(self._view([*self.notes, *self._verdict(), *end]), spare=1 + (last and index > 0))
        if end:
            try:
                self.left = read_command(self.task, self.ask()) == "quit"
            except EOFError:
                self.left = True
            except TokenGymError:
                pass  # whatever was said, it is the next episode's turn
        return self.episode.total

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Say the next token of the line; ask for lines and answer commands until there is one; see `Policy.act`."""
        while not self.waiting or not self._may_say(self.waiting[0]):
            self.waiting = []
            self._ask_for_more()
        return Act.of_one(np.array([self.waiting.pop(0)]), np.array([np.nan]))

    def _ask_for_more(self) -> None:
        """Draw the position, read a line, and do what it says: queue its tokens, or answer a command."""
        self.screen.draw(self._view(self.notes))
        try:
            line = self._line(self.notes)
            command = read_command(self.task, line)
            if command == "quit":
                raise _Left
            if command:
                self.notes = self._answer(command)
                return
            self.waiting = read_tokens(self.task, line)
        except TokenGymError as error:
            self.notes = [Text(str(error), "red")]
            return
        if self.task.can_save_state:
            self.before.append(self.episode.get_state())
        self.notes, self.paid, self.turns = [], 0.0, 0

    def _may_say(self, token: int) -> bool:
        """Tell of an illegal token, and return whether it is said all the same."""
        if not self.task.has_action_mask or speaks_text(self.task) or token in self.episode.legal():
            return True
        name = self.episode.names[token]
        if self.turns:  # what was legal when the line was typed need not be after an answer
            self.notes.append(Text(f"{name!r} is no longer legal; the rest of the line is dropped", "yellow"))
            self._tell_pay()
            return False
        self.notes.append(Text(f"{name!r} was no legal token there; the rules of the game answer it", "yellow"))
        return True

    def stepped(self, step: Step) -> None:
        """Tell what a line led to, at its end, or at that of a turn of several tokens or of the episode."""
        episode = self.episode
        self.paid += episode.reward
        self.turns += episode.turn_over
        # Where every token is a turn, as in control, a line of several would otherwise be good for nothing.
        if episode.ended or (episode.turn_over and self.task.max_turn_tokens > 1):
            if any(left != self.task.vocabulary.eos for left in self.waiting):
                over = "episode" if episode.ended else "turn"
                self.notes.append(Text(f"your {over} ended there; the rest of the line is dropped", "yellow"))
            self.waiting = []
        if not self.waiting:
            self._tell_pay()

    def _tell_pay(self) -> None:
        if self.paid:
            style = "bold green" if self.paid > 0 else "bold red"
            self.notes.append(Text.assemble("reward ", (f"{self.paid:+.4g}", style)))

    def _line(self, notes: list[Text]) -> str:
        """Return the next line; on a terminal the help that one asks for is read page by page before."""
        line = self.ask()
        while self.screen.live and read_command(self.task, line) == "help":
            pages = list(pages_of(self.screen.wrapped(self._help()), max(4, self.console.height - 5)))
            for number, page in enumerate(pages, 1):
                after = "back to the game" if number == len(pages) else "the next page"
                last = [Text(f"Enter: {after}; or say something", "dim")]
                facts = f"help, page {number} of {len(pages)}"
                self.screen.draw(View(self.name, facts, talk=page, notes=last), spare=1)
                line = self.ask()
                if line.strip():
                    break
            else:
                self.screen.draw(self._view(notes))
                line = self.ask()
        return line

    def _answer(self, command: str) -> list[Text]:
        """Return what to tell after a command."""
        if command == "help":
            return self._help()
        if command == "undo":
            if not self.task.can_save_state:
                return [Text("this environment cannot go back: its state cannot be saved", "yellow")]
            if not self.before:
                return [Text("there is nothing to take back", "yellow")]
            self.episode.set_state(self.before.pop())
            self.undone += 1
            return [Text("taken back", "dim")]
        return self._hint()

    def _hint(self) -> list[Text]:
        with self.console.status("solving …"):
            values = self.guide.q_values(self.episode)
        names = self.episode.names
        if values is not None:
            best = [names[token] for token in np.flatnonzero(values >= values.max() - 1e-9)]
            shown = " or ".join(best[:4]) + (f" or {len(best) - 4} more" if len(best) > 4 else "")
            still = f"exactly solved: the best play from here gets {values.max():+.4g} more, and begins with "
            return [Text.assemble((still, "dim"), (shown, "bold"))]
        advised = self.episode.engine.expert()
        if advised is not None:
            return [Text.assemble(("the environment's expert would say ", "dim"), (names[int(advised[0])], "bold"))]
        return [Text("nobody knows a good token here; type one, or ? for help", "dim")]

    def _view(self, notes: list[Text]) -> View:
        episode = self.episode
        facts = [f"token {len(episode.actions)} of {self.task.max_episode_tokens}", f"return {episode.total:.4g}"]
        if self.episodes > 1:
            facts.insert(0, f"episode {self.index + 1} of {self.episodes}")
        talk = talk_of(episode, max(20, self.screen.width - panel_width() - 3))
        return View(
            title=self.name,
            facts=" · ".join(facts),
            subtitle=summary_of(self.task),
            legend=episode.legend(),
            picture=episode.picture(),
            talk=talk if any(text.plain for text in talk) else [Text("(nothing has been said yet)", "dim")],
            panel=[] if episode.ended else self._panel(),
            notes=notes,
        )

    def _panel(self) -> list[Text]:
        """Return what can be said now."""
        vocabulary = self.task.vocabulary
        legal = self.episode.legal().tolist()
        masked = len(legal) < vocabulary.num_actions
        if speaks_text(self.task) and not masked:
            return [
                Text("type a text; Enter ends your turn", "dim"),
                Text(f"up to {self.task.max_turn_tokens} tokens of {vocabulary.num_actions}", "dim"),
            ]
        count = f"{len(legal)} of {vocabulary.num_actions}" if masked else f"{len(legal)}"
        each = "" if self.task.max_turn_tokens == 1 else f", {self.task.max_turn_tokens} a turn"
        return [Text(f"you can say {count}{each}:", "dim"), *self._names(legal, _PANEL_LINES)]

    def _names(self, tokens: list[int], height: int) -> list[Text]:
        return name_columns([self.episode.names[token] for token in tokens], panel_width(), height)

    def _welcome(self) -> list[Text]:
        what = "a text" if speaks_text(self.task) else "one or more tokens"
        lines = [Text(f"Type {what}. Enter alone: a hint. undo, ?, quit.", "dim")]
        if self.between is not None:
            random, optimal = f"{self.between.random:.4g}", f"{self.between.optimal:.4g}"
            lines.append(Text(f"Random play gets {random} on average, optimal play {optimal}.", "dim"))
        return lines

    def _verdict(self) -> list[Text]:
        episode = self.episode
        why = "ended" if episode.ended == "terminated" else "was cut"
        back = f", {self.undone} taken back" if self.undone else ""
        lines = [
            Text(f"the episode {why} after {len(episode.actions)} tokens{back}", "dim"),
            Text.assemble("return ", (f"{episode.total:.4g}", "bold")),
        ]
        with self.console.status("measuring what random play and the expert get …"):
            ends, score = self.guide.judge(episode.total)
        lines[-1].append(f"  {ends}", "dim")
        return lines if score is None else [*lines, score]

    def _help(self) -> list[Text]:
        """Return the rules of the environment, the commands and all legal tokens."""
        taken = not speaks_text(self.task) and set(sayable(self.task.vocabulary)) & set(COMMANDS)
        lines = [*help_lines(self.task), command_line(bool(taken))]
        if not speaks_text(self.task):
            legal = self.episode.legal().tolist()
            lines.append(Text(f"{len(legal)} legal, #n is the token with id n:", "dim"))
            lines += name_columns([self.episode.names[token] for token in legal], self.screen.width, _HELP_LINES)
        return lines
