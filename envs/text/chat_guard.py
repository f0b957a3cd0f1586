"""What a message must not contain: what a chat template would make more of than a message.

A template marks roles with control tokens or with words (`user:`). A message that holds such a mark would end itself
and open another role: the system's, or the agent's own. It is refused, as is what the tokenizer cannot write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..checking import TokenGymError
from .remembering import remember
from .writer import TextWriter

_HEADER = re.compile(r"\w+|[^\w\s]")


class MessageGuard:
    """Refuses contents of messages that would not stay contents.

    Args:
        writer: What writes text under the tokenizer; its control tokens are those of the template, too.
        headers: What the template writes right before a message, for each role.
    """

    def __init__(self, writer: TextWriter, headers: Mapping[str, str]) -> None:
        self.writer = writer
        self._roles = {role: mark for role, text in headers.items() if (mark := _words_of_a_header(text, writer))}
        # A tokenizer that drops newlines makes of a line within a message what it makes of one between messages.
        newlines = "\n" in writer.decode([writer.raw("hello\nhello")])[0]
        start = r"(?:^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])\s*" if newlines else r"(?<!\w)"
        self._passed: dict[str, bool] = {}
        self._patterns = {role: re.compile(start + _pattern(mark), re.I) for role, mark in self._roles.items()}

    def check(self, content: str) -> None:
        """Checks the content of one message.

        Raises:
            TokenGymError: If it holds a control token or a mark of a role, or what the tokenizer cannot write.
        """
        if content in self._passed:
            return
        control = self.writer.control_in(content)
        if control is not None:
            raise TokenGymError(
                f"the message {content!r} contains the special token {control!r}, which would be read as the "
                "template's own: take it out"
            )
        self.writer.ids(content, "the message")
        for text in (content, self.writer.read(content)):
            for role, pattern in self._patterns.items():
                if pattern.search(text):
                    raise TokenGymError(
                        f"the message {content!r} contains {self._roles[role]!r}, with which the template opens a "
                        f"message of the {role}'s: take it out, or take a template that marks roles with special tokens"
                    )
        remember(self._passed, content, True)

    def check_rendered(self, text: str, ids: Iterable[int], expected: Iterable[int], messages: object) -> None:
        """Checks a rendered conversation against the same one with harmless contents.

        Args:
            text: What the template gave.
            ids: Its ids.
            expected: The ids of the conversation with harmless contents.
            messages: The messages, for the error.

        Raises:
            TokenGymError: If the two differ in their control tokens, or the tokenizer lacks the template's words.
        """
        marks = self.writer.marks
        if [token for token in ids if token in marks] != [token for token in expected if token in marks]:
            raise TokenGymError(
                f"the messages {messages!r} read as special tokens of the template where they meet: reword them"
            )
        lost = self.writer.lost(text)
        if lost:
            raise TokenGymError(
                f"the tokenizer has no token for {', '.join(map(repr, lost[:8]))}, which the chat template writes in "
                f"{text[:80]!r}: train it on a corpus that holds the template's words, or take another template"
            )


def _words_of_a_header(text: str, writer: TextWriter) -> str:
    """Gives the last line of what stands before a message, "" where it is no text that marks a role."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or any(token in text for token in writer.controls.values()):
        return ""
    return lines[-1] if sum(one.isalnum() for one in lines[-1]) > 1 else ""


def _pattern(mark: str) -> str:
    """Gives the expression for a mark with any white space in it; one that ends in a word is a line of its own."""
    end = r"[^\S\n]*(?:$|[\n\r])" if mark[-1].isalnum() else ""
    return r"\s*".join(map(re.escape, _HEADER.findall(mark))) + end
