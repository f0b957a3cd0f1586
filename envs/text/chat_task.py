"""Dialogue tasks that speak in roles: a `TextTask` whose words go through a chat template."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from ..checking import TokenGymError
from .chat import ChatTemplate, Message
from .task import TextTask


class ChatTask(TextTask):
    """A `TextTask` in roles: what it says are messages, what the agent says is the assistant's turn.

        class Parrot(ChatTask):
            def begin(self, random):
                return None, [
                    {"role": "system", "content": "repeat what you hear"},
                    {"role": "user", "content": str(random.choice(["sea", "wood"]))},
                ]

            def respond(self, episode, completion):
                return "again", float(completion == "sea"), False

        task = Parrot({"kind": "chars", "corpus": [...]}, max_turn_tokens=8, max_length=200, max_turns=3)

    `begin` gives messages (a string is one message of the user's), and so does the reply of `respond`; `completion` is
    the agent's text without the template's tokens. The ids that the agent said stay as they are: a reply appends only
    what the template puts between them and the agent's next turn (see `ChatTemplate`). Where the template ends a
    message with a special token, that token ends the agent's turn; if the turn ended otherwise, for its length say, the
    reply brings the token.

    Attributes:
        chat: The chat template.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_turn_tokens: int,
        max_length: int,
        max_turns: int = 1,
        stop: str | Sequence[str] = (),
        template: str | None = None,
    ) -> None:
        """Sets the task up for a tokenizer and a chat template.

        Args:
            tokenizer: A `transformers` tokenizer, or its specification for `build_tokenizer`.
            max_turn_tokens: The most tokens of a turn; a turn also ends with the end token or a stop string.
            max_length: The context window.
            max_turns: The most turns of an episode.
            stop: Strings that end a turn once its text contains one.
            template: The chat template: a name (`"plain"`, `"roles"`, `"chatml"`), a Jinja text, `"tokenizer"` for the
                tokenizer's own, or None for its own if it has one and `"plain"` otherwise.

        Raises:
            TokenGymError: For a tokenizer or a template that cannot be used; see `ChatTemplate`.
        """
        super().__init__(
            tokenizer, max_turn_tokens=max_turn_tokens, max_length=max_length, max_turns=max_turns, stop=stop
        )
        self.chat = ChatTemplate(self.tokenizer, template)
        self.writer = self.chat.writer
        if self.chat.end_of_turn is not None:
            self.vocabulary = dataclasses.replace(self.vocabulary, eos=self.chat.end_of_turn)

    def prompt_ids(self, prompt: str | Iterable[Message]) -> list[int]:
        """Gives the ids of messages that begin a conversation; a string is the user's."""
        return self.chat.opening(_messages(prompt))

    def reply_ids(self, reply: str | Iterable[Message] | None, turn: list[int], over: bool) -> list[int]:
        """Gives the ids of what is shown after a turn (its ids): messages, and the header of the agent's next turn."""
        if reply is None:
            if not over:
                raise TokenGymError(
                    f"task {self.name}: respond gave no reply and did not end the episode: in a chat something must be "
                    "said between two turns of the agent's"
                )
            return []
        piece = self.chat.piece(_messages(reply), closing=over)
        if piece.end_place is not None and turn[-1] == piece.ids[piece.end_place]:
            return piece.ids[piece.end_place + 1 :]
        if self.stop:
            text = self.decode([turn])[0]
            cut = self.codec.cut(text)
            if cut is not None and piece.text.startswith(text[len(cut) :]):
                # The agent's stop string is the beginning of what the template would put here.
                return self.writer.raw(piece.text[len(text) - len(cut) :])
        return piece.ids


def _messages(said: str | Iterable[Message]) -> Iterable[Message]:
    return [{"role": "user", "content": said}] if isinstance(said, str) else said
