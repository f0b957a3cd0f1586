"""Watching: the tokens that a player says, how probable they are, what they are worth, and frames of it all."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tokengym.agents import Policy
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import make_task
from tokengym.experiments.commands.main import main
from tokengym.experiments.terminal.filming import Film
from tokengym.experiments.terminal.guide import Guide
from tokengym.experiments.terminal.named_players import saved_player, scripted
from tokengym.experiments.terminal.watch import choices, show


def output(task, player, **settings):
    console = Console(file=io.StringIO(), width=120)
    guide = Guide(task)
    returns = show(task, scripted(player, guide), console, guide=guide, called=player, **settings)
    return returns, console.file.getvalue()


def test_the_optimal_player_says_only_what_is_best_and_scores_1():
    task = make_task("Copy")
    returns, screen = output(task, "optimal")
    assert returns == [1.0]
    assert screen.count("  best") == 3 and "worse than best" not in screen
    assert "return 1  (random 0.125, optimal 1)" in screen and "score 1.00" in screen


def test_the_optimum_that_needs_the_clock_is_reached_on_average():
    task = make_task("Lattice", num_steps=4, max_position=2)
    returns, _ = output(task, "optimal", episodes=60)
    solution = Guide(task).solution
    assert solution is not None
    error = (solution.optimal_variance / 60) ** 0.5
    assert abs(np.mean(returns) - solution.optimal_return) < 4 * error


def test_a_worse_token_is_told_by_how_much():
    task = make_task("Lattice", num_steps=1, max_position=1)
    _, screen = output(task, "random", episodes=12)
    assert "worse than best" in screen and "p 0.33" in screen and "→ x" in screen


def test_the_same_seed_shows_the_same_episodes():
    task = make_task("WordleMini", num_letters=4, word_length=2, num_words=3)
    screens = [output(task, "random", seed=seed, episodes=2)[1] for seed in (1, 1, 2)]
    assert screens[0] == screens[1] != screens[2]


def test_a_screen_shows_bars_and_marks_the_token_that_is_said():
    lines = [line.plain for line in choices(("a", "b"), np.array([0.25, 0.75]), np.array([1.0, -2.0]), 0, 33)]
    assert lines[1].startswith("  b") and lines[2].startswith("▸ a")
    assert lines[1].count("█") == 3 * lines[2].count("█") == 9 or lines[1].count("█") > lines[2].count("█")
    assert "0.75" in lines[1] and "-2" in lines[1] and "0.25" in lines[2] and " 1" in lines[2]
    assert "V 1" in lines[-1]
    many = choices(tuple(f"t{index}" for index in range(50)), np.full(50, 0.02), None, 49, 33)
    assert any(line.plain.startswith("▸ t49") for line in many) and len(many) == 8
    assert all(len(line.plain) <= 33 for line in many)


def test_a_terminal_gets_a_screen_a_token_and_an_interruption_ends_it_quietly(monkeypatch):
    task = make_task("Copy")
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    guide = Guide(task)
    returns = show(task, scripted("optimal", guide), console, guide=guide, delay=0)
    assert returns == [1.0] and console.file.getvalue().count("\x1b[2J") == 4  # three tokens and the end

    class Interrupted(Policy):
        def act(self, rows, tokens, lengths, masks=None, deterministic=False):
            raise KeyboardInterrupt

    assert show(task, Interrupted(), console, guide=guide, delay=0) == []
    assert "stopped" in console.file.getvalue()


def test_a_variant_is_watched_under_its_own_name():
    assert "Maze-partial, played by random" in output(make_task("Maze-partial"), "random")[1]


def test_the_last_screen_leaves_room_for_what_is_printed_below_it(tmp_path):
    task, guide = make_task("Lattice"), Guide(make_task("Lattice"))
    console = Console(file=io.StringIO(), width=300, height=24, force_terminal=True)
    film = Film(tmp_path / "film")
    show(task, scripted("random", guide), console, guide=guide, episodes=2, delay=0, film=film)
    last = console.file.getvalue().split("\x1b[2J")[-1]  # type: ignore[attr-defined]
    assert last.count("wrote ") == 2 and "mean of 2 episodes" in last and last.count("\n") <= 23


def test_a_watched_screen_tells_what_bare_numbers_stand_for():
    task = make_task("Gym", env_id="Pendulum-v1", max_episode_steps=1)
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    guide = Guide(task)
    show(task, scripted("random", guide), console, guide=guide, delay=0)
    screen = console.file.getvalue()  # type: ignore[attr-defined]
    assert screen.count("seen: ") == 3 and "digit 2 of 2" in screen and "random about" in screen


def test_frames_show_every_position_and_make_a_moving_picture(tmp_path, capsys):
    folder = tmp_path / "film"
    words = ["watch", "Lattice", "--agent", "optimal", "--kwargs", "num_steps=3", "--episodes", "2"]
    assert main([*words, "--frames", str(folder)]) == 0
    assert "episode-2.gif" in capsys.readouterr().out
    frames = [np.asarray(Image.open(path)) for path in sorted(folder.glob("episode-1-frame-*.png"))]
    assert len(frames) == 4 and len({frame.shape for frame in frames}) == 1
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert len({frame.tobytes() for frame in frames}) == 4
    with Image.open(folder / "episode-1.gif") as film:
        assert film.n_frames == 4  # type: ignore[attr-defined]
        assert film.size == frames[0].shape[1::-1]
    assert main([*words, "--frames", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main([*words, "--frames", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Latice"], "unknown environment 'Latice'"),
        (["Lattice", "--agent", "optimla"], "agent 'optimla' is no folder and no player that every task has (did you"),
        (["Lattice", "--agent", "expert"], "Lattice knows no expert"),
        (["Gym", "--agent", "expert"], "Gym knows no expert; watch random or a checkpoint folder"),
        (["CartPole", "--agent", "optimal"], "CartPole has no exact optimum within reach"),
        (["Lattice", "--episodes", "0"], "--episodes is 0"),
        (["Lattice", "--delay", "-1"], "--delay is -1.0"),
        (["Lattice", "--seed", "-1"], "--seed is -1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, capsys):
    assert main(["watch", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_trained_player_is_watched_from_its_run_or_checkpoint_folder(tmp_path, capsys):
    task = make_task("Copy", k=2)
    run = tmp_path / "run"
    PPO(task, agent="table", seed=0).save(run / "checkpoints" / "final")
    assert main(["watch", "Copy", "--agent", str(run), "--greedy"]) == 0
    told = capsys.readouterr().out
    # Watched on what it learnt: two tokens, not three; an untrained table is indifferent among eight.
    assert "after 2 tokens" in told and "p 0.1" in told and "played by run" in told
    assert main(["watch", "Copy", "--agent", str(run / "checkpoints" / "final"), "--kwargs", "k=1"]) == 0
    assert "after 1 tokens" in capsys.readouterr().out
    with pytest.raises(TokenGymError, match="reads 5 tokens, but Copy shows up to"):
        saved_player(str(run), make_task("Copy", k=4), True)
    assert main(["watch", "Lattice", "--agent", str(run)]) == 2
    assert "cannot play Lattice: it has other tokens" in capsys.readouterr().err


def test_a_player_that_learnt_with_masks_keeps_to_them(tmp_path, capsys):
    arguments = {"num_letters": 4, "word_length": 2, "num_words": 3, "words_only": True}
    task = make_task("WordleMini", **arguments)
    PPO(task, agent="table", action_masks=True, seed=0).save(tmp_path / "run")
    assert main(["watch", "WordleMini", "--agent", str(tmp_path / "run"), "--episodes", "3"]) == 0
    told = capsys.readouterr().out
    words = {" ".join(task.vocabulary.names(word)) for word in task.words}
    said = [line.split()[1] for line in told.splitlines() if "  p " in line]
    guesses = {f"{first} {second}" for first, second in zip(said[::2], said[1::2], strict=True)}
    assert guesses and guesses <= words
