"""The task of the benchmarks with models: a random prompt, one completion of fixed length, a cheap reward."""

from __future__ import annotations

import numpy as np

from tokengym.envs import Reply, TokenTask, TurnResult
from tokengym.envs.outcomes import Rows, State
from tokengym.envs.random import CounterRandom
from tokengym.envs.vocabulary import Vocabulary

VOCABULARY, PROMPT, NEW, ROWS = 64, 16, 64, 64
"""Sizes of the models' benchmarks: tokens known, tokens in the prompt (bos included), new tokens, rows."""


class Completion(TokenTask):
    """Says `new` tokens after `prompt` random ones; pays the share of the token 0 among them.

    Args:
        prompt: tokens of the first observation, bos included.
        new: tokens of the completion.
        size: tokens of the vocabulary.
    """

    name = "Completion"
    deterministic = True
    reward_range = (0.0, 1.0)

    def __init__(self, prompt: int = PROMPT, new: int = NEW, size: int = VOCABULARY) -> None:
        sayable = size - 2
        names = (*(f"t{i}" for i in range(sayable)), "<bos>", "<pad>")
        self.vocabulary = Vocabulary(names, num_actions=sayable, bos=sayable, pad=sayable + 1)
        self.prompt = prompt
        self.max_turn_tokens = self.max_episode_tokens = new
        self.max_length = prompt + new

    def begin(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Show the prompt."""
        tokens = random.integers(rows, self.vocabulary.num_actions, self.prompt - 1).astype(np.int32)
        return Reply(tokens, np.full(len(rows), self.prompt - 1))

    def respond(
        self, state: State, rows: Rows, turn_tokens: np.ndarray, counts: np.ndarray, random: CounterRandom
    ) -> TurnResult:
        """Pay and end."""
        return TurnResult(None, (turn_tokens == 0).mean(axis=1), np.ones(len(rows), np.bool_))
