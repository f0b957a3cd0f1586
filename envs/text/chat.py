"""Messages in roles to token ids: chat templates, held to what an append-only dialogue needs.

A chat template is a Jinja text that turns a list of messages (`{"role": "system" | "user" | "assistant", "content":
…}`) into one string. It is rendered as `transformers` does it (`tokenizer.apply_chat_template`): sandboxed, and without
any code that comes with a tokenizer. Three small ones are at hand by name, and a tokenizer's own can be used.

In a dialogue of a token environment the ids that the agent sampled stay as they are. What the task says next is
therefore only the *piece* of the template between the agent's words and its next turn: the end of its message, the new
messages and the header of its next one. That is right only if rendering a longer conversation repeats the shorter one
word for word (`prefix-stable`) and the piece does not depend on what was said before it. `ChatTemplate` checks both,
for the very messages that are said, and refuses a template that rewrites the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..checking import TokenGymError, unknown_name
from .chat_guard import MessageGuard
from .remembering import remember
from .writer import TextWriter

Message = Mapping[str, str]
"""Something said in a role: `{"role": "user", "content": "hello"}`."""

ROLES = ("system", "user", "assistant")

TEMPLATES = {
    "plain": (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    ),
    "roles": (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}"
        "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
}
"""Templates by name: role names as plain words, a token for each role, and ChatML."""

TEMPLATE_TOKENS = {
    "plain": (),
    "roles": ("<|system|>", "<|user|>", "<|assistant|>"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
}
"""The special tokens that a tokenizer must have for a template of `TEMPLATES`."""

# What stands for the agent's words while a template is tried out: nothing that a template would cut or trim.
_FIRST, _SECOND = "first-reply", "second-reply"
_HELLO = {"role": "user", "content": "hello"}


class Piece(NamedTuple):
    """What follows a turn of the agent's, up to its next one.

    Attributes:
        text: The text right behind the agent's words.
        ids: Its ids.
        end_place: Where in `ids` the special token stands that ends a message, or None where there is none. An agent
            that has said it is shown only what comes after.
    """

    text: str
    ids: list[int]
    end_place: int | None


class ChatTemplate:
    """A chat template under a tokenizer.

    Attributes:
        tokenizer: The tokenizer.
        template: The Jinja text.
        writer: What writes and reads text under the tokenizer; the template's markers are among its control tokens.
        end_of_turn: The id of the special token with which the template ends the agent's messages, or None.
    """

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        """Finds the template.

        Args:
            tokenizer: A `transformers` tokenizer.
            template: A name of `TEMPLATES`, a Jinja text (with `{%` or `{{`), `"tokenizer"` for the tokenizer's own,
                or None for the tokenizer's own if it has one and `"plain"` otherwise.

        Raises:
            TokenGymError: For an unknown name, a tokenizer without the template or its special tokens, or a template
                that cannot be rendered or is not append-only.
        """
        if not hasattr(tokenizer, "apply_chat_template"):
            raise TokenGymError(
                f"the tokenizer {type(tokenizer).__name__} has no apply_chat_template: a chat needs a tokenizer of "
                "transformers, for example PreTrainedTokenizerFast"
            )
        self.tokenizer = tokenizer
        self.template = _template_text(tokenizer, template)
        self._openings: dict[tuple[tuple[str, str], ...], list[int]] = {}
        self._pieces: dict[Any, Piece] = {}
        self.writer = TextWriter(tokenizer, self._scaffold())
        self._guard = MessageGuard(self.writer, self._headers())
        piece = self._piece([_HELLO], False)
        self.end_of_turn = None if piece.end_place is None else piece.ids[piece.end_place]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Gives the template's text of a conversation, by default up to the agent's next words.

        Raises:
            TokenGymError: If the template is not valid, or refuses these messages.
        """
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except Exception as error:  # whatever a template raises, and jinja's own errors
            roles = ", ".join(message["role"] for message in messages)
            raise TokenGymError(
                f"the chat template cannot be rendered for messages in the roles {roles}: {error}. Give other roles or "
                f"another template, for example one of {', '.join(TEMPLATES)}"
            ) from error
        return str(text)

    def opening(self, messages: Iterable[Message]) -> list[int]:
        """Gives the ids of the messages that begin a conversation, up to the agent's first words.

        A begin token that the template writes is left out: every observation has one already.

        Args:
            messages: What is said before the agent's first turn; earlier words of the assistant may be among them.

        Raises:
            TokenGymError: For malformed messages, or a template that is not append-only after them.
        """
        said, key = self._checked(messages)
        ids = self._openings.get(key)
        if ids is None:
            text = self.render(said)
            piece, expected = (
                self._follow(said, text, [_HELLO]),
                self._follow([_HELLO], self.render([_HELLO]), [_HELLO]),
            )
            if piece != expected:
                raise _not_append_only("what follows the agent's words depends on how it began", piece, expected)
            ids = self.writer.raw(text)
            harmless = [{**message, "content": "hello"} for message in said]
            self._guard.check_rendered(text, ids, self.writer.raw(self.render(harmless)), said)
            if ids and ids[0] == self.tokenizer.bos_token_id:
                ids = ids[1:]
            remember(self._openings, key, ids)
        return ids

    def piece(self, messages: Iterable[Message], closing: bool = False) -> Piece:
        """Gives what the template puts between a turn of the agent's and its next one.

        Args:
            messages: What is said in between, such as one message of the user's.
            closing: Whether the conversation ends with them: then the header of the agent's next turn is left out.

        Raises:
            TokenGymError: For malformed messages, or a template that is not append-only at them.
        """
        said, key = self._checked(messages)
        piece = self._pieces.get((key, closing))
        if piece is None:
            piece = self._piece(said, closing)
            harmless = self._piece([{**message, "content": "hello"} for message in said], closing)
            self._guard.check_rendered(piece.text, piece.ids, harmless.ids, said)
            remember(self._pieces, (key, closing), piece)
        return piece

    def _checked(self, messages: Iterable[Message]) -> tuple[list[dict[str, str]], tuple[tuple[str, str], ...]]:
        """Gives well-formed messages, and a key for them."""
        said = check_messages(messages)
        for message in said:
            self._guard.check(message["content"])
        return said, tuple((message["role"], message["content"]) for message in said)

    def _follow(self, before: Sequence[Message], shown: str, said: Sequence[Message]) -> str:
        """Gives the piece for messages after a conversation, checked to be the same one turn later.

        Args:
            before: The conversation so far, rendered as `shown`.
            shown: Its text, up to the agent's words.
            said: The messages after the agent's.
        """
        pieces, conversation = [], list(before)
        for words in (_FIRST, _SECOND):
            conversation += [{"role": "assistant", "content": words}, *said]
            longer = self.render(conversation)
            if not longer.startswith(shown):
                raise _not_append_only("a longer conversation changes what was shown before", shown, longer)
            gap, found, piece = longer[len(shown) :].partition(words)
            if not found or gap.strip():
                raise _not_append_only("it puts words of its own before the agent's", shown, longer)
            pieces.append(piece)
            shown = longer
        if pieces[0] != pieces[1]:
            raise _not_append_only("what follows the agent's words depends on earlier turns", *pieces)
        return pieces[0]

    def _piece(self, said: Sequence[Message], closing: bool) -> Piece:
        text = self._follow([_HELLO], self.render([_HELLO]), said)
        if closing:
            conversation = [_HELLO, {"role": "assistant", "content": _FIRST}, *said]
            text = self.render(conversation, add_generation_prompt=False).partition(_FIRST)[2]
        ids = self.writer.raw(text)
        return Piece(text, ids, self._end_place(ids))

    def _scaffold(self) -> str:
        """Gives what the template writes around the messages of a short conversation."""
        conversation = [_HELLO, {"role": "assistant", "content": _FIRST}, _HELLO]
        system = [{"role": "system", "content": "hello"}]
        return self._try([*system, *conversation]) + self.render(conversation)

    def _headers(self) -> dict[str, str]:
        """Gives what the template writes between the message before and one of each role."""
        ways = {
            "system": [{"role": "system", "content": _FIRST}, _HELLO],
            "user": [{"role": "user", "content": _FIRST}],
            "assistant": [_HELLO, {"role": "assistant", "content": _FIRST}],
        }
        before = {role: self._try(messages).partition(_FIRST)[0] for role, messages in ways.items()}
        return {role: text.rpartition("hello")[2] for role, text in before.items()}

    def _try(self, messages: Sequence[Message]) -> str:
        """Gives the template's text, "" where it refuses the messages, as some do for a system's."""
        try:
            return self.render(messages, add_generation_prompt=False)
        except TokenGymError:
            return ""

    def _end_place(self, ids: list[int]) -> int | None:
        """Gives the place of the first control token, if only white space comes before it."""
        place = next((place for place, token in enumerate(ids) if token in self.writer.marks), None)
        if place is None or self.tokenizer.decode(ids[:place]).strip():
            return None
        return place


def check_messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Gives the messages as fresh dictionaries.

    Raises:
        TokenGymError: Unless they are a list of at least one mapping with a `role` of `ROLES` and a string `content`.
    """
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Iterable):
        raise TokenGymError(f"messages={messages!r}: give a list such as [{{'role': 'user', 'content': 'hello'}}]")
    said = []
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise TokenGymError(f"message {number} is {message!r}: give a mapping with 'role' and 'content'")
        if message["role"] not in ROLES:
            raise unknown_name("role", message["role"], ROLES)
        if not isinstance(message["content"], str):
            raise TokenGymError(f"message {number} has the content {message['content']!r}: give a string")
        said.append({"role": message["role"], "content": message["content"]})
    if not said:
        raise TokenGymError("messages are empty: give at least one")
    return said


def _template_text(tokenizer: Any, template: str | None) -> str:
    own = getattr(tokenizer, "chat_template", None)
    if template is None:
        template = "tokenizer" if isinstance(own, str) else "plain"
    if not isinstance(template, str):
        raise TokenGymError(f"template={template!r}: give a name of {', '.join(TEMPLATES)}, or a Jinja text")
    if template == "tokenizer":
        if not isinstance(own, str):
            raise TokenGymError(
                f"the tokenizer has no chat template of its own ({own!r}): name one of {', '.join(TEMPLATES)}, or give "
                "a Jinja text"
            )
        return own
    if "{%" in template or "{{" in template:
        return template
    if template not in TEMPLATES:
        raise unknown_name("chat template", template, (*TEMPLATES, "tokenizer"))
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in TEMPLATE_TOKENS[template] if token not in vocabulary]
    if missing:
        raise TokenGymError(
            f"the tokenizer lacks {', '.join(missing)}, which the chat template {template!r} needs: add them with "
            f"tokenizer.add_special_tokens, in a specification with 'special_tokens': {list(missing)}, or use the "
            "template 'plain'"
        )
    return TEMPLATES[template]


def _not_append_only(reason: str, first: str, second: str) -> TokenGymError:
    return TokenGymError(
        f"the chat template is not append-only: {reason} ({first[-80:]!r} against {second[-80:]!r}). Ids that were "
        f"sampled cannot be rewritten: use another template, for example one of {', '.join(TEMPLATES)}"
    )
