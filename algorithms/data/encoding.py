"""Texts and messages as the sequences that an agent would have said and been shown, prompt and answer encoded apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import groupby
from typing import Any, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt

from ...envs import ChatTask, ChatTemplate, Task, TextReply, TextTask, TokenGymError, Vocabulary
from ...envs.checking import Count, checked
from ...envs.text import ChatReader, Message, TextWriter
from .episodes import Episodes

Said = str | Sequence[Message]
"""A text, or messages."""

_NO_LIMIT = 10**9


class OverlongError(TokenGymError):
    """A text has more tokens than a turn or a context holds."""


class Encoded(NamedTuple):
    """An episode in tokens.

    Attributes:
        tokens: ids, `bos` first.
        said: which of them the agent said.
    """

    tokens: list[int]
    said: list[bool]


class TextEncoder:
    """Encodes prompts and completions as an environment shows and hears them, and reads them back.

    Prompt and completion are encoded apart, so that no token straddles the two. A turn ends as the agent would end it:
    with the end token, unless a stop string or its length did.

    Args:
        text: whose text it is: a task, which has its own prompts, templates and limits; a tokenizer or its
            specification; or a vocabulary, whose tokens' names are the text.
        chat: whether a tokenizer's texts are messages, which go through a chat template. Tasks know by themselves.
        template: the chat template of a tokenizer, as in `ChatTask`.
        max_length: the most tokens of an episode; None takes the task's, and of a tokenizer any number.

    Attributes:
        vocabulary: whose ids the tokens are.
        max_length: the most tokens of an episode.
        chat: the chat template, or None where texts are no messages.
        writer: what writes text under the tokenizer, or None where there is none.

    Raises:
        TokenGymError: the tokenizer or the template cannot be used, or a task has several sequences an episode.
    """

    @checked
    def __init__(
        self, text: Any, chat: bool = False, template: str | None = None, max_length: Count | None = None
    ) -> None:
        own = _NO_LIMIT
        self._task: TextTask | None = None
        if isinstance(text, Task):
            if text.context != "episode":
                raise TokenGymError(
                    f"{text.name} shows each turn apart (context 'turn'), so that its episodes are no one text; record "
                    "episodes of it, EpisodeDataset, in place of text"
                )
            own = text.max_length
            task = text.unwrapped
            self.vocabulary = text.vocabulary
            if isinstance(task, TextTask) and task.vocabulary == text.vocabulary:
                self._task = task
        elif isinstance(text, Vocabulary):
            self.vocabulary = text
        else:
            self._task = _Dialogue.under(text, template) if chat or template is not None else _Plain.under(text)
            self.vocabulary = self._task.vocabulary
        if self._task is None and not self.vocabulary.separator:
            raise TokenGymError(
                "The names of these tokens are the pieces of a tokenizer, into which text cannot be cut by name; give "
                "the tokenizer, or the task, in place of its vocabulary."
            )
        self.max_length = own if max_length is None else min(own, max_length)
        self.chat: ChatTemplate | None = getattr(self._task, "chat", None)
        self.writer: TextWriter | None = None if self._task is None else self._task.writer

    def encode(self, prompt: Said, completion: Said) -> Encoded:
        """Return a prompt and what follows it.

        Args:
            prompt: a text, or messages, which may hold earlier words of the assistant's; they are shown, not said.
            completion: what the agent says: a text; or messages that begin with the assistant's, with what was
                answered between its turns.

        Raises:
            OverlongError: a turn or all of it is longer than it can be.
            TokenGymError: it cannot be written under the tokenizer, or messages are malformed or out of turn.
        """
        if self._task is None:
            tokens, turns = [self.vocabulary.bos, *self._names(prompt, "prompt")], [self._names(completion, "answer")]
            pieces: list[list[int]] = []
        else:
            turns, pieces = self._turns(self._task, completion)
            tokens = [self.vocabulary.bos, *self._shown(self._task, prompt)]
        said = [False] * len(tokens)
        for place, turn in enumerate(turns):
            for ids, agent in ((pieces[place - 1] if place else [], False), (turn, True)):
                tokens += ids
                said += [agent] * len(ids)
        if not any(said):
            raise TokenGymError("The answer has no token; expected at least one.")
        if len(tokens) > self.max_length:
            raise OverlongError(
                f"it has {len(tokens)} tokens, {self.vocabulary.tokens[self.vocabulary.bos]} and ends included, and "
                f"max_length is {self.max_length}"
            )
        return Encoded(tokens, said)

    def messages(self, messages: Sequence[Message]) -> Encoded:
        """Return a conversation in which the agent says all that the assistant says.

        Raises:
            OverlongError, TokenGymError: as `encode`, or the assistant says nothing or speaks first.
        """
        first = next((place for place, one in enumerate(messages) if _role(one) == "assistant"), None)
        if not first:
            why = "the assistant says nothing in it" if first is None else "the assistant speaks first"
            raise TokenGymError(f"There is nothing to answer, or no answer: {why}; expected a prompt and an answer.")
        return self.encode(messages[:first], messages[first:])

    def decode(self, tokens: Sequence[int], said: Sequence[bool]) -> tuple[Said, Said]:
        """Return the prompt and the completion of an episode: messages where the texts are messages, or else texts.

        Raises:
            TokenGymError: the agent says nothing, or the tokens do not read as messages of the template.
        """
        told, agent = list(tokens), list(said)
        if True not in agent:
            raise TokenGymError("The agent says nothing in the episode; expected at least one token of its own.")
        first = agent.index(True)
        prompt, runs = told[1:first], _runs(told[first:], agent[first:])
        if self.chat is not None:
            return self._read_chat(prompt, runs)
        if sum(is_said for is_said, _ in runs) > 1:
            raise TokenGymError(
                "The agent has several turns in the episode, which only messages can tell apart, and this is plain "
                "text; record episodes in place of text"
            )
        rest = runs[0][1]
        if self._task is None:
            separator, names = self.vocabulary.separator, self.vocabulary.names
            return separator.join(names(prompt)), separator.join(names(rest))
        prompt_text, rest_text = self._task.decode([prompt, rest])
        return prompt_text, rest_text

    def read(self, episodes: Episodes, index: int) -> tuple[Said, Said]:
        """Return the prompt and the completion of one of some episodes; see `decode`.

        Raises:
            TokenGymError: it has several sequences, or as `decode`.
        """
        row, end = episodes.sequence_offsets[index : index + 2].tolist()
        if end - row > 1:
            raise TokenGymError("An episode of several sequences is no one text; keep episodes as they are (save).")
        shown = slice(0, int(episodes.lengths[row]))
        return self.decode(episodes.tokens[row, shown].tolist(), episodes.agent_mask[row, shown].tolist())

    @cached_property
    def _reader(self) -> ChatReader:
        return ChatReader(cast(ChatTemplate, self.chat))

    def _shown(self, task: TextTask, prompt: Said) -> list[int]:
        if self.chat is None and not isinstance(prompt, str):
            raise TokenGymError(
                "The prompt is a list of messages, and this is plain text: give a chat template, or a task in roles"
            )
        return task.prompt_ids(prompt)

    def _turns(self, task: TextTask, completion: Said) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of the agent's turns, and of what is shown between each and the next."""
        if isinstance(completion, str):
            return [self._turn(task, completion)], []
        if self.chat is None:
            raise TokenGymError(
                "The answer is a list of messages, and this is plain text: give a chat template, or a task in roles"
            )
        groups = [(role, list(group)) for role, group in groupby(completion, key=lambda one: _role(one) == "assistant")]
        if not groups or not groups[0][0] or not groups[-1][0] or any(is_said and len(g) > 1 for is_said, g in groups):
            roles = " ".join(str(_role(message)) for message in completion)
            raise TokenGymError(
                f"An answer has the roles {roles or 'of nobody'}; expected it to begin and end with the assistant, who "
                "does not speak twice in a row"
            )
        turns = [self._turn(task, _content(group[0])) for is_said, group in groups if is_said]
        if len(turns) > task.max_turns:
            raise TokenGymError(
                f"An answer has {len(turns)} turns of the assistant's; {task.name} has {task.max_turns}"
            )
        between = [group for is_said, group in groups if not is_said]
        return turns, [task.reply_ids(group, turn, False) for group, turn in zip(between, turns, strict=False)]

    def _turn(self, task: TextTask, text: str) -> list[int]:
        count = len(task.codec.encode(text, "the answer"))
        if count > task.max_turn_tokens:
            raise OverlongError(f"a turn has {count} tokens, and one of {task.name} at most {task.max_turn_tokens}")
        return task.codec.encode_turn(text)

    def _names(self, text: Said, what: str) -> list[int]:
        if not isinstance(text, str):
            raise TokenGymError(f"The {what} is a list of messages; expected names of tokens of this vocabulary")
        return self.vocabulary.encode(name for name in text.split(self.vocabulary.separator) if name)

    def _read_chat(self, prompt: list[int], rest: list[tuple[bool, list[int]]]) -> tuple[Said, Said]:
        """Return the messages that would be shown as these ids were, and what the agent said in between."""
        task, reader = cast(TextTask, self._task), self._reader
        shown = reader.read(prompt, lambda messages: task.prompt_ids(messages) == prompt)
        answer: list[dict[str, str]] = []
        turn: list[int] = []
        for place, (is_said, ids) in enumerate(rest):
            if is_said:
                turn = ids
                answer.append({"role": "assistant", "content": task.decode([ids])[0]})
            elif place + 1 < len(rest):  # what is shown after the agent's last word is nothing that it answered
                answer += reader.read(ids, partial(_writes, task, turn, ids))
        return shown, answer


class _Plain(TextTask):
    """What writes plain texts under a tokenizer; nobody plays it."""

    @classmethod
    def under(cls, tokenizer: Any) -> _Plain:
        """Return one without limits."""
        return cls(tokenizer, max_turn_tokens=_NO_LIMIT, max_length=_NO_LIMIT, max_turns=_NO_LIMIT)

    def begin(self, random: np.random.Generator) -> NoReturn:
        raise NotImplementedError

    def respond_all(self, episodes: Any, completions: Any, completion_ids: Any) -> list[TextReply]:
        raise NotImplementedError


class _Dialogue(ChatTask):
    """What writes messages under a tokenizer and a chat template; nobody plays it."""

    @classmethod
    def under(cls, tokenizer: Any, template: str | None) -> _Dialogue:
        """Return one without limits."""
        return cls(tokenizer, max_turn_tokens=_NO_LIMIT, max_length=_NO_LIMIT, max_turns=_NO_LIMIT, template=template)

    def begin(self, random: np.random.Generator) -> NoReturn:
        raise NotImplementedError

    def respond_all(self, episodes: Any, completions: Any, completion_ids: Any) -> list[TextReply]:
        raise NotImplementedError


def episodes_from(
    encoded: Sequence[Encoded], pad: int, returns: npt.ArrayLike | None = None, starts: npt.ArrayLike | None = None
) -> Episodes:
    """Return encoded episodes as one batch; each is one sequence that reached its end, of unknown log-probabilities.

    Args:
        encoded: E episodes.
        pad: fills the rows beyond their lengths.
        returns: (E,), paid with each episode's last token of the agent's; None pays nothing.
        starts: uint64 (E,); None numbers them by their prompts, so that what answers one prompt is a group.
    """
    lengths = np.array([len(one.tokens) for one in encoded], np.int32)
    shape = (len(encoded), int(lengths.max()))
    tokens, said = np.full(shape, pad, np.int32), np.zeros(shape, bool)
    for row, one in enumerate(encoded):
        tokens[row, : lengths[row]] = one.tokens
        said[row, : lengths[row]] = one.said
    rewards, log_probs = np.zeros((2, *shape), np.float32)
    if returns is not None:
        last = shape[1] - 1 - said[:, ::-1].argmax(axis=1)
        rewards[np.arange(shape[0]), last] = np.asarray(returns, np.float32)
    if starts is None:
        numbers: dict[tuple[int, ...], int] = {}
        prompts = [tuple(one.tokens[: one.said.index(True)]) for one in encoded]
        starts = [numbers.setdefault(prompt, len(numbers)) for prompt in prompts]
    return Episodes(
        tokens=tokens,
        lengths=lengths,
        agent_mask=said,
        rewards=rewards,
        log_probs=log_probs,
        episode_id=np.arange(len(encoded)),
        turn=np.zeros(len(encoded), np.int32),
        terminated=np.ones(len(encoded), bool),
        truncated=np.zeros(len(encoded), bool),
        starts=np.asarray(starts, np.uint64),
        pad=pad,
    )


def _writes(task: TextTask, turn: list[int], ids: list[int], messages: list[dict[str, str]]) -> bool:
    """Whether messages after a turn are shown as ids."""
    return task.reply_ids(messages, turn, False) == ids


def _runs(tokens: Sequence[int], said: Sequence[bool]) -> list[tuple[bool, list[int]]]:
    """Return tokens in runs of the same speaker, each with whether that is the agent."""
    pairs = groupby(zip(tokens, said, strict=True), key=lambda pair: pair[1])
    return [(bool(speaker), [token for token, _ in run]) for speaker, run in pairs]


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _content(message: Message) -> str:
    content = message.get("content")
    if not isinstance(content, str) or set(message) != {"role", "content"}:
        raise TokenGymError(f"A message is {dict(message)!r}; expected 'role' and 'content', both strings")
    return content
