"""The screen that `play` and `watch` share: a picture, what was said, what can be said, in as many lines as there are.

Everything is made of single lines of `rich.text.Text`, so that a screen can be fitted to a terminal line by line.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from ...envs import Cell, Picture, Task
from ...envs.checking import visible
from .episode import Episode, Exchange

_WIDEST, _BESIDE = 100, 40  # columns: of a screen, and what text beside a picture needs at least
_PANEL = 34  # columns: of the panel on the right
_BOXED_ROWS, _BOXED_COLUMNS = 6, 9  # the largest board that is drawn with lines between its fields
_BESIDE_LINES = 12  # lines: how high the text beside a small board may be
_TALL = 16  # lines: from where on a long subtitle takes two
_LEGEND = 5  # lines: how high it may be
_PIPED_LINES = 12  # lines of dialogue where there is no screen to fill


@dataclass
class View:
    """What is on the screen.

    Attributes:
        title: One line at the top, such as the environment's name.
        facts: More of the top line, to the right: what has happened so far.
        subtitle: One faint line below.
        picture: The board or grid, or None.
        talk: What was said, line by line from the first on; of a long one the end is shown.
        panel: Lines beside the talk, such as the legal tokens.
        notes: Lines at the bottom: answers to what the player did.
        legend: Lines below the subtitle on what the tokens stand for.
    """

    title: str
    facts: str = ""
    subtitle: str = ""
    picture: Picture | None = None
    talk: list[Text] = field(default_factory=list)
    panel: list[Text] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)


class Screen:
    """Draws views: over the whole of a terminal, or one below the other where the output is no terminal.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal

    @property
    def width(self) -> int:
        """How many columns are used."""
        return max(20, min(self.console.width, _WIDEST))

    def wrapped(self, texts: Sequence[Text]) -> list[Text]:
        """Return texts as the lines that they take on this screen."""
        return [line for text in texts for line in self._wrap(text, self.width)]

    def draw(self, view: View, spare: int = 1) -> None:
        """Draw a view, and leave `spare` lines below it."""
        lines = self.compose(view, self.console.height - spare if self.live else None)
        if self.live:
            self.console.clear()
        for line in lines:
            self.console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)

    def compose(self, view: View, height: int | None) -> list[Text]:
        """Return the lines of a view, at most `height` of them, or as many as it takes for None."""
        width = self.width
        head = [_banner(view.title, view.facts, width)]
        about = [view.subtitle] if view.subtitle else []
        if height is not None and height < _TALL:
            head += [Text(_clip(line, width), "dim") for line in about]
        else:
            head += self.wrapped([Text(line, "dim") for line in about])[:2]
            head += self.wrapped([Text(line, "italic") for line in view.legend])[:_LEGEND]
        notes = self.wrapped(view.notes)
        room = None if height is None else max(1, height - len(head) - 1)
        notes = notes if room is None else notes[-room:]
        room = None if room is None else room - len(notes)
        body = self._body(view, width, room)
        return [*head, *body, Text("─" * width, "dim"), *notes]

    def _body(self, view: View, width: int, room: int | None) -> list[Text]:
        """Return picture, talk and panel in at most `room` lines."""
        if room is not None and room <= 0:
            return []
        # With NO_COLOR set, rich still names the terminal's colours, and leaves them out.
        picture, colour = view.picture, self.console.color_system is not None and not self.console.no_color
        grid = None if picture is None else picture_lines(picture, width - 2, room, colour)
        if picture is None or not grid:
            return self._columns(view.talk, view.panel, width, room)
        across = max(line.cell_len for line in grid)
        if across + 3 + _BESIDE > width and len(grid) > picture.shape[0] > 1:
            # Lines between the fields would push what was said and can be said to the bottom, or off the screen.
            grid = picture_lines(picture, width - 2, room, colour, boxes=False) or grid
            across = max(line.cell_len for line in grid)
        if len(grid) > 3 and across + 3 + _BESIDE <= width:
            grid += self._caption(picture, max(across, 20), None if room is None else room - len(grid))
            high = len(grid) if room is None else min(room, max(len(grid), _BESIDE_LINES))
            across = max(line.cell_len for line in grid) + 3
            return _beside(grid, self._columns(view.talk, view.panel, width - across, high), across)
        grid += self._caption(picture, width, None if room is None else room - len(grid))
        left = None if room is None else room - len(grid) - 1
        below = self._columns(view.talk, view.panel, width, left)
        return [*grid, *([Text()] if below else []), *below]

    def _caption(self, picture: Picture, width: int, room: int | None) -> list[Text]:
        """Return a picture's caption in lines of `width`, as many as there is room for."""
        return self._wrap(Text(picture.caption, "italic"), width)[:room] if picture.caption else []

    def _columns(self, talk: list[Text], panel: list[Text], width: int, room: int | None) -> list[Text]:
        """Return talk and panel side by side, or where that is too narrow the panel below the talk, at the bottom."""
        if room is not None and room <= 0:
            return []
        lines = room if room is not None else _PIPED_LINES
        if not panel:
            return self._last(talk, width, lines)
        if width >= _PANEL + 24:
            return _beside(self._last(talk, width - _PANEL - 2, lines), panel[:lines], width - _PANEL)
        shown = panel[: max(1, lines - 2)]
        said = self._last(talk, width, lines - len(shown)) if lines > len(shown) else []
        gap = [] if room is None else [Text()] * (lines - len(shown) - len(said))
        return [*said, *gap, *shown]

    def _last(self, talk: list[Text], width: int, most: int) -> list[Text]:
        """Return the end of what was said in at most `most` lines."""
        lines: list[Text] = []
        for text in reversed(talk):
            lines[:0] = self._wrap(text, width)
            if len(lines) > most:
                return [Text("…", "dim"), *lines[len(lines) - most + 1 :]] if most > 1 else lines[-1:]
        return lines

    def _wrap(self, text: Text, width: int) -> list[Text]:
        """Return a text in lines of `width`; what is indented stays so in its further lines."""
        indent = len(text.plain) - len(text.plain.lstrip(" "))
        if 0 < indent < width // 2:
            inner = self._wrap(text[indent:], width - indent)
            return [Text.assemble(" " * indent, line) for line in inner]
        lines = list(text.wrap(self.console, max(width, 1), overflow="fold")) or [Text()]
        for line in lines:
            line.rstrip()
        return lines


def picture_lines(
    picture: Picture, width: int, height: int | None, colour: bool = True, boxes: bool = True
) -> list[Text] | None:
    """Return a picture's fields as lines of text, or None where they do not fit; the caption is not among them.

    Small boards have lines between their fields. In larger ones the fields touch, every other one a shade darker.

    Args:
        picture: The picture.
        width: Columns that there are.
        height: Lines that there are, or None for any number.
        colour: Whether backgrounds can be seen; without them dark empty fields are drawn as `#`, and half dark
            ones, such as the pole of a cart, as `▒`.
        boxes: Whether a small board may have lines between its fields.
    """
    num_rows, num_columns = picture.shape
    longest = max(cell_len(cell.text) for row in picture.cells for cell in row)
    most = 10**6 if height is None else height
    boxed = max(5, longest + 2)
    small = num_rows <= _BOXED_ROWS and num_columns <= _BOXED_COLUMNS
    if boxes and small and num_columns * (boxed + 1) + 1 <= width and 2 * num_rows + 1 <= most:
        return _boxed(picture, boxed, colour)
    across = next((size for size in (3, 2, 1) if longest <= size and size * num_columns <= width), longest)
    if num_rows > most or across * num_columns > width:
        return None
    return [
        Text.assemble(*(_field(cell, across, colour, (i + j) % 2 == 1) for j, cell in enumerate(row)))
        for i, row in enumerate(picture.cells)
    ]


def _boxed(picture: Picture, across: int, colour: bool) -> list[Text]:
    num_columns = picture.shape[1]
    bar = "─" * across
    rule = {
        ends: Text(ends[0] + ends[1].join([bar] * num_columns) + ends[2], "grey50") for ends in ("┌┬┐", "├┼┤", "└┴┘")
    }
    lines = [rule["┌┬┐"]]
    for i, row in enumerate(picture.cells):
        if i:
            lines.append(rule["├┼┤"])
        line = Text("│", "grey50")
        for cell in row:
            line.append(*_field(cell, across, colour, False))
            line.append("│", "grey50")
        lines.append(line)
    return [*lines, rule["└┴┘"]]


def _field(cell: Cell, across: int, colour: bool, shaded: bool) -> tuple[str, Style]:
    """Return the text of a field, `across` columns wide, and its style."""
    red, green, blue = (int(cell.fill[place : place + 2], 16) for place in (1, 3, 5))
    if not colour:
        if cell.text:
            return cell.text.center(across), Style()
        light = red + green + blue
        return ("#" if light < 300 else "▒" if light < 500 else "·").center(
            across, "#" if light < 300 else " "
        ), Style()
    if shaded:
        red, green, blue = (
            int(channel * 0.95) if channel > 60 else min(255, channel + 8) for channel in (red, green, blue)
        )
    spaces = across - cell_len(cell.text)
    text = " " * (spaces // 2) + cell.text + " " * (spaces - spaces // 2)
    return text, Style(color=cell.ink, bgcolor=f"#{red:02x}{green:02x}{blue:02x}", bold=True)


def talk_of(episode: Episode, width: int, agent: str = "you") -> list[Text]:
    """Return what was said in an episode as lines, one exchange after the other.

    Args:
        episode: The episode.
        width: Columns; what the task answered stands in the same line where it fits.
        agent: What the one who acts is called.
    """
    lines: list[Text] = []
    for exchange in episode.exchanges:
        lines += _exchange(episode, exchange, width, agent)
    return lines


def _exchange(episode: Episode, exchange: Exchange, width: int, agent: str) -> list[Text]:
    said, shown = episode.text(exchange.said), episode.text(exchange.shown)
    if not exchange.said:
        return [Text(line) for line in shown.splitlines()]
    line = Text.assemble((f"{agent} ", "dim cyan"), (said, "bold cyan"))
    reward = Text(f"  {exchange.reward:+.4g}", "green" if exchange.reward > 0 else "red") if exchange.reward else Text()
    if shown and "\n" not in shown and cell_len(line.plain) + cell_len(shown) + cell_len(reward.plain) + 4 <= width:
        return [Text.assemble(line, ("  → ", "dim"), shown, reward)]
    return [Text.assemble(line, reward), *(Text(f"  {part}") for part in shown.splitlines())]


def name_columns(names: Sequence[str], width: int, height: int, style: str = "bold") -> list[Text]:
    """Return names in columns, at most `height` lines of `width`; the last says how many are left out."""
    if not names:
        return []
    across = min(width, max(cell_len(name) for name in names) + 2)
    columns = max(1, width // across)
    room = columns * height
    shown = list(names) if len(names) <= room else list(names[: max(1, columns * (height - 1))])
    lines = [
        Text("".join(_pad(_clip(name, across - 1), across) for name in shown[first : first + columns]).rstrip(), style)
        for first in range(0, len(shown), columns)
    ]
    if len(shown) < len(names):
        lines.append(Text(f"… {len(names) - len(shown)} more", "dim"))
    return lines


def panel_width() -> int:
    """Return how many columns the panel beside the dialogue has."""
    return _PANEL - 1


def summary_of(task: Any) -> str:
    """Return the first line of a task's documentation, that of the innermost task where transforms are around it."""
    return visible((inspect.getdoc(type(innermost(task))) or "").split("\n")[0], one_line=True)


def innermost(task: Any) -> Task:
    """Return the task inside all transforms."""
    while isinstance(getattr(task, "task", None), Task):
        task = task.task
    return task


def _banner(title: str, facts: str, width: int) -> Text:
    title = _clip(title, width - 2)
    space = width - cell_len(title) - 3
    facts = _clip(facts, space) if facts and space > 3 else ""
    gap = max(1, width - cell_len(title) - cell_len(facts) - 1)
    return Text.assemble((f" {title}", "bold"), " " * (gap - 1), facts, " ", style="reverse")


def _beside(left: list[Text], right: list[Text], across: int) -> list[Text]:
    """Return two blocks of lines side by side, the second one from column `across` on."""
    lines = []
    for index in range(max(len(left), len(right))):
        line = Text()  # a line of its own: the style of the left one must not reach the right one
        if index < len(left):
            line.append_text(left[index])
        if index < len(right):
            line.append(" " * max(1, across - cell_len(line.plain)))
            line.append_text(right[index])
        lines.append(line)
    return lines


def _clip(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    kept = text[: max(0, width - 1)]
    while kept and cell_len(kept) > width - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…" if width > 0 else ""


def _pad(text: str, width: int) -> str:
    return text + " " * max(0, width - cell_len(text))
