"""Wrappers: text in and out, and a file that holds every episode."""

import json
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from sample_tasks import Echo

from tokengym.envs import Engine, TokenEnv, TokenGymError, make_task
from tokengym.envs.wrappers import RecordEpisodes, TextAction, TextObservation, read_episodes

TEXTS = {"kind": "chars", "corpus": ["say it SAY IT\n"]}
MADE = {
    "lattice": lambda: gymnasium.make("tokengym/Lattice-v0"),
    "wordle": lambda: gymnasium.make("tokengym/WordleMini-v0"),
    "text": lambda: gymnasium.make("tokengym/TextGeneration-v0"),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("unit", ["token", "turn"])
def test_gymnasiums_checker_accepts_text_in_and_out(name, unit, tmp_path):
    recorded = RecordEpisodes(MADE[name](), str(tmp_path / "episodes.jsonl"))
    env = TextAction(TextObservation(recorded), unit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        check_env(env, skip_render_check=True)
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert data_equivalence(again.reset(seed=5), env.reset(seed=5), exact=True)
    assert again.observation_space == env.observation_space and again.action_space == env.action_space
    env.action_space.seed(1)
    for _ in range(10):
        action = env.action_space.sample()
        assert action in env.action_space
        left, right = again.step(action), env.step(action)
        assert data_equivalence(left, right, exact=True)
        if right[2] or right[3]:
            break


def test_an_observation_is_the_text_that_the_task_renders():
    env = TextObservation(gymnasium.make("tokengym/WordleMini-v0"))
    assert env.reset(seed=0)[0] == ""
    assert env.step(0)[0] == "a"
    assert env.step(1)[0] == "a b"
    text = env.step(2)[0]
    assert text.startswith("a b c ") and len(text.split()) == 6
    assert text in env.observation_space and 3 not in env.observation_space


def test_a_turn_in_words_is_its_tokens_one_by_one():
    spoken, said = (
        TextAction(gymnasium.make("tokengym/WordleMini-v0"), "turn"),
        gymnasium.make("tokengym/WordleMini-v0"),
    )
    spoken.reset(seed=3)
    said.reset(seed=3)
    observation, reward, terminated, truncated, info = spoken.step("a c b")
    steps = [said.step(token) for token in (0, 2, 1)]
    assert info["said"].tolist() == [0, 2, 1]
    assert data_equivalence(observation, steps[-1][0], exact=True)
    assert (reward, terminated, truncated) == (sum(step[1] for step in steps), *steps[-1][2:4])


def test_a_short_turn_is_ended_with_the_end_token_and_stops_with_its_stop_string():
    def turn(text, **kwargs):
        env = TextAction(
            gymnasium.make(
                "tokengym/TextGeneration-v0", prompts=["say it"], tokenizer=TEXTS, reward=str_length, **kwargs
            ),
            "turn",
        )
        env.reset(seed=0)
        vocabulary = env.unwrapped.vocabulary
        _, reward, terminated, _, info = env.step(text)
        return reward, terminated, vocabulary.names(info["said"].tolist()), vocabulary.tokens[vocabulary.eos]

    reward, terminated, said, eos = turn("SAY")
    assert (reward, terminated, said) == (3.0, True, ["S", "A", "Y", eos])
    reward, terminated, said, _ = turn("SAY\nIT", stop="\n")
    assert (reward, terminated, len(said)) == (3.0, True, 4)
    assert turn("")[2] == [eos]


def str_length(completions, **kwargs):
    return [float(len(text)) for text in completions]


def test_a_turn_of_a_token_task_ends_with_its_own_token():
    env = TextAction(TokenEnv(Echo()), "turn")
    env.reset(seed=0)
    assert env.step("1 2")[4]["said"].tolist() == [1, 2, 3]
    assert env.step("2 stop")[4]["said"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("unit", "action", "message"),
    [
        ("token", "q", "unknown token 'q'"),
        ("token", "a b", "'a b' is 2 tokens: with unit='token'"),
        ("token", "+", "the agent cannot say '\\+'"),
        ("token", 3, "the action 3 is no string"),
        ("turn", "a b", "'a b' has 2 tokens: a turn of task WordleMini has 3"),
        ("turn", "a b c a", "has 4 tokens"),
        ("turn", "", "has 0 tokens"),
        ("sentence", "a", "unit='sentence': give 'token' or 'turn'"),
    ],
)
def test_a_text_that_is_no_action_is_refused_and_nothing_is_said(unit, action, message):
    inner = gymnasium.make("tokengym/WordleMini-v0")
    inner.reset(seed=0)
    with pytest.raises(TokenGymError, match=message):
        TextAction(inner, unit).step(action)
    assert inner.unwrapped.engine.lengths.tolist() == [1]


def test_texts_are_not_sampled_under_a_mask():
    space = TextAction(gymnasium.make("tokengym/WordleMini-v0")).action_space
    with pytest.raises(TokenGymError, match="sampled without a mask"):
        space.sample(mask=(1, None))


def test_other_environments_are_refused():
    class Other(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)

    for wrapper in (TextObservation, TextAction, lambda env: RecordEpisodes(env, "episodes.jsonl")):
        with pytest.raises(TokenGymError, match="is no TokenEnv"):
            wrapper(Other())


def play(env, seed, actions):
    env.reset(seed=seed)
    total, ended = [], False
    for action in actions:
        assert not ended
        _, reward, terminated, truncated, _ = env.step(action)
        total.append(reward)
        ended = terminated or truncated
    return total, ended


def test_every_episode_is_one_line_from_which_it_can_be_played_again(tmp_path):
    path = tmp_path / "new" / "episodes.jsonl"
    env = RecordEpisodes(gymnasium.make("tokengym/Lattice-v0", num_steps=3, max_episode_steps=2), path)
    first, _ = play(env, 7, [0, 2])
    env.reset()
    env.step(1)
    env.reset()
    env.close()
    env = RecordEpisodes(gymnasium.make("tokengym/Lattice-v0", num_steps=3), path)
    whole, ended = play(env, 8, [1, 1, 2])
    assert ended
    env.reset()
    env.step(0)
    env.close()
    episodes = list(read_episodes(path))
    assert [(one["seed"], one["episode"], one["length"], one["ended"]) for one in episodes] == [
        (7, 0, 2, "truncated"),
        (7, 1, 1, "interrupted"),
        (8, 0, 3, "terminated"),
        (8, 1, 1, "interrupted"),
    ]
    assert episodes[0]["tokens"] == [0, 2] and episodes[0]["rewards"] == first and episodes[0]["return"] == sum(first)
    one = episodes[2]
    assert one["env"] == "tokengym/Lattice-v0" and one["rewards"] == whole
    task = make_task("Lattice", num_steps=3)
    engine = Engine(task, 1)
    engine.reset(None, one["start"])
    assert engine.tokens[0, : engine.lengths[0]].tolist() == one["prompt"]
    assert [float(engine.step(None, [token]).rewards[0]) for token in one["tokens"]] == whole
    assert one["text"].count("\n") == 3 and one["text"].split("\n")[0].endswith(" coast")
    assert one["text"].split("\n")[-1] == task.render_tokens(engine.tokens[0, : engine.lengths[0]])


def test_the_text_of_an_episode_in_one_sequence_is_the_last_observation(tmp_path):
    env = RecordEpisodes(gymnasium.make("tokengym/KLTree-v0"), tmp_path / "episodes.jsonl")
    play(env, 0, [0, 1, 2, 3])
    (episode,) = read_episodes(env.path)
    assert episode["text"] == "t0 t1 t2 t3"
    assert json.loads(env.path.read_text()) == episode


def test_half_a_line_that_a_crash_left_is_cut_off(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(gymnasium.make("tokengym/KLTree-v0"), path)
    play(env, 0, [0, 1, 2, 3])
    whole = path.read_bytes()
    for rest in (b'{"env": "tok', b"x" * 70000):
        path.write_bytes(whole + rest)
        assert len(list(read_episodes(path))) == 1
        RecordEpisodes(gymnasium.make("tokengym/KLTree-v0"), path)
        assert path.read_bytes() == whole
    path.write_bytes(b"half a line")
    RecordEpisodes(gymnasium.make("tokengym/KLTree-v0"), path)
    assert path.read_bytes() == b""
    path.write_bytes(b"no json\n" + whole)
    with pytest.raises(TokenGymError, match="line 1 is no episode"):
        list(read_episodes(path))


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    env = gymnasium.make("tokengym/KLTree-v0")
    with pytest.raises(TokenGymError, match=r"cannot be written: it is a folder; name a file"):
        RecordEpisodes(env, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenGymError, match=r"cannot be written: .*name a file in a folder"):
        RecordEpisodes(env, tmp_path / "file" / "episodes.jsonl")
    with pytest.raises(TokenGymError, match="put it inside of TextAction"):
        RecordEpisodes(TextObservation(TextAction(env)), tmp_path / "episodes.jsonl")
    with pytest.raises(TokenGymError, match="cannot be read"):
        list(read_episodes(tmp_path / "none.jsonl"))


def test_numpy_actions_and_rewards_are_written_as_numbers(tmp_path):
    env = RecordEpisodes(gymnasium.make("tokengym/KLTree-v0"), tmp_path / "episodes.jsonl")
    play(env, 0, np.arange(4))
    assert next(read_episodes(env.path))["tokens"] == [0, 1, 2, 3]
