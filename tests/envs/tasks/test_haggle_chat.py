"""HaggleChat: the bargain in words, held against `Haggle`."""

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, build_tokenizer, make_task
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.games.haggle import Haggle
from tokengym.envs.tasks.games.haggle_chat import DEAL, UNCLEAR, HaggleChat


def begun(task, limit):
    engine = Engine(task, 1)
    engine.reset(None, 0)
    engine._state["episode"][0].limit = limit
    return engine


def say(task, engine, text):
    ids = [*task.encode(text), task.vocabulary.eos]
    return engine.append(None, [ids], [len(ids)])


def test_a_bargain_in_words_pays_what_haggle_pays():
    task = HaggleChat()
    engine = begun(task, 6)
    results = [say(task, engine, text) for text in ("I ask 9.", "what do you want", "6 for you")]
    assert [float(result.rewards[0]) for result in results] == [0, 0, pytest.approx(6 * 0.81)]
    assert results[-1].terminated[0]
    text = task.tokenizer.decode(engine.tokens[0, : engine.lengths[0]].tolist())
    assert text.startswith("<bos> <|system|> You sell a lamp . Ask a price from 1 to 10 . <|user|> What do you want")
    assert "I ask 9 . <eos> <|user|> 9 is too much for me . <|assistant|>" in text
    assert text.endswith("6 for you <eos> <|user|> It is a deal .")


@pytest.mark.parametrize("text", ["", "sell", "0", "11 or 3", "1000000000000", "?"])
def test_an_answer_without_a_price_is_asked_about_and_costs_a_round(text):
    task = HaggleChat()
    reply, reward, over = task.respond(task.begin(np.random.default_rng(0))[0], text)
    assert (reply, reward, over) == (UNCLEAR, 0.0, False)


def test_the_first_number_is_the_price_and_four_rounds_are_all():
    task = HaggleChat()
    episode, _ = task.begin(np.random.default_rng(0))
    episode.limit = 4
    said = [task.respond(episode, text) for text in ("well, 7?", "5 not 4", "", "9")]
    assert [reply for reply, _, _ in said] == [
        "7 is too much for me.",
        "5 is too much for me.",
        UNCLEAR,
        "9 is too much for me.",
    ]
    assert [over for _, _, over in said] == [False, False, False, True]
    episode, _ = task.begin(np.random.default_rng(0))
    episode.limit = 4
    assert task.respond(episode, "4") == (DEAL, 4.0, True)


def test_the_random_return_is_that_of_enumerated_turns():
    """Two tokens a turn, all V² of them: how often the first number is a certain price."""
    task = HaggleChat(max_turn_tokens=2)
    size = task.vocabulary.num_actions
    asked = 0
    for first in range(size):
        if first == task.vocabulary.eos:
            continue
        for second in range(size):
            ids = [first] if second == task.vocabulary.eos else [first, second]
            asked += task.price_in(task.decode([ids])[0]) == 7
    assert task.random_return == pytest.approx(Haggle().return_of_uniform_asks(asked / size**2), abs=1e-12)


def test_the_optimum_is_haggle_s_and_the_expert_attains_it():
    task = HaggleChat()
    assert task.optimal_return == pytest.approx(solve(Haggle()).optimal_return, abs=1e-12)
    engine = Engine(task, 7)
    engine.reset(None, np.arange(7))
    for episode, limit in zip(engine._state["episode"], range(4, 11), strict=True):
        episode.limit = limit
    total = np.zeros(7)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        total[rows] += engine.step(rows, engine.expert(rows)).rewards  # type: ignore[arg-type]
    assert total.mean() == pytest.approx(task.optimal_return, abs=1e-12)


@pytest.mark.parametrize("template", ["plain", "roles", "chatml"])
def test_masks_leave_only_asks_and_no_dialogue_is_cut_short(template):
    task = HaggleChat(asks_only=True, template=template, lowest_limit=1, num_prices=12)
    engine, draw = Engine(task, 20), np.random.default_rng(1)
    engine.reset(None, np.arange(20))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        mask = engine.action_mask(rows)
        result = engine.step(rows, (draw.random(mask.shape) * mask).argmax(axis=1))
        assert not result.truncated.any()
    text = " ".join(task.render_tokens(row) for row in engine.tokens)
    assert UNCLEAR[:5] not in text and "deal" in text


def test_it_speaks_under_another_tokenizer_in_its_own_template(tmp_path):
    tokenizer = build_tokenizer({"kind": "bpe", "special_tokens": ["<|im_start|>", "<|im_end|>"]})
    task = make_task("HaggleChat", tokenizer=tokenizer, template="chatml", max_turn_tokens=12)
    engine = begun(task, 10)
    assert say(task, engine, "I ask 10.").rewards[0] == 10.0
    assert task.random_return is None and task.optimal_return == make_task("HaggleChat").optimal_return


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_rounds": 0}, "num_rounds"),
        ({"lowest_limit": 12}, "lowest_limit=12"),
        ({"max_turn_tokens": 1}, "max_turn_tokens=1"),
        ({"template": "rolls"}, "did you mean 'roles'"),
        ({"tokenizer": {"kind": "bpe"}, "asks_only": True, "max_turn_tokens": 2}, "does not fit"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        HaggleChat(**arguments)
