"""From a line that a person typed to tokens."""

from __future__ import annotations

from typing import cast

from ...envs import Task, TextTask, TokenGymError, Vocabulary
from ...envs.checking import unknown_name
from .screen import innermost

COMMANDS = {
    "quit": "quit",
    "exit": "quit",
    "undo": "undo",
    "hint": "hint",
    "help": "help",
    "?": "help",
}
"""What a person can ask of the screen, by the words for it; a colon before a word tells it from a token's name."""


def speaks_text(task: Task) -> bool:
    """Return whether a line is a text for the task, and not names of tokens."""
    return isinstance(innermost(task), TextTask)


def read_command(task: Task, line: str) -> str | None:
    """Return the command that a line is, `"hint"` for an empty one, or None for a line to be said.

    Raises:
        TokenGymError: For a colon before a word that is no command.
    """
    word = line.strip()
    if not word:
        return "hint"
    names = () if speaks_text(task) else sayable(task.vocabulary)
    if word in COMMANDS and word not in names:
        return COMMANDS[word]
    if word.startswith(":") and len(word) > 1 and word not in names and not speaks_text(task):
        if word[1:] not in COMMANDS:
            raise TokenGymError(f"{word!r} is no command; there are {', '.join(':' + name for name in COMMANDS)}")
        return COMMANDS[word[1:]]
    return None


def read_tokens(task: Task, line: str) -> list[int]:
    """Return the ids that a line says.

    In a task of strings the line is a text, and ends the turn. Elsewhere it is one or more names of tokens. `#7` is
    the token with the id 7 in both; so is `7` where no name is a number. Names that are not known as they stand may be
    written without spaces (`abc` for `a b c`) or in other capitals, where that has one meaning. A number is not cut
    into shorter ones where tokens are numbers of several digits.

    Raises:
        TokenGymError: For a name that is unknown or cannot be said, with the nearest names, or a text that the
            tokenizer cannot write.
    """
    words = line.split()
    if speaks_text(task) and not all(_is_id(word) for word in words):
        return _text(task, line.strip())
    tokens: list[int] = []
    for word in words:
        tokens += _word(task.vocabulary, word)
    return tokens


def sayable(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the names of the tokens that can be said."""
    return vocabulary.tokens[: vocabulary.num_actions]


def _text(task: Task, text: str) -> list[int]:
    inner = cast(TextTask, innermost(task))
    ids = inner.encode(text)
    if not ids or not inner.writer.can_write(text):
        raise TokenGymError(f"the tokenizer of this environment has no tokens for {text!r}; use words that were shown")
    eos = inner.vocabulary.eos
    return ids if eos is None or ids[-1] == eos else [*ids, eos]


def _is_id(word: str) -> bool:
    return word.startswith("#") and word[1:].isdecimal()


def _word(vocabulary: Vocabulary, word: str) -> list[int]:
    known = vocabulary.ids.get(word)
    if known is not None and known < vocabulary.num_actions:
        return [known]
    names = sayable(vocabulary)
    numbered = word.isdecimal() and known is None and not any(name.isdecimal() for name in names)
    if known is None and (_is_id(word) or numbered):
        token = int(word.removeprefix("#"))
        if token >= vocabulary.size:
            raise TokenGymError(f"{word!r} is outside the vocabulary, whose ids are 0 … {vocabulary.size - 1}")
        word = vocabulary.tokens[token]
        if token < vocabulary.num_actions:
            return [token]
        known = token
    alike = [token for token, name in enumerate(names) if name.lower() == word.lower()]
    if known is None and len(alike) == 1:
        return alike
    parts = None if known is not None else _split(vocabulary, word)
    if parts is not None:
        return parts
    if known is not None:
        raise TokenGymError(f"{word!r} cannot be said, only read; type ? for what can be said")
    raise unknown_name("token", word, names)


def _split(vocabulary: Vocabulary, word: str) -> list[int] | None:
    """Return the only way to cut a word into names of sayable tokens, or None where there is none or several."""
    names = sayable(vocabulary)
    if word.isdecimal() and any(len(name) > 1 and name.isdecimal() for name in names):
        return None  # where 12 is one token, 99 is a slip for another one, and not two nines
    longest = max(len(name) for name in names)
    # ways[i]: how many ways there are to cut word[:i], and the last piece of one of them.
    ways: list[tuple[int, int]] = [(1, -1)]
    for end in range(1, len(word) + 1):
        count, last = 0, -1
        for begin in range(max(0, end - longest), end):
            token = vocabulary.ids.get(word[begin:end], vocabulary.num_actions)
            if token < vocabulary.num_actions and ways[begin][0]:
                count, last = count + ways[begin][0], token
        ways.append((count, last))
    if ways[-1][0] != 1:
        return None
    tokens: list[int] = []
    end = len(word)
    while end:
        tokens.insert(0, ways[end][1])
        end -= len(vocabulary.tokens[ways[end][1]])
    return tokens
