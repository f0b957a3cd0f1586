"""Wordle at full size: five letters, hundreds of words, six guesses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from string import ascii_lowercase

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, flag, positive_int
from ...drawing import Picture
from ...outcomes import TurnResult
from ...random import CounterRandom
from ...saved_state import Limits
from ...task import Reply, Rows, State
from ...token_task import TokenTask
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .guessing import blind_return
from .wordle import draw_guesses

MARKS = (".", "~", "+")
"""The marks in the order of their numbers: not in the word, elsewhere, right place."""

_CACHE_LIMIT = 4096
_MOST_WORDS = 3000
_MOST_GUESSES = 1000


def common_words() -> list[str]:
    """Return the bundled list: common English words of five letters, in alphabetical order."""
    return files(__name__.rpartition(".")[0]).joinpath("five_letter_words.txt").read_text(encoding="utf-8").split()


def mark_words(guesses: npt.NDArray[np.integer], secrets: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the marks of guesses (…, L) against secrets (…, L) as numbers of `MARKS`, int64 (…, L).

    The batch form of `wordle.mark_guess`: a letter that stands elsewhere is marked, from left to right, as often as the
    secret has it in places that were not guessed right. The leading axes broadcast.
    """
    right = guesses == secrets
    missed = ~right[..., None, :]
    length = guesses.shape[-1]
    earlier = ((guesses[..., :, None] == guesses[..., None, :]) & missed & np.tri(length, k=-1, dtype=bool)).sum(-1)
    there = ((guesses[..., :, None] == secrets[..., None, :]) & missed).sum(-1)
    return np.where(right, 2, (earlier < there).astype(np.int64))


class Wordle(TokenTask):
    """Guess a hidden five-letter word letter by letter, with feedback after each guess.

    ## Description
    The secret is one of some 700 common English words. A guess is five letters, one token each, and any five letters
    may be guessed. Feedback follows: for each letter `+` (right place), `~` (in the word, elsewhere) or `.` (not in the
    word; a letter is marked as often as both words have it). It isolates using a known list of words over several
    turns: a player has to learn the words as well as the deduction. Mirrors the Wordle task of LMRL-Gym. There are too
    many guesses to solve it exactly: `WordleMini` is the size that is.

    ## Action space
    26 tokens `a` … `z`.

    ## Observation space
    `[<bos>]`, then for every guess its letters and its marks: the whole dialogue.

    ## Rewards
    −1 with the last letter of each wrong guess, 0 for the right one. Uniform letters get −Σ_{i ≤ guesses} (1 − 26^−5)^i
    (attribute `random_return`), uniform words of the list −Σ_{i ≤ guesses} (1 − 1/words)^i (attribute
    `random_words_return`). The expert plays the word of the list that leaves the fewest words on average.

    ## Starting state
    A secret, uniform over the words and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by the right guess or after `num_guesses` guesses.

    ## Information
    With `words_only` the legal tokens are the letters that continue some word of the list.

    ## Arguments
    * `num_guesses=6`: guesses in an episode.
    * `num_words=None`: how many words of the list are used, drawn by `instance_seed`; all by default.
    * `words_only=False`: let the action mask allow prefixes of words only.
    * `words=None`: a list of your own, of words of one length in the letters `a` … `z`.
    * `instance_seed=0`: draws the words where `num_words` is given.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023; Snell et
    al., "Offline RL for Natural Language Generation with Implicit Language Q Learning", ICLR 2023.

    ## Version history
    * v0: first release.
    """

    name = "Wordle"
    family = "games"
    isolates = "deduction with a list of words to learn"
    mirrors = "LMRL-Gym Wordle"
    deterministic = True
    reward_range = (-1.0, 0.0)

    def __init__(
        self,
        num_guesses: int = 6,
        num_words: int | None = None,
        words_only: bool = False,
        words: Sequence[str] | None = None,
        instance_seed: int = 0,
    ) -> None:
        self.num_guesses = positive_int("num_guesses", num_guesses, _MOST_GUESSES)
        drawn = instance_random(instance_seed)
        chosen = common_words() if words is None else _checked_words(words)
        if num_words is not None:
            if positive_int("num_words", num_words) > len(chosen):
                raise TokenGymError(f"num_words={num_words}: the list has {len(chosen)} words: give at most as many.")
            picked = drawn.choice(len(chosen), size=num_words, replace=False)
            chosen = [chosen[index] for index in sorted(picked)]
        self.words: list[str] = chosen
        self.word_length = len(chosen[0])
        self.has_action_mask = flag("words_only", words_only)
        self.vocabulary = Vocabulary.of(ascii_lowercase, MARKS)
        self.max_turn_tokens = self.word_length
        self.max_episode_tokens = self.num_guesses * self.word_length
        self.max_length = 1 + 2 * self.max_episode_tokens
        self.random_return = blind_return(26**self.word_length, self.num_guesses)
        self._letters = np.array([self.vocabulary.encode(word) for word in chosen], np.int8)  # (W, L)
        self._places = 3 ** np.arange(self.word_length)
        self._best: dict[bytes, int] = {}

    @property
    def random_words_return(self) -> float:
        """Expected return of guessing words of the list uniformly at random, repeats allowed."""
        return blind_return(len(self.words), self.num_guesses)

    def make_state(self, num_rows: int) -> State:
        """Returns the secrets' numbers, and the guesses made with their marks, each set of marks as one number."""
        return super().make_state(num_rows) | {
            "secret": np.zeros(num_rows, np.int64),
            "made": np.zeros(num_rows, np.int64),
            "guesses": np.zeros((num_rows, self.num_guesses, self.word_length), np.int8),
            "marks": np.zeros((num_rows, self.num_guesses), np.int64),
        }

    def state_limits(self, over: bool) -> Limits:
        """Returns what the buffers of the turns, the secrets' numbers, the guesses and their marks can hold."""
        return {
            **super().state_limits(over),
            "secret": (0, len(self.words) - 1),
            "made": (0, self.num_guesses - (not over)),
            "guesses": (0, self.vocabulary.num_actions - 1),
            "marks": (0, 3**self.word_length - 1),
        }

    def begin(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Draws a secret for each of `rows`; nothing is shown."""
        state["secret"][rows] = random.integers(rows, len(self.words))[:, 0]
        state["made"][rows] = 0
        return Reply(np.zeros((len(rows), 0), np.int32), np.zeros(len(rows), np.int64))

    def respond(
        self,
        state: State,
        rows: Rows,
        turn_tokens: npt.NDArray[np.int32],
        counts: npt.NDArray[np.int64],
        random: CounterRandom,
    ) -> TurnResult:
        """Marks the guesses."""
        marks = mark_words(turn_tokens, self._letters[state["secret"][rows]])
        made = state["made"][rows]
        state["guesses"][rows, made] = turn_tokens
        state["marks"][rows, made] = marks @ self._places
        state["made"][rows] = made + 1
        right = (marks == 2).all(axis=1)
        shown = (marks + self.vocabulary.ids["."]).astype(np.int32)
        reply = Reply(shown, np.full(len(rows), self.word_length), padded=True)
        return TurnResult(reply, right - 1.0, right | (made + 1 == self.num_guesses))

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns the letters that continue a word, bool (m, 26), where the task is restricted to words.

        After letters that begin no word (said against the mask) every letter is legal.
        """
        if not self.has_action_mask:
            return super().action_mask(state, rows)
        said = state["turn_counts"][rows]
        node = np.zeros(len(rows), np.int64)
        for place in range(self.word_length - 1):
            letters = state["turn_tokens"][rows, place]
            node = np.where(said > place, self._prefixes[node, letters], node)
        off = len(self._prefixes) - 1
        return (self._prefixes[node] < off) | (node == off)[:, None]

    @cached_property
    def _prefixes(self) -> npt.NDArray[np.int64]:
        """The tree of the words' beginnings, (N + 1, 26): the node that a letter leads to, from node 0.

        Where no word goes on, a letter leads to the last node, and from there to nowhere else.
        """
        nodes: dict[str, int] = {"": 0}
        for word in self.words:
            for length in range(1, self.word_length + 1):
                nodes.setdefault(word[:length], len(nodes))
        tree = np.full((len(nodes) + 1, 26), len(nodes))
        for text, node in nodes.items():
            if text:
                tree[nodes[text[:-1]], ord(text[-1]) - ord("a")] = node
        return tree

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer]:
        """Returns the next letter of the word that leaves the fewest words on average, shape (m,).

        It knows the list and what the dialogue told, not the secret. Where the letters said so far are not that word's,
        it goes on to a word that begins with them.
        """
        possible = self.remaining_words(state, rows)
        said = state["turn_counts"][rows]
        actions = np.zeros(len(rows), np.int64)
        for index, row in enumerate(rows.tolist()):
            prefix = state["turn_tokens"][row, : said[index]]
            best = self._letters[self._best_word(possible[index])]
            if (best[: len(prefix)] != prefix).any():
                begins = (self._letters[:, : len(prefix)] == prefix).all(axis=1)
                begins = begins & possible[index] if (begins & possible[index]).any() else begins
                best = self._letters[int(begins.argmax())]
            actions[index] = best[len(prefix)]
        return actions

    def remaining_words(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns which words the dialogues leave possible, bool (m, W)."""
        possible = np.ones((len(rows), len(self.words)), np.bool_)
        made = state["made"][rows]
        for guess in range(int(made.max(initial=0))):
            where = np.flatnonzero(made > guess)
            marks = mark_words(state["guesses"][rows[where], guess][:, None, :], self._letters) @ self._places
            possible[where] &= marks == state["marks"][rows[where], guess][:, None]
        return possible

    @cached_property
    def _answers(self) -> npt.NDArray[np.int16]:
        """The marks of every word guessed against every secret, as one number each, (W, W)."""
        marks = [mark_words(guess, self._letters) @ self._places for guess in self._letters]
        return np.array(marks, np.int16)

    def _best_word(self, possible: npt.NDArray[np.bool_]) -> int:
        """Returns the number of the word whose marks leave the fewest of the possible words on average."""
        key = possible.tobytes()
        if key not in self._best:
            if len(self._best) >= _CACHE_LIMIT:
                self._best.clear()
            left = np.flatnonzero(possible)
            answers, num_answers = self._answers[:, left], 3**self.word_length
            bins = (answers + np.arange(len(self.words))[:, None] * num_answers).ravel()
            sizes = np.bincount(bins, minlength=len(self.words) * num_answers).reshape(-1, num_answers)
            remaining = (sizes.astype(np.float64) ** 2).sum(axis=1)
            remaining[left] -= 0.5  # among equals, one that may be right
            self._best[key] = int(remaining.argmin())
        return self._best[key]

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Returns Wordle's board."""
        return draw_guesses(self.vocabulary.names(tokens[1:].tolist()), self.word_length, self.num_guesses)


def _checked_words(words: Sequence[str]) -> list[str]:
    """Returns a user's list, sorted, or raises TokenGymError for what is not a list of words of one length."""
    if not isinstance(words, (list, tuple)) or not words or not all(isinstance(word, str) for word in words):
        raise TokenGymError(f"words={words!r}: give a list of words, or None for the bundled one.")
    for word in words:
        if not word or set(word) - set(ascii_lowercase):
            raise TokenGymError(f"words: {word!r} is not a word in the letters a … z: give it in lower case.")
        if len(word) != len(words[0]) or len(word) > 8:
            raise TokenGymError(
                f"words: {word!r} has {len(word)} letters and {words[0]!r} has {len(words[0])}: give words of one "
                "length, at most 8."
            )
    if len(set(words)) != len(words) or len(words) > _MOST_WORDS:
        raise TokenGymError(f"words: give each word once, and at most {_MOST_WORDS} of them ({len(words)} given).")
    return sorted(words)
