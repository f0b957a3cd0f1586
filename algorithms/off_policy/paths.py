"""Paths: what the methods share that hold the log-probability of whole episodes against their reward.

At the optimum of E[R] − β·KL(π‖π_ref) every path is consistent, whoever said it: V(s) = Σ (r − β log π/π_ref) from any
state on, where transitions are deterministic. So a squared residual of that equation may be averaged over any
behaviour, needs no importance weights, and vanishes at the optimum episode by episode.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import AgentPolicy, Exploring, Policy, Sampler, StepOutput
from ...agents.masks import PackedMasks
from ..configs import PathConfig, ReplayedPathConfig
from ..data import Batch, EpisodeReplay, Episodes
from ..parts import (
    AgentReference,
    EpisodeGrid,
    Loss,
    consistency_loss,
    derive_seed,
    episodes_within,
    mask_illegal,
    said_and_levels,
)
from ..rewarded import Rewarded
from .reading import Reading

PathConfigT = TypeVar("PathConfigT", bound=PathConfig)


@dataclass(frozen=True, eq=False)
class PathTargets:
    """What the residuals of a batch of whole episodes are made of, without gradients: N agent tokens, E episodes.

    Attributes:
        batch: the tokens; its ``final_rows`` are the ends of the truncated episodes.
        final_masks: what may be said in the E final states, or None.
        rewards: float (N,), what is learnt from.
        reference: float (N,), log-probability of each token under the reference.
        levels: float (N,), logsumexp of the reference's logits in each state.
        final_levels: float (E,), the same in the final states of truncated episodes; 0 in others.
        given: float (E,) or (N,) each, what else the method's residual is made of.
        scores: the agent's pass over all of the batch, with its graph, where it serves the loss.
        metrics: what was seen on the way.
    """

    batch: Batch
    final_masks: PackedMasks | None
    rewards: Tensor
    reference: Tensor
    levels: Tensor
    final_levels: Tensor
    given: dict[str, Tensor] = field(default_factory=dict)
    scores: Reading | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def num_episodes(self) -> int:
        """E, which the losses of all parts are divided by."""
        return len(self.final_levels)


@dataclass(frozen=True, eq=False)
class Paths:
    """The paths of a part: n tokens in e episodes, as the agent sees them, with a gradient.

    Attributes:
        grid: which tokens form an episode.
        episodes: int64 (e,), their numbers in the batch.
        tokens: int64 (n,), the places of the tokens in the batch.
        rewards: float (n,).
        log_ratio: float (n,), log π − log π_ref of each token.
        values: float (n,), V of each state in scaled rewards, by the logits or a value head.
        final_values: float (e,), V behind the ends: 0 behind a terminated episode.
    """

    grid: EpisodeGrid
    episodes: Tensor
    tokens: Tensor
    rewards: Tensor
    log_ratio: Tensor
    values: Tensor
    final_values: Tensor


class PathMethod(Rewarded[PathConfigT]):
    """Descends a squared residual over whole episodes, fresh ones and remembered ones; a subclass gives `residuals`.

    Hooks: `residuals` (what is to become 0), `complete` (what else it needs, without gradients), `after_step`.
    """

    requires: ClassVar[tuple[str, ...]] = ("deterministic",)
    unit = "episode"

    # Hooks -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """Return what the loss is the mean half square of: (e,), one an episode, or (n,), one a token."""

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Add what else the residuals are made of; see `PathTargets.given`."""
        return targets

    def after_step(self) -> None:
        """Move what moves with the steps beside the weights."""
        return None

    # Collecting and drawing ------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the replay."""
        self.largest_scale = 0.0
        config = self.config
        self.replay: EpisodeReplay | None = None
        if isinstance(config, ReplayedPathConfig) and config.replay_share:
            self.replay = EpisodeReplay(
                config.replay_capacity // config.group_size * config.group_size,
                pad=self.task.vocabulary.pad,
                num_actions=self.task.vocabulary.num_actions if config.action_masks else None,
                seed=derive_seed(self.seed, "replay"),
                numbers=self.collector.numbers.name,
            )

    @property
    def epsilon(self) -> float:
        """The share of uniform tokens at the present `progress`."""
        return self.scheduled(self.config.epsilon)

    def make_behaviour(self, sampler: Sampler) -> Policy:
        """Build who collects: the policy itself, with uniform tokens mixed in."""

        def policy(output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
            assert output.logits is not None
            return torch.softmax(mask_illegal(output.logits, masks), -1), output.logits

        if not self.config.epsilon:
            return super().make_behaviour(sampler)
        return AgentPolicy(self.agent, sampler, rule=Exploring(policy, lambda: self.epsilon))

    def with_remembered(self, fresh: Episodes) -> Episodes:
        """Return fresh episodes with so many whole groups of earlier ones that these are `replay_share` of all."""
        if self.replay is None or not len(self.replay):
            return fresh
        assert isinstance(self.config, ReplayedPathConfig)  # or there would be no replay
        share, size = self.config.replay_share, self.config.group_size
        groups = round(len(fresh) * share / (1 - share) / size)
        if not groups:
            return fresh
        return Episodes.concat([fresh, self.replay.sample_groups(groups, size)])

    # The update ------------------------------------------------------------------------------------------------------

    @property
    def reward_scale(self) -> float:
        """The largest running standard deviation of the return so far: values learnt in its units stay right."""
        negligible = 1e-6 * max(1.0, abs(self.return_scale.mean))
        return self.largest_scale if self.config.reward_scaling and self.largest_scale > negligible else 1.0

    def observe_returns(self, episodes: Episodes) -> None:
        """Take freshly collected episodes into the running scale, and remember the largest."""
        super().observe_returns(episodes)
        self.largest_scale = max(self.largest_scale, self.return_scale.std)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take the steps that a collection is worth, each on it and on remembered episodes; then remember it."""
        self.observe_returns(batch)
        totals: dict[str, float] = {}
        count = self.config.updates_per_collection
        for _ in range(count):
            for name, value in self.gradient_step(self.with_remembered(batch)).items():
                totals[name] = totals.get(name, 0.0) + value / count
        totals |= {
            "objective/score": float(batch.returns.mean()),
            "objective/kl_coef": self.kl_controller.coef,
            "objective/reward_scale": self.reward_scale,
            "optim/learning_rate": self.learning_rate,
            "explore/epsilon": self.epsilon,
        }
        if self.replay is not None:
            self.replay.add(batch)
            totals["replay/episodes"] = float(len(self.replay))
        return totals

    def gradient_step(self, episodes: Episodes) -> dict[str, float]:
        """Take one step of the optimiser on some episodes."""
        prepared = self.prepare(episodes)
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit, final=True)
        step = self.optimise(self.loss(part, prepared) for part in parts)
        self.after_step()
        terms = {name: float(value) for name, value in step.terms.items()}
        return {**prepared.metrics, **terms, "optim/grad_norm": step.grad_norm}

    def prepare(self, batch: Episodes) -> PathTargets:
        """Ask the reference about whole episodes, and make what else their residuals need."""
        whole = Batch.from_episodes(batch, self.device)
        truncated = torch.as_tensor(np.flatnonzero(~batch.flat.terminated), device=self.device)
        whole = replace(whole, final_rows=whole.final_rows[truncated])
        final_masks = batch.final_action_masks
        rewards = torch.as_tensor(self.learning_rewards(batch), device=self.device)
        targets = PathTargets(
            batch=whole,
            final_masks=None if final_masks is None else final_masks.to(self.device),
            rewards=rewards,
            reference=rewards,
            levels=rewards,
            final_levels=rewards.new_zeros(len(batch)),
        )
        parts = whole.parts(self.config.micro_batch_tokens, self.unit, final=True)
        with torch.no_grad():
            asked = [self.ask_reference(part, targets) for part in parts]
        said, levels, behind = (torch.cat(column) for column in zip(*asked, strict=True))
        targets.final_levels[truncated] = behind.to(rewards.dtype)
        # One part's pass serves the loss, too; of several each loss reads anew, so that one graph is held.
        scores = Reading(self.agent, self.required_heads(), whole) if len(parts) == 1 else None
        return self.complete(replace(targets, reference=said, levels=levels, scores=scores), batch)

    def ask_reference(self, part: Batch, targets: PathTargets) -> tuple[Tensor, Tensor, Tensor]:
        """What the reference makes of the tokens said: their log-probabilities, levels (n,), and final levels (f,)."""
        if not isinstance(self.reference, AgentReference):
            width = self.agent.vocabulary.num_actions
            masks, behind = part.masks, self.final_masks(part, targets)
            legal = torch.full_like(part.log_probs, width) if masks is None else masks.unpack().sum(-1)
            after = part.log_probs.new_full((len(part.final_rows),), width) if behind is None else behind.sum(-1)
            levels = torch.log(legal.to(part.log_probs.dtype))
            return -levels, levels, torch.log(after.to(part.log_probs.dtype))
        reading = Reading(self.reference.agent, ("policy",), part)
        said, levels = reading.of_tokens(_said(part))
        return said, levels, self.final_levels(reading, part, targets)

    def final_masks(self, part: Batch, targets: PathTargets) -> Tensor | None:
        """Bool (f, A), what may be said in the final states of a part, or None."""
        if targets.final_masks is None or not len(part.final_rows):
            return None
        return targets.final_masks[part.episodes[part.final_rows]].unpack()

    def final_levels(self, reading: Reading, part: Batch, targets: PathTargets) -> Tensor:
        """The logsumexp of an agent's logits in the final states of a part, (f,)."""
        count = len(part.final_rows)
        if not count:
            return part.log_probs.new_zeros(0)
        logits = reading.outputs(slice(len(part), len(part) + count)).logits
        assert logits is not None
        return torch.logsumexp(mask_illegal(logits, self.final_masks(part, targets)), -1)

    def read(self, part: Batch, prepared: PathTargets, reading: Reading | None = None) -> Paths:
        """Lay the agent's view of a part out as paths, with a gradient.

        Args:
            part: whole episodes.
            prepared: what belongs to the batch that it was cut from.
            reading: of whom; None is the agent.
        """
        if reading is None:
            kept = part is prepared.batch and prepared.scores is not None
            reading = prepared.scores if kept else Reading(self.agent, self.required_heads(), part)
        assert reading is not None
        episodes, grid = episodes_within(part)
        by_head = "value" in reading.heads
        log_probs, seen = reading.of_tokens(_said(part, by_head))
        beta, reference, levels = self.scaled_kl_coef, prepared.reference[part.index], prepared.levels[part.index]
        final = log_probs.new_zeros(len(episodes))
        if len(part.final_rows):
            ended = part.episodes[part.final_rows]
            if by_head:
                behind = reading.outputs(slice(len(part), len(part) + len(ended))).values
                assert behind is not None
            else:
                behind = beta * (self.final_levels(reading, part, prepared) - prepared.final_levels[ended])
            final = final.index_put((torch.searchsorted(episodes, ended),), behind.to(final.dtype))
        return Paths(
            grid=grid,
            episodes=episodes,
            tokens=part.index,
            rewards=prepared.rewards[part.index],
            log_ratio=log_probs - reference,
            values=seen if by_head else beta * (seen - levels),
            final_values=final,
        )

    def loss(self, part: Batch, prepared: PathTargets) -> Loss:
        """The mean half square of the residuals of whole episodes; pure."""
        paths = self.read(part, prepared)
        residuals = self.residuals(paths, prepared)
        count = prepared.num_episodes if self.whole else len(prepared.rewards)
        named = {"rewards": prepared.rewards, "reference": prepared.reference, **prepared.given}
        return consistency_loss(residuals, count, paths.log_ratio, prepared.num_episodes, named)

    @property
    def whole(self) -> bool:
        """Whether residuals are of whole episodes."""
        return True

    # Saving ----------------------------------------------------------------------------------------------------------

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the replay as arrays, and the largest scale."""
        held = {} if self.replay is None else self.replay.state_arrays()
        return {f"replay.{name}": array for name, array in held.items()}, {"largest_scale": self.largest_scale}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        if self.replay is not None:
            held = {name: np.asarray(tensors[f"replay.{name}"].cpu()) for name in self.replay.state_arrays()}
            self.replay.load_state_arrays(held)
        self.largest_scale = float(data["largest_scale"])


def _said(part: Batch, by_head: bool = False) -> Any:
    """A function of what is said in a run of states: log-probabilities of its tokens, and levels or values."""

    def of_run(output: StepOutput, run: slice) -> tuple[Tensor, Tensor]:
        assert output.logits is not None
        masks = None if part.masks is None else part.masks.unpack(run)
        log_probs, levels = said_and_levels(output.logits, part.actions[run], masks)
        if by_head:
            assert output.values is not None
            return log_probs, output.values
        return log_probs, levels

    return of_run
