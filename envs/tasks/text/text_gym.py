"""TextGym: any environment of strings, token by token."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from ...checking import TokenGymError, flag, positive_int, unknown_name
from ...random import CounterRandom
from ...task import Reply, Rows, State
from ...text import TextEnvMaker, TextEpisode, TextReply, TextTask, Told, build_tokenizer
from .number_hunt import NumberHunt

REPEATS = ("auto", "cut", "keep")
_MOST_CHARACTERS = 512
_TOKENIZER = {"kind": "chars", "corpus": ["0123456789?-\nyeshigherlower"]}


class TextGym(TextTask):
    """Any environment of strings, token by token.

    ## Description
    One turn is one step of the inner environment: what the agent wrote is the string that its `step` gets, and the
    string that comes back is shown. It takes what has `reset()` and `step(text)` and deals in strings: your own
    class, a Gymnasium environment with `Text` spaces, a game of TextArena for one player, an environment of GEM. It
    isolates nothing of its own: it is the door for the environments of text that exist already. By default it is a
    small one of the package's, `NumberHunt`: find a number between 1 and 7 with three guesses, each answered with
    `higher`, `lower` or `yes`. Mirrors how language models meet TextArena, TextWorld and GEM.

    Interfaces: `reset` gives a string, or a string and an info, and is given `seed=` if it takes it; `step` gives
    (text, reward, terminated, truncated, info), (text, reward, done, info) as older ones did, or (text, reward, done).

    ## Action space
    The tokenizer's tokens. Where the environment tells its legal texts, the mask allows only what continues one.
    They are found under the names `legal_actions`, `legal_texts`, `admissible_commands`, `valid_actions` and
    `available_actions`: in the info, or as an attribute or method of the environment.

    ## Observation space
    `[<bos>]`, the first observation, then turn by turn what the agent said and what came back: the whole episode. An
    observation that begins with the whole one before it is cut to what is new, and so is the agent's own text at the
    beginning of that. Each observation ends with a newline.

    ## Rewards
    The inner environment's, at the turn's last token.

    ## Starting state
    A new environment object, reset with a seed drawn from the row's stream, so equal starts give equal episodes. Every
    episode has its own state of the global generators of `random` and `numpy.random`, which libraries of games draw
    from: rows do not disturb each other, nor the rest of the program. (torch's is kept like
    them once it is imported; whose global generators are others must take `seed`.)

    ## Episode end
    The inner environment's end is terminated. Its time limit, where it tells it apart, and `max_turns` are truncated.

    ## Information
    No keys of its own.

    ## Arguments
    * `env=None`: a Gymnasium id (`"module:Name-v0"` imports the module first), `"textarena/Name-v0"`, an entry point
      `"module:callable"`, or a class or function that makes an environment; by default `NumberHunt`.
    * `env_kwargs=None`: its arguments.
    * `tokenizer=None`: a tokenizer or its specification. By default the characters of the environment's `Text` spaces,
      and where it has none a byte-level one, which can write anything.
    * `max_turn_tokens=16`, `max_turns=20`, `max_length=1024`: sizes; with too little context an episode is truncated.
    * `stop=()`: strings that end a turn, such as `"]"`.
    * `legal=None`: False: do not ask for legal texts. A list of texts: these are legal in every turn.
    * `repeats="auto"`: `"cut"` takes the beginning that repeats the observation before off every observation, `"keep"`
      leaves all as they are; `"auto"` cuts only at the end of a line, so that `step 10` after `step 1` stays whole.

    ## References
    Guertler et al., "TextArena", 2025. Liu et al., "GEM: A Gym for Agentic LLMs", 2025. Côté et al., "TextWorld: A
    Learning Environment for Text-based Games", 2018.

    ## Version history
    * v0: first release.
    """

    name = "TextGym"
    family = "text"
    isolates = "what the inner environment does"
    mirrors = "TextArena and GEM"
    entry_point_arguments = ("env",)
    turn_limit_truncates = True

    def __init__(
        self,
        env: str | Callable[..., Any] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        tokenizer: Any = None,
        max_turn_tokens: int | None = None,
        max_turns: int | None = None,
        max_length: int | None = None,
        stop: str | Sequence[str] = (),
        legal: bool | Sequence[str] | None = None,
        repeats: str = "auto",
    ) -> None:
        if env_kwargs is not None and not (
            isinstance(env_kwargs, Mapping) and all(isinstance(name, str) for name in env_kwargs)
        ):
            raise TokenGymError(
                f"env_kwargs={env_kwargs!r}: give a mapping from the names of arguments to their values"
            )
        if repeats not in REPEATS:
            raise unknown_name("way to treat repeats", repeats, REPEATS)
        self.repeats = repeats
        own = env is None
        listed = isinstance(legal, (list, tuple))
        if listed and not (legal and all(isinstance(text, str) and text for text in legal)):
            raise TokenGymError(f"legal={legal!r}: give non-empty strings")
        self._legal = tuple(legal) if isinstance(legal, (list, tuple)) else None
        asks = not listed and (legal is None or flag("legal", legal))
        self.maker = TextEnvMaker(NumberHunt if env is None else env, env_kwargs or {}, asks)
        episode, told = self.maker.begin(0)
        if self.maker.begin(0)[1] != told:
            raise TokenGymError(
                f"environment {self.maker.name!r} began in two ways with one seed: give its reset an argument `seed`, "
                "or let it draw from random or numpy.random"
            )
        if tokenizer is None:
            tokenizer = _TOKENIZER if own else _tokenizer_for(episode.env, told)
        super().__init__(
            build_tokenizer(tokenizer),
            max_turn_tokens=positive_int(
                "max_turn_tokens", (2 if own else 16) if max_turn_tokens is None else max_turn_tokens
            ),
            max_turns=positive_int(
                "max_turns", (3 if own and not env_kwargs else 20) if max_turns is None else max_turns
            ),
            max_length=positive_int("max_length", (64 if own else 1024) if max_length is None else max_length),
            stop=stop,
        )
        self.has_action_mask = self._legal is not None or told.legal is not None
        self.can_save_state = _can_copy(episode)
        if own and not env_kwargs:
            self.optimal_return = 1.0

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins an episode in each of `rows`; see `Task.start`."""
        with self.maker.together():
            return super().start(state, rows, random)

    def begin(self, random: np.random.Generator) -> tuple[_Game, str]:
        """Begins an episode of the inner environment."""
        episode, told = self.maker.begin(int(random.integers(2**31)))
        return _Game(episode, told.text), self._line(told.text)

    def respond_all(
        self, episodes: list[Any], completions: list[str], completion_ids: list[list[int]]
    ) -> Sequence[tuple[Any, float, bool] | TextReply]:
        """Says the turns' texts to the inner environments."""
        with self.maker.together():
            return super().respond_all(episodes, completions, completion_ids)

    def respond(self, episode: _Game, completion: str) -> TextReply:
        """Says the turn's text to the inner environment."""
        told = episode.inner.step(str(completion))
        text = self._news(episode.shown, told.text, completion)
        episode.shown = told.text
        return TextReply(self._line(text), told.reward, told.terminated, truncated=told.truncated)

    def legal(self, episode: _Game) -> Sequence[str] | None:
        """Gives the texts that the environment allows, or those that were given."""
        return self._legal if self._legal is not None else episode.inner.legal

    def _line(self, text: str) -> str:
        """Gives an observation as a line, after checking that the tokenizer can write it."""
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        if unknown not in (None, self.vocabulary.eos) and unknown in self.encode(text):
            lost = sorted({letter for letter in text if unknown in self.encode(letter)})
            raise TokenGymError(
                f"environment {self.maker.name!r}: the tokenizer has no token for {' '.join(lost) or 'some words'} of "
                f"the observation {text[:60]!r}: give a tokenizer that has, or a byte-level one ({{'kind': 'bpe'}})"
            )
        return text if not text or text.endswith("\n") else f"{text}\n"

    def _news(self, before: str, text: str, said: str) -> str:
        """Gives an observation without the beginning that repeats the one before and what the agent said."""
        if self.repeats == "keep" or not before or not text.startswith(before):
            return text
        new = text[len(before) :]
        at_line = before.endswith("\n") or new.startswith("\n") or (said != "" and new.startswith(said + "\n"))
        if self.repeats == "auto" and not (new and at_line):
            return text
        if said and new.startswith(said):
            new = new[len(said) :]
        return new


class _Game:
    """An episode's state: the inner environment's, and its last observation as it came."""

    def __init__(self, inner: TextEpisode, shown: str) -> None:
        self.inner, self.shown = inner, shown


def _tokenizer_for(env: Any, told: Told) -> dict[str, Any]:
    """Gives a tokenizer for the environment's own characters, or one that can write all."""
    spaces = [getattr(env, name, None) for name in ("observation_space", "action_space")]
    texts = [told.text, *(told.legal or ()), "\n"]
    if all(isinstance(space, gymnasium.spaces.Text) for space in spaces):
        characters = set().union(*(space.character_set for space in spaces if isinstance(space, gymnasium.spaces.Text)))
        if len(characters) <= _MOST_CHARACTERS and characters >= set("".join(texts[:-1])):
            return {"kind": "chars", "corpus": ["".join(sorted(characters | {"\n"}))]}
    return {"kind": "bpe", "corpus": texts}


def _can_copy(episode: TextEpisode) -> bool:
    """Whether a copy of the environment can be made."""
    try:
        copy.deepcopy(episode)
    except Exception:  # any failure of a stranger's code only means that states cannot be saved
        return False
    return True
