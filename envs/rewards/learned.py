"""A learned reward: the score of a reward model, read from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from typing_extensions import Self

from ..checking import TokenGymError, finite_number
from ..text import TextWriter
from ..vocabulary import Vocabulary
from .learned_model import LoadedModel, ids_fit, open_reward_model, refusal
from .rules import NamedRule


@dataclass(frozen=True)
class LearnedReward(NamedRule):
    """The score of a reward model, times a scale; all completions of a step are scored in one batch.

    A model of the task's own tokenizer reads the ids that were shown and sampled; one of transformers with another
    tokenizer is given prompt and completion as texts. A model that scores every token credits each. An ensemble logs
    the standard deviation of its members' scores as `disagreement`.
    """

    path: str
    """The folder, written by `RewardModel.save`, or by transformers for a sequence classification model."""
    combine: str | None = None
    """How an ensemble's scores are combined (`"mean"`, `"worst"`, `"variance"`); None as it was fitted."""
    scale: float = 1.0
    """What the score is multiplied by."""
    name: ClassVar[str] = "reward_model"
    takes_text: ClassVar[bool] = False
    model: LoadedModel = field(init=False, repr=False, compare=False)
    _bos: int | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Read the model, so that what is wrong with it is told at the door."""
        object.__setattr__(self, "scale", finite_number("reward_model: scale", self.scale))
        object.__setattr__(self, "model", open_reward_model(self.path, self.combine))

    def under(self, writer: TextWriter) -> Self:
        """Give the same reward for completions under a tokenizer, whose ids are read where they are the model's."""
        vocabulary = Vocabulary.from_tokenizer(writer.tokenizer)
        rule = super().under(writer)
        if ids_fit(self.model, vocabulary):
            object.__setattr__(rule, "_bos", vocabulary.bos)
        elif getattr(self.model, "tokenizer", None) is None:
            raise refusal(self.path, self.model, vocabulary)
        return rule

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        prompt_ids: Sequence[Sequence[int]] | None = None,
        log_extra: Any = None,
    ) -> list[Any]:
        """Give the score of each completion, or of each of its tokens."""
        if self._bos is None:
            score_texts = getattr(self.model, "score_texts", None)
            if score_texts is None:
                raise TokenGymError(f"the reward model {self.path} reads ids; use it in a task, with its tokenizer")
            return (self.scale * score_texts(prompts, completions)).tolist()
        if prompt_ids is None:
            raise TokenGymError(f"the reward model {self.path} reads the ids that were shown, and got none: prompt_ids")
        begin = [self._bos] if getattr(self.model, "reads_bos", True) else []
        shown = [[*begin, *ids] for ids in prompt_ids]
        lengths = np.array([len(ids) + len(said) for ids, said in zip(shown, completion_ids, strict=True)], np.int64)
        tokens = np.zeros((len(lengths), int(lengths.max(initial=1))), np.int32)
        spoken = np.zeros(tokens.shape, bool)
        for row, (ids, said) in enumerate(zip(shown, completion_ids, strict=True)):
            tokens[row, : lengths[row]] = [*ids, *said]
            spoken[row, len(ids) : lengths[row]] = True
        model: Any = self.model
        if model.process:
            steps = self.scale * model.score_steps(tokens, lengths, spoken)
            return [steps[row, spoken[row]].tolist() for row in range(len(lengths))]
        if len(getattr(model, "members", ())) < 2:
            return (self.scale * model.score(tokens, lengths)).tolist()
        scores = model.score_members(tokens, lengths)
        if log_extra is not None:
            log_extra("disagreement", (abs(self.scale) * scores.std(axis=0)).tolist())
        return (self.scale * model.combined(scores)).tolist()
