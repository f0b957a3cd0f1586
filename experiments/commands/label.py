"""The command ``label``: a person, or a language model, compares answers, and the comparisons are kept as lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ...algorithms.data import read_lines, write_lines
from ...algorithms.labelling import ModelJudge, Question, read_questions
from ...envs import TokenGymError, make_task
from ..console import guarded
from ..study import parse_arguments
from ..terminal import Person
from .options import LabelOptions

_BATCH = 16  # questions between two times that a model's answers are written


def label(options: LabelOptions, console: Console) -> int:
    """Compare what a file holds, keep the answers, and return the exit code.

    Raises:
        TokenGymError: If the file holds nothing to compare, or the output is no file of comparisons.
    """
    guarded(console)
    out = options.out or options.file.with_name(f"{options.file.stem}.labels.jsonl")
    if out.resolve() == options.file.resolve():
        raise TokenGymError(f"--out is {str(out)!r}, the file that is compared; give another")
    if options.env is not None and options.file.suffix != ".safetensors":
        raise TokenGymError(
            f"--env {options.env} does nothing for {options.file.name}, which is text: it is for recorded episodes"
        )
    if options.kwargs and options.env is None:
        raise TokenGymError(f"--kwargs {' '.join(options.kwargs)} does nothing without --env, whose arguments it gives")
    text = None if options.env is None else make_task(options.env, **parse_arguments(options.kwargs))
    questions = read_questions(options.file, options.count, options.seed, text)
    earlier = [entry for _, entry in read_lines(out)] if out.exists() and out.stat().st_size else []
    known = {_key(entry.get("prompt"), entry.get("chosen"), entry.get("rejected")) for entry in earlier}
    left = [question for question in questions if _key(*question) not in known]
    if not left:
        console.print(f"all {len(questions)} comparisons are in {escape(str(out))} already", highlight=False)
        return 0

    def keep(answers: Sequence[float | None]) -> None:
        write_lines(out, [*earlier, *_compared(left, answers)])

    if options.judge is None:
        answers = Person(console, name=f"label {options.file.name}", told=keep)(left)
    else:
        answers = _asked(ModelJudge(options.judge), left, keep, console)
    given = len(_compared(left, answers))
    where = f", {len(earlier) + given} comparisons in {escape(str(out))}" if given or earlier else ""
    more = "; the same command goes on with the others" if given < len(left) else ""
    console.print(f"{given} of {len(left)} answered{where}{more}", highlight=False, soft_wrap=True)
    return 0


def _asked(judge: ModelJudge, questions: list[Question], keep: Any, console: Console) -> list[float | None]:
    """Return a model's answers, kept batch by batch."""
    answers: list[float | None] = []
    with console.status("asking …") as status:
        for first in range(0, len(questions), _BATCH):
            answers += judge(questions[first : first + _BATCH])
            keep(answers)
            status.update(f"asking … {len(answers)} of {len(questions)}")
    return answers


def _compared(questions: Sequence[Question], answers: Sequence[float | None]) -> list[Mapping[str, Any]]:
    """Return answered questions as lines of a preference file; one that favours neither is none."""
    lines = []
    for question, answer in zip(questions, answers, strict=False):
        if answer is not None and answer != 0.5:
            better = question if answer > 0.5 else question.swapped()
            lines.append({"prompt": better.prompt, "chosen": better.first, "rejected": better.second})
    return lines


def _key(prompt: Any, first: Any, second: Any) -> tuple[str, frozenset[str]]:
    """Return what tells comparisons apart, whichever answer comes first."""
    return json.dumps(prompt, sort_keys=True), frozenset(json.dumps(one, sort_keys=True) for one in (first, second))
