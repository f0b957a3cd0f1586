"""A person plays: scripted lines in, a screen out."""

import io

import pytest
from rich.console import Console

from tokengym.envs.errors import TokenGymError
from tokengym.envs.registration import make_task
from tokengym.experiments.play import play


def run(task, lines, **settings):
    console = Console(file=io.StringIO(), width=100)
    script = iter(lines)

    def ask():
        try:
            return next(script)
        except StopIteration:
            raise EOFError from None

    return play(task, console=console, ask=ask, **settings), console.file.getvalue()


def test_an_episode_ends_with_the_score_against_random_and_optimal_play():
    task = make_task("TokenBandit")
    returns, screen = run(task, ["#3"])
    assert len(returns) == 1
    assert f"return {returns[0]:.4g}" in screen
    assert "random 0.5, optimal 1: a score of" in screen


def test_several_tokens_of_a_line_are_said_one_after_another():
    returns, screen = run(make_task("Copy"), ["#0 #1 #2"])
    assert len(returns) == 1 and "after 3 tokens" in screen


def test_the_legal_tokens_are_listed():
    task = make_task("Copy")
    _, screen = run(task, ["?", "quit"])
    assert "8 legal:" in screen
    assert all(name in screen for name in task.vocabulary.names(range(8)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense-word", "unknown token 'nonsense-word'"),
        ("#99999", "'#99999' is outside the vocabulary, whose ids are 0 … 12"),
        ("<pad>", "'<pad>' cannot be said, only read"),
    ],
)
def test_a_token_that_cannot_be_said_is_refused_and_asked_for_again(line, message):
    returns, screen = run(make_task("TokenBandit"), [line, "#0"])
    assert len(returns) == 1
    assert message in screen


def test_leaving_early_gives_no_score():
    assert run(make_task("Lattice"), ["#0", "quit"])[0] == []
    assert run(make_task("Lattice"), ["#0"])[0] == []


def test_the_same_seed_shows_the_same_prompt():
    screens = [run(make_task("Copy"), ["quit"], seed=seed)[1] for seed in (5, 5, 6)]
    assert screens[0] == screens[1] != screens[2]


def test_several_episodes_end_with_their_mean():
    returns, screen = run(make_task("TokenBandit"), ["#0", "#1"], episodes=2)
    assert len(returns) == 2 and "mean of 2 episodes" in screen


def test_zero_episodes_are_refused():
    with pytest.raises(TokenGymError, match="episodes"):
        run(make_task("TokenBandit"), [], episodes=0)
