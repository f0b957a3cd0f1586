"""The vocabulary: names and ids both ways, and what it refuses."""

import numpy as np
import pytest

from tokengym.envs import TokenGymError, Vocabulary
from tokengym.envs.checking.errors import positive_int, unknown_name


def test_names_and_ids_are_each_others_inverse():
    vocabulary = Vocabulary.of(["yes", "no", "stop"], ["maybe"], eos="stop")
    assert vocabulary.size == 6 and vocabulary.num_actions == 3
    assert vocabulary.eos == 2 and vocabulary.bos == 4 and vocabulary.pad == 5
    ids = list(range(vocabulary.size))
    assert vocabulary.encode(vocabulary.names(ids)) == ids
    assert vocabulary.names([0, 3]) == ["yes", "maybe"]


def test_rendering_leaves_out_bos_and_padding():
    vocabulary = Vocabulary(("a", "b", "<s>", "_"), num_actions=2, bos=2, pad=3, separator="-")
    assert vocabulary.render([2, 0, 1, 0, 3, 3]) == "a-b-a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": ("a", "a")}, "these are repeated: a"),
        ({"tokens": ("a", 1)}, "names must be strings"),
        ({"num_actions": 0}, "num_actions=0 does not fit a vocabulary of 3 tokens: give 1 … 3"),
        ({"num_actions": 4}, "num_actions=4"),
        ({"bos": 3}, "bos=3 is not an id"),
        ({"pad": -1}, "pad=-1 is not an id"),
        ({"eos": 2}, "eos=2 cannot be said by the agent: give an id in 0 … 1, or None"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Vocabulary(**{"tokens": ("a", "b", "c"), "num_actions": 2, "bos": 2, "pad": 2} | arguments)


def test_a_token_outside_of_the_vocabulary_is_refused():
    vocabulary = Vocabulary.of(["north", "south"])
    with pytest.raises(TokenGymError, match="unknown token 'nort': did you mean 'north'"):
        vocabulary.encode(["nort"])
    with pytest.raises(TokenGymError, match="token 4 is outside of the vocabulary: ids are 0 … 3"):
        vocabulary.names([4])
    with pytest.raises(TokenGymError, match="token -1 is outside"):
        vocabulary.names([-1])


class Tokenizer:
    """What `from_tokenizer` reads of a tokenizer of transformers."""

    eos_token_id, bos_token_id, pad_token_id = 3, None, None

    def get_vocab(self):
        return {"a": 0, "b": 1, "</s>": 3, "<added>": 5}


def test_a_tokenizers_vocabulary_has_every_id_up_to_the_added_tokens():
    vocabulary = Vocabulary.from_tokenizer(Tokenizer())
    assert vocabulary.size == vocabulary.num_actions == 6
    assert vocabulary.bos == vocabulary.pad == vocabulary.eos == 3
    assert vocabulary.names([0, 2, 5]) == ["a", "<unused 2>", "<added>"]


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = Tokenizer()
    tokenizer.eos_token_id = None
    with pytest.raises(TokenGymError, match=r"no end-of-sequence token.*add_special_tokens"):
        Vocabulary.from_tokenizer(tokenizer)


def test_an_unknown_name_is_answered_with_the_nearest_or_with_all():
    assert "did you mean 'Wordle' or 'WordleMini'?" in str(
        unknown_name("environment", "wordl", ["WordleMini", "Wordle"])
    )
    assert "known: a, b" in str(unknown_name("thing", "zzz", ["b", "a"]))
    assert "known: none" in str(unknown_name("thing", "zzz", []))


@pytest.mark.parametrize("value", [0, -3, 2.0, True, None, "4"])
def test_sizes_are_positive_whole_numbers(value):
    with pytest.raises(TokenGymError, match="size="):
        positive_int("size", value)
    assert positive_int("size", 4) == 4


VOCABULARY = Vocabulary.of(["yes", "no", "stop"], ["maybe"], eos="stop")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (1, "no"),
        (np.int64(3), "maybe"),
        ([], ""),
        ([4, 0, 3, 2, 5], "yes maybe"),
        ((0, 1), "yes no"),
        (np.array([1, 0], np.int32), "no yes"),
        (np.array([[1, 5], [0, 1]]), ["no", "yes no"]),
        ([[1], [0, 1], []], ["no", "yes no", ""]),
        ({"tokens": np.array([4, 1, 0, 0]), "length": np.array([2])}, "no"),
        ({"tokens": np.array([[4, 1, 0], [4, 1, 0]]), "length": np.array([[2], [3]])}, ["no", "no yes"]),
    ],
)
def test_ids_of_any_shape_are_decoded(ids, text):
    assert VOCABULARY.decode(ids) == text


def test_specials_are_decoded_where_they_are_asked_for():
    assert VOCABULARY.decode([4, 0, 2, 5], specials=True) == "<bos> yes stop <pad>"


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (6, "token 6 is outside of the vocabulary: ids are 0 … 5"),
        ([0, -1], "token -1 is outside"),
        ([0.5], "token ids are whole numbers"),
        (True, "token ids are whole numbers"),
        ("yes", "token ids are whole numbers"),
        (None, "token ids are whole numbers"),
        ([[0], [[1]]], "token ids are whole numbers"),
        ({"tokens": [0]}, "an observation has 'tokens' and 'length'"),
        ({"tokens": [[0], [1]], "length": [1]}, "do not fit 1 lengths"),
    ],
)
def test_what_is_no_id_is_not_decoded(ids, message):
    with pytest.raises(TokenGymError, match=message):
        VOCABULARY.decode(ids)


def test_a_vocabulary_shows_its_size_its_first_names_and_its_specials():
    assert repr(VOCABULARY) == (
        "Vocabulary(6 tokens, 3 sayable: yes no stop maybe <bos> <pad>; bos='<bos>', pad='<pad>', eos='stop')"
    )
    assert len(repr(Vocabulary.of([f"word{number}" for number in range(50_000)]))) < 150
