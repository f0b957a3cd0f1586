"""What a person reads after `?`: the rules of an environment out of its documentation, and all that can be said."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from rich.text import Text

from ...envs import Task
from ...envs.checking import visible
from .screen import innermost

_HEADINGS = {
    "Action space": "What you say",
    "Observation space": "What you see",
    "Rewards": "What it pays",
    "Episode end": "How it ends",
}


def rules_of(task: Task) -> list[tuple[str, list[str]]]:
    """Return how a task describes its play: headings, the first of which is empty, each with its paragraphs."""
    text = visible(inspect.getdoc(type(innermost(task))) or "")
    # What follows under a name of Google's is for programmers.
    text = re.split(r"^(?:Args|Attributes|Raises):$", text, flags=re.MULTILINE)[0]
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE))
    first = _paragraphs(sections.get("Description", text.split("\n")[0]))[:1]
    told = [(heading, _paragraphs(sections[name])) for name, heading in _HEADINGS.items() if name in sections]
    return [("", first), *told]


def help_lines(task: Task) -> list[Text]:
    """Return the rules for the eye: a heading before its paragraphs, and what is code in bold."""
    lines: list[Text] = []
    for heading, paragraphs in rules_of(task):
        if heading:
            lines.append(Text(heading, "bold cyan"))
        lines += [_marked(paragraph, innermost(task)) for paragraph in paragraphs]
    return lines


def command_line(colon: bool) -> Text:
    """Return what the commands do, in one line.

    Args:
        colon: Whether commands have to be typed with a colon, as tokens have their names.
    """
    told = Text()
    for word, meaning in (("hint", "what would be good"), ("undo", "take the last line back"), ("quit", "leave")):
        told.append(f"{':' if colon else ''}{word} ", "bold").append(meaning + "  ", "dim")
    told.rstrip()
    return told


def pages_of(lines: list[Text], height: int) -> Iterable[list[Text]]:
    """Yield lines in pages of `height`; a heading does not stay behind at the end of one."""
    rest = list(lines)
    while rest:
        count = height
        while len(rest) > count > 1 and rest[count - 1].style == "bold cyan":
            count -= 1
        yield rest[:count]
        rest = rest[count:]


def _paragraphs(section: str) -> list[str]:
    """Return a section's paragraphs and list items, each as one line."""
    items = re.split(r"\n\s*\n|\n(?=\* )", section.strip())
    return [" ".join(item.split()) for item in items if item.strip()]


def _marked(paragraph: str, task: Task) -> Text:
    """Return a paragraph with what is code in bold, and the task's numbers in place of their names."""
    text = Text()
    paragraph = "• " + paragraph[2:] if paragraph.startswith("* ") else paragraph
    names = task.vocabulary.ids
    for index, part in enumerate(paragraph.split("`")):
        value = getattr(task, part, None) if index % 2 and part.isidentifier() and part not in names else None
        known = isinstance(value, int | float | str) and not isinstance(value, bool)
        text.append(visible(str(value)) if known else part, "bold" if index % 2 else "")
    return text
