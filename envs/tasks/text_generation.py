"""TextGeneration: any prompts, any tokenizer, any reward function, one turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TokenGymError, positive_int
from ..prompts import read_prompts
from ..reward_scorer import Scorer
from ..rewards import build_reward
from ..text_task import TextReply, TextTask
from ..tokenizers import build_tokenizer

PROMPTS = (
    {"prompt": "the sea", "words": "waves salt shore"},
    {"prompt": "the wood", "words": "trees leaf moss"},
    {"prompt": "the hill", "words": "snow stone cold"},
    {"prompt": "the sky", "words": "moon star night"},
)
"""The default prompts: each wants three words of its own."""

REWARD = {
    "name": "weighted_sum",
    "terms": [
        {"weight": 1.0, "reward": {"name": "keyword", "column": "words"}},
        {"weight": 0.5, "reward": {"name": "repetition_penalty", "ngram": 2}},
    ],
}
"""The default reward: the fraction of the prompt's words that were used, less half the share of repeated word pairs."""

TOKENIZER = {"kind": "words"}
"""The default tokenizer: the 45 words and signs of the bundled corpus."""


class TextGeneration(TextTask):
    """Continue a prompt; a reward function scores the whole completion.

    **Description.** A prompt is drawn uniformly, the agent writes up to `max_new_tokens` tokens, and the reward
    function scores all completions that finished in a step in one call. It isolates what fine-tuning a language model
    with a reward is: one turn, a reward at its end. By default four prompts each want three words of their own, and
    repeated word pairs cost.

    **Action space.** The whole tokenizer (A = V); all specials can be said, and only the end token means something.

    **Observation.** `bos`, the prompt, and the tokens said so far.

    **Rewards.** The reward function's, at the last token. A per-token reward pays its sum there, with the parts in
    `token_rewards`.

    **Starting state.** One of the prompts of the split, uniformly.

    **Episode end.** The end token, a stop string, or `max_new_tokens`, which is part of the task: always `terminated`.

    **Version history.** v0: first version.

    Attributes:
        prompts: The prompts of the split and their columns.
        scorer: The checked reward function; `scorer.take_metrics()` gives what it logged.
    """

    name = "TextGeneration"
    family = "text"
    deterministic = True

    def __init__(
        self,
        prompts: Any = None,
        tokenizer: Any = None,
        reward: Any = None,
        max_new_tokens: int = 8,
        stop: str | Sequence[str] = (),
        split: str = "train",
        held_out: float = 0.0,
        max_length: int | None = None,
    ) -> None:
        """Sets the task up.

        Args:
            prompts: A list of strings or mappings, or the path of a text or JSONL file; see `read_prompts`. The columns
                beside a prompt go to the reward function.
            tokenizer: A tokenizer or its specification; see `build_tokenizer`.
            reward: A reward function or its specification; see `build_reward`.
            max_new_tokens: The most tokens of a completion, the end token included.
            stop: Strings that end a completion once its text contains one.
            split: `"train"`, `"held_out"` or `"all"`.
            held_out: The fraction of the prompts that is held out.
            max_length: The context window. By default just long enough for the longest prompt of all splits.

        Raises:
            TokenGymError: For a bad argument, a tokenizer without an end token, or a prompt longer than the context.
        """
        is_default = prompts is None and tokenizer is None and reward is None and max_new_tokens == 8 and not stop
        new_tokens = positive_int("max_new_tokens", max_new_tokens)
        source = PROMPTS if prompts is None else prompts
        built = build_tokenizer(TOKENIZER if tokenizer is None else tokenizer)
        texts = read_prompts(source, "all").texts
        lengths = [len(built.encode(text, add_special_tokens=False)) for text in texts]
        needed = 1 + max(lengths) + new_tokens
        if max_length is not None and positive_int("max_length", max_length) < needed:
            raise TokenGymError(
                f"the prompt {texts[int(np.argmax(lengths))][:60]!r} has {max(lengths)} tokens, which with bos and "
                f"{new_tokens} new tokens exceed max_length={max_length}: shorten it, or give at least {needed}"
            )
        super().__init__(built, max_turn_tokens=new_tokens, max_length=max_length or needed, stop=stop)
        self.prompts = read_prompts(source, split, held_out)
        self.scorer = Scorer(build_reward(REWARD if reward is None else reward))
        self.reward_range = self.scorer.reward_range
        if is_default and len(self.prompts.texts) == len(texts):
            self.random_return, self.optimal_return = RANDOM_RETURN, 1.0

    def begin(self, random: np.random.Generator) -> tuple[int, str]:
        """Draws a prompt; the episode's state is its index."""
        index = int(random.integers(len(self.prompts.texts)))
        return index, self.prompts.texts[index]

    def respond_all(
        self, episodes: list[int], completions: list[str], completion_ids: list[list[int]]
    ) -> list[TextReply]:
        """Scores the completions in one call of the reward function."""
        scores = self.scorer(
            [self.prompts.texts[index] for index in episodes],
            completions,
            completion_ids,
            {name: [values[index] for index in episodes] for name, values in self.prompts.columns.items()},
        )
        spread = scores.token_rewards or [None] * len(episodes)
        return [
            TextReply(None, reward, True, parts) for reward, parts in zip(scores.rewards.tolist(), spread, strict=True)
        ]


RANDOM_RETURN = 0.1507
"""Mean return of uniformly random tokens in the default setting, from 100,000 episodes."""
