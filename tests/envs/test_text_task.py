import copy

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.env import TokenEnv
from tokengym.envs.text.task import TextReply, TextTask

CORPUS = ["guess a number from 1 to 7\n", "higher\n", "lower\n", "right", "1 2 3 4 5 6 7\n", "stop.\n go\n!\n!\n!\n"]
TOKENIZERS = [{"kind": kind, "corpus": CORPUS} for kind in ("chars", "bpe")]


class GuessTheNumber(TextTask):
    """A dialogue: a hidden number from 1 to 7, and "higher" or "lower" after each wrong guess."""

    name = "GuessTheNumber"

    def __init__(self, tokenizer=TOKENIZERS[0], max_turns=4):
        super().__init__(tokenizer, max_turn_tokens=3, max_turns=max_turns, max_length=96, stop="\n")

    def begin(self, random):
        return {"secret": int(random.integers(1, 8)), "guesses": []}, "guess a number from 1 to 7\n"

    def respond(self, episode, completion):
        episode["guesses"].append(completion)
        if completion == str(episode["secret"]):
            return "right", 1.0, True
        if not completion.isdigit():
            return "stop.\n", -1.0, False
        return ("higher\n" if int(completion) < episode["secret"] else "lower\n"), 0.0, False

    def legal(self, episode):
        return [f"{number}\n" for number in range(1, 8)]


def say(engine, text, row=0):
    """Says a text in one row, token by token, and gives the last result."""
    result = None
    for token in engine.task.encode(text):
        result = engine.step([row], [token])
    return result


def text_of(engine, row=0):
    return engine.task.render_tokens(engine.tokens[row, : engine.lengths[row]])


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda spec: spec["kind"])
def test_a_dialogue_runs_under_any_tokenizer(tokenizer):
    engine = Engine(GuessTheNumber(tokenizer), 1)
    engine.reset(None, [3])
    low, high, transcript = 1, 7, "guess a number from 1 to 7\n"
    rewards = 0.0
    while not engine.over[0]:
        guess = (low + high) // 2
        result = say(engine, f"{guess}\n")
        assert result.turn_ended[0]
        rewards += result.rewards[0]
        said = text_of(engine).removeprefix(f"{transcript}{guess}\n")
        transcript = text_of(engine)
        low, high = (guess + 1, high) if said == "higher\n" else (low, guess - 1)
    # Halving finds one of seven numbers in three guesses.
    assert transcript.endswith("right") and rewards == 1.0 and transcript.count("\n") <= 4


def test_the_tokens_of_an_episode_are_prompt_sampled_ids_and_replies_in_order():
    task = GuessTheNumber()
    engine = Engine(task, 1)
    engine.reset(None, [3])
    secret = next(n for n in range(1, 8) if say_once(task, n))
    wrong = 1 if secret != 1 else 2
    reply = "higher\n" if wrong < secret else "lower\n"
    say(engine, f"{wrong}\n")
    say(engine, f"{secret}\n")
    expected = [task.vocabulary.bos]
    for text in ("guess a number from 1 to 7\n", f"{wrong}\n", reply, f"{secret}\n", "right"):
        expected += task.encode(text)
    assert engine.tokens[0, : engine.lengths[0]].tolist() == expected


def say_once(task, guess):
    engine = Engine(task, 1)
    engine.reset(None, [3])
    return say(engine, f"{guess}\n").rewards[0] == 1.0


def test_the_turn_limit_terminates_and_is_not_a_truncation():
    engine = Engine(GuessTheNumber(max_turns=2), 1)
    engine.reset(None, [3])
    first = say(engine, "!\n")
    assert not first.terminated[0] and first.rewards[0] == -1.0
    second = say(engine, "!\n")
    assert second.terminated[0] and not second.truncated[0]


def test_a_full_context_truncates_and_keeps_as_much_of_the_reply_as_fits():
    task = GuessTheNumber()
    task.max_length = 1 + len(task.encode("guess a number from 1 to 7\n")) + 2 + 3
    engine = Engine(task, 1)
    engine.reset(None, [3])
    result = say(engine, "!\n")
    assert result.truncated[0] and not result.terminated[0] and result.turn_ended[0]
    assert text_of(engine).endswith("!\nsto")


def test_a_turn_ends_without_a_stop_at_its_token_limit_and_at_the_end_token():
    task = GuessTheNumber()
    engine = Engine(task, 2)
    engine.reset(None, [3, 3])
    engine.step(None, [task.encode("1")[0], task.vocabulary.eos])
    assert text_of(engine, 1).endswith("\nstop.\n")  # an empty text is no number
    ended = [engine.step([0], [task.encode("1")[0]]).turn_ended[0] for _ in range(2)]
    assert ended == [False, True]


def test_append_equals_stepping():
    task = GuessTheNumber(TOKENIZERS[1])
    one, other = Engine(task, 2), Engine(task, 2)
    turn = np.full((2, 3), 7)
    rng = np.random.default_rng(0)
    for start in range(5):
        for engine in (one, other):
            engine.reset(None, [start, start + 9])
        while not one.over.any():
            texts = [f"{number}\n" for number in rng.integers(1, 8, 2)]
            for row, text in enumerate(texts):
                ids = task.encode(text)
                turn[row, : len(ids)] = ids
            counts = [len(task.encode(text)) for text in texts]
            appended = one.append(None, turn, counts)
            stepped = [say(other, text, row) for row, text in enumerate(texts)]
            assert appended.rewards.tolist() == [result.rewards[0] for result in stepped]
            assert appended.terminated.tolist() == [result.terminated[0] for result in stepped]
            np.testing.assert_array_equal(one.tokens, other.tokens)


def merging_tokenizer():
    """A byte-level BPE that merges across words and marks, as those of recent models do with marks and newlines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=262, special_tokens=["<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["go!\n"] * 50, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>")


class Merged(TextTask):
    """Ends at a stop string, and remembers what it was told."""

    def __init__(self, stop="\n"):
        super().__init__(merging_tokenizer(), max_turn_tokens=6, max_length=64, stop=stop)
        self.heard = []

    def begin(self, random):
        return None, "go"

    def respond(self, episode, completion):
        self.heard.append(completion)
        return None, 0.0, True


def test_a_stop_inside_a_merged_token_is_seen_and_the_sampled_ids_are_kept():
    task = Merged()
    engine = Engine(task, 1)
    engine.reset(None, [0])
    (token,) = task.encode("go!\n")
    result = engine.step(None, [token])
    assert result.terminated[0]
    assert task.heard == ["go!"]
    assert engine.tokens[0, engine.lengths[0] - 1] == token


@pytest.mark.parametrize("stop", ["!\n", "o!", "€", " !", ("x", "!")])
def test_a_stop_over_several_tokens_is_seen_at_the_token_that_completes_it(stop):
    task = Merged(stop)
    first = stop if isinstance(stop, str) else "!"
    for text in (first, f"ab{first}", f"{first[0]}{first}"):
        engine = Engine(task, 1)
        engine.reset(None, [0])
        # Character by character, so that nothing is merged.
        ids = [i for character in text for i in task.tokenizer.encode(character, add_special_tokens=False)]
        for index, token in enumerate(ids):
            result = engine.step(None, [token])
            said = task.decode([ids[: index + 1]])[0]
            assert result.terminated[0] == (first in said or index == 5)
            if engine.over[0]:
                break
        assert task.heard.pop() == text[: text.index(first)]


def test_only_tokens_that_can_complete_a_stop_are_decoded():
    task = Merged("\n")
    assert task._may_stop is not None
    names = [name for name, may in zip(task.vocabulary.tokens, task._may_stop, strict=True) if may]
    assert "Ċ" in names and "!" not in names and "go" not in names
    assert Merged(())._may_stop is None


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda spec: spec["kind"])
def test_masked_random_agents_say_only_legal_texts(tokenizer):
    task = GuessTheNumber(tokenizer)
    engine = Engine(task, 8)
    rng = np.random.default_rng(0)
    engine.reset(None, np.arange(8))
    heard = set()
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        mask = engine.action_mask(rows)
        assert mask.any(axis=1).all()
        engine.step(rows, [rng.choice(np.flatnonzero(row)) for row in mask])
        for episode in engine._state["episode"]:
            heard.update(episode["guesses"])
    assert heard == set("1234567")


class Choice(TextTask):
    """Legal texts of which one is the beginning of another, without a stop string."""

    def __init__(self, legal=("a", "ab", "c")):
        super().__init__({"kind": "chars", "corpus": ["abc "]}, max_turn_tokens=3, max_length=16)
        self._texts_allowed = legal

    def begin(self, random):
        return None, "abc "

    def respond(self, episode, completion):
        return None, float(completion in self._texts_allowed), True

    def legal(self, episode):
        return self._texts_allowed


def allowed(engine):
    return {engine.task.vocabulary.tokens[index] for index in np.flatnonzero(engine.action_mask()[0])}


def test_masks_follow_from_the_encodings_of_the_legal_texts():
    task = Choice()
    engine = Engine(task, 1)
    engine.reset(None, [0])
    assert task.has_action_mask and allowed(engine) == {"a", "c"}
    say(engine, "a")
    assert allowed(engine) == {"b", "<eos>"}
    say(engine, "b")
    assert allowed(engine) == {"<eos>"}
    assert engine.step(None, [task.vocabulary.eos]).rewards[0] == 1.0
    engine.reset(None, [0])
    say(engine, "b")
    assert allowed(engine) == {"<eos>"}  # off the legal texts only the end is left


def test_no_legal_method_means_no_mask():
    task = Merged()
    engine = Engine(task, 1)
    engine.reset(None, [0])
    assert not task.has_action_mask and engine.action_mask().all()


@pytest.mark.parametrize(("legal", "message"), [((), "no text"), (("aaaa",), "4 tokens"), ((3,), "strings")])
def test_bad_legal_texts_are_named(legal, message):
    engine = Engine(Choice(legal), 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match=message):
        engine.action_mask()


def test_a_saved_row_goes_on_as_the_original_does():
    task = GuessTheNumber()
    engine = Engine(task, 2)
    engine.reset(None, [3, 4])
    say(engine, "1\n")
    say(engine, "2")
    saved = engine.get_state(0)
    before = copy.deepcopy(saved)
    first = [say(engine, text) for text in ("\n", "3\n")]
    engine.set_state(1, saved)
    second = [say(engine, text, row=1) for text in ("\n", "3\n")]
    assert [r.rewards[0] for r in first] == [r.rewards[0] for r in second]
    np.testing.assert_array_equal(engine.tokens[0], engine.tokens[1])
    assert engine._state["episode"][0] == engine._state["episode"][1]
    assert saved["task"]["episode"] == before["task"]["episode"]  # the saved state is a copy


def test_equal_starts_give_equal_episodes_and_different_starts_different_ones():
    task = GuessTheNumber()
    engine = Engine(task, 64)
    engine.reset(None, np.arange(64) // 2)
    secrets = [episode["secret"] for episode in engine._state["episode"]]
    assert secrets[::2] == secrets[1::2]
    assert set(secrets) == set(range(1, 8))


def test_all_turns_of_a_step_are_answered_in_one_call():
    calls = []

    class Batched(Merged):
        def respond_all(self, episodes, completions, completion_ids):
            calls.append((completions, completion_ids))
            return [TextReply(None, 1.0, True, np.full(len(ids), 1 / len(ids))) for ids in completion_ids]

    task = Batched(())
    engine = Engine(task, 3)
    engine.reset(None, [0, 1, 2])
    eos = task.vocabulary.eos
    go = task.encode("go")[0]
    engine.step(None, [go, go, go])
    result = engine.step(None, [eos, go, eos])
    assert calls == [(["go", "go"], [[go, eos], [go, eos]])]
    assert [part.tolist() for part in result.token_rewards] == [[0.5, 0.5], [0.5, 0.5]]


def test_the_environment_plays_it_and_renders_text():
    env = TokenEnv(GuessTheNumber(), render_mode="ansi", action_masks=True)
    _, info = env.reset(seed=0)
    assert info["action_mask"].sum() == 7
    assert "guess a number from 1 to 7" in env.render()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("right", r"\(reply, reward, done\)"),
        ((None, float("nan"), True), "nan"),
        ((None, None, True), "None"),
        ((3, 0.0, False), "strings"),
    ],
)
def test_a_wrong_answer_of_the_author_is_named(answer, message):
    class Wrong(Merged):
        def respond(self, episode, completion):
            return answer

    engine = Engine(Wrong(), 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match=message):
        engine.step(None, [engine.task.vocabulary.eos])


def test_sizes_stops_and_prompts_that_do_not_fit_stop_at_the_door():
    class Sized(Merged):
        def __init__(self, **changes):
            options = {"max_turn_tokens": 2, "max_length": 8, "stop": ()} | changes
            TextTask.__init__(self, {"kind": "chars", "corpus": ["go"]}, **options)

        def begin(self, random):
            return None, "gogogogo"

    for changes in ({"max_turn_tokens": 0}, {"max_length": -1}, {"max_turns": 0}, {"stop": ["a", ""]}):
        with pytest.raises(TokenGymError):
            Sized(**changes)
    with pytest.raises(TokenGymError, match=r"'gogogogo' has 8 tokens.*at least 10"):
        Engine(Sized(max_length=9), 1).reset(None, [0])
    Engine(Sized(max_length=10), 1).reset(None, [0])
