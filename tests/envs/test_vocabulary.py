"""The vocabulary: names and ids both ways, and what it refuses."""

import pytest

from tokengym.envs import TokenGymError, Vocabulary
from tokengym.envs.errors import positive_int, unknown_name


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
