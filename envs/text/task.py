"""Tasks written in strings, one episode at a time, and spoken under any tokenizer.

The author of a `TextTask` never sees a token: `begin` gives a prompt, `respond` answers the text of a finished turn,
`legal` lists what may be said. The base class does the tokens, and holds to four rules:

- ids that were sampled are kept as they are; text is decoded from them, never encoded back into them;
- the task's own text is text: names of control tokens in it are spelt in characters, and what the tokenizer cannot
  write is refused with the piece that is lost (`writer`);
- a turn ends where its *decoded text* contains a stop string, since a tokenizer may merge a newline with other text;
- what may be said next follows from the encodings of the legal strings, and saying one is heard as that very string
  even where the tokenizer respells it (`text_codec`).
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, positive_int
from ..columns import Columns, of_rows, put
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Reply, Rows, State, Task
from ..token_task import turn_limits
from ..vocabulary import Vocabulary
from .codec import TextCodec
from .tokenizers import build_tokenizer
from .writer import TextWriter


class TextReply(NamedTuple):
    """A `TextTask`'s answer to one finished turn.

    Attributes:
        reply: What the task says next, or None for nothing: a string (in a `ChatTask` also messages).
        reward: The reward of the turn, paid at its last token.
        done: Whether the episode is over.
        token_rewards: None, or the rewards of the turn's tokens one by one, float64 (tokens,), which sum to `reward`.
        truncated: Whether a time limit that is no part of the task cut the episode; not where it is `done`.
        columns: What is reported beside the reward, by name: numbers, which logs and evaluations sum up (see
            `Task.columns`), or texts; None for nothing.
    """

    reply: Any
    reward: float
    done: bool
    token_rewards: npt.NDArray[np.float64] | None = None
    truncated: bool = False
    columns: Mapping[str, Any] | None = None


class Completion(str):
    """The text of a finished turn, which also tells how the turn ended.

    Attributes:
        ended: `"end"` by the end token, `"stop"` by a stop string, `"length"` after `max_turn_tokens`.
    """

    ended: Literal["end", "stop", "length"] = "length"

    @classmethod
    def of(cls, text: str, ended: Literal["end", "stop", "length"]) -> Completion:
        """Makes one."""
        completion = cls(text)
        completion.ended = ended
        return completion


class TextTask(Task):
    """A task in strings: write `begin` and `respond`, and `legal` where not everything may be said.

        class Echo(TextTask):
            def begin(self, random):
                word = str(random.choice(["sea", "wood"]))
                return word, f"say {word}"

            def respond(self, episode, completion):
                return None, float(completion.strip() == episode), True

        task = Echo({"kind": "words", "corpus": ["say sea wood"]}, max_turn_tokens=2, max_length=8)

    What `begin` returns first is the episode's state: any Python object that `copy.deepcopy` can copy, changed in place
    by `respond`. Where it holds the generator, the episode can go on drawing from it.

    Attributes:
        tokenizer: The tokenizer, a `transformers` one or an object like it.
        writer: What writes and reads text under it; `writer.read(text)` gives a text as it would read if it were said.
        stop: The stop strings.
        max_turns: The most turns of an episode; the last one ends it as part of the task (`terminated`).
        turn_limit_truncates: Whether that limit is not part of the task, so that the last turn is `truncated` instead.
    """

    context = "episode"
    turn_limit_truncates: bool = False

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_turn_tokens: int,
        max_length: int,
        max_turns: int = 1,
        stop: str | Sequence[str] = (),
    ) -> None:
        """Sets the task up for a tokenizer.

        Args:
            tokenizer: A tokenizer, or its specification for `build_tokenizer`.
            max_turn_tokens: The most tokens of a turn; a turn also ends with the end token or a stop string.
            max_length: The context window: `bos`, prompt, turns and replies must fit, or the episode is truncated.
            max_turns: The most turns of an episode.
            stop: Strings that end a turn once its text contains one. The author gets the text before it.

        Raises:
            TokenGymError: For a tokenizer without an end token, a size below 1 or an empty stop string.
        """
        self.tokenizer = build_tokenizer(tokenizer)
        self.vocabulary = Vocabulary.from_tokenizer(self.tokenizer)
        self.writer = TextWriter(self.tokenizer)
        self.max_turn_tokens = positive_int("max_turn_tokens", max_turn_tokens)
        self.max_turns = positive_int("max_turns", max_turns)
        self.max_length = positive_int("max_length", max_length)
        self.max_episode_tokens = self.max_turn_tokens * self.max_turns
        listed = isinstance(stop, (list, tuple))
        self.stop: tuple[Any, ...] = tuple(stop) if listed else (stop,)
        if not all(isinstance(text, str) and text for text in self.stop):
            raise TokenGymError(f"stop={stop!r}: give non-empty strings")
        self.has_action_mask = type(self).legal is not TextTask.legal

    # --- what an author writes

    @abstractmethod
    def begin(self, random: np.random.Generator) -> tuple[Any, Any]:
        """Begins an episode.

        Args:
            random: The episode's own generator: equal starts give equal draws.

        Returns:
            The episode's state, and the prompt: a string (in a `ChatTask` messages).
        """

    def respond(self, episode: Any, completion: Completion) -> tuple[Any, float, bool] | TextReply:
        """Answers a finished turn.

        Args:
            episode: The episode's state, to be changed in place.
            completion: The text of the turn, a string without special tokens and up to the stop string. How the turn
                ended is in `completion.ended`: `"end"` (the end token), `"stop"` (a stop string) or `"length"`.

        Returns:
            The reply or None, the reward, and whether the episode is over; or a `TextReply`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define respond or respond_all")

    def respond_all(
        self, episodes: list[Any], completions: list[str], completion_ids: list[list[int]]
    ) -> Sequence[tuple[Any, float, bool] | TextReply]:
        """Answers all turns that finished in one step; override it in place of `respond` to score them together.

        Args:
            episodes: The states of the m episodes.
            completions: The texts of their turns, each a `Completion`, which tells how its turn ended.
            completion_ids: The ids of their turns as they were said, the end token included.

        Returns:
            m answers, as `respond` gives them.
        """
        return [
            self.respond(episode, text)
            for episode, text in zip(episodes, cast(list[Completion], completions), strict=True)
        ]

    def legal(self, episode: Any) -> Sequence[str] | None:
        """Gives the whole texts that the coming turn may consist of, or None for any (the default)."""
        return None

    def expert_text(self, episode: Any) -> str | None:
        """Gives a good text for the whole coming turn, or None where the task knows none (the default)."""
        return None

    # --- what the engine calls

    def make_state(self, num_rows: int) -> State:
        """Returns the episodes' objects, the ids of the turns under way, and the turns taken."""
        return {
            "episode": np.full(num_rows, None, object),
            "turn_tokens": np.zeros((num_rows, self.max_turn_tokens), np.int32),
            "turn_counts": np.zeros(num_rows, np.int64),
            "turns": np.zeros(num_rows, np.int64),
        }

    def state_limits(self, over: bool) -> Limits:
        """Returns what the buffers of the turns can hold."""
        return turn_limits(self, over, "turns", self.max_turns)

    def check_saved(self, state: State, saved: Any, over: bool) -> None:
        """Raises `TokenGymError` where `restore` would be given what is no state of this task; see `Task`."""
        super().check_saved(state, saved, over)
        episode = saved["episode"]
        if not (over and episode is None) and not self.is_episode(episode):  # None stands where none has begun
            raise TokenGymError(f"the state's 'episode' of {self.name} is {str(episode)[:60]!r}: it cannot be one")

    def is_episode(self, episode: Any) -> bool:
        """Tells whether a value can be an episode's state; tasks that know what `begin` gives can tell more.

        By default everything is that `legal` can take.
        """
        try:
            self.legal(copy.deepcopy(episode))
        except Exception:  # an author's own code, given a stranger's value
            return False
        return True

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins an episode in each of `rows` and shows the prompts; see `Task.start`."""
        state["turn_counts"][rows] = 0
        state["turns"][rows] = 0
        prompts: list[list[int]] = []
        for row, seed in zip(rows.tolist(), random.bits(rows)[:, 0].tolist(), strict=True):
            state["episode"][row], prompt = self.begin(np.random.default_rng(seed))
            ids = self.prompt_ids(prompt)
            if 1 + len(ids) >= self.max_length:
                raise TokenGymError(
                    f"task {self.name}: the prompt {str(prompt)[:60]!r} has {len(ids)} tokens, which with bos and "
                    f"one of the agent's exceed max_length={self.max_length}: shorten it, or give at least "
                    f"{len(ids) + 2}"
                )
            prompts.append(ids)
        return self._reply(prompts)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in each of `rows`, and answers the turns that it ended, all in one call."""
        m = len(rows)
        counts = state["turn_counts"][rows]
        state["turn_tokens"][rows, counts] = actions
        counts += 1
        state["turn_counts"][rows] = counts
        ended = (counts == self.max_turn_tokens) | (actions == self.vocabulary.eos)
        texts: dict[int, str] = {}
        if self._may_stop is not None:
            candidates = np.flatnonzero(self._may_stop[actions] & ~ended)
            texts = dict(zip(candidates.tolist(), self._texts(state, rows, candidates), strict=True))
            ended[[index for index, text in texts.items() if self.codec.cut(text) is not None]] = True
        where = np.flatnonzero(ended)
        rewards, terminated = np.zeros(m), np.zeros(m, np.bool_)
        if not len(where):
            return Outcome(rewards, terminated, ended)

        unread = np.array([index for index in where.tolist() if index not in texts], np.intp)
        texts.update(zip(unread.tolist(), self._texts(state, rows, unread), strict=True))
        ending = rows[where]
        episodes, turns = list(state["episode"][ending]), self._ids(state, ending)
        completions: list[str] = [
            self._heard(episode, texts[index], turn)
            for episode, index, turn in zip(episodes, where.tolist(), turns, strict=True)
        ]
        answers = self.respond_all(episodes, completions, turns)
        answers = [self._check_answer(answer) for answer in answers]
        if len(answers) != len(where):
            raise TokenGymError(f"task {self.name}: respond_all gave {len(answers)} answers to {len(where)} turns")
        rewards[where] = [answer.reward for answer in answers]
        state["turns"][ending] += 1
        state["turn_counts"][ending] = 0
        terminated[where] = [answer.done for answer in answers]
        truncated = np.zeros(m, np.bool_)
        truncated[where] = [answer.truncated for answer in answers]
        (truncated if self.turn_limit_truncates else terminated)[where] |= state["turns"][ending] == self.max_turns
        truncated &= ~terminated
        replies: list[list[int]] = [[]] * m
        for index, answer, turn in zip(where.tolist(), answers, turns, strict=True):
            replies[index] = self.reply_ids(answer.reply, turn, bool(terminated[index] or truncated[index]))
        return Outcome(
            rewards,
            terminated,
            ended,
            self._reply(replies) if any(replies) else None,
            [answer.token_rewards for answer in answers]
            if any(answer.token_rewards is not None for answer in answers)
            else None,
            truncated if truncated.any() else None,
            _reported(self.name, answers, where, m),
        )

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which tokens continue one of the legal texts, or end the turn after one: bool (m, A)."""
        if not self.has_action_mask:
            return super().action_mask(state, rows)
        mask = np.zeros((len(rows), self.vocabulary.num_actions), np.bool_)
        for index, (episode, said) in enumerate(zip(state["episode"][rows], self._ids(state, rows), strict=True)):
            legal = self.legal(episode)
            if legal is None:
                mask[index] = True
            else:
                # Off the legal texts, where only an agent that ignores masks gets, nothing is left but to end the turn.
                mask[index, self.codec.legal(tuple(legal)).following.get(tuple(said), self.vocabulary.eos)] = True
        return mask

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the next tokens of `expert_text`, shape (m,), or None where some row has none.

        A turn that has begun otherwise is ended.
        """
        tokens = []
        for episode, said in zip(state["episode"][rows], self._ids(state, rows), strict=True):
            text = self.expert_text(episode)
            if text is None:
                return None
            ids = self.codec.encode_turn(text)
            tokens.append(ids[len(said)] if ids[: len(said)] == said and len(said) < len(ids) else self.vocabulary.eos)
        return np.array(tokens, np.int64)

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Returns an observation's text, without special tokens."""
        return self.decode([tokens.tolist()])[0]

    # --- text and ids

    def encode(self, text: str) -> list[int]:
        """Gives the ids of a text as an agent could say it, without special tokens.

        Where the tokenizer has no token for a word, its unknown token stands; in what a task says that is refused.
        """
        return self.writer.ids(text, whole=False)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Gives the texts of several rows of ids, without special tokens."""
        return self.codec.decode(ids)

    @cached_property
    def codec(self) -> TextCodec:
        """What encodes and decodes the task's texts; made at the first use, when the vocabulary is settled."""
        return TextCodec(self.name, self.writer, self.vocabulary, self.stop, self.max_turn_tokens)

    @cached_property
    def _may_stop(self) -> npt.NDArray[np.bool_] | None:
        return self.codec.tokens_that_may_stop()

    def prompt_ids(self, prompt: Any) -> list[int]:
        """Gives the ids of what `begin` says; a `ChatTask` puts its messages into a template."""
        return self.codec.encode(prompt, "the prompt")

    def reply_ids(self, reply: Any, turn: list[int], over: bool) -> list[int]:
        """Gives the ids of what the task says after a turn (its ids), or after the end (`over`)."""
        return self.codec.encode(reply, "the reply") if reply else []

    def _ids(self, state: State, rows: Rows) -> list[list[int]]:
        tokens, counts = state["turn_tokens"][rows].tolist(), state["turn_counts"][rows].tolist()
        return [row[:count] for row, count in zip(tokens, counts, strict=True)]

    def _texts(self, state: State, rows: Rows, indices: npt.NDArray[np.intp]) -> list[str]:
        return self.decode(self._ids(state, rows[indices])) if len(indices) else []

    def _heard(self, episode: Any, text: str, turn: list[int]) -> Completion:
        """Gives what the author hears of a turn's decoded text: up to the stop string, a legal text as it was spelt."""
        cut = self.codec.cut(text)
        text = text if cut is None else cut
        legal = self.legal(episode) if self.has_action_mask else None
        heard = text if legal is None else self.codec.legal(tuple(legal)).heard.get(text, text)
        return Completion.of(heard, "end" if turn[-1] == self.vocabulary.eos else "length" if cut is None else "stop")

    def _reply(self, ids: list[list[int]]) -> Reply:
        counts = np.array([len(row) for row in ids], np.int64)
        tokens = np.full((len(ids), max(counts, default=0)), self.vocabulary.pad, np.int32)
        for index, row in enumerate(ids):
            tokens[index, : len(row)] = row
        return Reply(tokens, counts, padded=True)

    def _check_answer(self, answer: tuple[Any, float, bool] | TextReply) -> TextReply:
        if not isinstance(answer, TextReply):
            if not isinstance(answer, tuple) or len(answer) != 3:
                raise TokenGymError(f"task {self.name}: respond must return (reply, reward, done), got {answer!r}")
            answer = TextReply(*answer)
        number = isinstance(answer.reward, (bool, int, float, np.integer, np.floating))
        if not number or not math.isfinite(answer.reward):
            raise TokenGymError(f"task {self.name}: respond gave the reward {answer.reward!r}: give a finite number")
        return answer


def _reported(name: str, answers: Sequence[TextReply], where: npt.NDArray[np.intp], num_rows: int) -> Columns | None:
    """Gives what the answers of some rows report as columns of all rows."""
    told = [answer.columns for answer in answers]
    if not any(told):
        return None
    columns = of_rows(f"task {name}", told)
    if columns is None or len(where) == num_rows:
        return columns
    found: dict[str, npt.NDArray[Any]] = {}
    put(found, columns, where, num_rows)  # each is of one value a row and finite: the engine looks once more
    return found
