"""TextGeneration: any prompts, any tokenizer, any reward function, one turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...checking import TokenGymError, positive_int
from ...columns import as_rows
from ...rewards import Scorer, build_reward, read_under, reward_of_functions
from ...saved_state import is_index
from ...text import ChatTemplate, Message, TextReply, TextTask, TextWriter, build_tokenizer, read_prompts

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

    ## Description
    A prompt is drawn, the agent writes a completion, and a reward function scores all completions that finished in a
    step in one call. It is the general one: your prompts, from a list or a file with a held-out part; your tokenizer;
    any reward function; and a chat template, where the model is one that talks. It isolates what fine-tuning a language
    model with a reward is: one turn, a reward at its end. By default four prompts each want three words of their own,
    and repeated word pairs cost. Mirrors the rollouts of trainers that learn from human feedback.

    ## Action space
    The whole tokenizer: all specials can be said, and only the end token means something. By default 45 tokens.

    ## Observation space
    `[<bos>]`, the prompt (in the chat template, where one is given), and the tokens said so far.

    ## Rewards
    The reward function's, at the last token. A per-token reward pays its sum there, with the parts in `token_rewards`.

    ## Starting state
    One of the prompts of the split, uniformly.

    ## Episode end
    Terminated by the end token, a stop string, or `max_new_tokens`, which is part of the task.

    ## Information
    With the last token `token_rewards`, where the reward function credits single tokens; what the reward function logs;
    and of a sum of rewards what each gave before its weight, by default `reward/keyword` and
    `reward/repetition_penalty`.

    ## Arguments
    * `prompts=None`: a list of strings, of lists of messages or of mappings with one of them under `prompt`, or the
      path of a text or JSONL file. The columns beside a prompt go to the reward function.
    * `columns=None`: what columns are called here, and in the data: `{"prompt": "question"}`.
    * `tokenizer=None`: a tokenizer or its specification; by default the words of the bundled corpus.
    * `reward=None`: a reward function or its specification.
    * `reward_funcs=None`, `reward_weights=None`: in place of `reward`, several functions and their weights.
    * `max_new_tokens=8`: the most tokens of a completion, the end token included.
    * `stop=()`: strings that end a completion.
    * `split="train"`, `held_out=0.0`, `split_seed=0`: which side of which split, and how much of the prompts is held
      out, by a hash of their text.
    * `max_length=None`: the context; by default just long enough for the longest prompt.
    * `template=None`, `system=None`: a chat template, and a system message before each prompt. Reward functions then
      get prompts and completions as lists of messages.

    ## References
    Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019; Ouyang et al., "Training language models
    to follow instructions with human feedback", NeurIPS 2022.

    ## Version history
    * v0: first release.

    Attributes:
        prompts: The prompts of the split and their columns.
        scorer: The checked reward function.
        chat: The chat template, or None.
    """

    name = "TextGeneration"
    family = "text"
    isolates = "one turn with a reward at its end"
    mirrors = "RLHF rollouts"
    deterministic = True
    entry_point_arguments = ("reward", "reward_funcs")

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
        split_seed: int = 0,
        template: str | None = None,
        system: str | None = None,
        columns: Mapping[str, str] | None = None,
        reward_funcs: Any = None,
        reward_weights: Sequence[float] | None = None,
    ) -> None:
        """Sets the task up.

        Args:
            prompts: A list of strings, lists of messages or mappings with one of them under `prompt`, or the path of a
                text or JSONL file; see `read_prompts`. The columns beside a prompt go to the reward function.
            tokenizer: A tokenizer or its specification; see `build_tokenizer`.
            reward: A reward function or its specification; see `build_reward`.
            max_new_tokens: The most tokens of a completion, the end token included.
            stop: Strings that end a completion once its text contains one.
            split: `"train"`, `"held_out"` or `"all"`.
            held_out: The fraction of the prompts that is held out.
            max_length: The context window. By default just long enough for the longest prompt of all splits.
            split_seed: Which of the possible splits it is.
            template: A chat template, by name or as a Jinja text, `"tokenizer"` for the tokenizer's own: every prompt
                is then a message of the user's, and the agent answers as the assistant; see `ChatTemplate`. By default
                prompts are shown as they are.
            system: With a template, the message of the system before each prompt that is a string.
            columns: What columns of the prompts are called here, and in the data: `{"prompt": "question"}`.
            reward_funcs: In place of `reward`: a reward function or a list of them, whose weighted sum is paid.
            reward_weights: Their weights, 1 each by default.

        Raises:
            TokenGymError: For a bad argument, a tokenizer without an end token, or a prompt longer than the context.
        """
        reward = _one_reward(reward, reward_funcs, reward_weights)
        is_default = prompts is None and tokenizer is None and reward is None and max_new_tokens == 8 and not stop
        is_default = is_default and template is None and columns is None
        new_tokens = positive_int("max_new_tokens", max_new_tokens)
        source = PROMPTS if prompts is None else prompts
        if isinstance(source, Iterable) and not isinstance(source, (str, Path, Mapping)):
            source = list(source)  # read twice below, which a generator cannot be
        built = build_tokenizer(TOKENIZER if tokenizer is None else tokenizer)
        texts = read_prompts(source, "all", columns=columns).texts
        in_roles = template is not None or not all(isinstance(text, str) for text in texts)
        if system is not None and not in_roles:
            raise TokenGymError(f"system={system!r} needs a chat template: give template='tokenizer', say")
        self.system = system
        self.chat = ChatTemplate(built, template) if in_roles else None
        writer = TextWriter(built) if self.chat is None else self.chat.writer
        lengths = [len(self._said(writer, text)) for text in texts]
        needed = 1 + max(lengths) + new_tokens
        if max_length is not None and positive_int("max_length", max_length) < needed:
            raise TokenGymError(
                f"the prompt {str(texts[int(np.argmax(lengths))])[:60]!r} has {max(lengths)} tokens, which with bos "
                f"and {new_tokens} new tokens exceed max_length={max_length}: shorten it, or give at least {needed}"
            )
        super().__init__(built, max_turn_tokens=new_tokens, max_length=max_length or needed, stop=stop)
        if self.chat is not None and self.chat.end_of_turn is not None:
            self.vocabulary = dataclasses.replace(self.vocabulary, eos=self.chat.end_of_turn)
        self.writer = writer
        self.prompts = read_prompts(source, split, held_out, split_seed, columns)
        self.scorer = Scorer(read_under(build_reward(REWARD if reward is None else reward), writer))
        self.reward_range = self.scorer.reward_range
        if is_default and len(self.prompts.texts) == len(texts):
            self.random_return, self.optimal_return = RANDOM_RETURN, 1.0

    def begin(self, random: np.random.Generator) -> tuple[int, Any]:
        """Draws a prompt; the episode's state is its index."""
        index = int(random.integers(len(self.prompts.texts)))
        return index, self.prompts.texts[index]

    def is_episode(self, episode: Any) -> bool:
        """Tells whether a value is a prompt's index."""
        return is_index(episode, len(self.prompts.texts))

    def _messages(self, prompt: Any) -> list[Message]:
        """Gives a prompt as messages: a string as the user's, after the system's."""
        if not isinstance(prompt, str):
            return prompt
        before = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*before, {"role": "user", "content": prompt}]

    def _said(self, writer: TextWriter, prompt: Any) -> list[int]:
        """Gives the ids of a prompt, in the chat template where there is one."""
        if self.chat is None:
            return writer.ids(prompt, "the prompt")
        return self.chat.opening(self._messages(prompt))

    def prompt_ids(self, prompt: Any) -> list[int]:
        """Gives the ids of a prompt, in the chat template where there is one."""
        return super().prompt_ids(prompt) if self.chat is None else self._said(self.writer, prompt)

    def respond_all(
        self, episodes: list[int], completions: list[str], completion_ids: list[list[int]]
    ) -> list[TextReply]:
        """Scores the completions in one call of the reward function."""
        prompts: list[Any] = [self.prompts.texts[index] for index in episodes]
        said: list[Any] = list(completions)
        if self.chat is not None:
            # Fresh lists, as functions may change what they are given.
            prompts = [[dict(message) for message in self._messages(prompt)] for prompt in prompts]
            said = [[{"role": "assistant", "content": text}] for text in completions]
        scores = self.scorer(
            prompts,
            said,
            completion_ids,
            {name: [values[index] for index in episodes] for name, values in self.prompts.columns.items()},
            [self.prompt_ids(self.prompts.texts[index]) for index in episodes]
            if self.scorer.takes_prompt_ids
            else None,
        )
        parts = scores.token_rewards or [None] * len(episodes)
        told = as_rows(scores.columns, len(episodes))
        return [
            TextReply(None, reward, True, spread, columns=columns)
            for reward, spread, columns in zip(scores.rewards.tolist(), parts, told, strict=True)
        ]

    def close(self) -> None:
        """Closes what the reward function holds, such as a guarded one's process."""
        self.scorer.close()


def _one_reward(reward: Any, functions: Any, weights: Any) -> Any:
    """Gives the reward that `reward`, or `reward_funcs` with `reward_weights`, ask for."""
    if functions is None:
        if weights is not None:
            raise TokenGymError(f"reward_weights={weights!r} weigh reward_funcs: give those, or a weighted_sum")
        return reward
    if reward is not None:
        raise TokenGymError("give reward or reward_funcs, not both: reward_funcs are a list of reward functions")
    return reward_of_functions(functions, weights)


RANDOM_RETURN = 0.1507
"""Mean return of uniformly random tokens in the default setting, from 100,000 episodes."""
