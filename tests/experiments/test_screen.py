"""The screen of `play` and `watch`: what fits, and where it stands."""

import pytest
from at_the_table import terminal
from rich.text import Text

from tokengym.envs import Cell, Picture
from tokengym.experiments.terminal.rules import pages_of
from tokengym.experiments.terminal.screen import Screen, View, name_columns, picture_lines


@pytest.mark.parametrize("height", [6, 10, 24])
@pytest.mark.parametrize("shape", [None, (1, 17), (3, 3), (10, 13), (30, 60)])
def test_a_screen_never_outgrows_its_terminal(height, shape):
    picture = None if shape is None else Picture(((Cell("X"),) * shape[1],) * shape[0], "caption " * 40)
    console = terminal(80, height)
    view = View(
        "a name " * 30,
        "facts " * 20,
        "subtitle " * 30,
        picture,
        [Text("word " * 40) for _ in range(50)],
        name_columns([f"token{index}" for index in range(200)], 33, 7),
        [Text("note " * 60) for _ in range(9)],
    )
    lines = Screen(console).compose(view, height - 1)
    assert len(lines) <= height - 1
    assert all(line.cell_len <= 80 for line in lines)
    assert "a name" in lines[0].plain
    Screen(console).draw(view)
    assert console.file.getvalue().count("\n") == len(lines)  # type: ignore[attr-defined]


def test_small_boards_have_lines_and_large_ones_touch_and_too_large_ones_are_left_out():
    board = Picture(((Cell("X"), Cell("O")), (Cell(), Cell("X"))), "O to move")
    lines = picture_lines(board, 78, 20)
    assert lines is not None and [line.plain for line in lines] == [
        "┌─────┬─────┐",
        "│  X  │  O  │",
        "├─────┼─────┤",
        "│     │  X  │",
        "└─────┴─────┘",
    ]
    track = Picture(((Cell("●"),) * 17,))
    assert [line.plain for line in picture_lines(track, 78, 20) or []] == [" ● " * 17]
    assert [line.plain for line in picture_lines(track, 40, 20) or []] == ["● " * 17]
    assert picture_lines(track, 10, 20) is None
    assert picture_lines(Picture(((Cell(),),) * 30), 78, 20) is None


def test_a_board_that_is_too_wide_with_lines_leaves_them_out_so_that_text_stands_beside_it():
    view = View(
        "name", picture=Picture(((Cell("R"),) + (Cell(),) * 8,) * 5), talk=[Text("said")], panel=[Text("panel")]
    )
    narrow, wide = (Screen(terminal(width, 24)).compose(view, 23) for width in (80, 100))
    assert not any("┌" in line.plain for line in narrow) and any("┌" in line.plain for line in wide)
    assert "R" in narrow[1].plain and narrow[1].plain.rstrip().endswith("said")
    assert "┌" in wide[1].plain and wide[1].plain.rstrip().endswith("said")


def test_a_long_subtitle_takes_two_lines_where_there_is_room_and_what_is_indented_stays_so():
    view = View("name", subtitle="word " * 20 + "end", talk=[Text("  " + "seen " * 30)], panel=[Text("panel")])
    tall, low = ([line.plain for line in Screen(terminal(80, 24)).compose(view, height)] for height in (23, 10))
    assert tall[2].endswith("end") and low[1].endswith("…") and not low[2].startswith("word")
    seen = [line for line in tall if "seen" in line]
    assert len(seen) > 1 and all(line.startswith("  seen") for line in seen)


def test_a_legend_stands_below_the_subtitle_where_there_is_room():
    view = View("name", subtitle="about", legend=["seen: x 1", "next: y"], talk=[Text("said")])
    tall, low = ([line.plain for line in Screen(terminal(80, 24)).compose(view, height)] for height in (23, 10))
    assert tall[1:5] == ["about", "seen: x 1", "next: y", "said"] and low[1:3] == ["about", "said"]
    screen = Screen(terminal(80, 24)).compose(View("name", legend=["long " * 300], talk=[Text("said")]), 23)
    assert any("said" in line.plain for line in screen) and len(screen) <= 23


def test_a_caption_does_not_lend_its_style_to_what_stands_beside_it():
    view = View("name", picture=Picture(((Cell(),) * 3,) * 3, "caption"), panel=[Text("panel")])
    console = terminal()
    (line,) = (line for line in Screen(console).compose(view, 12) if "panel" in line.plain)
    assert not line.get_style_at_offset(console, line.plain.index("panel")).italic
    (caption,) = (line for line in Screen(console).compose(view, 12) if "caption" in line.plain)
    assert caption.get_style_at_offset(console, 0).italic


def test_without_colour_dark_fields_are_still_seen():
    pole = Picture(((Cell(fill="#c98a4b"), Cell()),) * 7)
    assert [line.plain for line in picture_lines(pole, 78, 20, colour=False) or []] == [" ▒  · "] * 7
    maze = Picture(((Cell(fill="#222222"), Cell(), Cell("A")),) * 7)
    lines = picture_lines(maze, 78, 20, colour=False)
    assert lines is not None and lines[0].plain == "### ·  A "


def test_a_heading_does_not_end_a_page():
    lines = [Text("a"), Text("b"), Text("What you say", "bold cyan"), Text("c")]
    assert [len(page) for page in pages_of(lines, 3)] == [2, 2]
    assert [len(page) for page in pages_of(lines, 2)] == [2, 2]


def test_a_terminal_whose_user_wants_no_colour_shows_dark_fields_as_signs():
    view = View("name", picture=Picture(((Cell(fill="#c98a4b"), Cell(fill="#222222"), Cell()),) * 7))
    plain, coloured = terminal(), terminal()
    plain.no_color = True
    shown, hidden = ("".join(line.plain for line in Screen(one).compose(view, 23)) for one in (plain, coloured))
    assert "▒ ###" in shown and "▒" not in hidden and "#" not in hidden
