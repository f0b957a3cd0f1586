"""Pixels for people: pictures and pages of text, drawn with Pillow."""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ..checking import TokenGymError

Frame = npt.NDArray[np.uint8]
"""An image, uint8 of shape (height, width, 3), with even height and width."""

PAPER, INK, FAINT = "#ffffff", "#1a1a1a", "#6b7280"
_SIDE, _SMALLEST, _LARGEST = 480, 8, 96  # pixels: of a picture's longer side, and of a field's side
_NARROWEST = 320  # pixels: a caption below a small board needs some room
_MARGIN, _CAPTION = 12, 15  # pixels: around everything, and the height of a caption's letters
_PAGE, _LETTERS = (640, 400), (28, 20, 15)  # pixels: a page of text, and its letters' heights
_MOST_LETTERS = 5_000  # of a text: more than the page holds
_LINE = 1.35  # from the height of letters to that of lines


class Field(Protocol):
    """A field of a grid, as `Cell` is one: a text, its background and its colour, `"#rrggbb"`."""

    @property
    def text(self) -> str: ...  # noqa: D102

    @property
    def fill(self) -> str: ...  # noqa: D102

    @property
    def ink(self) -> str: ...  # noqa: D102


def draw_cells(
    cells: Sequence[Sequence[Field]], shape: tuple[int, int], caption: str, cell_size: int | None = None
) -> Frame:
    """Draws a grid of fields of so many rows and columns, and a caption below; see `Picture.to_rgb`."""
    num_rows, num_columns = shape
    if cell_size is None:
        cell_size = min(_LARGEST, max(_SMALLEST, _SIDE // max(num_rows, num_columns)))
    if isinstance(cell_size, bool) or not isinstance(cell_size, int) or cell_size < _SMALLEST:
        raise TokenGymError(f"cell_size={cell_size!r}: give a whole number of pixels from {_SMALLEST} on, or None")
    strip = round(2 * _CAPTION * _LINE)
    width = max(_NARROWEST, num_columns * cell_size + 1) + 2 * _MARGIN
    height = num_rows * cell_size + 1 + strip + 3 * _MARGIN
    image = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    draw = ImageDraw.Draw(image)
    left, top = (image.width - num_columns * cell_size) // 2, _MARGIN
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            _draw_cell(draw, cell, left + j * cell_size, top + i * cell_size, cell_size)
    if caption:
        lines = _wrap(caption, _font(_CAPTION), image.width - 2 * _MARGIN, 2)
        y = top + num_rows * cell_size + _MARGIN + _CAPTION * _LINE / 2
        for index, line in enumerate(lines):
            middle = (image.width / 2, y + index * _CAPTION * _LINE)
            draw.text(middle, line, INK, _font(_CAPTION), anchor="mm")
    return np.asarray(image).copy()


def draw_text(text: str, footer: str = "", size: tuple[int, int] = _PAGE) -> Frame:
    """Draws a page of text in letters of one width, as large as they fit; where it is too long, its end is shown.

    Args:
        text: What to show.
        footer: One line at the bottom.
        size: Width and height in pixels, both even.
    """
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    width, below = size[0] - 2 * _MARGIN, round(_CAPTION * _LINE) + 2 * _MARGIN
    text, lines, room, letters = text[-_MOST_LETTERS:], [""], 1, _LETTERS[0]
    for letters in _LETTERS:
        room = max(1, int((size[1] - _MARGIN - below) // (letters * _LINE)))
        lines = _wrap(text, _font(letters, mono=True), width)
        if len(lines) <= room:
            break
    else:
        lines = ["…", *lines[len(lines) - room + 1 :]] if room > 1 else lines[-1:]
    font, height = _font(letters, mono=True), letters * _LINE
    for index, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + index * height), line, INK, font)
    if footer:
        draw.line([(0, size[1] - below), (size[0], size[1] - below)], "#d1d5db")
        last = _wrap(footer, _font(_CAPTION, mono=True), width, 1)[0]
        draw.text((_MARGIN, size[1] - below / 2), last, FAINT, _font(_CAPTION, mono=True), anchor="lm")
    return np.asarray(image).copy()


def subtitle(frame: npt.NDArray[np.uint8], words: str) -> Frame:
    """Returns an image with a strip below it, in which one line stands."""
    strip = round(_CAPTION * _LINE) + _MARGIN
    strip += (frame.shape[0] + strip) % 2
    image = Image.new("RGB", (frame.shape[1], frame.shape[0] + strip), "#f3f4f6")
    image.paste(Image.fromarray(frame), (0, 0))
    line = _wrap(words, _font(_CAPTION), image.width - 2 * _MARGIN, 1)[0]
    middle = (_MARGIN, frame.shape[0] + strip / 2)
    ImageDraw.Draw(image).text(middle, line, INK, _font(_CAPTION), anchor="lm")
    return np.asarray(image).copy()


def fit(frame: npt.NDArray[np.uint8], size: tuple[int, int]) -> Frame:
    """Puts an image of any size on a page of `size` (width, height): centred, and shrunk where it is too large."""
    if frame.shape[1::-1] == size:
        return frame
    image = Image.fromarray(frame)
    scale = min(1.0, size[0] / image.width, size[1] / image.height)
    if scale < 1:
        image = image.resize(
            (max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.LANCZOS
        )
    page = Image.new("RGB", size, PAPER)
    page.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return np.asarray(page).copy()


def _draw_cell(draw: ImageDraw.ImageDraw, cell: Field, x: int, y: int, size: int) -> None:
    """Draws one field with its upper left corner at (x, y)."""
    fill = _colour(cell.fill)
    # A line of the field's own colour, only darker or lighter: neighbours can be told apart on any background.
    shade = 0.82 if sum(fill) > 3 * 70 else 1.6
    line = tuple(min(255, int(channel * shade) + (18 if shade > 1 else 0)) for channel in fill)
    draw.rectangle([x, y, x + size, y + size], fill=fill, outline=line)
    if not cell.text:
        return
    letters = max(6, size // 2)
    while letters > 6 and _font(letters).getlength(cell.text) > size - 4:
        letters -= 1
    draw.text((x + size / 2, y + size / 2), cell.text, _colour(cell.ink), _font(letters), anchor="mm")


@lru_cache(maxsize=256)
def _colour(text: str) -> tuple[int, int, int]:
    try:
        if len(text) != 7 or text[0] != "#":
            raise ValueError
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    except ValueError:
        raise TokenGymError(f"colour {text!r}: give '#rrggbb', such as '#1a1a1a'") from None


@lru_cache(maxsize=64)
def _font(size: int, mono: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns the font that comes with matplotlib, which has arrows and symbols, or else Pillow's own."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        name = "DejaVuSansMono.ttf" if mono else "DejaVuSans.ttf"
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def _wrap(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float, most: int | None = None
) -> list[str]:
    """Breaks a text into lines of at most `width` pixels, at spaces where it can; past `most` lines, "…" ends it."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            while len(word) > 1 and font.getlength(word) > width:  # a word longer than a line
                # The longest beginning that fits; at least one letter, however narrow the line.
                cut = bisect_right(range(2, len(word)), width, key=lambda n, word=word: font.getlength(word[:n])) + 1
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        lines.append(line)
    if most is not None and len(lines) > most:
        lines = lines[:most]
        while lines[-1] and font.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "…"
    return lines
