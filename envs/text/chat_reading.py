"""Messages read back out of the ids of a chat template, for files in which conversations are kept as messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from ..checking import TokenGymError
from .chat import ROLES, ChatTemplate

_ASK, _REPLY, _MORE = "first-question", "first-reply", "second-question"


class ChatReader:
    """Finds the messages in what a template has written.

    Args:
        chat: the template.
    """

    def __init__(self, chat: ChatTemplate) -> None:
        self.chat = chat
        self._headers, self._ends = _marks(chat)
        self._prompt = _generation_prompt(chat)

    def read(self, ids: Sequence[int], fits: Callable[[list[dict[str, str]]], bool]) -> list[dict[str, str]]:
        """Return the messages that ids show.

        Args:
            ids: what a template wrote, up to the agent's next words.
            fits: whether messages are written as these ids; what is not is never returned.

        Raises:
            TokenGymError: no messages are written so.
        """
        text = self._text(ids)
        for messages in (self._cut(text, exact=True), self._cut(text, exact=False)):
            try:
                if messages and fits(messages):
                    return messages
            except TokenGymError:  # what the template refuses
                continue
        raise TokenGymError(
            f"Nothing that the chat template writes reads {text[-120:]!r}, so that it cannot be told as messages; "
            "record episodes in place of text"
        )

    def _text(self, ids: Sequence[int]) -> str:
        decoded = self.chat.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(decoded)

    def _cut(self, text: str, exact: bool) -> list[dict[str, str]]:
        """Return the messages between the marks of roles: as they stand, or with any white space around them."""

        def pattern(mark: str) -> str:
            if exact:
                return re.escape(mark)
            pieces = re.findall(r"\w+|[^\w\s]", mark)
            return r"\s*" + r"\s*".join(map(re.escape, pieces)) + r"\s*"

        text = re.sub(rf"{pattern(self._prompt)}\Z", "", text) if self._prompt else text
        marks = {role: mark for role, mark in self._headers.items() if mark.strip()}
        either = "|".join(f"(?P<{role}>{pattern(mark)})" for role, mark in marks.items())
        return list(_between(text, either, {role: pattern(end) for role, end in self._ends.items()}))


def _between(text: str, either: str, ends: dict[str, str]) -> Iterator[dict[str, str]]:
    found = list(re.finditer(either, text))
    for place, mark in enumerate(found):
        stop = found[place + 1].start() if place + 1 < len(found) else len(text)
        role = str(mark.lastgroup)
        yield {"role": role, "content": re.sub(rf"{ends[role]}\Z", "", text[mark.end() : stop])}


def _generation_prompt(chat: ChatTemplate) -> str:
    ask = [{"role": "user", "content": _ASK}]
    return chat.render(ask).removeprefix(chat.render(ask, add_generation_prompt=False))


def _marks(chat: ChatTemplate) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a template writes before and behind a message of each role."""
    talk = [("user", _ASK), ("assistant", _REPLY), ("user", _MORE)]
    messages = [{"role": role, "content": content} for role, content in talk]
    ends = {
        "user": chat.render(messages[:1], add_generation_prompt=False).partition(_ASK)[2],
        "assistant": chat.render(messages[:2], add_generation_prompt=False).partition(_REPLY)[2],
        "system": "",
    }
    whole = chat.render(messages)
    headers = {
        "assistant": whole.partition(_ASK)[2].partition(_REPLY)[0].removeprefix(ends["user"]),
        "user": whole.partition(_REPLY)[2].partition(_MORE)[0].removeprefix(ends["assistant"]),
    }
    try:
        led = chat.render([{"role": "system", "content": _REPLY}, *messages[:1]], add_generation_prompt=False)
    except TokenGymError:  # some templates know no system
        return headers, ends
    before, _, behind = led.partition(_REPLY)
    bos = str(getattr(chat.tokenizer, "bos_token", None) or "")
    headers["system"] = before.removeprefix(bos) if bos else before
    ends["system"] = behind.partition(_ASK)[0].removesuffix(headers["user"])
    return {role: headers[role] for role in ROLES if role in headers}, ends
