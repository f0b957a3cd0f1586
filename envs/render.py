"""How an episode looks to people: text, and frames of pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .checking import visible
from .engine import Engine


def render_row(engine: Engine, row: int, reward: float | None) -> str:
    """Returns one row's observation as text for the eye, with the reward of its last token.

    Control characters in what was said are written out: a terminal shows the text and does not obey it.

    Args:
        engine: The engine.
        row: The row.
        reward: The last token's reward, or None where the episode has just begun.
    """
    text = _text(engine, row)
    return visible(text if reward is None else f"{text}\n[{_told(engine, row, reward)}]")


class Frames:
    """Draws the rows of an engine in frames of one size, that of the first one.

    A task that has a picture shows it; any other shows its observation as a page of text.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._size: tuple[int, int] | None = None

    def draw(self, row: int, reward: float | None) -> npt.NDArray[np.uint8]:
        """Returns one row as an image, uint8 of shape (height, width, 3); the arguments are those of `render_row`."""
        from .drawing import draw_text, fit  # Pillow takes a moment to load

        frame = self._engine.frame(row)
        if frame is None:
            footer = "" if reward is None else _told(self._engine, row, reward)
            text = _text(self._engine, row)
            frame = draw_text(text, footer) if self._size is None else draw_text(text, footer, self._size)
        if self._size is None:
            self._size = (frame.shape[1] + frame.shape[1] % 2, frame.shape[0] + frame.shape[0] % 2)
        return fit(frame, self._size)


def _text(engine: Engine, row: int) -> str:
    return engine.task.render_tokens(engine.tokens[row, : engine.lengths[row]])


def _told(engine: Engine, row: int, reward: float) -> str:
    return f"reward {reward:g}{'; the episode is over' if engine.over[row] else ''}"
