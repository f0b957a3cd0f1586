"""Chat templates: append-only pieces that add up to what the tokenizer's own rendering gives."""

import numpy as np
import pytest

from tokengym.envs import ChatTask, ChatTemplate, Engine, TokenGymError, build_tokenizer
from tokengym.envs.text.chat import TEMPLATES, check_messages

CORPUS = ["you are kind", "hello there\n", "system: user: assistant:", "one two three", "[INST] <<SYS>>"]
TOKENS = ["<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|start_header_id|>", "<|eot_id|>"]
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|start_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|start_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
REWRITES_THE_PAST = (
    "{% for message in messages %}{% if loop.last %}now: {% endif %}{{ message['content'] }}{% endfor %}"
)
COUNTS = "{% for message in messages %}{{ loop.index }}{{ message['role'] + message['content'] }}{% endfor %}"
THINKS = (
    "{% for message in messages %}{{ message['role'] }}{% if message['role'] == 'assistant' %}: thoughts {% endif %}"
    "{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
)


def tokenizer(kind="chars"):
    return build_tokenizer({"kind": kind, "corpus": CORPUS, "special_tokens": TOKENS})


def message(role, content):
    return {"role": role, "content": content}


OPENING = [message("system", "you are kind"), message("user", "hello")]


@pytest.mark.parametrize("kind", ["chars", "bpe"])
@pytest.mark.parametrize("template", [*TEMPLATES, LLAMA3])
def test_what_is_appended_adds_up_to_the_tokenizer_s_own_rendering(kind, template):
    chat = ChatTemplate(tokenizer(kind), template)
    bos = chat.tokenizer.bos_token_id
    ids, conversation = [bos, *chat.opening(OPENING)], list(OPENING)
    for words, reply in (("one", "hello there"), ("two three", "you two")):
        piece = chat.piece([message("user", reply)])
        # Behind `assistant:` an agent says a space first.
        said = chat.tokenizer.encode(" " * (template == "plain") + words, add_special_tokens=False)
        if piece.end_place is not None:
            said.append(chat.end_of_turn)
        ids += [*said, *piece.ids[0 if piece.end_place is None else piece.end_place + 1 :]]
        conversation += [message("assistant", words), message("user", reply)]
    whole = chat.tokenizer.apply_chat_template(
        conversation, chat_template=chat.template, tokenize=False, add_generation_prompt=True
    )
    assert chat.tokenizer.decode(ids[1:]) == whole.removeprefix(chat.tokenizer.bos_token)
    encoded = chat.tokenizer.encode(whole, add_special_tokens=False)
    assert [bos, *ids[1:]] == (encoded if encoded[0] == bos else [bos, *encoded])


def test_the_end_of_a_turn_is_the_template_s_own():
    tok = tokenizer()
    names = {name: ChatTemplate(tok, name).end_of_turn for name in TEMPLATES}
    assert names == {
        "plain": None,
        "roles": tok.eos_token_id,
        "chatml": tok.convert_tokens_to_ids("<|im_end|>"),
    }
    assert ChatTemplate(tok, LLAMA3).end_of_turn == tok.convert_tokens_to_ids("<|eot_id|>")
    assert ChatTemplate(tok, MISTRAL).end_of_turn == tok.eos_token_id


def test_a_tokenizer_s_own_template_is_the_default_where_it_has_one():
    own = build_tokenizer({"kind": "bpe", "corpus": CORPUS, "special_tokens": [*TOKENS, "<mine>"]})
    assert ChatTemplate(own).template == TEMPLATES["plain"]
    with pytest.raises(TokenGymError, match="no chat template of its own"):
        ChatTemplate(own, "tokenizer")
    own.chat_template = LLAMA3
    try:
        assert ChatTemplate(own).template == ChatTemplate(own, "tokenizer").template == LLAMA3
    finally:
        own.chat_template = None


@pytest.mark.parametrize(
    ("template", "message_"),
    [
        (REWRITES_THE_PAST, "not append-only: a longer conversation changes what was shown"),
        (COUNTS, "not append-only: "),
        (THINKS, "not append-only: it puts words of its own before"),
        ("{{ nothing.at.all }}", "cannot be rendered"),
        ("{% for %}", "cannot be rendered"),
        ("{{ messages.__class__.__mro__ }}", "cannot be rendered|not append-only"),
        ("chatlm", "did you mean 'chatml'"),
        (3, "a name of plain, roles, chatml, or a Jinja text"),
    ],
)
def test_a_template_that_cannot_be_appended_to_is_refused(template, message_):
    with pytest.raises(TokenGymError, match=message_):
        ChatTemplate(tokenizer(), template)


def test_a_template_s_refusal_of_a_role_is_passed_on():
    with pytest.raises(TokenGymError, match="roles system, user: roles must alternate"):
        ChatTemplate(tokenizer(), MISTRAL).opening(OPENING)


def test_missing_special_tokens_and_tokenizers_without_templates_are_named():
    plain = build_tokenizer({"kind": "chars", "corpus": CORPUS})
    with pytest.raises(TokenGymError, match=r"lacks <\|im_start\|>, <\|im_end\|>.*special_tokens"):
        ChatTemplate(plain, "chatml")
    with pytest.raises(TokenGymError, match="no apply_chat_template"):
        ChatTemplate(object())


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], "empty"),
        ("hello", "give a list"),
        ([{"role": "user"}], "message 0"),
        ([message("robot", "x")], "unknown role 'robot'"),
        ([message("user", 3)], "give a string"),
    ],
)
def test_malformed_messages_are_refused(messages, text):
    with pytest.raises(TokenGymError, match=text):
        check_messages(messages)


def test_a_message_cannot_speak_for_another_role():
    with pytest.raises(TokenGymError, match=r"contains the special token '<\|im_end\|>'"):
        ChatTemplate(tokenizer(), "chatml").piece([message("user", "hi<|im_end|>")])


class Parrot(ChatTask):
    """Replies with what was said, as a message or as a list of them."""

    name = "Parrot"

    def __init__(self, template="chatml", silent=False, kind="chars", **options):
        options = {"max_turn_tokens": 6, "max_length": 600, "max_turns": 3} | options
        super().__init__(tokenizer(kind), template=template, **options)
        self.silent = silent

    def begin(self, random):
        return [], OPENING

    def respond(self, episode, completion):
        episode.append(completion)
        return None if self.silent else f"you said {completion}", float(len(completion)), False


def talk(task, turns):
    engine = Engine(task, 1)
    engine.reset(None, 0)
    for ids in turns:
        engine.append(None, [ids], [len(ids)])
    return engine, task.tokenizer.decode(engine.tokens[0, 1 : engine.lengths[0]].tolist())


def test_a_dialogue_is_the_template_s_text_however_a_turn_ends():
    """With the end token, by its length, and with tokens left over at the end of the episode."""
    task = Parrot()
    end = task.vocabulary.eos
    turns = [[*task.encode("one"), end], task.encode("two th"), [end]]
    engine, text = talk(task, turns)
    assert engine.over[0] and engine._state["episode"][0] == ["one", "two th", ""]
    conversation = [*OPENING]
    for words in ("one", "two th", ""):
        conversation += [message("assistant", words), message("user", f"you said {words}")]
    assert text == task.chat.render(conversation, add_generation_prompt=False)


def test_a_stop_string_that_the_template_begins_with_is_not_repeated():
    task = Parrot("plain", stop="\n", kind="bpe", max_turn_tokens=12)
    engine, text = talk(task, [task.encode(" hello\n"), task.encode(" two\n")])
    assert engine._state["episode"][0] == [" hello", " two"]
    conversation = [*OPENING]
    for words in ("hello", "two"):
        conversation += [message("assistant", words), message("user", f"you said  {words}")]
    assert text == task.chat.render(conversation)


def test_the_end_token_of_another_kind_is_kept_and_the_template_s_comes_after_it():
    task = Parrot("plain")
    _, text = talk(task, [[*task.encode("one"), task.vocabulary.eos]])
    assert text.endswith("assistant:one<eos>\nuser: you said one\nassistant:")


def test_silence_between_two_turns_is_refused():
    with pytest.raises(TokenGymError, match="something must be said"):
        talk(Parrot(silent=True), [[Parrot().vocabulary.eos]])


def test_equal_starts_give_equal_dialogues_in_every_row():
    task = Parrot()
    engine, draw = Engine(task, 3), np.random.default_rng(0)
    engine.reset(None, 5)
    while not engine.over.all():
        engine.step(None, np.full(3, draw.integers(task.vocabulary.num_actions)))
        assert (engine.tokens == engine.tokens[0]).all()
