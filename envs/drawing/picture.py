"""What a board or a grid looks like, once for the terminal and for `rgb_array` frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError


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

    @cached_property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns there are.

        Raises:
            TokenGymError: If there is no field, or the rows differ in length.
        """
        widths = {len(row) for row in self.cells}
        if len(widths) != 1 or widths == {0}:
            raise TokenGymError(
                f"a picture's rows have {sorted(widths)} fields: give at least one field, and equally many in each row"
            )
        return len(self.cells), widths.pop()

    def to_rgb(self, cell_size: int | None = None) -> npt.NDArray[np.uint8]:
        """Draws the picture in pixels.

        The size depends on the number of fields only, so that the frames of an episode have one size, and both sides
        are even, as video encoders want them.

        Args:
            cell_size: Side of a field in pixels, at least 8; by default so that the longer side has about 480 pixels.

        Returns:
            uint8 of shape (height, width, 3): the grid, centred, and two lines of space for the caption below.

        Raises:
            TokenGymError: If there is no field, the rows differ in length, or the size is no whole number from 8 on.
        """
        from .pixels import draw_cells  # draws with Pillow, which not every user of a task needs

        return draw_cells(self.cells, self.shape, self.caption, cell_size)
