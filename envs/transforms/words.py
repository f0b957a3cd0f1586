"""A smaller vocabulary within the larger one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number
from ..columns import spread
from ..finite import FiniteTask, Transition
from ..random import CounterRandom
from ..task import Outcome, Reply, Rows, State, Task
from ..text import TextTask
from .base import FiniteTransform, RewardTransform

Effect = Literal["mask", "end", "penalty"]


class AllowedWords(RewardTransform):
    """Lets the agent say only some words: the mask leaves the others out, and saying one has an effect.

    Where a task's mask allows none of the allowed words, it stands as it is: an episode cannot stop half-way.
    """

    def __init__(
        self,
        task: Task,
        words: Sequence[str] | None = None,
        forbidden: Sequence[str] | None = None,
        effect: Effect = "mask",
        penalty: float | None = None,
    ) -> None:
        """Puts the restriction around `task`.

        Args:
            task: The task inside.
            words: The tokens that may be said, by name; the end token always may. In a `TextTask` any text, whose
                tokens are then allowed, after a space or not.
            forbidden: In place of `words`: the tokens that may not be said. In a `TextTask` texts of one token each.
            effect: What saying a forbidden token does: `"mask"` nothing, only masks leave it out; `"end"` terminates
                the episode and pays −penalty; `"penalty"` lets the token count as in the inner task, and adds −penalty
                to its reward.
            penalty: At least 0; by default 1 where the effect needs one.
        """
        super().__init__(task)
        self.allowed, self.effect, self.penalty = allowed_tokens(task, words, forbidden), _effect(effect), 0.0
        self.has_action_mask = self.has_action_mask or not self.allowed.all()
        self.penalty = _penalty(self.effect, penalty)
        low, high = task.reward_range
        if self.effect == "penalty":
            self.reward_range = low - self.penalty, high
        elif self.effect == "end":
            self.reward_range = min(low, -self.penalty), max(high, -self.penalty)
        if self.effect == "mask":
            self.return_factor = 1.0

    def rewards(
        self, state: State, rows: Rows, actions: npt.NDArray[np.integer], outcome: Outcome, random: CounterRandom
    ) -> npt.NDArray[np.float64]:
        """Returns the rewards, less the penalty for forbidden tokens where these count as in the inner task."""
        return outcome.rewards - self.penalty * ~self.allowed[actions] if self.effect == "penalty" else outcome.rewards

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, where it is allowed or its effect leaves the episode going on."""
        good = self.allowed[actions]
        if self.effect != "end" or good.all():
            return super().advance(state, rows, actions, random)
        m, kept = len(rows), np.flatnonzero(good)
        rewards, terminated, turn_ended = np.full(m, -self.penalty), ~good, ~good
        truncated, reply, credited, columns = None, None, None, None
        if len(kept):
            outcome = super().advance(state, rows[kept], actions[kept], random)
            rewards[kept], terminated[kept], turn_ended[kept] = (
                outcome.rewards,
                outcome.terminated,
                outcome.turn_ended,
            )
            if outcome.truncated is not None:
                truncated = np.zeros(m, np.bool_)
                truncated[kept] = outcome.truncated
            if outcome.reply is not None:
                tokens = np.full((m, outcome.reply.tokens.shape[1]), self.vocabulary.pad, np.int32)
                counts = np.zeros(m, np.int64)
                tokens[kept], counts[kept] = outcome.reply.tokens, outcome.reply.counts
                reply = Reply(tokens, counts, outcome.reply.padded)
            if outcome.token_rewards is not None:
                ended = kept[outcome.turn_ended].tolist()
                parts = dict(zip(ended, outcome.token_rewards, strict=True))
                credited = [parts.get(place) for place in np.flatnonzero(turn_ended).tolist()]
            columns = spread(f"task {self.name}", outcome.columns, kept, m)
        return Outcome(rewards, terminated, turn_ended, reply, credited, truncated, columns)

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns the inner task's mask without the forbidden tokens, where that leaves any."""
        mask = super().action_mask(state, rows)
        both = mask & self.allowed
        return np.where(both.any(axis=1, keepdims=True), both, mask)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the inner task's expert tokens, or None if all may not be said."""
        return super().expert(state, rows) if self.allowed.all() else None


class FiniteAllowedWords(FiniteTransform):
    """`AllowedWords` of a finite task, which stays one."""

    def __init__(
        self,
        task: FiniteTask,
        words: Sequence[str] | None = None,
        forbidden: Sequence[str] | None = None,
        effect: Effect = "mask",
        penalty: float | None = None,
    ) -> None:
        """Puts the restriction around `task`; the arguments are those of `AllowedWords`."""
        super().__init__(task)
        self.allowed, self.effect = allowed_tokens(task, words, forbidden), _effect(effect)
        self.penalty = _penalty(self.effect, penalty)
        if self.effect == "mask":
            self.return_factor = 1.0

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes, or what a forbidden token leads to."""
        if self.allowed[action] or self.effect == "mask":
            return self.outcomes_of(state, action)
        if self.effect == "end":
            return [Transition(1.0, None, -self.penalty)]
        return [outcome._replace(reward=outcome.reward - self.penalty) for outcome in self.outcomes_of(state, action)]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns what the inner task allows without the forbidden tokens, where that leaves any."""
        legal = self.task.legal(state)
        legal = range(len(self.allowed)) if legal is None else list(legal)
        return [token for token in legal if self.allowed[token]] or legal

    def expert_action(self, state: Any) -> int | None:
        """Returns the inner task's expert token, or None if it may not be said."""
        action = self.task.expert_action(state)
        return action if action is not None and self.allowed[action] else None


def allowed_words(
    task: Task,
    words: Sequence[str] | None = None,
    forbidden: Sequence[str] | None = None,
    effect: Effect = "mask",
    penalty: float | None = None,
) -> Task:
    """Lets the agent say only some words; what is finite stays finite. See `AllowedWords`."""
    if isinstance(task, FiniteTask):
        return FiniteAllowedWords(task, words, forbidden, effect, penalty)
    return AllowedWords(task, words, forbidden, effect, penalty)


def allowed_tokens(task: Task, words: Sequence[str] | None, forbidden: Sequence[str] | None) -> npt.NDArray[np.bool_]:
    """Returns which of the agent's tokens may be said, bool of shape (A,); see `AllowedWords`."""
    if (words is None) == (forbidden is None):
        raise TokenGymError("allowed_words: give either words (what may be said) or forbidden (what may not)")
    names = words if words is not None else forbidden
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TokenGymError(f"allowed_words: {names!r} is no list of words: give a list of strings")
    vocabulary = task.vocabulary
    chosen = np.zeros(vocabulary.num_actions, np.bool_)
    text = task.unwrapped
    for name in names:
        if isinstance(text, TextTask) and name not in vocabulary.ids:
            after_space = f" {name}"
            ways = [text.codec.encode(name, "the word")]
            ways += [text.codec.encode(after_space)] if text.writer.can_write(after_space) else []
            ways = [ids for ids in ways if ids]
            if words is None:
                ways = [ids for ids in ways if len(ids) == 1]
            if not ways:
                raise TokenGymError(
                    f"allowed_words: {name!r} is not one token of this tokenizer, so it cannot be forbidden alone: "
                    "give the names of tokens, or list the words that are allowed"
                )
            tokens = [token for ids in ways for token in ids]
        else:
            tokens = vocabulary.encode([name])
        if max(tokens) >= vocabulary.num_actions:
            raise TokenGymError(f"allowed_words: the agent cannot say {name!r}: name tokens that it can")
        chosen[tokens] = True
    if words is None:
        chosen = ~chosen
    elif vocabulary.eos is not None:
        chosen[vocabulary.eos] = True
    if not chosen.any():
        raise TokenGymError("allowed_words: nothing is left that the agent may say: allow at least one word")
    return chosen


def _effect(effect: Any) -> Effect:
    if effect not in ("mask", "end", "penalty"):
        raise TokenGymError(f"allowed_words: effect={effect!r}: give 'mask', 'end' or 'penalty'")
    return effect


def _penalty(effect: Effect, penalty: Any) -> float:
    if effect == "mask":
        if penalty is not None:
            raise TokenGymError("allowed_words: a penalty has no effect with effect='mask': choose 'end' or 'penalty'")
        return 0.0
    value = 1.0 if penalty is None else finite_number("allowed_words: penalty", penalty)
    if value < 0:
        raise TokenGymError(f"allowed_words: penalty={penalty!r}: give at least 0, it is taken off")
    return value
