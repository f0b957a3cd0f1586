"""The pages of the suite, written from the class docstrings, the computed scores and what was added by hand.

`docs/environments/intro/` holds the part by hand: `<family>.md` opens a family's page, `<Environment>.md` stands at the
end of an environment's section, `README.md` opens the table of the suite. `suite_pages` runs the whole.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...envs import FAMILIES, Entry
from ...envs.scores import BETA, SuiteScores
from .scores import Example

SECTIONS = (
    "Description",
    "Action space",
    "Observation space",
    "Rewards",
    "Starting state",
    "Episode end",
    "Information",
    "Arguments",
    "References",
    "Version history",
)
"""The sections of an environment's docstring, in this order."""
AT_THE_END = ("References", "Version history")
"""The sections that follow the scores."""
GENERATED = "<!-- Written by `python -m tokengym.experiments.suite.pages` from docstrings and scores: edit those. -->"
_WIDTH = 100
_COLUMN = 44


def read_sections(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text before the first section of a docstring, and the sections by their titles."""
    # Google's sections below are for programmers: they belong to the class, not to the page.
    text = re.split(r"^(?:Args|Attributes|Raises):$", inspect.cleandoc(docstring), flags=re.MULTILINE)[0]
    first, *rest = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return first.strip(), {title.strip(): body.strip() for title, body in zip(rest[::2], rest[1::2], strict=True)}


def number(value: float | None) -> str:
    """Return a score for a table: four decimals, or two significant digits where those would show nothing."""
    if value is None:
        return "–"
    if 1e-12 < abs(value) < 5e-4:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}".replace("-", "−")
    return f"{round(value, 4) + 0.0:.4f}".replace("-", "−")


def table(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; `columns` are headings with their alignment, `"---"` or `"--:"`."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(columns), list(columns.values()), *cells])


class Pages:
    """Writes the pages as texts.

    Args:
        by_hand: The folder of the texts by hand.
        pictures: The folder of the pictures; whether `<name>.png` is there decides between picture and transcript.
        scores: The scores by environment.
        examples: The example episodes by environment.
    """

    def __init__(
        self, by_hand: Path, pictures: Path, scores: Mapping[str, SuiteScores], examples: Mapping[str, Example]
    ) -> None:
        self._by_hand = by_hand
        self._pictures = pictures
        self._scores = scores
        self._examples = examples

    def all(self) -> dict[str, str]:
        """Return every page by its file name."""
        return {"README.md": self.suite()} | {f"{family}.md": self.family(family) for family in FAMILIES}

    def suite(self) -> str:
        """Return the table of the whole suite."""
        parts = [GENERATED, self._text("README")]
        columns = {"id": "---", "A": "--:", "tokens": "--:", "random": "--:", "optimal": "--:"}
        columns |= {"isolates": "---", "mirrors": "---"}
        for family, entries in FAMILIES.items():
            rows = []
            for name, entry in entries.items():
                base = entry.variant_of or name
                about = entry.load()
                scores = self._scores.get(name)
                numbers = ["–"] * 4
                if scores is not None:
                    sizes = f"{scores.vocabulary:,}", f"{scores.tokens:,}"
                    numbers = [*sizes, number(scores.random), best(scores)]
                words = [about.isolates, about.mirrors] if name == base else [f"variant of {base}", ""]
                rows.append([f"[`{name}`]({family}.md#{base.lower()})", *numbers, *words])
            if rows:
                parts.append(f"## {family.capitalize()}\n\n{table(columns, rows)}")
        return "\n\n".join(parts) + "\n"

    def family(self, family: str) -> str:
        """Return the page of a family."""
        entries = FAMILIES[family]
        names = [name for name, entry in entries.items() if entry.variant_of is None]
        parts = [GENERATED, self._text(family) or f"# {family.capitalize()}"]
        if names:
            parts.append("On this page: " + " · ".join(f"[{name}](#{name.lower()})" for name in names))
        parts += [self._environment(name, entries) for name in names]
        return "\n\n".join(parts) + "\n"

    def _text(self, name: str) -> str:
        path = self._by_hand / f"{name}.md"
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def _environment(self, name: str, entries: Mapping[str, Entry]) -> str:
        about = entries[name].load()
        summary, sections = read_sections(about.__doc__ or "")
        facts = [f"`tokengym/{name}-v0`"]
        facts += [
            f"{verb} {words}" for verb, words in (("isolates", about.isolates), ("mirrors", about.mirrors)) if words
        ]
        extra = entries[name].extra
        if extra is not None:
            facts.append(f"needs `pip install 'tokengym[{extra}]'`")
        first, _, more = summary.partition("\n\n")
        parts = [f"## {name}", first, " · ".join(facts), more, self._example(name)]
        parts += [f"### {title}\n\n{sections[title]}" for title in SECTIONS[:-2] if title in sections]
        parts += [f"### Scores\n\n{self._score_table(name, entries)}", self._text(name)]
        parts += [f"### {title}\n\n{sections[title]}" for title in AT_THE_END if title in sections]
        return "\n\n".join(part for part in parts if part)

    def _score_table(self, name: str, entries: Mapping[str, Entry]) -> str:
        rows, exact, measured = [], False, 0
        for variant, entry in entries.items():
            if variant != name and entry.variant_of != name:
                continue
            scores = self._scores.get(variant)
            differs = ", ".join(f"`{key}={json.dumps(value)}`" for key, value in entry.kwargs.items()) or "–"
            if scores is None:
                rows.append([f"`{variant}`", differs, *["–"] * 6])
                continue
            rows.append([f"`{variant}`", differs, f"{scores.vocabulary:,}", f"{scores.tokens:,}"])
            if scores.information_states is None:
                measured = scores.episodes or measured
                rows[-1] += [_with_deviation(scores.random, scores.random_sd), best(scores, True), "–", "–"]
                continue
            exact = True
            rows[-1] += [
                f"{number(scores.random)} ± {number(scores.random_sd)}",
                f"{number(scores.optimal)} ± {number(scores.optimal_sd)}",
                f"{number(scores.kl_optimal)} ({number(scores.kl_reward)}, {number(scores.kl)})",
                f"{scores.information_states:,}",
            ]
        columns = {"id": "---", "differs in": "---", "A": "--:", "tokens": "--:", "random": "--:", "optimal": "--:"}
        columns |= {f"KL-optimal, β = {BETA:g} (its reward, its KL)": "--:", "information states": "--:"}
        told = "Exact, with the standard deviation of an episode's return." if exact else "Not solved exactly."
        if measured:
            told += (
                f" What has a deviation was measured over {measured:,} episodes; ≥ stands before what the task's "
                "expert gets, where the optimum is not known."
            )
        return f"{told} [What the columns mean](README.md#exact-scores).\n\n{table(columns, rows)}"

    def _example(self, name: str) -> str:
        """Return a picture of the example episode where there is one, else what was said in it."""
        example = self._examples.get(name)
        if example is None:
            return ""
        who = {"optimal": "the optimal player", "expert": "the task's expert", "random": "a random player"}
        ending = f"return {number(example.total_reward)}" if example.finished else "cut here"
        picture = self._pictures / f"{name}.png"
        if picture.exists():
            place = f"../images/environments/{name}.png"
            return (
                f"![{name}, played by {who[example.player]}]({place})\n\n*Played by {who[example.player]}; {ending}.*"
            )
        return f"*An episode of {who[example.player]}; {ending}.*\n\n```text\n{transcript(example.segments)}\n```"


def best(scores: SuiteScores, deviation: bool = False) -> str:
    """Return the optimal return as a cell; where it is not known, what the task's expert gets, as a lower bound."""
    if scores.optimal is not None or scores.expert is None:
        return number(scores.optimal)
    return f"≥ {_with_deviation(scores.expert, scores.expert_sd if deviation else None)}"


def _with_deviation(mean: float | None, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def transcript(segments: Sequence[tuple[str, str]]) -> str:
    """Return an episode as lines of text: two columns where that fits, else one paragraph a speaker."""
    turns: list[list[str]] = []
    for speaker, text in segments:
        if speaker == "task" or not turns or turns[-1][1]:
            turns.append(["", ""])
        turns[-1][speaker == "agent"] = text
    shown = [turn[0] for turn in turns]
    if not any(shown):
        return textwrap.fill("agent: " + " ".join(turn[1] for turn in turns), _WIDTH)
    if max(map(len, shown)) <= _COLUMN and not any("\n" in text for turn in turns for text in turn):
        width = max(len("the task shows"), *map(len, shown))
        lines = [f"{'the task shows':{width}}   the agent says", *(f"{task:{width}}   {said}" for task, said in turns)]
        return "\n".join(line.rstrip() for line in lines)
    paragraphs = [
        _paragraph(speaker, text)
        for turn in turns
        for speaker, text in zip(("task", "agent"), turn, strict=True)
        if text
    ]
    return "\n".join(paragraphs)


def _paragraph(speaker: str, text: str) -> str:
    lines = [part for line in text.strip("\n").split("\n") for part in textwrap.wrap(line, _WIDTH - 7) or [""]]
    return "\n".join(f"{f'{speaker}:' if index == 0 else '':7}{line}".rstrip() for index, line in enumerate(lines))
