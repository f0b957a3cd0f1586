"""Comparisons as lines of JSON, in the layouts that preference datasets have: read, checked, and written.

One object a line: `prompt`, `chosen` and `rejected`, each a text or a list of messages. Without `prompt`, what `chosen`
and `rejected` begin with in common is it. `prompt` with `responses`, from the best to the worst or with their `scores`,
is a ranking. `prompt`, `completion` and `label`, true or false, are answers one by one: every good one to a prompt is
better than every bad one. Optional: `score_chosen` and `score_rejected`, which become the episodes' returns, and
`margin`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ...envs import TokenGymError
from ...envs.checking import Count, checked
from .comparisons import PreferenceDataset
from .encoding import Encoded, OverlongError, Said, TextEncoder, episodes_from
from .json_lines import brief, number_of, read_lines, renamed, said_of, words_of, write_lines
from .preferences import PreferencePairs, Ranks

FIELDS = (
    "prompt",
    "chosen",
    "rejected",
    "score_chosen",
    "score_rejected",
    "margin",
    "responses",
    "scores",
    "completion",
    "label",
)


class Line(NamedTuple):
    """What a line says.

    Attributes:
        place: where it stands, for messages.
        prompt: a text or messages.
        answers: what answers it, from the best to the worst.
        places: the place of each, from 0; equal ones are tied.
        scores: what each was given, or None.
        margin: by how much the first of two is better, or None.
        ranked: whether it is a ranking.
    """

    place: str
    prompt: Said
    answers: list[Said]
    places: list[int]
    scores: list[float] | None
    margin: float | None
    ranked: bool


@checked
def read_preferences(
    path: str | Path,
    text: Any,
    *,
    template: str | None = None,
    max_length: Count | None = None,
    overlong: Literal["refuse", "drop"] = "refuse",
    columns: Mapping[str, str] | None = None,
) -> PreferenceDataset:
    """Read comparisons, encoded as an environment or a tokenizer would have them.

        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
        {"prompt": [{"role": "user", "content": "…"}], "chosen": [{"role": "assistant", "content": "…"}], …}

    Args:
        path: a file with an object a line (see the module).
        text: whose text it is, as in `TextEncoder`: a task, a tokenizer or its specification, a vocabulary.
        template: the chat template under which a tokenizer writes messages, as in `ChatTask`.
        max_length: the most tokens of an episode; None takes the task's, and of a tokenizer any number.
        overlong: whether comparisons of which an answer is longer are refused, or dropped and counted in
            ``about["dropped"]``. Of answers one by one, prompts with only good or only bad ones compare nothing:
            they are counted in ``about["one_sided"]``.
        columns: what fields are called here, and what the file calls them: ``{"chosen": "best"}``.

    Raises:
        TokenGymError: the file is missing, empty or one-sided, a line is no comparison, its two answers are equal, or
            something cannot be written under the tokenizer. The line is named.
    """
    lines, one_sided = _lines(Path(path), columns)
    in_roles = not isinstance(lines[0].answers[0], str)
    encoder = TextEncoder(text, in_roles, template, max_length)
    kept, encoded, dropped = [], [], 0
    for line in lines:
        try:
            answers = _encoded(line, encoder)
        except OverlongError as error:
            if overlong == "refuse":
                raise TokenGymError(
                    f'{line.place}: {error}; shorten it, give more room, or drop such comparisons (overlong="drop").'
                ) from None
            dropped += 1
        except TokenGymError as error:
            raise TokenGymError(f"{line.place}: {error}") from None
        else:
            kept.append(line)
            encoded.append(answers)
    if not kept:
        raise TokenGymError(f"All {dropped} comparisons of {str(path)!r} are overlong; give more room (max_length).")
    about = {"source": Path(path).name, "dropped": dropped, "one_sided": one_sided}
    return _dataset(kept, encoded, encoder, about)


@checked
def write_preferences(dataset: PreferenceDataset, path: str | Path, text: Any, template: str | None = None) -> int:
    """Write comparisons as lines of `prompt`, `chosen` and `rejected`, with scores where returns are known.

    Text is decoded from what was sampled. Read again it is the same text, in whatever tokens the tokenizer cuts it
    into; episodes keep theirs in `PreferenceDataset.save`.

    Args:
        dataset: what to write; of rankings their pairs.
        path: the file, there whole or not at all.
        text: whose text it is, as in `TextEncoder`.
        template: the chat template under which a tokenizer writes messages.

    Returns:
        How many lines were written.

    Raises:
        TokenGymError: the episodes cannot be told as text, or the file cannot be written.
    """
    encoder = TextEncoder(text, template is not None, template)
    dataset.require(encoder.vocabulary, "the dataset")
    episodes, pairs = dataset.episodes, dataset.pairs
    told = {index: encoder.read(episodes, index) for index in np.unique([pairs.better, pairs.worse]).tolist()}
    returns = episodes.returns
    lines: list[dict[str, Any]] = []
    for place, (better, worse) in enumerate(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)):
        line: dict[str, Any] = {"prompt": told[better][0], "chosen": told[better][1], "rejected": told[worse][1]}
        if episodes.rewards.any():
            line |= {"score_chosen": float(returns[better]), "score_rejected": float(returns[worse])}
        if pairs.margin is not None:
            line["margin"] = float(pairs.margin[place])
        lines.append(line)
    write_lines(Path(path), lines)
    return len(lines)


def _encoded(line: Line, encoder: TextEncoder) -> list[Encoded]:
    """Return a line's answers, each different from those that it is better than."""
    answers = [encoder.encode(line.prompt, answer) for answer in line.answers]
    for first, (answer, place) in enumerate(zip(answers, line.places, strict=True)):
        for other, its_place in zip(answers[first + 1 :], line.places[first + 1 :], strict=True):
            if place < its_place and answer.tokens == other.tokens:
                raise TokenGymError(
                    f"the better and the worse answer are equal, {brief(line.answers[first])}; expected two answers"
                )
    return answers


def _dataset(
    lines: Sequence[Line], encoded: Sequence[list[Encoded]], encoder: TextEncoder, about: Mapping[str, Any]
) -> PreferenceDataset:
    """Return the dataset of lines; equal answers to a prompt that are scored alike are one episode."""
    numbers: dict[Any, int] = {}
    rows: list[Encoded] = []
    returns: list[float] = []
    order: list[list[int]] = []
    for line, answers in zip(lines, encoded, strict=True):
        members = []
        for place, answer in enumerate(answers):
            score = 0.0 if line.scores is None else line.scores[place]
            key = (tuple(answer.tokens), answer.said.index(True), score)
            if key not in numbers:
                numbers[key] = len(rows)
                rows.append(answer)
                returns.append(score)
            members.append(numbers[key])
        order.append(members)
    episodes = episodes_from(rows, encoder.vocabulary.pad, returns)
    if lines[0].ranked:
        ranks = Ranks(
            [index for members in order for index in members],
            [len(members) for members in order],
            [place for line in lines for place in line.places],
        )
        return PreferenceDataset.of_ranks(episodes, encoder.vocabulary, ranks, about)
    margins = [line.margin for line in lines if line.margin is not None]
    pairs = PreferencePairs(
        [members[0] for members in order],
        [members[1] for members in order],
        margin=margins if len(margins) == len(lines) else None,
    )
    return PreferenceDataset(episodes, encoder.vocabulary, pairs, None, about)


def _lines(path: Path, columns: Mapping[str, str] | None) -> tuple[list[Line], int]:
    """Return what the lines of a file say, checked for what needs no tokenizer, and how many prompts are one-sided."""
    lines: list[Line] = []
    single: dict[str, tuple[str, Said, dict[bool, list[Said]]]] = {}
    for place, entry in read_lines(path):
        try:
            named = renamed(entry, columns or {}, FIELDS)
            if {"completion", "label"} <= named.keys() and not {"chosen", "rejected"} & named.keys():
                prompt, completion, label = _single(named)
                known = single.setdefault(json.dumps(prompt), (place, prompt, {True: [], False: []}))
                known[2][label].append(completion)
            else:
                lines.append(_line(named, place))
        except TokenGymError as error:
            raise TokenGymError(f"{place}: {error}") from None
    both = [one for one in single.values() if all(one[2].values())]
    for place, prompt, said in both:
        places = [0] * len(said[True]) + [1] * len(said[False])
        lines.append(Line(place, prompt, said[True] + said[False], places, None, None, True))
    if not lines:
        raise TokenGymError(
            f"The file {str(path)!r} is one-sided: each of its {len(single)} prompts has only good answers or only bad "
            "ones; expected a prompt with both."
        )
    for what, kinds in (
        ("a ranking", {line.ranked for line in lines}),
        ("in messages", {isinstance(line.answers[0], str) for line in lines}),
        ("with a margin", {line.margin is None for line in lines}),
        ("with scores", {line.scores is None for line in lines}),
    ):
        if len(kinds) > 1:
            raise TokenGymError(f"Only some lines of {str(path)!r} are {what}; expected all or none.")
    for side, name in ((0, "chosen"), (-1, "rejected")):
        if not lines[0].ranked and all(not words_of(line.answers[side]) for line in lines):
            raise TokenGymError(
                f"The file {str(path)!r} is one-sided: {name!r} is empty in every line; expected two answers."
            )
    return lines, len(single) - len(both)


def _single(entry: Mapping[str, Any]) -> tuple[Said, Said, bool]:
    """Return an answer of its own: what it answers, what it says, and whether it is a good one."""
    prompt, completion = (said_of(entry.get(name), name) for name in ("prompt", "completion"))
    if isinstance(prompt, str) != isinstance(completion, str):
        raise TokenGymError("one of prompt and completion is a text and one messages; expected both of one kind")
    if not isinstance(entry["label"], bool):
        raise TokenGymError(f"'label' is {brief(entry['label'])}; expected true for a good answer, false for a bad one")
    return prompt, completion, entry["label"]


def _line(entry: Mapping[str, Any], place: str) -> Line:
    if "responses" in entry:
        return _ranking(entry, place)
    missing = [name for name in ("chosen", "rejected") if entry.get(name) is None]
    if missing:
        known = ", ".join(map(str, entry)) or "nothing"
        raise TokenGymError(
            f"there is no {' and no '.join(map(repr, missing))}, only {known}. Expected 'prompt', 'chosen' "
            "and 'rejected'; columns={'chosen': 'best'} names another column."
        )
    given = None if entry.get("prompt") is None else said_of(entry["prompt"], "prompt")
    prompt, *answers = _with_prompt(given, *(said_of(entry[name], name) for name in ("chosen", "rejected")))
    scores = [number_of(entry, name) for name in ("score_chosen", "score_rejected")]
    if (scores[0] is None) != (scores[1] is None):
        raise TokenGymError("only one of 'score_chosen' and 'score_rejected' is there; expected both or none")
    margin = number_of(entry, "margin")
    if margin is not None and margin < 0:
        raise TokenGymError(f"the margin is {margin}; expected at least 0, by how much 'chosen' is better")
    known = [score for score in scores if score is not None]
    return Line(place, prompt, answers, [0, 1], known or None, margin, False)


def _ranking(entry: Mapping[str, Any], place: str) -> Line:
    answers = entry["responses"]
    if entry.get("prompt") is None:
        raise TokenGymError("a ranking has no 'prompt'; expected what its responses answer")
    if not isinstance(answers, list) or len(answers) < 2:
        count = len(answers) if isinstance(answers, list) else 0
        raise TokenGymError(f"a ranking has {count} responses; expected a list of at least 2 to compare")
    said = [said_of(answer, "responses") for answer in answers]
    if len({isinstance(one, str) for one in said}) > 1:
        raise TokenGymError("some responses are texts and some messages; expected all of one kind")
    prompt, scores = said_of(entry["prompt"], "prompt"), entry.get("scores")
    if scores is None:
        return Line(place, prompt, said, list(range(len(said))), None, None, True)
    if not isinstance(scores, list) or len(scores) != len(said):
        raise TokenGymError(f"there are {len(said)} responses and the scores {brief(scores)}; expected one of each")
    values = [number_of({"scores": score}, "scores") for score in scores]
    if None in values or len(set(values)) < 2:
        raise TokenGymError(f"the scores are {brief(scores)}; expected numbers that are not all equal")
    numbers = [value for value in values if value is not None]
    order = sorted(range(len(numbers)), key=lambda index: -numbers[index])
    places = [sum(other > numbers[index] for other in set(numbers)) for index in order]
    return Line(place, prompt, [said[i] for i in order], places, [numbers[i] for i in order], None, True)


def _with_prompt(prompt: Said | None, chosen: Said, rejected: Said) -> list[Any]:
    """Return prompt and answers of one kind; what both answers begin with in common is the prompt that is not there."""
    if isinstance(prompt, str) and not isinstance(chosen, str) and words_of(chosen[:1]) == prompt:
        prompt = None  # some files tell the prompt once more as a text, beside whole conversations
    kinds = {isinstance(said, str) for said in (prompt, chosen, rejected) if said is not None}
    if len(kinds) > 1:
        raise TokenGymError("some of prompt, chosen and rejected are texts and some messages; expected all of one kind")
    if prompt is not None:
        return [prompt, chosen, rejected]
    pairs = zip(chosen, rejected, strict=False)
    shorter = min(len(chosen), len(rejected)) - 1  # of one that begins the other the last is its answer
    common = next((place for place, (one, other) in enumerate(pairs) if one != other), max(shorter, 0))
    if isinstance(chosen, str):
        common -= common > 0 and chosen[common - 1] == " "  # the space belongs to the word that differs
    if not common:
        raise TokenGymError("there is no 'prompt', and 'chosen' and 'rejected' begin with nothing in common")
    return [chosen[:common], chosen[common:], rejected[common:]]
