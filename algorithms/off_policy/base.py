"""OffPolicy: collect with exploration, remember whole episodes, regress on targets from a slow copy of the agent."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import AgentPolicy, Exploring, Policy, Sampler, StepOutput
from ...agents.masks import PackedMasks
from ..base import Algorithm
from ..configs import OffPolicyConfig
from ..data import Batch, EpisodeReplay, Episodes, ReplaySample
from ..parts import EpisodeGrid, Loss, derive_seed, n_step_targets, trace_targets


@dataclass(frozen=True, eq=False)
class Replayed:
    """Drawn episodes, ready for a loss: N agent tokens in E episodes, F of them truncated.

    Attributes:
        sample: what the replay drew.
        states: the states of the N tokens and behind them the final states of the F truncated episodes, so that one
            pass looks at all of them. Its masks hold what may be said in each of the N + F.
        actions: int64 (N,), the tokens said.
        log_probs: float32 (N,), their log-probabilities under the behaviour.
        rewards: float32 (N,), scaled.
        weights: float32 (N,), of each token in the loss.
        grid: which tokens form an episode.
        truncated: int64 (F,), the truncated episodes.
    """

    sample: ReplaySample
    states: Batch
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor
    weights: Tensor
    grid: EpisodeGrid
    truncated: Tensor

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Split ``values (N + F,)`` of all states into those of the tokens and the final ones ``(E,)``.

        The value behind a terminated episode is 0: nothing follows.
        """
        final_values = values.new_zeros(self.grid.num_episodes)
        final_values[self.truncated] = values[len(self.actions) :]
        return values[: len(self.actions)], final_values


OffPolicyConfigT = TypeVar("OffPolicyConfigT", bound=OffPolicyConfig)


class OffPolicy(Algorithm[OffPolicyConfigT]):
    """Learns from a replay of whole episodes; a subclass gives `loss` and `policy_probabilities`.

    Hooks: `policy_probabilities` (what the behaviour explores around), `loss` (on drawn episodes).
    """

    def setup(self) -> None:
        """Build the replay and the target network."""
        config = self.config
        self.replay = EpisodeReplay(
            config.replay_capacity,
            pad=self.task.vocabulary.pad,
            num_actions=self.task.vocabulary.num_actions if config.action_masks else None,
            prioritised=config.prioritised,
            alpha=config.priority_alpha,
            seed=derive_seed(self.seed, "replay"),
        )
        self.target = self.agent.clone_frozen()
        self.num_gradient_steps = 0
        self.num_replayed_tokens = 0
        self.largest_scale = 0.0

    # Hooks -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def policy_probabilities(self, output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the policy to explore around and the values to explore by.

        Args:
            output: what `Session.step` gave for m rows.
            masks: bool (m, A) of what may be said, or None.

        Returns:
            float (m, A) probabilities, 0 at illegal tokens, and float (m, A) values or logits for "boltzmann".
        """

    @abstractmethod
    def loss(self, replayed: Replayed) -> tuple[Tensor, Tensor, dict[str, Tensor | float]]:
        """Return the loss to minimise, the (N,) temporal-difference errors, and metrics."""

    # Collecting ------------------------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """The share of exploring tokens at the present `progress`; all of them before learning starts."""
        config = self.config
        if self.num_timesteps < config.learning_starts:
            return 1.0
        return config.epsilon_at(self.progress)

    def share_exploring(self) -> float:
        """Return `epsilon`; what the behaviour asks at every act."""
        return self.epsilon

    def make_behaviour(self, sampler: Sampler) -> Policy:
        """Build who collects: `policy_probabilities` with exploration mixed in."""
        temperature = None if self.config.exploration == "uniform" else self.config.exploration_temperature
        self.exploring = Exploring(self.policy_probabilities, self.share_exploring, temperature)
        return AgentPolicy(self.agent, sampler, rule=self.exploring)

    # Learning --------------------------------------------------------------------------------------------------------

    @property
    def reward_scale(self) -> float:
        """The largest running standard deviation of the return so far.

        It never falls: values learnt in units of one scale stay right, where a scale that shrinks as the policy becomes
        sure of itself would have them rise for ever.
        """
        negligible = 1e-6 * max(1.0, abs(self.return_scale.mean))
        return self.largest_scale if self.config.reward_scaling and self.largest_scale > negligible else 1.0

    def observe_returns(self, episodes: Episodes) -> None:
        """Take freshly collected episodes into the running scale, and remember the largest."""
        super().observe_returns(episodes)
        self.largest_scale = max(self.largest_scale, self.return_scale.std)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Remember the episodes; once there are enough, take the updates that a collection is worth."""
        config = self.config
        self.observe_returns(batch)
        self.replay.add(batch)
        totals: dict[str, float] = {}
        if self.num_timesteps >= config.learning_starts:
            for _ in range(config.updates_per_collection):
                for name, value in self.gradient_step().items():
                    totals[name] = totals.get(name, 0.0) + float(value) / config.updates_per_collection
            totals["optim/learning_rate"] = self.learning_rate
        return {
            **totals,
            "explore/epsilon": self.epsilon,
            "replay/episodes": float(len(self.replay)),
            "replay/bytes_per_token": self.replay.nbytes_per_token,
            "replay/ratio": self.num_replayed_tokens / max(1, self.num_timesteps),
            "objective/reward_scale": self.reward_scale,
        }

    def gradient_step(self) -> dict[str, Tensor | float]:
        """Draw episodes, take one step of the optimiser, and move the target network."""
        replayed = self.draw()
        loss, errors, metrics = self.loss(replayed)
        metrics["optim/grad_norm"] = self.optimise([Loss(loss)]).grad_norm
        self.replay.prioritise(replayed.sample, errors.detach().cpu().numpy())
        self.num_gradient_steps += 1
        self.num_replayed_tokens += len(replayed.actions)
        if self.num_gradient_steps % self.config.target_every == 0:
            self.move_target(self.config.target_polyak)
        return metrics

    def draw(self) -> Replayed:
        """Draw a batch of episodes and bring it to the device."""
        beta = self.config.priority_beta_at(self.progress)
        sample = self.replay.sample(self.config.batch_episodes, beta)
        episodes = sample.episodes
        batch = Batch.from_episodes(episodes, self.device)
        truncated = np.flatnonzero(~episodes.flat.terminated)
        ends = batch.final_rows[torch.as_tensor(truncated, device=self.device)]
        masks = batch.masks
        if masks is not None and len(truncated):
            assert episodes.final_action_masks is not None
            masks = PackedMasks.concat([masks, episodes.final_action_masks[truncated].to(self.device)])
        states = replace(
            batch,
            rows=torch.cat([batch.rows, ends]),
            columns=torch.cat([batch.columns, batch.lengths[ends]]),
            masks=masks,
        )
        return Replayed(
            sample=sample,
            states=states,
            actions=batch.actions,
            log_probs=batch.log_probs,
            rewards=torch.as_tensor(self.learning_rewards(episodes), device=self.device),
            weights=torch.as_tensor(sample.weights, device=self.device),
            grid=EpisodeGrid(episodes.flat.episode_offsets, self.device),
            truncated=torch.as_tensor(truncated, device=self.device),
        )

    def targets(
        self,
        replayed: Replayed,
        values: Tensor,
        action_values: Tensor,
        traces: Tensor,
        corrections: Tensor | None = None,
    ) -> Tensor:
        """Return the (N,) targets of ``Q(s_t, a_t)`` that `config.returns` asks for.

        Args:
            replayed: the drawn episodes.
            values: float (N + F,), values of all states under the target network.
            action_values: float (N,), values of the tokens said, under the target network.
            traces: float (N,), how far the return behind each token is trusted, for "trace".
            corrections: float (N,), added to the rewards on the way of "n_step", or None.
        """
        token_values, final_values = replayed.split(values)
        gamma = self.config.gamma
        if self.config.returns == "n_step":
            steps = self.config.n_step
            return n_step_targets(
                replayed.rewards, token_values, final_values, replayed.grid, steps, gamma, corrections
            )
        return trace_targets(replayed.rewards, token_values, action_values, traces, final_values, replayed.grid, gamma)

    @torch.no_grad()
    def move_target(self, share: float) -> None:
        """Move the target network's weights to the online ones by ``share`` of the way (Polyak averaging)."""
        for slow, fast in zip(self.target.parameters(), self.agent.parameters(), strict=True):
            slow.lerp_(fast, share)

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the replay and the target network as arrays, and the counters."""
        arrays: dict[str, Any] = {f"replay.{name}": array for name, array in self.replay.state_arrays().items()}
        arrays.update({f"target.{name}": tensor for name, tensor in self.target.state_dict().items()})
        counters: dict[str, Any] = {
            "gradient_steps": self.num_gradient_steps,
            "replayed_tokens": self.num_replayed_tokens,
        }
        counters["largest_scale"] = self.largest_scale
        return arrays, counters

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.replay.load_state_arrays({name: np.asarray(value.cpu()) for name, value in part("replay.").items()})
        self.target.load_state_dict(part("target."))
        self.num_gradient_steps = int(data["gradient_steps"])
        self.num_replayed_tokens = int(data["replayed_tokens"])
        self.largest_scale = float(data["largest_scale"])


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over tokens of ``weights · values``, both ``(N,)``."""
    return (weights * values).mean()
