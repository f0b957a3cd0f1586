"""The objective of pairs, which offline and online methods share: reference, KTO's point, loss and metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...agents import Agent
from ..configs import PairLossConfig
from ..data import Batch, Episodes, PreferencePairs, prompts_of
from ..parts import PAIR_LOSSES, Completions, Loss, PairLossOptions, Reference
from .pairs import PreparedPairs, reference_log_probs


class PairObjective:
    """One of `PAIR_LOSSES` over the pairs of a batch.

    Args:
        config: which loss, and its numbers.
        agent: what learns.
        reference: what it is compared with, or None where the loss needs none.
        limit: the most padded tokens that the model reads at once, or None.
    """

    def __init__(self, config: PairLossConfig, agent: Agent, reference: Reference | None, limit: int | None) -> None:
        self.formula = PAIR_LOSSES[config.loss]
        self.needs_point = config.loss == "kto"
        self.reference = reference if config.has_reference else None
        self.agent = agent
        self.limit = limit
        self.options = PairLossOptions(
            beta=config.chosen_beta,
            label_smoothing=config.label_smoothing,
            target_margin=config.target_margin,
            better_weight=config.better_weight,
            worse_weight=config.worse_weight,
        )

    def prepare(self, episodes: Episodes, pairs: PreferencePairs, weight: np.ndarray) -> PreparedPairs:
        """Ask the reference once about every episode that is compared.

        Args:
            episodes: those that are compared.
            pairs: which with which.
            weight: (P,), of each pair in the loss.
        """
        prepared = PreparedPairs.of(episodes, pairs, weight, self.agent.device, self.limit)
        if self.reference is None:
            return prepared
        parts = prepared.batch.parts(self.limit, "group")
        own, others = reference_log_probs(self.reference, parts, self.agent, len(prepared.lengths))
        log_ratios = (own - others)[prepared.originals]
        metrics = {"preferences/log_ratio": float(log_ratios.mean())}
        prepared = replace(prepared, reference=others, metrics=metrics)
        if not self.needs_point:
            return prepared
        point = self.reference_point(episodes, log_ratios)
        metrics["preferences/reference_point"] = float(point)
        return replace(prepared, point=point)

    def loss(self, part: Batch, prepared: PreparedPairs) -> Loss:
        """Σ w·loss(better, worse) over the pairs within ``part``."""
        compared = prepared.within(part)
        said = compared.completions(self.agent)
        better, worse = said[compared.better], said[compared.worse]
        losses = self.formula(better, worse, replace(self.options, reference_point=prepared.point))
        total = (compared.weight * losses).sum()
        better_reward, worse_reward = self.implicit_rewards(better), self.implicit_rewards(worse)
        means = {
            "preferences/loss": losses,
            "preferences/accuracy": (better_reward > worse_reward).to(losses.dtype),
            "preferences/margin": better_reward - worse_reward,
            "preferences/reward_better": better_reward,
            "preferences/reward_worse": worse_reward,
            "policy/log_prob_better": better.log_probs,
            "policy/log_prob_worse": worse.log_probs,
        }
        return Loss(
            total,
            terms={name: (compared.weight * values.detach()).sum() for name, values in means.items()},
            named={"log_probs": said.log_probs, "losses": losses},
        )

    def implicit_rewards(self, said: Completions) -> torch.Tensor:
        """What the policy says that completions are worth: β·log π/π_ref, or β·log π/|y| without a reference."""
        return self.options.beta * (said.means if said.reference is None else said.log_ratios)

    @torch.no_grad()
    def reference_point(self, episodes: Episodes, log_ratios: torch.Tensor) -> torch.Tensor:
        """Estimate KTO's z ≥ 0, the KL to the reference, from completions under prompts that they do not answer.

        Args:
            episodes: those of the batch.
            log_ratios: (E,), of them. Where all answer one prompt, they are what is asked for.
        """
        mixed = mismatched(episodes, self.agent.max_length)
        if mixed is not None:
            assert self.reference is not None
            parts = Batch.from_episodes(mixed, self.agent.device).parts(self.limit)
            own, others = reference_log_probs(self.reference, parts, self.agent, len(mixed))
            log_ratios = own - others
        return log_ratios.mean().clamp(min=0)


def mismatched(episodes: Episodes, max_length: int) -> Episodes | None:
    """Return each prompt with a completion of the next different one; None where all prompts are equal.

    What would be longer than ``max_length`` is left out; None where that is all.
    """
    prompts, lengths = prompts_of(episodes)
    _, number, counts = np.unique(prompts, axis=0, return_inverse=True, return_counts=True)
    number = number.reshape(-1)
    if len(counts) == 1:
        return None
    order = np.argsort(number, kind="stable")
    begins = np.cumsum(counts) - counts
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - begins[number[order]]
    following = (number + 1) % len(counts)
    other = order[begins[following] + rank % counts[following]]
    total = lengths + episodes.lengths[other] - lengths[other]
    fits = np.flatnonzero(total <= max_length)
    if not len(fits):
        return None
    other, total = other[fits], total[fits]
    shape = (len(fits), int(total.max()))
    column = np.broadcast_to(np.arange(shape[1]), shape)
    of_prompt = column < lengths[fits][:, None]
    source = column - lengths[fits][:, None] + lengths[other][:, None]
    inside = ~of_prompt & (column < total[:, None])
    row, place = np.nonzero(inside)
    tokens = np.full(shape, episodes.pad, episodes.tokens.dtype)
    said = np.zeros(shape, bool)
    tokens[of_prompt] = prompts[fits][np.arange(prompts.shape[1]) < lengths[fits][:, None]]
    tokens[row, place] = episodes.tokens[other[row], source[row, place]]
    said[row, place] = episodes.agent_mask[other[row], source[row, place]]
    return Episodes(
        tokens=tokens,
        lengths=total.astype(np.int32),
        agent_mask=said,
        rewards=np.zeros(shape, episodes.rewards.dtype),
        log_probs=np.zeros(shape, episodes.log_probs.dtype),
        episode_id=np.arange(len(fits)),
        turn=np.zeros(len(fits), np.int32),
        terminated=np.ones(len(fits), bool),
        truncated=np.zeros(len(fits), bool),
        starts=np.arange(len(fits), dtype=np.uint64),
        pad=episodes.pad,
    )
