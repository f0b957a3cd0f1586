"""Texts and messages in tokens: as the environments show and hear them, prompt and answer apart."""

import numpy as np
import pytest

from tokengym.algorithms.data import Encoded, OverlongError, TextEncoder, episodes_from
from tokengym.envs import Engine, TokenGymError, Vocabulary, make_task
from tokengym.envs.text import ChatTask, TextTask, build_tokenizer

CHARS = {"kind": "chars", "corpus": ["abcdefghijklmnopqrstuvwxyz .:<|>_!?\n"]}
CHATML = {"kind": "bpe", "special_tokens": ["<|im_start|>", "<|im_end|>"]}
ROLES = {"kind": "bpe", "special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]}
WORDS = {"kind": "words", "corpus": ["user : assistant system be kind hello there how are you well and good bye"]}
CHATS = [(CHATML, "chatml"), (ROLES, "roles"), (CHARS, "plain"), (WORDS, "plain")]

TALK = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hello there"},
    {"role": "user", "content": "how are you"},
    {"role": "assistant", "content": "well and you"},
    {"role": "user", "content": "good"},
    {"role": "assistant", "content": "good bye"},
]


class Recital(ChatTask):
    """Asks what `TALK` asks, in as many turns, whatever is answered."""

    def begin(self, random):
        return [0], TALK[:2]

    def respond(self, episode, completion):
        episode[0] += 1
        return ([], [TALK[3]], [TALK[5]], None)[episode[0]], 1.0, episode[0] == 3


class Line(TextTask):
    """Asks for the rest of a line."""

    def begin(self, random):
        return None, "go on: "

    def respond(self, episode, completion):
        return None, 0.0, True


def played(task, *texts):
    """What the engine has shown and heard once texts were said as whole turns."""
    engine = Engine(task, 1)
    engine.reset(np.array([0]), np.array([0], np.uint64))
    for text in texts:
        ids = task.codec.encode_turn(text)
        engine.append(np.array([0]), np.array([ids]), np.array([len(ids)]))
    return engine.tokens[0, : engine.lengths[0]].tolist()


@pytest.mark.parametrize(("tokenizer", "template"), CHATS, ids=["chatml", "roles", "plain", "words"])
def test_a_dialogue_is_encoded_as_it_would_have_been_played(tokenizer, template):
    task = Recital(tokenizer, template=template, max_turn_tokens=40, max_length=400, max_turns=3)
    expected = played(task, *(message["content"] for message in TALK if message["role"] == "assistant"))
    for source in ({"text": task}, {"text": tokenizer, "chat": True, "template": template}):
        encoder = TextEncoder(**source)
        assert encoder.vocabulary == task.vocabulary
        encoded = encoder.encode(TALK[:2], TALK[2:])
        assert encoded.tokens == expected[: len(encoded.tokens)] and len(encoded.tokens) > len(expected) - 3
        assert encoder.messages(TALK) == encoded
        heard = [token for token, said in zip(*encoded, strict=True) if said]
        words = [task.codec.encode_turn(one["content"]) for one in TALK if one["role"] == "assistant"]
        assert heard == [token for turn in words for token in turn]


@pytest.mark.parametrize(("tokenizer", "template"), CHATS, ids=["chatml", "roles", "plain", "words"])
def test_a_dialogue_is_read_back_as_messages(tokenizer, template):
    encoder = TextEncoder(tokenizer, chat=True, template=template)
    for cut in (2, 4, 6):
        assert encoder.decode(*encoder.encode(TALK[:cut], TALK[cut:])) == (TALK[:cut], TALK[cut:])
    for opening in (TALK[1:2], TALK[1:4]):
        assert encoder.decode(*encoder.encode(opening, TALK[-1:])) == (opening, TALK[-1:])


def test_what_a_task_says_after_the_agents_last_word_is_no_answer():
    task = Recital(CHATML, template="chatml", max_turn_tokens=40, max_length=400, max_turns=3)
    encoder = TextEncoder(task)
    tokens, said = encoder.encode(TALK[:2], TALK[2:5])
    longer = [*tokens, *task.reply_ids([TALK[5]], tokens, False)]
    assert encoder.decode(longer, [*said, *[False] * (len(longer) - len(said))]) == (TALK[:2], TALK[2:5])


def test_prompt_and_answer_are_encoded_apart():
    tokenizer = build_tokenizer({"kind": "bpe", "corpus": ["the sea the sea the sea the sea"], "vocab_size": 280})
    encoder = TextEncoder(tokenizer)
    apart = encoder.encode("th", "e sea")
    assert tokenizer.encode("the sea", add_special_tokens=False) != apart.tokens[1:-1]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in ("th", "e sea")]
    assert apart.tokens == [tokenizer.bos_token_id, *ids[0], *ids[1], tokenizer.eos_token_id]
    assert apart.said == [False] * (1 + len(ids[0])) + [True] * (len(ids[1]) + 1)
    assert encoder.decode(*apart) == ("th", "e sea")


def test_an_answer_ends_as_the_task_ends_it():
    task = Line(CHARS, max_turn_tokens=5, max_length=40, stop="!")
    encoder, eos = TextEncoder(task), task.vocabulary.eos
    assert encoder.encode("go on: ", "abc").tokens == played(task, "abc")
    assert encoder.encode("go on: ", "abc").tokens[-1] == eos
    assert encoder.encode("go on: ", "ab!").tokens == played(task, "ab!") != [*played(task, "ab!")[:-1], eos]
    assert encoder.encode("go on: ", "abcde").tokens == played(task, "abcde")
    assert encoder.encode("go on: ", "").tokens[-1] == eos
    with pytest.raises(OverlongError, match=r"a turn has 6 tokens, and one of .* at most 5"):
        encoder.encode("go on: ", "abcdef")
    with pytest.raises(OverlongError, match="it has 9 tokens, <bos> and ends included, and max_length is 8"):
        TextEncoder(task, max_length=8).encode("a b", "abcd")


def test_names_of_tokens_are_text_too():
    task = make_task("Copy")
    encoder = TextEncoder(task)
    engine = Engine(task, 1)
    engine.reset(np.array([0]), np.array([0], np.uint64))
    shown = engine.tokens[0, : engine.lengths[0]].tolist()
    prompt = task.vocabulary.render(shown)
    encoded = encoder.encode(prompt, "t1 t0 t2")
    assert encoded == Encoded([*shown, 1, 0, 2], [False] * len(shown) + [True] * 3)
    assert encoder.decode(*encoded) == (prompt, "t1 t0 t2") == TextEncoder(task.vocabulary).decode(*encoded)
    with pytest.raises(TokenGymError, match="unknown token 't99'"):
        encoder.encode(prompt, "t99")
    with pytest.raises(TokenGymError, match="The answer has no token"):
        encoder.encode(prompt, " ")


def test_control_tokens_in_texts_are_text():
    encoder = TextEncoder({"kind": "bpe"})
    encoded = encoder.encode("<eos> ends", "<eos> too")
    assert encoded.tokens.count(encoder.vocabulary.eos) == 1 and encoded.tokens[-1] == encoder.vocabulary.eos
    assert encoder.decode(*encoded) == ("<eos> ends", "<eos> too")


@pytest.mark.parametrize(
    ("prompt", "answer", "message"),
    [
        ([], TALK[2:3], "messages are empty"),
        (TALK[:2], TALK[3:5], "the roles user assistant; expected it to begin and end with the assistant"),
        (TALK[:2], TALK[2:4], "the roles assistant user; expected it to begin and end with the assistant"),
        (TALK[:2], [TALK[2], TALK[4]], "who does not speak twice in a row"),
        (TALK[:2], [], "the roles of nobody"),
        (TALK[:2], [{"role": "assistant", "content": 3}], "'role' and 'content', both strings"),
        (TALK[:2], [{"role": "assistant"}], "'role' and 'content', both strings"),
        ([{"role": "wizard", "content": "a"}], TALK[2:3], "wizard"),
    ],
)
def test_conversations_that_are_none_are_refused(prompt, answer, message):
    with pytest.raises(TokenGymError, match=message):
        TextEncoder(CHATML, chat=True, template="chatml").encode(prompt, answer)


def test_texts_and_messages_are_told_apart():
    plain = TextEncoder(CHARS)
    for said in ((TALK[:2], "a"), ("a", TALK[2:3])):
        with pytest.raises(TokenGymError, match="is a list of messages, and this is plain text: give a chat template"):
            plain.encode(*said)
    with pytest.raises(TokenGymError, match="names of tokens"):
        TextEncoder(make_task("Copy")).encode(TALK[:1], TALK[2:3])
    chat = TextEncoder(CHATML, chat=True, template="chatml")
    assert chat.encode("hello", "hello there") == chat.encode(TALK[1:2], TALK[2:3])
    for talk, why in ((TALK[:2], "the assistant says nothing"), (TALK[2:], "the assistant speaks first")):
        with pytest.raises(TokenGymError, match=why):
            chat.messages(talk)


def test_a_task_has_only_as_many_turns_as_it_has():
    task = Recital(CHATML, template="chatml", max_turn_tokens=40, max_length=400, max_turns=2)
    with pytest.raises(TokenGymError, match=r"An answer has 3 turns of the assistant's; .* has 2"):
        TextEncoder(task).encode(TALK[:2], TALK[2:])


def test_what_has_no_text_is_refused():
    with pytest.raises(TokenGymError, match="shows each turn apart"):
        TextEncoder(make_task("Lattice"))
    with pytest.raises(TokenGymError, match="give the tokenizer, or the task"):
        TextEncoder(Vocabulary.from_tokenizer(build_tokenizer({"kind": "bpe"})))
    with pytest.raises(TokenGymError, match="The agent says nothing"):
        TextEncoder(CHARS).decode([0, 1, 2], [False] * 3)
    with pytest.raises(TokenGymError, match="several turns"):
        TextEncoder(CHARS).decode([1, 5, 6, 7], [False, True, False, True])
    chat = TextEncoder(CHATML, chat=True, template="chatml")
    tokens, said = chat.encode(TALK[:2], TALK[2:3])
    with pytest.raises(TokenGymError, match="Nothing that the chat template writes reads"):
        chat.decode([*tokens[:1], *tokens[2:]], [*said[:1], *said[2:]])


def test_episodes_are_one_sequence_each_and_pay_with_the_last_token():
    encoded = [Encoded([7, 1, 2, 3], [False, False, True, True]), Encoded([7, 1, 4], [False, False, True])]
    encoded.append(Encoded([7, 2, 4, 5], [False, False, True, False]))
    episodes = episodes_from(encoded, pad=9, returns=[1.5, -2.0, 3.0])
    assert episodes.returns.tolist() == [1.5, -2.0, 3.0]
    assert episodes.rewards.tolist() == [[0, 0, 0, 1.5], [0, 0, -2, 0], [0, 0, 3, 0]]
    assert episodes.tokens[1].tolist() == [7, 1, 4, 9] and episodes.lengths.tolist() == [4, 3, 4]
    assert episodes.starts.tolist() == [0, 0, 1] and episodes.terminated.all() and not episodes.truncated.any()
    assert episodes_from(encoded, pad=9, starts=[5, 6, 7]).starts.tolist() == [5, 6, 7]
