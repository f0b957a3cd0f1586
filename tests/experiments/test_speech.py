"""From what a person types to tokens and commands."""

import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.terminal.speech import read_command, read_tokens


class Names:
    """A task as far as reading a line goes."""

    def __init__(self, *names):
        from tokengym.envs import Vocabulary

        self.vocabulary = Vocabulary.of(names, ["seen"])


@pytest.mark.parametrize(
    ("names", "line", "tokens"),
    [
        (("a", "b", "c"), "cab", [2, 0, 1]),
        (("a", "b", "c"), "C ab", [2, 0, 1]),
        (("a", "b", "ab"), "ab", [2]),
        (("up", "Up"), "Up", [1]),
        (("x", "y"), "1 #0", [1, 0]),
        (("1", "2", "0"), "102 0", [0, 2, 1, 2]),
        (("quit", "a"), "quit", [0]),
    ],
)
def test_a_line_is_read_as_it_is_meant(names, line, tokens):
    assert read_tokens(Names(*names), line) == tokens  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("a", "aa", "b"), "aab"),  # two ways to cut it
        (("a", "b"), "abc"),
        (("a", "b"), "seen"),
        (("1", "2"), "7"),
        (("a",), "2"),  # the id of what can only be read
        (("4", "0", "12"), "40"),  # a slip for a number, not a four and a nought
    ],
)
def test_a_line_with_several_meanings_or_none_is_refused(names, line):
    with pytest.raises(TokenGymError):
        read_tokens(Names(*names), line)  # type: ignore[arg-type]


def test_only_what_can_be_said_is_proposed_for_an_unknown_name():
    for word in ("bos", "zebra"):  # one that is near to `<bos>`, and one that is near to nothing
        with pytest.raises(TokenGymError, match="unknown token") as refused:
            read_tokens(Names("take", "leave"), word)  # type: ignore[arg-type]
        assert "<bos>" not in str(refused.value) and "seen" not in str(refused.value)
    with pytest.raises(TokenGymError, match="known: leave, take"):
        read_tokens(Names("take", "leave"), "zebra")  # type: ignore[arg-type]


def test_a_command_gives_way_to_a_token_of_its_name_and_takes_a_colon_then():
    assert read_command(Names("a"), "quit") == "quit"  # type: ignore[arg-type]
    assert read_command(Names("quit", "?"), "quit") is None  # type: ignore[arg-type]
    assert read_command(Names("quit", "?"), ":quit") == "quit"  # type: ignore[arg-type]
    assert read_command(Names("quit", "?"), "?") is None  # type: ignore[arg-type]
    assert read_command(Names("a"), " ") == "hint"  # type: ignore[arg-type]
