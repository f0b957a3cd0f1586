"""One game under tokenizers of every kind: what is legal can be said, and is heard as its author wrote it."""

from functools import cache

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.text.task import TextTask
from tokengym.envs.text.tokenizers import build_tokenizer
from tokengym.envs.vocabulary import Vocabulary

MOVES = ("go\n", "go north\n", "go north east\n", "Go North!\n", "don't stop.\n", "do not stop.\n")
CORPUS = [*MOVES, "Where to?\n", "on, on\n", "there\n", "wait"] * 20
SPECIALS = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}


def wrapped(tokenizer, **specials):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **specials)


def word_piece(lowercase):
    """As BERT's: it drops newlines, splits off signs, and has a separator in place of an end token."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=list(SPECIALS.values()), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrapped(tokenizer, **SPECIALS)


def unigram():
    """As T5's: every text begins with a space that decoding takes away."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrapped(tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def byte_fallback():
    """As Llama's first one: merges across spaces, and what it does not know in bytes."""
    pieces = sorted({character for text in CORPUS for character in text.replace(" ", "▁").replace("\n", "")} | {"▁"})
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, "▁n", "th", "▁g", "▁go"]
    merges = [("▁", "n"), ("t", "h"), ("▁", "g"), ("▁g", "o")]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: index for index, name in enumerate(names)},
            merges=merges,
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {
    "chars": lambda: build_tokenizer({"kind": "chars", "corpus": CORPUS}),
    "bpe": lambda: build_tokenizer({"kind": "bpe", "corpus": CORPUS, "vocab_size": 300}),
    "word-piece": lambda: word_piece(lowercase=False),
    "word-piece-lowercase": lambda: word_piece(lowercase=True),
    "unigram": unigram,
    "byte-fallback": byte_fallback,
    "python-bytes": ByT5Tokenizer,
}
KEEPS_TEXT = ("chars", "bpe", "unigram", "byte-fallback", "python-bytes")


@cache
def tokenizer_of(name):
    return TOKENIZERS[name]()


class Walk(TextTask):
    """Asks "Where to?" three times; one of the moves is the way."""

    name = "Walk"

    def __init__(self, tokenizer, stop="\n", moves=MOVES):
        super().__init__(tokenizer, max_turn_tokens=20, max_length=200, max_turns=3, stop=stop)
        self.moves, self.heard = moves, []

    def begin(self, random):
        return {"way": str(random.choice(self.moves))}, "Where to?\n"

    def respond(self, episode, completion):
        self.heard.append(completion)
        right = f"{completion}\n" == episode["way"]
        return ("there\n" if right else "on, on\n"), float(right), right

    def legal(self, episode):
        return self.moves

    def expert_text(self, episode):
        return episode["way"]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_masked_random_agents_say_every_legal_text_and_nothing_else(name):
    task = Walk(tokenizer_of(name))
    engine, draw = Engine(task, 60), np.random.default_rng(0)
    engine.reset(None, np.arange(60))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        mask = engine.action_mask(rows)
        assert mask.any(axis=1).all()
        engine.step(rows, [draw.choice(np.flatnonzero(row)) for row in mask])
    assert set(task.heard) == {move.removesuffix("\n") for move in MOVES}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_expert_says_its_text_and_is_heard(name):
    task = Walk(tokenizer_of(name))
    engine = Engine(task, 24)
    engine.reset(None, np.arange(24))
    total = np.zeros(24)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        actions = engine.expert(rows)
        assert engine.action_mask(rows)[np.arange(len(rows)), actions].all()
        total[rows] += engine.step(rows, actions).rewards
    assert total.tolist() == [1.0] * 24 and len(task.heard) == 24


def test_the_expert_ends_a_turn_that_began_otherwise():
    task = Walk(tokenizer_of("chars"))
    engine = Engine(task, 1)
    engine.reset(None, [0])
    engine.step(None, [task.encode("w")[0]])
    assert engine.expert().tolist() == [task.vocabulary.eos]
    task.expert_text = lambda episode: None
    assert engine.expert() is None


@pytest.mark.parametrize("stop", ["\n", "!", "h e", "€", ("st", "on")])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_turn_ends_exactly_where_its_decoded_text_has_a_stop(name, stop):
    task = Walk(tokenizer_of(name), stop=stop, moves=("go",))
    task.legal = lambda episode: None
    stops = (stop,) if isinstance(stop, str) else stop
    draw, size = np.random.default_rng(1), task.vocabulary.num_actions
    parts = [task.writer.raw(text) for text in (*CORPUS[:8], *stops)]
    engine = Engine(task, 1)
    for start in range(40):
        engine.reset(None, [start])
        # Pieces of texts, and tokens from anywhere between them.
        said = [token for _ in range(20) for token in [*parts[draw.integers(len(parts))], int(draw.integers(size))]]
        for count, token in enumerate(said[:20], 1):
            result = engine.step(None, [token])
            text = task.decode([said[:count]])[0]
            stopped = any(one in text for one in stops)
            assert result.turn_ended[0] == (stopped or token == task.vocabulary.eos or count == 20)
            if result.turn_ended[0]:
                places = [text.find(one) for one in stops if one in text]
                assert task.heard.pop() == (text[: min(places)] if stopped else text)
                break


@pytest.mark.parametrize("name", TOKENIZERS)
def test_an_observation_is_the_prompt_s_ids_after_bos_and_reads_as_the_prompt(name):
    task = Walk(tokenizer_of(name))
    engine = Engine(task, 1)
    engine.reset(None, [0])
    tokens = engine.tokens[0, : engine.lengths[0]]
    assert tokens.tolist() == [task.vocabulary.bos, *task.encode("Where to?\n")]
    shown = task.render_tokens(tokens)
    assert shown == "Where to?\n" if name in KEEPS_TEXT else shown.lower() == "where to?"


@pytest.mark.parametrize("name", KEEPS_TEXT)
def test_encoding_and_decoding_give_a_text_back(name):
    task = Walk(tokenizer_of(name))
    assert task.decode([task.encode(text) for text in MOVES]) == list(MOVES)


def test_an_empty_or_unknown_turn_is_never_taken_for_a_legal_text():
    task = Walk(tokenizer_of("word-piece"))
    engine = Engine(task, 1)
    engine.reset(None, [0])
    engine.step(None, [task.vocabulary.eos])
    engine.step(None, [task.tokenizer.unk_token_id])
    engine.step(None, [task.vocabulary.eos])
    assert task.heard == ["", ""]


@pytest.mark.parametrize(
    ("name", "moves", "message"),
    [
        ("word-piece", ("go\n", "¿\n"), "cannot write the legal text '¿"),
        ("chars", ("go\n", "Xo\n"), "cannot write the legal text 'Xo"),
        ("word-piece-lowercase", ("go north\n", "Go North\n"), "'go north' and 'Go North' both read 'go north'"),
    ],
)
def test_legal_texts_that_a_tokenizer_cannot_tell_are_refused(name, moves, message):
    engine = Engine(Walk(tokenizer_of(name), moves=moves), 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match=message):
        engine.action_mask()


def test_the_same_text_with_and_without_its_stop_is_one_legal_text():
    task = Walk(tokenizer_of("chars"), moves=("go\n", "go"))
    engine = Engine(task, 1)
    engine.reset(None, [0])
    for token in task.encode("go"):
        engine.step(None, [token])
    allowed = [task.vocabulary.tokens[token] for token in np.flatnonzero(engine.action_mask()[0])]
    assert sorted(allowed) == ["\n", "<eos>"]


def test_a_separator_and_a_class_token_stand_in_for_end_and_beginning():
    vocabulary = Vocabulary.from_tokenizer(tokenizer_of("word-piece"))
    assert vocabulary.names([vocabulary.eos, vocabulary.bos, vocabulary.pad]) == ["[SEP]", "[CLS]", "[PAD]"]


def test_a_turn_is_encoded_with_what_ends_it():
    lossless, lossy = Walk(tokenizer_of("chars")), Walk(tokenizer_of("word-piece"))
    assert lossless.codec.encode_turn("go\n") == lossless.encode("go\n")
    assert lossless.codec.encode_turn("go") == [*lossless.encode("go"), lossless.vocabulary.eos]
    assert lossy.codec.encode_turn("go\n") == [*lossy.encode("go"), lossy.vocabulary.eos]
    with pytest.raises(TokenGymError, match="has 21 tokens, but a turn at most 20"):
        lossless.codec.encode_turn("go" * 10 + "g")


def test_a_bare_tokenizer_is_refused_with_how_to_wrap_it():
    with pytest.raises(TokenGymError, match=r"PreTrainedTokenizerFast\(tokenizer_object="):
        build_tokenizer(tokenizer_of("unigram").backend_tokenizer)
