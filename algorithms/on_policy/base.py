"""OnPolicy: what algorithms that learn from fresh episodes share: assessment, epochs, minibatches, the KL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Scores
from ...agents.devices import name_of
from ...agents.sampling import wide
from ...envs import TokenGymError
from ..configs import RATIO_TOLERANCES, OnPolicyConfig
from ..data import Batch, Episodes, Unit
from ..parts import Loss, Step, importance_weights, kl_of_tokens, token_weights, whiten
from .reused import Reused


@dataclass(frozen=True, eq=False)
class Targets:
    """What the tokens of a batch are to be learnt towards; tensors over its N agent tokens, without gradients.

    Attributes:
        batch: the tokens.
        advantages: float32 (N,).
        returns: float32 (N,), the targets of the critic, or None without one.
        values: float32 (N,), the critic before each token when the collection was assessed, or None without one.
        weights: float32 (N,), see `token_weights`.
        reference: float32 (N,), log-probability of each token under the reference, or None.
        metrics: what was seen on the way.
        watched: bool (N,), tokens at which entropy is lost, see `OnPolicy.watched`; None where nothing is done.
        scores: the pass that the assessment made, with its graph, where the update's only step can use it.
    """

    batch: Batch
    advantages: Tensor
    returns: Tensor | None
    values: Tensor | None
    weights: Tensor
    reference: Tensor | None
    metrics: dict[str, float]
    watched: Tensor | None = None
    scores: Scores | None = None

    def of(self, part: Batch) -> Targets:
        """Return the targets of a part of the batch, with the weights that the part's scale asks for."""
        if part is self.batch:
            return self

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[part.index]

        return replace(
            self,
            batch=part,
            advantages=self.advantages[part.index],
            returns=pick(self.returns),
            values=pick(self.values),
            weights=self.weights[part.index] * part.scale,
            reference=pick(self.reference),
            watched=pick(self.watched),
            scores=None,
        )


OnPolicyConfigT = TypeVar("OnPolicyConfigT", bound=OnPolicyConfig)


class OnPolicy(Reused[OnPolicyConfigT]):
    """A policy that learns from fresh episodes; a subclass gives `advantages` and `loss`.

    Hooks: `advantages` (how good each token was), `loss` (of a part of a minibatch), `epochs` and `minibatches` (how
    often and in how many steps a collection is gone through), `enough` (when to stop before), `report` (a step's
    metrics), `watched` and `controlled` (tokens that are held back).
    """

    cut: ClassVar[Unit] = "episode"
    """What minibatches keep whole."""

    # Hooks -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Say how much better each token was than what was expected.

        Args:
            episodes: what was collected, N agent tokens.
            rewards: float32 (N,), what is learnt from.
            scores: of all tokens under the policy as it collected, with the values of `required_heads`.

        Returns:
            float32 (N,) advantages, the float32 (N,) targets of a critic or None, and metrics.
        """

    @abstractmethod
    def loss(self, part: Batch, prepared: Targets) -> Loss:
        """Return what ``part``, all of a minibatch or some of its sequences, adds to the loss."""

    @property
    def epochs(self) -> int:
        """How often an update goes through its batch."""
        return 1

    @property
    def minibatches(self) -> int:
        """In how many steps it does."""
        return 1

    @property
    def weighs_behaviour(self) -> bool:
        """Whether it is made for what others drew: ratios are then to who drew it, whoever that was."""
        return False

    def enough(self, metrics: dict[str, float]) -> bool:
        """Whether to end the update after a step that reported ``metrics``."""
        return False

    def watched(self, log_probs: Tensor, advantages: Tensor) -> Tensor | None:
        """Return which tokens of a collection `controlled` treats otherwise, bool (N,), or None for none."""
        return None

    def controlled(self, losses: Tensor, log_ratio: Tensor, targets: Targets) -> Tensor:
        """Return the surrogate losses of a part's tokens, (n,), with what the config does about entropy."""
        return losses

    def report(self, step: Step) -> dict[str, float]:
        """Return the metrics of a step; an update reports their means, and the largest of names that end in _max."""
        return {**step.terms, "optim/grad_norm": step.grad_norm}

    # The update ------------------------------------------------------------------------------------------------------

    @property
    def kept_whole(self) -> tuple[Unit, Unit]:
        """What minibatches and their parts keep whole: more than usual where the loss needs whole episodes."""
        if self.config.kl_in_loss and self.config.kl_level == "sequence":
            # Of the units that minibatches know, only groups (an episode alone is one) are never cut.
            return "group", "group" if self.unit == "group" else "episode"
        return self.cut, self.unit

    @property
    def read_whole(self) -> Unit:
        """What a part of a minibatch keeps whole."""
        return self.kept_whole[1]

    @property
    def entropy_coef(self) -> float:
        """The weight of the entropy bonus at the present `progress`."""
        return self.config.entropy_coef_at(self.progress)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Learn from what was collected, or from draws of the replay; metrics as documented on its page."""
        learnt = [self.learn_from(episodes) for episodes in self.drawn(batch)]
        self.let_behaviour_follow()
        if self.replay is None:
            return learnt[0]
        steps = sum(metrics["optim/steps"] for metrics in learnt)
        return {**joined(learnt), "optim/steps": steps, "replay/episodes": float(len(self.replay))}

    def learn_from(self, batch: Episodes) -> dict[str, float]:
        """Assess the episodes, then go through them in epochs and minibatches."""
        targets = self.prepare(batch)
        if self.kl_budget.exceeded:  # as these episodes have shown: another step would only go further
            return {**targets.metrics, "optim/steps": 0.0}
        reports: list[dict[str, float]] = []
        cut, unit = self.kept_whole
        for _ in range(self.epochs):
            for minibatch in list(targets.batch.minibatches(self.minibatches, self.generator, cut)):
                parts = minibatch.parts(self.config.micro_batch_tokens, unit)
                reports.append(self.report(self.optimise(self.loss(part, targets) for part in parts)))
                if self.enough(reports[-1]):
                    break
            else:
                continue
            break
        done = {"optim/learning_rate": self.learning_rate, "optim/entropy_coef": self.entropy_coef}
        return {**targets.metrics, **joined(reports), **done, "optim/steps": float(len(reports))}

    def prepare(self, batch: Episodes) -> Targets:
        """Turn fresh episodes into targets: one pass over them, and all that needs no gradient.

        Raises:
            TokenGymError: the policy is not the one that said the tokens (the ratio is not 1).
        """
        config, flat = self.config, batch.flat
        whole = Batch.from_episodes(batch, self.device)
        parts = whole.parts(config.micro_batch_tokens, self.unit, final=True)
        # Where there is one step on one part, it learns from the pass that assesses.
        once = self.epochs == self.minibatches == len(parts) == 1
        with torch.set_grad_enabled(once):
            scores = self.assess(parts)
        error = 0.0
        corrections: Tensor | float = 1.0
        if config.importance != "none":
            log_ratio = scores.log_probs.detach() - whole.log_probs
            error = float(torch.expm1(log_ratio).abs().max())
            corrections = self.corrections(log_ratio, whole)
            whole = replace(whole, log_probs=scores.log_probs.detach())
        elif self.draws_itself:
            error = self.check_ratio(scores.log_probs.detach() - whole.log_probs)
        elif self.weighs_behaviour or not config.fresh:  # ratios are to who drew the tokens
            error = self.off_by(scores.log_probs.detach() - whole.log_probs)
        else:  # what drew the tokens is another distribution, or unknown: ratios are to the policy before the update
            whole = replace(whole, log_probs=scores.log_probs.detach())
        metrics = {
            "objective/score": float(batch.returns.mean()),
            "objective/entropy": float(scores.entropy.detach().mean()),
            "policy/initial_ratio_error": error,
        }
        penalties = None
        if scores.kl is not None:
            kl = float(scores.kl.detach().sum()) / len(batch)
            if config.kl_in_reward:
                estimates = self.kl_estimates(scores, whole).detach().cpu().numpy()
                penalties = self.kl_controller.coef * estimates
            metrics |= {"objective/kl": kl, "objective/kl_coef": self.kl_controller.coef}
            self.kl_budget.take(kl)
        if not config.replay_capacity:  # else it was seen when it was collected
            self.observe_returns(batch)
        rewards = self.learning_rewards(batch, penalties)
        metrics["objective/reward"] = float(rewards.sum()) * self.reward_scale / len(batch)
        metrics["objective/reward_scale"] = self.reward_scale
        if config.whiten_rewards:
            rewards = whiten(rewards, keep_mean=True)
        advantages, returns, seen = self.advantages(batch, rewards, scores)
        if "objective/kl" in metrics:  # only now, since advantages may be of further episodes with the same β
            self.kl_controller.update(metrics["objective/kl"], len(batch))
        if not config.has_kl if config.whiten_advantages is None else config.whiten_advantages:
            advantages = whiten(advantages)

        learnt = torch.as_tensor(advantages, device=self.device)
        watched = self.watched(whole.log_probs, learnt)
        if watched is not None:
            seen = {**seen, "policy/watched_fraction": float(watched.float().mean())}
        lengths = torch.as_tensor(batch.episode_lengths, device=self.device)
        episode = torch.as_tensor(flat.episode, device=self.device)
        max_tokens = self.task.max_episode_tokens
        return Targets(
            batch=whole,
            advantages=learnt,
            returns=None if returns is None else torch.as_tensor(returns, device=self.device),
            values=None if scores.values is None else wide(scores.values.detach()),
            weights=token_weights(config.aggregation, lengths, episode, max_tokens, whole.log_probs.dtype)
            * corrections,
            reference=scores.reference_log_probs,
            metrics={**metrics, **seen},
            watched=watched,
            scores=scores if once else None,
        )

    def assess(self, parts: list[Batch]) -> Scores:
        """Score all tokens of a batch and its final states, one part after the other, the KL to the reference too."""
        heads = self.required_heads()
        scores: list[Scores] = []
        for part in parts:
            others = None if self.reference is None else self.reference.logits(part)
            scores.append(part.score(self.agent, heads, final="value" in heads, reference=others))
        return scores[0] if len(scores) == 1 else Scores.joined(scores)

    def score(self, part: Batch, targets: Targets) -> Scores:
        """Score a part of a minibatch, with a graph; the pass of the assessment where it serves."""
        if targets.scores is not None:
            return targets.scores
        # Whole distributions are held against each other again where they make the loss; else what was said suffices.
        whole = self.config.kl_in_loss and self.config.kl_estimator == "exact" and self.reference is not None
        return part.score(
            self.agent,
            self.required_heads(),
            reference=self.reference.logits(part) if whole and self.reference is not None else None,
        )

    def corrections(self, log_ratio: Tensor, whole: Batch) -> Tensor:
        """Return what tokens weigh that another distribution drew than the policy, (N,), as the config says.

        Args:
            log_ratio: log π_old − log μ of each token, (N,).
            whole: the tokens.

        Raises:
            TokenGymError: what drew them did not say with which probability.
        """
        config = self.config
        if config.importance == "none" or not torch.isfinite(log_ratio).all():
            raise TokenGymError(
                f"importance is {config.importance!r}, and what drew the tokens did not say with which probability: "
                "let the sampler return log-probabilities, or leave importance out."
            )
        return importance_weights(
            log_ratio,
            config.importance,
            config.importance_level,
            config.importance_cap,
            config.importance_floor,
            whole.episodes[whole.rows],
        )

    def off_by(self, log_ratio: Tensor) -> float:
        """Return max |π/μ − 1|, where another distribution drew the tokens.

        Raises:
            TokenGymError: it did not say with which probability.
        """
        if not torch.isfinite(log_ratio).all():
            raise TokenGymError(
                f"{self.name} compares with what drew the tokens, which did not say with which probability: let the "
                "sampler return log-probabilities."
            )
        return float(torch.expm1(log_ratio).abs().max())

    @property
    def ratio_tolerance(self) -> float:
        """How far π/π_old may be from 1 before the first step: the config's, or what the agent's dtype allows."""
        tolerance = self.config.ratio_tolerance
        return RATIO_TOLERANCES[name_of(self.agent.dtype)] if tolerance is None else tolerance

    def check_ratio(self, log_ratio: Tensor) -> float:
        """Return max |π/π_old − 1| before the first step.

        Raises:
            TokenGymError: it is above the tolerance.
        """
        error = float(torch.expm1(log_ratio).abs().max())
        tolerance = self.ratio_tolerance
        if not error <= tolerance:
            raise TokenGymError(
                f"Before the first step the ratio of new to old probability is off by {error:.3g}; expected 1 within "
                f"{tolerance:g}. Decoding and the teacher-forced pass disagree: look for dropout, "
                "half precision or masks, or raise ratio_tolerance if the precision explains it."
            )
        return error

    def kl_estimates(self, scores: Scores, part: Batch, reference: Tensor | None = None) -> Tensor:
        """Estimate the KL at each token as the config says, (n,), with a graph where the scores have one.

        Args:
            scores: of the part's tokens.
            part: whole episodes where the config estimates from the sequence.
            reference: log-probabilities under the reference, (n,); None takes those of the scores.
        """
        other = scores.reference_log_probs if reference is None else reference
        assert other is not None
        level = self.config.kl_level
        episode = part.episodes[part.rows] if level == "sequence" else None
        return kl_of_tokens(scores.log_probs - other, self.config.kl_estimator, level, exact=scores.kl, episode=episode)

    def kl_loss(self, scores: Scores, targets: Targets) -> Tensor | float:
        """β times the KL estimate as a term of the loss, in units of scaled rewards; 0 where β acts in the reward."""
        if targets.reference is None or not self.config.kl_in_loss:
            return 0.0
        # An episode's own estimate stands at its last token, whose weight is that of all its tokens.
        estimates = self.kl_estimates(scores, targets.batch, targets.reference)
        return self.scaled_kl_coef * (targets.weights * estimates).sum()


def joined(reports: Sequence[dict[str, float]]) -> dict[str, float]:
    """The means of several reports of equal names, and the largest of names that end in _max."""
    columns = {name: [report[name] for report in reports if name in report] for name in reports[0]}
    return {name: max(v) if name.endswith("_max") else sum(v) / len(v) for name, v in columns.items()}
