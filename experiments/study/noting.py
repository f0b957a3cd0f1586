"""Keeps what a run warns of in its folder, where a study's report finds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .folder import WARNINGS, RunFolder

_MOST = 100
"""Different warnings that a run keeps: one that counts something may be another each time."""


@contextmanager
def noting_warnings(folder: RunFolder, tokens: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Append each warning that is shown meanwhile to the folder, once, and show it as it would be.

    Args:
        folder: A run's, begun.
        tokens: What the run has spent so far.
    """
    known = {row.get("text") for row in folder.read(WARNINGS)}
    show = warnings.showwarning

    def note(message: Any, category: type[Warning], *where: Any, **how: Any) -> None:
        text = " ".join(str(message).split())
        if len(known) == _MOST:
            text = f"more than {_MOST} different warnings: the others are in the log alone"
        if text not in known and len(known) <= _MOST:
            known.add(text)
            folder.append(WARNINGS, {"tokens": tokens(), "category": category.__name__, "text": text})
        show(message, category, *where, **how)

    with warnings.catch_warnings():
        warnings.showwarning = note
        yield
