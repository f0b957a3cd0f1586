"""Texts and dialogues to learn from: JSON lines in and out, in the layouts that fine-tuning data have.

A line is ``{"prompt": …, "completion": …}``, both texts or both lists of messages, or ``{"messages": […]}``, a dialogue
of which the agent learns everything that the assistant says. ``"return"``, a number, may stand beside; other keys are
left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ...envs import Task, TokenGymError
from ..data import (
    Encoded,
    EpisodeDataset,
    OverlongError,
    TextEncoder,
    episodes_from,
    number_of,
    read_lines,
    said_of,
    write_lines,
)

LAYOUTS = "expected 'prompt' and 'completion' (texts, or lists of messages), or 'messages'"


def is_text_file(path: Path) -> bool:
    """Whether a path is meant as JSON lines, by its name."""
    return path.suffix in (".jsonl", ".json")


def read_texts(path: str | Path, task: Task, overlong: Literal["refuse", "drop"] = "refuse") -> EpisodeDataset:
    """Read texts or dialogues as the episodes in which they would have been said.

    Prompt and answer are encoded apart, as the task encodes them; only the answer, and in a dialogue everything that
    the assistant says, is the agent's. How many lines were too long and left out stands in ``about["dropped"]``.

    Args:
        path: a file of JSON lines.
        task: gives the tokenizer, the chat template and the limits.
        overlong: whether a line that is longer than a turn or the context is an error, or left out.

    Raises:
        TokenGymError: there is no such file, it is empty, or a line is not in one of the layouts; names the line.
    """
    encoder = TextEncoder(task)
    encoded: list[Encoded] = []
    returns: list[float | None] = []
    dropped = 0
    for place, row in read_lines(Path(path)):
        try:
            one, paid = _encode(encoder, row), number_of(row, "return")
        except OverlongError as error:
            if overlong == "drop":
                dropped += 1
                continue
            raise TokenGymError(
                f"{place} is too long: {error}; shorten it, raise the task's limits, or leave such lines out with "
                "overlong='drop'"
            ) from None
        except TokenGymError as error:
            raise TokenGymError(f"{place}: {error}") from None
        encoded.append(one)
        returns.append(paid)
    if not encoded:
        raise TokenGymError(f"there is nothing to learn from in {path}: all {dropped} lines are too long for the task")
    unpaid = sum(paid is None for paid in returns)
    if 0 < unpaid < len(returns):
        warnings.warn(
            f"{unpaid} of {len(returns)} lines of {path} have no 'return', and count as 0 beside those that have one: "
            "give all of them one, or none",
            RuntimeWarning,
            stacklevel=2,
        )
    episodes = episodes_from(encoded, task.vocabulary.pad, [paid or 0.0 for paid in returns])
    return EpisodeDataset(episodes, task.vocabulary, {"file": Path(path).name, "dropped": dropped})


def write_texts(dataset: EpisodeDataset, path: str | Path, task: Task) -> None:
    """Write episodes as the lines that `read_texts` reads, with their returns.

    Raises:
        TokenGymError: an episode is no text, as of a task whose turns are shown apart.
    """
    dataset.require(task.vocabulary)
    encoder, episodes = TextEncoder(task), dataset.episodes
    entries: list[dict[str, Any]] = []
    for row, (length, paid) in enumerate(zip(episodes.lengths.tolist(), episodes.returns.tolist(), strict=True)):
        said = episodes.agent_mask[row, :length].tolist()
        prompt, answer = encoder.decode(episodes.tokens[row, :length].tolist(), said)
        entry: dict[str, Any] = {"prompt": prompt, "completion": answer}
        if not isinstance(prompt, str) and not isinstance(answer, str):
            entry = {"messages": [*prompt, *answer]}
        entries.append({**entry, "return": paid})
    write_lines(Path(path), entries)


def _encode(encoder: TextEncoder, row: Mapping[str, Any]) -> Encoded:
    pair, dialogue = {"prompt", "completion"} & row.keys(), "messages" in row
    if dialogue == bool(pair) or (pair and len(pair) < 2):
        raise TokenGymError(f"it has the fields {', '.join(sorted(map(str, row))) or '(none)'}; {LAYOUTS}, not both")
    if not dialogue:
        if not row["completion"]:
            raise TokenGymError("its completion is empty; expected a text or a list of messages to learn")
        return encoder.encode(said_of(row["prompt"], "prompt"), said_of(row["completion"], "completion"))
    messages = said_of(row["messages"], "messages")
    if isinstance(messages, str):
        raise TokenGymError("'messages' is a text; expected a list of messages")
    return encoder.messages(messages)
