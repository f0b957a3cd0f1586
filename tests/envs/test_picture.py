"""Pictures: pixels of one size, cells where they belong, and a frame from every environment in every face."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from sample_tasks import INSTALLED, Echo, shared_task

from tokengym.envs import Engine, TokenEnv, TokenGymError, TokenVectorEnv, make_task
from tokengym.envs.drawing.picture import Cell, Picture
from tokengym.envs.drawing.pixels import draw_text, fit

RED, BLUE = Cell("", "#ff0000"), Cell("", "#0000ff")


def board(*rows, caption=""):
    return Picture(tuple(tuple({"r": RED, "b": BLUE, ".": Cell()}[field] for field in row) for row in rows), caption)


def test_every_field_stands_where_it_belongs():
    rows = "rb.r", ".brr", "b..b"
    frame = board(*rows).to_rgb(cell_size=20)
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.flags.writeable
    left, top = (frame.shape[1] - 4 * 20) // 2, 12
    colours = {"r": (255, 0, 0), "b": (0, 0, 255), ".": (255, 255, 255)}
    for i, row in enumerate(rows):
        for j, field in enumerate(row):
            assert tuple(frame[top + 20 * i + 10, left + 20 * j + 10]) == colours[field]


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (3, 3), (10, 13), (2, 60), (25, 1)])
@pytest.mark.parametrize("cell_size", [None, 8, 33])
def test_the_size_is_even_and_hangs_on_the_number_of_fields_only(shape, cell_size):
    plain = Picture(((Cell(),) * shape[1],) * shape[0])
    full = Picture(((Cell("WWW", "#000000", "#ffffff"),) * shape[1],) * shape[0], "a long caption " * 30)
    first, second = plain.to_rgb(cell_size), full.to_rgb(cell_size)
    assert first.shape == second.shape
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0
    assert not np.array_equal(first, second)


def test_text_and_caption_are_drawn_inside_their_places():
    empty, marked = (
        board("...", "..."),
        Picture(((Cell(),) * 3, (Cell(), Cell("WWWWWW"), Cell())), "red to move"),
    )
    before, after = empty.to_rgb(40), marked.to_rgb(40)
    rows, columns = np.nonzero((before != after).any(axis=2))
    grid = rows < 12 + 80
    left = (before.shape[1] - 120) // 2
    assert grid.any() and (~grid).any()
    assert (rows[grid] > 12 + 40).all() and (columns[grid] >= left + 40).all() and (columns[grid] <= left + 80).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Picture(()).to_rgb(), "at least one field"),
        (lambda: Picture(((),)).to_rgb(), "at least one field"),
        (lambda: board("rb", "r").to_rgb(), r"rows have \[1, 2\] fields"),
        (lambda: board("r").to_rgb(7), "cell_size=7"),
        (lambda: board("r").to_rgb(20.5), "cell_size=20.5"),
        (lambda: Picture(((Cell("", "red"),),)).to_rgb(), "colour 'red'"),
        (lambda: Picture(((Cell("x", ink="#12345g"),),)).to_rgb(), "colour '#12345g'"),
    ],
)
def test_impossible_pictures_are_refused(call, message):
    with pytest.raises(TokenGymError, match=message):
        call()


def test_a_long_text_shows_its_end_and_its_last_word():
    long, end = draw_text("word " * 2000 + "END"), draw_text("word " * 2000 + "FIN")
    assert long.shape == end.shape == draw_text("").shape
    assert not np.array_equal(long, end)
    assert np.array_equal(draw_text("x" * 5000), draw_text("x" * 5000))
    assert not np.array_equal(draw_text("a", "reward 1"), draw_text("a", "reward 2"))


def test_an_image_is_put_in_the_middle_of_a_page_and_shrunk_where_it_is_too_large():
    small, large = np.zeros((10, 20, 3), np.uint8), np.zeros((100, 400, 3), np.uint8)
    page = fit(small, (40, 30))
    assert page.shape == (30, 40, 3) and (page[10:20, 10:30] == 0).all() and page.sum() == 255 * 3 * (1200 - 200)
    assert fit(large, (40, 30)).shape == (30, 40, 3) and (fit(large, (40, 30))[12:18] < 30).all()
    assert fit(small, (20, 10)) is small


@pytest.mark.parametrize("name", INSTALLED)
def test_every_environment_gives_frames_of_one_size_from_beginning_to_end(name):
    env = TokenEnv(shared_task(name), render_mode="rgb_array")
    env.reset(seed=0)
    drawn, first = env.engine.picture(0) is not None, env.render()
    assert isinstance(first, np.ndarray) and first.dtype == np.uint8 and not first.shape[0] % 2 | first.shape[1] % 2
    env.action_space.seed(0)
    for _ in range(250):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    last = env.render()
    assert isinstance(last, np.ndarray) and last.shape == first.shape
    if drawn:
        # Also after the end there is a position to be seen, and it fills the page as the first one did.
        assert env.engine.picture(0) is not None
        shape = env.engine.frame(0).shape  # type: ignore[union-attr]
        assert shape == first.shape


@pytest.mark.parametrize("name", ["Lattice", "Copy"])
def test_frames_pass_the_checker_and_gymnasiums_own_wrappers(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(f"tokengym/{name}-v0", render_mode="rgb_array_list")
        env.reset(seed=1)
        env.step(0)
        frames = env.render()
        assert len(frames) == 2 and frames[0].shape == frames[1].shape  # type: ignore[arg-type]
        check_env(gymnasium.make(f"tokengym/{name}-v0", render_mode="rgb_array").unwrapped)
        texts = gymnasium.make(f"tokengym/{name}-v0", render_mode="ansi_list")
        texts.reset(seed=1)
        texts.step(0)
        assert [type(text) for text in texts.render()] == [str, str]  # type: ignore[union-attr]
        added = gymnasium.wrappers.AddRenderObservation(
            gymnasium.make(f"tokengym/{name}-v0", render_mode="rgb_array"), render_only=True
        )
        observation, _ = added.reset(seed=1)
        assert np.array_equal(observation, frames[0]) and observation in added.observation_space  # type: ignore[index]


@pytest.mark.parametrize("task", [lambda: make_task("Lattice", num_steps=3), Echo], ids=["picture", "text"])
def test_the_frames_of_a_batch_are_those_of_its_environments(task):
    ours = TokenVectorEnv(3, task(), render_mode="rgb_array")
    theirs = [TokenEnv(task(), render_mode="rgb_array") for _ in range(3)]
    ours.reset(seed=5)
    for index, env in enumerate(theirs):
        env.reset(seed=5 + index)
    for _ in range(5):
        frames = ours.render()
        assert isinstance(frames, tuple)
        for frame, env in zip(frames, theirs, strict=True):
            assert np.array_equal(frame, env.render())
        _, _, terminated, truncated, _ = ours.step(np.array([1, 1, 0]))
        for env, action, over in zip(theirs, (1, 1, 0), terminated | truncated, strict=True):
            env.step(action)
            if over:
                env.reset()


def test_a_page_of_text_follows_the_first_frame_where_a_task_stops_drawing():
    class Shy(type(make_task("Lattice"))):
        def picture_of(self, state, tokens):
            return None if state is None else super().picture_of(state, tokens)

    env = TokenEnv(Shy(num_steps=1), render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    env.step(0)
    assert env.render().shape == first.shape  # type: ignore[union-attr]


def test_lattice_draws_the_point_where_it_is_also_after_the_end():
    task = make_task("Lattice", num_steps=2)
    engine = Engine(task, 1)
    for start in range(20):
        engine.reset(None, start)
        for push in (2, 2):
            engine.step(None, [push])
        position, speed = (int(name[1:]) for name in task.vocabulary.names(engine.tokens[0, 1:3].tolist()))
        picture = engine.picture(0)
        assert picture is not None and engine.over[0]
        assert [cell.text for cell in picture.cells[0]].index("●") == position + 8
        assert picture.caption == f"● at x {position:+d}, speed v {speed:+d}, after 2 of 2 pushes"
