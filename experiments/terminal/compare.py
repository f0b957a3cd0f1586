"""A person compares answers in the terminal: a prompt, two answers, and which of them is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from ...algorithms.data import Said
from ...algorithms.labelling import Question
from ...envs.checking import visible
from ..console import guarded
from .screen import Screen, View

Ask = Callable[[], str]
"""Returns one line that the person typed, without its end; raises EOFError when there is no more."""
Told = Callable[[Sequence["float | None"]], None]
"""Is given all answers whenever one is given or taken back."""

_WORDS = {
    "a": 1.0,
    "1": 1.0,
    "first": 1.0,
    "b": 0.0,
    "2": 0.0,
    "second": 0.0,
    "s": None,
    "skip": None,
}
_LEAVE, _BACK, _HELP = ("q", "quit", "exit"), ("u", "undo"), ("?", "h", "help")
_EXPLAINED = (
    "a or 1: A is better; b or 2: B is better",
    "s: skip it, where neither is better; it is asked again another time",
    "u: take the last answer back; q: leave, all answers are kept",
)
_AROUND = 8  # lines of the screen that are not the texts


class Person:
    """A person at a terminal, who answers questions as any judge does: `TextJudge(Person(console), task)`.

    Args:
        console: where to draw: a whole screen on a terminal, else one view below the other.
        ask: where lines come from; by default the terminal.
        name: what is compared, at the top.
        told: is given all answers after each, to keep them.
    """

    def __init__(
        self, console: Console, ask: Ask | None = None, name: str = "comparisons", told: Told | None = None
    ) -> None:
        self.console = guarded(console)
        self.screen = Screen(self.console)
        self.ask = ask or (lambda: self.console.input("[bold cyan]which is better, a or b?[/] "))
        self.name = visible(name, one_line=True)
        self.told = told

    def __repr__(self) -> str:
        return "Person()"

    def __call__(self, asked: list[Question]) -> list[float | None]:
        """Ask until all questions are answered or skipped, or the person leaves; see `Answer`."""
        answers: list[float | None] = [None] * len(asked)
        place = page = 0
        notes: list[Text] = []
        while place < len(asked):
            pages = list(self._pages(asked[place]))
            self.screen.draw(self._view(pages, page % len(pages), place, answers, notes), spare=2)
            notes = []
            try:
                said = self.ask().strip().lower()
            except EOFError:
                break
            if said in _LEAVE:
                break
            if said in _WORDS:
                answers[place] = _WORDS[said]
                place, page = place + 1, 0
                self._tell(answers)
            elif said in _BACK:
                if place:
                    place, page = place - 1, 0
                    answers[place] = None
                    self._tell(answers)
                else:
                    notes = [Text("there is nothing to take back", "yellow")]
            elif said in _HELP:
                notes = [Text(line, "dim") for line in _EXPLAINED]
            elif not said and len(pages) > 1:
                page += 1
            else:
                what = f"{visible(said, one_line=True)[:40]!r} is no answer" if said else "say which is better"
                notes = [Text(f"{what}: type a, b or s, ? for help", "yellow")]
        return answers

    def _tell(self, answers: Sequence[float | None]) -> None:
        if self.told is not None:
            self.told(answers)

    def _pages(self, question: Question) -> Iterator[list[Text]]:
        """Yield a question's lines, as many at once as a terminal holds; a page says what it goes on with."""
        lines = self.screen.wrapped(list(_lines(question)))
        room = max(4, self.console.height - _AROUND) if self.screen.live else len(lines)
        first = 0
        while first < len(lines):
            if first and not lines[first].plain.strip() and first + 1 < len(lines):
                first += 1  # a page needs no empty line at its top
            titles = [line.plain.strip("─ ") for line in lines[: first + 1] if line.plain.startswith("──")]
            goes_on = first > 0 and not lines[first].plain.startswith("──")
            head = [Text(f"… {titles[-1]} goes on", "dim")] if goes_on else []
            count = room - len(head)
            yield [*head, *lines[first : first + count]]
            first += count

    def _view(
        self, pages: list[list[Text]], page: int, place: int, answers: Sequence[float | None], notes: list[Text]
    ) -> View:
        given = sum(answer is not None for answer in answers)
        facts = f"{place + 1} of {len(answers)} · {given} answered"
        below = [Text("a: A is better · b: B is better · s: skip · u: undo · q: leave", "dim")]
        if len(pages) > 1:
            below.insert(0, Text(f"page {page + 1} of {len(pages)}; Enter: the next", "bold yellow"))
        return View(self.name, facts, talk=pages[page], notes=[*notes, *below])


def _lines(question: Question) -> Iterator[Text]:
    for title, style, said in (
        ("prompt", "bold", question.prompt),
        ("A", "bold cyan", question.first),
        ("B", "bold magenta", question.second),
    ):
        if title != "prompt":
            yield Text()
        yield Text(f"── {title} ──", style)
        yield from _told(said)


def _told(said: Said) -> Iterator[Text]:
    """Yield a text, or messages with their roles, line by line; indented, so that none can pass for a title."""
    spoken = [("", said)] if isinstance(said, str) else [(f"{one['role']}: ", one["content"]) for one in said]
    for role, content in spoken:
        for number, line in enumerate(content.split("\n")):
            yield Text.assemble("  ", ("" if number else role, "dim"), visible(line))
