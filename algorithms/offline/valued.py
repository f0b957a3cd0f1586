"""Valued: learn what tokens are worth from the rewards of a dataset, alone or against a slow copy of the agent."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import AdvantageWeighted, Agent, AgentPolicy, StepOutput
from ...envs import TokenGymError
from ..configs import ValuesConfig
from ..data import Batch, EpisodeDataset, Episodes, ReplaySample, require_finite_rewards
from ..off_policy import Reading, Replayed, SlowCopy
from ..parts import RunningStd, returns_to_go
from .of_episodes import OfEpisodes

ValuesConfigT = TypeVar("ValuesConfigT", bound=ValuesConfig)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a loss needs and has no gradient, one entry a token of the batch.

    Attributes:
        batch: the N tokens.
        columns: float (N,) each: "targets", and what the algorithm remembers of its looking.
        metrics: what was seen of the episodes.
        named: what the targets were made of, in the order of computing, to name what diverged.
        online: the agent's reading of the whole batch, with a graph, where it is not cut; the first loss takes it.
    """

    batch: Batch
    columns: dict[str, Tensor]
    metrics: dict[str, float]
    named: dict[str, Tensor]
    online: list[Reading] = field(default_factory=list)

    def of(self, part: Batch) -> dict[str, Tensor]:
        """The columns of a part's tokens."""
        return {name: column[part.index] for name, column in self.columns.items()}


class Valued(OfEpisodes[ValuesConfigT]):
    """Learns values from the rewards of recorded episodes; nothing is ever tried out.

    Hooks: `prepare` (the targets, without gradients), `loss` (of a part of a batch).
    """

    unit = "episode"

    def make_parts(self) -> None:
        """Leave the scale of the rewards until it is asked for: it needs the data, which acting does not."""
        super().make_parts()
        self._reward_scale: float | None = None

    def refuse(self, dataset: EpisodeDataset) -> None:
        """Refuse a dataset whose rewards say nothing, or cannot be learnt from."""
        rewards = dataset.episodes.flat.reward
        require_finite_rewards(dataset.episodes)
        if len(rewards) and not rewards.any():
            raise TokenGymError(
                f"the dataset holds no rewards: all of its {len(rewards)} tokens were paid 0, and {self.name} learns "
                "what tokens are worth. Record it on a task that pays, give texts a 'return', or clone it (bc, sft)"
            )

    @property
    def reward_scale(self) -> float:
        """What rewards are divided by: the standard deviation of all returns-to-go that are learnt from, or 1."""
        if not self.config.reward_scaling:
            return 1.0
        if self._reward_scale is None:
            episodes = self.data.dataset.episodes.select(self.data.learnt)
            spread = RunningStd()
            spread.update(returns_to_go(episodes.flat, self.config.gamma, self._clipped(episodes)))
            self._reward_scale = spread.scale
        return self._reward_scale

    def _clipped(self, episodes: Episodes) -> np.ndarray:
        return clipped(episodes.flat.reward, self.config.reward_clip)

    def learning_rewards(self, episodes: Episodes) -> np.ndarray:
        """Return float (N,), what is learnt from: the task's rewards, clipped and divided by `reward_scale`."""
        return (self._clipped(episodes).astype(np.float64) / self.reward_scale).astype(episodes.rewards.dtype)

    def reading(self, part: Batch, prepared: Judged) -> Reading:
        """The agent's reading of a part, with a graph: the one that `prepare` made, the first time it is asked for."""
        if prepared.online:
            return prepared.online.pop()
        return Reading(self.agent, self.required_heads(), part)

    def weighted_policy(self, beta: float) -> AgentPolicy:
        """Who says what the policy head says, weighed by ``exp(β (Q − V))``."""
        return AgentPolicy(self.agent, rule=AdvantageWeighted(beta), heads=self.required_heads())


def clipped(reward: np.ndarray, clip: float | None) -> np.ndarray:
    """Return rewards within ± clip; None leaves them."""
    return reward if clip is None else reward.clip(-clip, clip)


def masks_of(part: Batch, run: slice) -> Tensor | None:
    """Return bool (k, A), what might be said in a run of a batch's tokens, or None."""
    return None if part.masks is None else part.masks.unpack(run)


class Bootstrapped(Valued[ValuesConfigT]):
    """Learns values from values: its targets are made of what a slow copy of the agent, or the agent, says next.

    Hooks: `judge` (what the networks make of some states), `targets` (of all tokens of a batch), `loss`.
    `target_heads` gives the heads that the slow copy is read with.
    """

    def setup(self) -> None:
        """Build the target network."""
        self.slow = SlowCopy(self.agent)

    @property
    def target(self) -> Agent:
        """The target network."""
        return self.slow.agent

    def target_heads(self) -> tuple[str, ...]:
        """Return the heads that the target network is read with; by default all."""
        return self.required_heads()

    @abstractmethod
    def judge(self, online: StepOutput, target: StepOutput, actions: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
        """Say what the networks make of k states; pure, and without gradients.

        Args:
            online: what the agent says in them.
            target: what the target network says.
            actions: int64 (k,), the tokens said there; anything in final states.
            masks: bool (k, A) of what may be said, or None.

        Returns:
            float (k,) each, in the order of computing, among them the "values" of the states.
        """

    @abstractmethod
    def targets(self, replayed: Replayed, judged: dict[str, Tensor], final_values: Tensor) -> Tensor:
        """Return the (N,) targets of ``Q(s_t, a_t)``.

        Args:
            replayed: the episodes.
            judged: float (N,) each, what `judge` returned.
            final_values: float (E,), values behind the ends of the episodes, 0 behind those that terminated.
        """

    def prepare(self, batch: Episodes) -> Judged:
        """Read the states of some episodes with both networks, and make the targets of it."""
        ones = np.ones(len(batch.flat), batch.rewards.dtype)
        sample = ReplaySample(batch, ones, np.arange(len(batch)))
        replayed = Replayed.of(sample, self.learning_rewards(batch), self.device)
        parts = replayed.parts(self.config.micro_batch_tokens)
        online: list[Reading] = []
        said: list[dict[str, Tensor]] = []
        behind: list[Tensor] = []
        for part in parts:
            # One part's pass is kept for its loss; of several, each loss reads anew, so that one graph is held.
            with torch.set_grad_enabled(len(parts) == 1):
                reading = Reading(self.agent, self.required_heads(), part.batch)
            count = len(part.batch)
            actions = torch.nn.functional.pad(part.batch.actions, (0, len(part.batch.final_rows)))
            with torch.no_grad():
                slow = Reading(self.target, self.target_heads(), part.batch)
                pieces = [
                    self.judge(reading.outputs(run), slow.outputs(run), actions[run], part.masks_in(run))
                    for run in reading.chunks
                ]
            judged = {name: torch.cat([piece[name].detach() for piece in pieces]) for name in pieces[0]}
            said.append({name: column[:count] for name, column in judged.items()})
            behind.append(judged["values"][count:])
            if len(parts) == 1:
                online.append(reading)
        columns = {name: torch.cat([one[name] for one in said]) for name in said[0]}
        ends = torch.cat(behind)
        columns["targets"] = self.targets(replayed, columns, replayed.final_values(ends))
        named = {"rewards": replayed.rewards, **columns, "final_values": ends}
        named["targets"] = named.pop("targets")
        return Judged(replayed.batch, columns, {"data/return": float(batch.returns.mean())}, named, online)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take one step on a batch, and move the target network."""
        metrics = super().update(batch)
        if (self.num_updates + 1) % self.target_every == 0:
            self.move_target(self.config.target_polyak)  # pyright: ignore[reportAttributeAccessIssue]
        return metrics

    @property
    def target_every(self) -> int:
        """Updates between target updates."""
        return int(getattr(self.config, "target_every", 1))

    def move_target(self, share: float) -> None:
        """Move the target network's weights to the online ones by ``share`` of the way."""
        self.slow.follow(self.parameters, share)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the target network."""
        return self.slow.state(), {}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        self.slow.load_state(tensors)
