import subprocess
import sys

import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.text.tokenizers import CORPUS, build_tokenizer
from tokengym.envs.vocabulary import Vocabulary


@pytest.mark.parametrize("kind", ["chars", "words", "bpe"])
def test_the_corpus_is_encoded_and_decoded_back(kind):
    tokenizer = build_tokenizer({"kind": kind})
    for text in CORPUS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids or kind == "bpe"
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "<bos>", "<eos>"]


def test_bpe_encodes_any_text_and_merges():
    tokenizer = build_tokenizer({"kind": "bpe", "corpus": ["low lower lowest\n"] * 3, "vocab_size": 270})
    for text in ("low", "Zebra, naïve €5!\n", "\t  "):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert len(tokenizer.encode("low", add_special_tokens=False)) == 1
    assert len(tokenizer) <= 270


def test_unknown_pieces_are_the_unknown_token():
    words = build_tokenizer({"kind": "words", "corpus": ["a b"]})
    assert words.encode("a z", add_special_tokens=False) == [words.convert_tokens_to_ids("a"), words.unk_token_id]
    chars = build_tokenizer({"kind": "chars", "corpus": ["ab"]})
    assert chars.encode("az", add_special_tokens=False) == [chars.convert_tokens_to_ids("a"), chars.unk_token_id]


def test_vocab_size_keeps_the_commonest_pieces():
    tokenizer = build_tokenizer({"kind": "words", "corpus": ["b a b c a b"], "vocab_size": 6})
    assert tokenizer.convert_ids_to_tokens(range(6)) == ["<pad>", "<bos>", "<eos>", "<unk>", "b", "a"]


@pytest.mark.parametrize("kind", ["chars", "words", "bpe"])
def test_another_process_trains_the_same_tokenizer(kind):
    code = (
        "import sys; from tokengym.envs.text.tokenizers import build_tokenizer;"
        f"sys.stdout.buffer.write(build_tokenizer({{'kind': {kind!r}}}).backend_tokenizer.to_str().encode())"
    )
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert theirs.stdout.decode() == build_tokenizer({"kind": kind}).backend_tokenizer.to_str()


def test_a_saved_folder_gives_the_same_ids(tmp_path):
    tokenizer = build_tokenizer({"kind": "bpe"})
    tokenizer.save_pretrained(tmp_path)
    loaded = build_tokenizer(str(tmp_path))
    assert loaded.encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (1, 2, 0)


def test_a_corpus_file_is_read(tmp_path):
    (tmp_path / "corpus.txt").write_text("one two\nthree\n", encoding="utf-8")
    tokenizer = build_tokenizer({"kind": "words", "corpus": str(tmp_path / "corpus.txt")})
    assert set(tokenizer.get_vocab()) == {"<pad>", "<bos>", "<eos>", "<unk>", "one", "two", "three"}


def test_a_tokenizer_object_is_taken_as_it_is_and_a_specification_is_trained_once():
    tokenizer = build_tokenizer({"kind": "words"})
    assert build_tokenizer(tokenizer) is tokenizer
    assert build_tokenizer({"kind": "words"}) is tokenizer


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")))
    bare.save_pretrained(tmp_path)
    for tokenizer in (build_tokenizer(bare), build_tokenizer(str(tmp_path))):
        with pytest.raises(TokenGymError, match="no end-of-sequence token"):
            Vocabulary.from_tokenizer(tokenizer)


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: text + "}", lambda text: "{}"])
def test_a_damaged_tokenizer_folder_is_named(tmp_path, damage):
    build_tokenizer({"kind": "words"}).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(TokenGymError, match=r"tokenizer in the folder .* cannot be read"):
        build_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "word"}, "did you mean 'words'"),
        ({"kind": "words", "vocabsize": 10}, "did you mean 'vocab_size'"),
        ({"kind": "words", "vocab_size": 0}, "positive integer"),
        ({"kind": "words", "vocab_size": 4}, "no room"),
        ({"kind": "bpe", "vocab_size": 100}, "needs 259"),
        ({"kind": "words", "corpus": []}, "holds no text"),
        ({"kind": "words", "corpus": ["a", 3]}, "holds 3"),
        ({"kind": "words", "corpus": "no/such/file.txt"}, "does not exist"),
        ("no/such/folder", "does not exist"),
        ({"kind": "words", "corpus": [object()]}, "JSON-able"),
        (7, "Expected a tokenizer folder"),
    ],
)
def test_a_wrong_specification_stops_at_the_door(spec, message):
    with pytest.raises(TokenGymError, match=message):
        build_tokenizer(spec)


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path):
    with pytest.raises(TokenGymError, match=r"no tokenizer\.json"):
        build_tokenizer(str(tmp_path))


def test_building_a_tokenizer_imports_no_torch():
    code = "import sys; from tokengym.envs.text.tokenizers import build_tokenizer; build_tokenizer({'kind': 'bpe'}); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
