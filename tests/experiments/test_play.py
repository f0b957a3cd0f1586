"""A person plays: scripted lines in, screens out."""

import numpy as np
import pytest
from at_the_table import run, terminal

from tokengym.envs import TextTask
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.random import derive_start
from tokengym.envs.registration import make_task
from tokengym.envs.scores import suite_scores
from tokengym.experiments.terminal.episode import Episode
from tokengym.experiments.terminal.guide import Guide, Measured, listed_scores
from tokengym.experiments.terminal.rules import help_lines, rules_of
from tokengym.experiments.terminal.speech import read_command


class Answer(TextTask):
    """Asked for a word; answers what it heard, twice."""

    name = "Answer"

    def __init__(self, legal=False, turns=2):
        corpus = ["say sea wood help yes no"]
        super().__init__({"kind": "words", "corpus": corpus}, max_turn_tokens=3, max_length=40, max_turns=turns)
        self.has_action_mask = legal

    def begin(self, random):
        return [], "say sea"

    def respond(self, episode, completion):
        episode.append(completion)
        return "yes" if completion == "sea" else "no", float(completion == "sea"), False

    def legal(self, episode):
        return ["sea", "wood"]


def test_an_episode_ends_with_the_score_against_random_and_optimal_play():
    returns, screen = run(make_task("TokenBandit"), ["#3"])
    assert len(returns) == 1
    assert f"return {returns[0]:.4g}  (random 0.5, optimal 1)" in screen
    assert f"score {2 * returns[0] - 1:.2f}  0 is random play, 1 the optimum, both on average" in screen


def test_several_tokens_of_a_line_are_said_one_after_another():
    returns, screen = run(make_task("Copy"), ["#0 #1 #2"])
    assert len(returns) == 1 and "ended after 3 tokens" in screen and "you t0 t1 t2" in screen


def test_what_is_left_of_a_line_after_a_turn_of_several_tokens_is_dropped_and_said_so():
    _, screen = run(make_task("WordleMini", num_letters=4, word_length=2, num_words=3), ["#0 #0 #1", "quit"])
    assert "your turn ended there; the rest of the line is dropped" in screen
    assert "token 2 of" in screen and "token 3 of" not in screen


def test_a_line_goes_on_over_turns_of_one_token_and_is_taken_back_as_one():
    _, screen = run(make_task("Lattice"), ["push+ coast push-", "undo", "quit"])
    assert "token 3 of 20" in screen and "dropped" not in screen
    said = [line.split("→")[0].strip() for line in screen.splitlines() if "→" in line]
    assert said == ["you push+", "you coast", "you push-"]
    assert screen.count("token 0 of 20") == 2  # at the start, and after the undo


def test_a_line_stops_before_a_token_that_an_answer_has_made_illegal():
    _, screen = run(make_task("TicTacToe"), ["5 5", "quit"])
    assert "'5' is no longer legal; the rest of the line is dropped" in screen
    assert "token 1 of 5" in screen and "token 2 of 5" not in screen
    assert "was no legal token there" in run(make_task("TicTacToe"), ["5", "5", "quit"])[1]


def test_the_end_of_the_episode_drops_the_rest_of_the_line():
    returns, screen = run(make_task("Lattice", num_steps=2), ["coast coast coast"])
    assert len(returns) == 1 and "your episode ended there; the rest of the line is dropped" in screen


def test_what_can_be_said_is_shown_and_the_help_explains_the_rules():
    task = make_task("Copy")
    _, screen = run(task, ["?", "quit"])
    assert "you can say 8" in screen and "8 legal" in screen
    assert all(name in screen for name in task.vocabulary.names(range(8)))
    assert rules_of(task)[0][1][0].split()[0] in screen


def test_the_help_tells_what_is_seen_and_what_is_paid_without_markup():
    told = [line.plain for line in help_lines(make_task("CartPole"))]
    assert {"What you say", "What you see", "What it pays", "How it ends"} <= set(told)
    assert any("x0, x1, …" in line for line in told) and not any("`" in line for line in told)
    assert sum(line.startswith("• ") for line in map(str, help_lines(make_task("Addition")))) == 3
    assert rules_of(Answer())[0] == ("", ["Asked for a word; answers what it heard, twice."])


def test_on_a_terminal_the_help_has_pages_of_its_own_from_its_first_line_to_the_last_token():
    task, console = make_task("Sentiment"), terminal()
    _, text = run(task, ["?", "", "", "", "", "quit"], console=console)
    screens = text.split("\x1b[2J")
    pages = [screen for screen in screens if "help, page" in screen]
    assert len(pages) >= 2 and "A text of T words is scored" in pages[0] and "Enter: the next page" in pages[0]
    assert "Enter: back to the game" in pages[-1]
    assert all(screen.count("\n") <= 23 for screen in pages)
    told = "".join(pages)
    assert all(name in told for name in task.vocabulary.names(range(62))) and "more" not in pages[-1]


def test_what_is_typed_at_the_help_is_said_or_leaves():
    returns, text = run(make_task("TokenBandit"), ["?", "#0"], console=terminal())
    assert len(returns) == 1 and "help, page 1" in text
    for leave in ("quit", EOFError()):
        assert run(make_task("TokenBandit"), ["?", leave], console=terminal())[0] == []


def test_only_legal_tokens_are_offered_and_an_illegal_one_is_answered_by_the_rules():
    task = make_task("WordleMini", num_letters=4, word_length=2, num_words=3, words_only=True)
    words = [task.vocabulary.names(word) for word in task.words]
    first = sorted({word[0] for word in words})
    others = [name for name in task.vocabulary.names(range(4)) if name not in first]
    returns, screen = run(task, [f"{others[0]}{others[0]}", "quit"])
    assert returns == [] and f"you can say {len(first)} of 4" in screen
    assert f"'{others[0]}' was no legal token there" in screen and "reward -1" in screen


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense-word", "unknown token 'nonsense-word'"),
        ("#99999", "'#99999' is outside the vocabulary, whose ids are 0 … 12"),
        ("99999", "'99999' is outside the vocabulary, whose ids are 0 … 12"),
        ("<pad>", "'<pad>' cannot be said, only read"),
        (":jump", "':jump' is no command"),
    ],
)
def test_a_token_that_cannot_be_said_is_refused_and_asked_for_again(line, message):
    returns, screen = run(make_task("TokenBandit"), [line, "#0"])
    assert len(returns) == 1
    assert message in screen


def test_leaving_early_gives_no_score_however_one_leaves():
    for leave in ("quit", ":quit", EOFError(), KeyboardInterrupt()):
        returns, screen = run(make_task("Lattice"), ["#0", leave])
        assert returns == [] and "score" not in screen and "Traceback" not in screen


def test_undo_takes_a_line_back_with_its_reward_and_its_chances():
    task = make_task("WordleMini", num_letters=4, word_length=2, num_words=3)
    straight = Episode(task)
    returns, screen = run(task, ["undo", "ab", "undo", "ab", "undo", "undo", "quit"])
    assert returns == [] and screen.count("taken back") == 2 and screen.count("there is nothing to take back") == 2
    told = [line for line in screen.splitlines() if "you a b" in line]
    assert len(set(told)) == 1
    straight.begin(3)
    before = straight.get_state()
    said = [straight.say(token) for token in (0, 1)]
    after = straight.exchanges[-1].shown
    straight.set_state(before)
    assert (straight.actions, straight.total, straight.exchanges[1:]) == ([], 0.0, [])
    assert [straight.say(token) for token in (0, 1)] == said and straight.exchanges[-1].shown == after


def test_an_environment_that_cannot_go_back_says_so():
    task = make_task("Lattice")
    task.can_save_state = False
    _, screen = run(task, ["push+", "undo", "quit"])
    assert "this environment cannot go back" in screen


def test_a_hint_is_exact_where_the_task_is_solved():
    task = make_task("Lattice", num_steps=3)
    episode, guide = Episode(task), Guide(task)
    episode.begin(5)
    # By hand: the value with k pushes left, from the task's own transitions.

    def value(state):
        return 0.0 if state is None else max(worth(state, action) for action in range(3))

    def worth(state, action):
        (outcome,) = task.transitions(state, action)
        return outcome.reward + value(outcome.state)

    for token in (2, 0, 2):
        state = task.arrays.states[int(episode.engine._state["state"][0])]
        expected = [worth(state, action) for action in range(3)]
        assert guide.q_values(episode) == pytest.approx(expected, abs=1e-12)
        episode.say(token)
    assert guide.q_values(episode) is None
    _, screen = run(task, ["", "hint", "quit"])
    assert screen.count("exactly solved: the best play from here gets") == 2


def test_without_a_solution_the_expert_is_asked_and_else_nobody():
    assert "the environment's expert would say" in run(make_task("CartPole"), ["hint", "quit"])[1]
    assert "nobody knows a good token here" in run(Answer(), ["hint", "quit"])[1]


def test_values_after_a_step_back_are_those_of_the_place():
    task = make_task("WordleMini", num_letters=4, word_length=2, num_words=3)
    episode, guide = Episode(task), Guide(task)
    episode.begin(1)
    first = guide.q_values(episode)
    before = episode.get_state()
    episode.say(2)
    assert guide.q_values(episode) is not None
    episode.set_state(before)
    assert guide.q_values(episode) == pytest.approx(first)
    episode.say(0)
    fresh = Guide(task)
    assert guide.q_values(episode) == pytest.approx(fresh.q_values(episode))


def test_scores_are_looked_up_for_defaults_and_solved_for_anything_else():
    listed = Guide(make_task("Lattice"), max_nodes=5).references
    assert listed is not None and listed.random < listed.optimal < 0
    assert listed_scores(make_task("Lattice", num_steps=3)) is None
    small = Guide(make_task("Lattice", num_steps=3)).references
    assert small is not None and small.random > listed.random
    assert Guide(make_task("Lattice", num_steps=3), max_nodes=5).references is None


def test_a_task_without_a_spread_has_no_score():
    guide = Guide(make_task("Probe1"))
    assert guide.references is not None and guide.score(1.0) is None


def test_where_no_optimum_is_known_random_play_and_the_expert_are_measured_and_said_to_be():
    task = make_task("Pendulum", max_steps=20)
    measured = Guide(task).measured
    assert measured == Guide(make_task("Pendulum", max_steps=20)).measured and measured.expert is not None
    # By hand: ten episodes of the expert from the same starts.
    totals = []
    for index in range(10):
        episode = Episode(task)
        episode.begin(derive_start(0, index))
        while not episode.ended:
            episode.say(int(episode.engine.expert()[0]))  # type: ignore[index]
        totals.append(episode.total)
    assert measured.expert == pytest.approx(np.mean(totals)) and len(set(totals)) > 1
    returns, screen = run(task, ["#4 " * 20])
    assert f"(random about {measured.random:.4g}, expert {measured.expert:.4g})" in screen
    score = (returns[0] - measured.random) / (measured.expert - measured.random)
    assert f"score {score:.2f}  0 is random play, 1 the expert; the optimum is not known" in screen


def test_what_was_measured_for_the_suite_is_not_measured_again(monkeypatch):
    monkeypatch.setattr("tokengym.experiments.terminal.guide.measured_return", None)
    known = suite_scores()["Pendulum"]
    assert Guide(make_task("Pendulum")).measured == Measured(known.random, known.expert)


def test_without_an_expert_there_is_no_score_but_a_word_on_random_play():
    returns, screen = run(Answer(), ["sea", "sea"])
    assert returns == [2.0] and "the optimum is not known)" in screen and "score" not in screen


def test_a_player_of_bare_numbers_is_told_what_they_are_and_at_the_end_only_what_was_seen():
    task = make_task("Gym", env_id="Pendulum-v1", max_episode_steps=1)
    returns, screen = run(task, ["5", "0"])
    assert len(returns) == 1 and screen.count("seen: ") == 3
    assert [screen.count(f"next: digit {digit} of 2; 0 0 … 9 9 stand for -2 … 2") for digit in (1, 2)] == [1, 1]


def test_the_same_seed_shows_the_same_prompt():
    screens = [run(make_task("Copy"), ["quit"], seed=seed)[1] for seed in (5, 5, 6)]
    assert screens[0] == screens[1] != screens[2]


def test_several_episodes_end_with_their_mean():
    returns, screen = run(make_task("TokenBandit"), ["#0", "#1"], episodes=2)
    assert len(returns) == 2 and "mean of 2 episodes" in screen and "episode 2 of 2" in screen


def test_between_two_episodes_one_can_leave_and_the_last_screen_leaves_room_for_the_mean():
    for leave in ("quit", EOFError()):
        returns, text = run(make_task("TokenBandit"), ["#0", leave, "#1"], console=terminal(), episodes=2)
        assert len(returns) == 1 and "episode 2 of 2" not in text
    returns, text = run(make_task("TokenBandit"), ["#0", "what now", "#1"], console=terminal(), episodes=2)
    assert len(returns) == 2
    _, text = run(make_task("Lattice"), ["coast " * 20, "", "coast " * 20], console=terminal(), episodes=2)
    assert text.split("\x1b[2J")[-1].count("\n") <= 23  # the mean included, and a line for the shell


def test_zero_episodes_are_refused():
    with pytest.raises(TokenGymError, match="episodes"):
        run(make_task("TokenBandit"), [], episodes=0)


def test_in_a_task_of_strings_a_line_is_a_turn():
    returns, screen = run(Answer(), ["sea", "wood"])
    assert returns == [1.0]
    assert "you sea" in screen and "→ yes" in screen and "→ no" in screen and "type a text" in screen
    _, screen = run(Answer(), ["zebra", "quit"])
    assert "has no tokens for 'zebra'" in screen
    _, screen = run(Answer(legal=True), ["quit"])
    assert "you can say 2 of" in screen and "wood" in screen


def test_in_a_task_of_strings_the_help_names_commands_as_they_are_typed():
    task = make_task("HaggleChat")
    assert "?" in task.vocabulary.tokens
    _, screen = run(task, ["?", "quit"])
    assert "hint " in screen and ":hint" not in screen
    assert read_command(task, "hint") == "hint" and read_command(task, ":hint") is None


def test_a_terminal_is_cleared_for_every_screen_and_waits_between_episodes():
    console = terminal()
    returns, text = run(make_task("TokenBandit"), ["#0", "", "#1"], console=console, episodes=2)
    assert len(returns) == 2 and text.count("\x1b[2J") == 4
    assert "Enter: the next episode" in text


def test_the_rules_tell_numbers_and_not_the_names_that_programmers_give_them():
    _, screen = run(make_task("TokenBandit", num_arms=5), ["?"])
    told = screen.split("What you say")[1]
    assert "num_arms" not in screen and "5 tokens" in told
