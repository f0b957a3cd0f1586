"""Questions out of files, for whoever reads them: pairs of answers to a prompt, in an order that tells nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ...envs import TokenGymError
from ...envs.checking import Count, Seed, checked
from ..data import EpisodeDataset, Said, read_lines, said_of
from .asking import Comparisons
from .choosing import choose_pairs
from .judging import Question, TextJudge


@checked
def read_questions(path: str | Path, count: Count | None = None, seed: Seed = 0, text: Any = None) -> list[Question]:
    """Read what is to be compared.

        {"prompt": "The sky is", "responses": [" blue.", " green.", " wide."]}
        {"prompt": "The sky is", "completion": " blue."}

    A line gives several `responses`; or `chosen` and `rejected`, whose order is forgotten; or one `completion`, which
    is compared with those of other lines of the same prompt. A `.safetensors` file is an `EpisodeDataset`, of which
    pairs are drawn.

    Args:
        path: the file.
        count: how many questions; None takes all of a file of lines, and a hundred of episodes.
        seed: of their order, and of which answer comes first.
        text: whose text episodes are, as in `TextEncoder`; None takes the names of their vocabulary.

    Raises:
        TokenGymError: the file is missing, a line gives no answer, or there is nothing to compare.
    """
    path = Path(path)
    generator = np.random.default_rng(seed)
    if path.suffix == ".safetensors":
        dataset = EpisodeDataset.load(path)
        judge = TextJudge(_unasked, dataset.vocabulary if text is None else text)
        dataset.require(judge.encoder.vocabulary, str(path))
        first, second = choose_pairs(dataset.episodes, count or 100, seed=seed, at_most=count is None)
        asked = judge.questions(Comparisons(dataset.episodes, first, second, dataset.episodes.returns))
        return _enough(asked, path, 1)
    answers: dict[str, tuple[Said, list[Said]]] = {}
    for place, entry in read_lines(path):
        try:
            prompt = said_of(entry.get("prompt"), "prompt")
            known = answers.setdefault(json.dumps(prompt), (prompt, []))[1]
            for answer in _answers(entry):
                known += [answer] if answer not in known else []
        except TokenGymError as error:
            raise TokenGymError(f"{place}: {error}") from None
    questions = [
        Question(prompt, first, second) for prompt, said in answers.values() for first, second in combinations(said, 2)
    ]
    _enough(questions, path, count or 1)
    order = generator.permutation(len(questions))[:count]
    turned = generator.random(len(order)) < 0.5
    return [questions[i].swapped() if turn else questions[i] for i, turn in zip(order.tolist(), turned, strict=True)]


def _answers(entry: Mapping[str, Any]) -> list[Said]:
    """Return the answers that a line gives."""
    if "responses" in entry:
        given = entry["responses"]
        if not isinstance(given, list):
            raise TokenGymError(f"'responses' is {str(given)[:80]!r}; expected a list of answers")
        return [said_of(answer, "responses") for answer in given]
    names = ("completion",) if "completion" in entry else ("chosen", "rejected")
    return [said_of(entry.get(name), name) for name in names]


def _enough(questions: list[Question], path: Path, count: int) -> list[Question]:
    if len(questions) < count:
        raise TokenGymError(
            f"There are {len(questions)} pairs of different answers to one prompt in {str(path)!r}, and {count} are "
            "asked for; expected at least two answers a prompt."
        )
    return questions


def _unasked(questions: list[Question]) -> list[None]:
    """Answers nothing: who is asked comes later."""
    return [None] * len(questions)
