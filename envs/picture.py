"""What a board or a grid looks like, once for the terminal and for `rgb_array` frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One field of a picture.

    Attributes:
        text: What stands in it: at most three characters are sure to fit.
        fill: Its background, `"#rrggbb"`.
        ink: The colour of the text, `"#rrggbb"`.
    """

    text: str = ""
    fill: str = "#ffffff"
    ink: str = "#1a1a1a"


@dataclass(frozen=True)
class Picture:
    """A grid of fields and a line below it.

    Attributes:
        cells: The fields, row by row from the top; all rows have the same number.
        caption: One line of plain text, such as whose turn it is.
    """

    cells: tuple[tuple[Cell, ...], ...]
    caption: str = ""
