"""OffPolicy: collect with exploration, remember whole episodes, regress on targets from a slow copy of the agent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ...agents import Agent, AgentPolicy, Exploring, Policy, ReferenceExploring, Sampler, StepOutput
from ...envs import TokenGymError
from ..configs import OffPolicyConfig
from ..data import EpisodeReplay, Episodes, fitting, masked_as_asked, read_dataset, require_episodes
from ..parts import AgentReference, Loss, Reference, derive_seed, n_step_targets, trace_targets
from ..rewarded import Rewarded
from ..runs import take
from .reading import Reading
from .replayed import Part, Prepared, Replayed
from .slow_copy import SlowCopy
from .untried import UntriedFirst

OffPolicyConfigT = TypeVar("OffPolicyConfigT", bound=OffPolicyConfig)


class OffPolicy(Rewarded[OffPolicyConfigT]):
    """Learns from a replay of whole episodes, by regression on targets.

    Hooks: `policy_probabilities` (what the behaviour explores around), `judge` (what the networks make of some states,
    for the targets), `loss` (of a part of a draw), `after_step` (what moves with the steps beside the weights).
    `target_heads` gives the heads that the target network is read with.
    """

    unit = "episode"

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
            numbers=self.collector.numbers.name,
        )
        self.slow = SlowCopy(self.agent)
        self.num_gradient_steps = 0
        self.num_replayed_tokens = 0
        self.largest_scale = 0.0

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What the KL is measured to, and what explores where it is to.

        Raises:
            TokenGymError: it is to explore, and says nothing.
        """
        reference = super().build_reference(given)
        if self.config.exploration == "reference" and isinstance(reference, AgentReference):
            if "policy" not in reference.agent.heads:
                raise TokenGymError(
                    "exploration is 'reference', and the reference has no policy that could be drawn from, but the "
                    f"heads {', '.join(reference.agent.heads)}. Give one that has, reference=…, or take Q off the "
                    "policy's logits: kl_coef, or tau with head_free."
                )
        return reference

    @property
    def target(self) -> Agent:
        """The target network."""
        return self.slow.agent

    # Hooks -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def policy_probabilities(self, output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the policy to explore around and the values to explore by.

        Args:
            output: what `Session.step` gave for m rows.
            masks: bool (m, A) of what may be said, or None.

        Returns:
            float (m, A) probabilities, 0 at illegal tokens, which the caller may overwrite, and float (m, A) values or
            logits for "boltzmann".
        """

    def target_heads(self) -> tuple[str, ...]:
        """Return the heads that the target network is read with; by default all."""
        return self.required_heads()

    @abstractmethod
    def judge(
        self,
        online: StepOutput,
        target: StepOutput,
        reference: Tensor | None,
        actions: Tensor,
        log_probs: Tensor,
        masks: Tensor | None,
    ) -> dict[str, Tensor]:
        """Say what the networks make of k states; pure, and without gradients.

        Args:
            online: what the agent says in them.
            target: what the target network says.
            reference: float (k, A), the logits of the reference (zeros for the uniform one), or None without a KL.
            actions: int64 (k,), the tokens said there; anything in final states.
            log_probs: float (k,), their log-probabilities under the behaviour.
            masks: bool (k, A) of what may be said, or None.

        Returns:
            float (k,) each, in the order of computing: "target_q" of the tokens said and "values" of the states, both
            under the target network, "traces", "corrections" where rewards on the way of an n-step return get some,
            and whatever `loss` or `after_step` need.
        """

    @abstractmethod
    def loss(self, part: Part, prepared: Prepared) -> Loss:
        """Return the part's share of the loss of the draw, with the (n,) temporal-difference "errors" as tokens.

        It changes nothing: called again it gives the same.
        """

    def after_step(self, prepared: Prepared) -> dict[str, float]:
        """Move what moves with the steps, such as tuned coefficients, and return metrics."""
        return {}

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
        config = self.config
        temperature = config.exploration_temperature if config.exploration == "boltzmann" else None
        self.exploring = Exploring(self.policy_probabilities, self.share_exploring, temperature, config.top_p)
        policy = AgentPolicy(self.agent, sampler, rule=self.exploring)
        if config.exploration == "reference":
            assert isinstance(self.reference, AgentReference)
            policy = ReferenceExploring(self.agent, self.reference.agent, sampler, self.exploring)
        if not config.untried_first:
            return policy
        assert self.visits is not None
        return UntriedFirst(policy, self.visits, self.task.vocabulary.num_actions)

    def next_batch(self) -> Episodes:
        """Play whole episodes; before the first, remember those that ``config.data`` names."""
        self.take_data()
        return self.collect()

    def take_data(self) -> None:
        """Remember the episodes that ``config.data`` names, where there is one and nothing was learnt yet.

        Raises:
            TokenGymError: they are not there, or not for this task, agent or replay.
        """
        if self.config.data is not None and not self.num_updates and not len(self.replay):
            task = self.task
            dataset = read_dataset(Path(self.config.data), task.vocabulary)
            self.remember(fitting(dataset, task, self.agent, self.config.action_masks, "refuse").episodes)

    def remember(self, episodes: Episodes) -> None:
        """Take whole episodes into the replay, and their returns into the scale of the rewards.

        Masks that they have are left out where the learner knows none.

        Raises:
            TokenGymError: they are no episodes of the task that can be learnt from, or the replay holds fewer, so that
                some would be forgotten at once.
        """
        require_episodes(episodes, self.task, self.agent)
        if len(episodes) > self.config.replay_capacity:
            raise TokenGymError(
                f"replay_capacity is {self.config.replay_capacity:,}, and {len(episodes):,} episodes are to be "
                "remembered; give a larger one, or fewer of them"
            )
        # Everything is looked at before anything is counted: who is told what is wrong will try again.
        episodes = masked_as_asked(episodes, self.config.action_masks)
        self.observe_returns(episodes)
        self.replay.add(episodes)

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

    def gradient_step(self) -> dict[str, float]:
        """Draw episodes, take one step of the optimiser, and move the target network."""
        replayed = self.draw()
        prepared = self.prepare(replayed)
        step = self.optimise(self.loss(part, prepared) for part in prepared.parts)
        self.replay.prioritise(replayed.sample, step.tokens["errors"].cpu().numpy())
        self.num_gradient_steps += 1
        self.num_replayed_tokens += len(replayed.actions)
        if self.num_gradient_steps % self.config.target_every == 0:
            self.move_target(self.config.target_polyak)
        return {**step.terms, **self.after_step(prepared), "optim/grad_norm": step.grad_norm}

    def draw(self) -> Replayed:
        """Draw a batch of episodes and bring it to the device."""
        beta = self.config.priority_beta_at(self.progress)
        sample = self.replay.sample(self.config.batch_episodes, beta)
        return Replayed.of(sample, self.learning_rewards(sample.episodes), self.device)

    def prepare(self, replayed: Replayed) -> Prepared:
        """Read the states of a draw with all networks, and make the targets of it."""
        parts = replayed.parts(self.config.micro_batch_tokens)
        online: list[Reading] = []
        references: list[Reading | None] = []
        judged: list[dict[str, Tensor]] = []
        for part in parts:
            # One part's pass is kept for its loss; of several, each loss reads anew, so that one graph is held.
            with torch.set_grad_enabled(len(parts) == 1):
                reading = Reading(self.agent, self.required_heads(), part.batch)
            with torch.no_grad():
                references.append(self.read_reference(part))
                judged.append(self.judge_part(part, reading, references[-1]))
            if len(parts) == 1:
                online.append(reading)
        behind = torch.cat([seen["values"][len(part.batch) :] for part, seen in zip(parts, judged, strict=True)])
        columns = joined([head_of(seen, len(part.batch)) for part, seen in zip(parts, judged, strict=True)])
        final_values = replayed.final_values(behind)
        columns["targets"] = self.targets(replayed, columns, final_values)
        named = {"rewards": replayed.rewards, **columns, "final_values": behind}
        named["targets"] = named.pop("targets")
        return Prepared(replayed, parts, columns, references, named, online)

    def read_reference(self, part: Part) -> Reading | None:
        """The pass of the reference agent over a part, if there is one."""
        if not isinstance(self.reference, AgentReference) or not self.config.held_to_reference:
            return None
        return Reading(self.reference.agent, ("policy",), part.batch)

    def reference_logits(self, reading: Reading | None, states: slice, like: Tensor | None) -> Tensor | None:
        """The reference's logits in a run of states: zeros in the shape of ``like`` for the uniform one."""
        if self.reference is None or not self.config.held_to_reference:
            return None
        if reading is None:
            assert like is not None
            return torch.zeros_like(like)
        return reading.outputs(states).logits

    def judge_part(self, part: Part, online: Reading, reference: Reading | None) -> dict[str, Tensor]:
        """Call `judge` for all n + f states of a part, a chunk at a time."""
        target = Reading(self.target, self.target_heads(), part.batch)
        final = len(part.batch.final_rows)
        actions = torch.nn.functional.pad(part.batch.actions, (0, final))
        log_probs = torch.nn.functional.pad(part.batch.log_probs, (0, final))
        pieces: list[dict[str, Tensor]] = []
        for states in online.chunks:
            seen = online.outputs(states)
            logits = self.reference_logits(reference, states, seen.logits)
            masks = part.masks_in(states)
            pieces.append(self.judge(seen, target.outputs(states), logits, actions[states], log_probs[states], masks))
        return pieces[0] if len(pieces) == 1 else joined(pieces)

    def huber(self, q: Tensor, targets: Tensor) -> Tensor:
        """Errors of Q, (n,) each: half squared up to `config.huber_delta`, linear beyond, in scaled rewards."""
        return huber_loss(q, targets, reduction="none", delta=self.config.huber_delta)

    def online_of(self, part: Part, prepared: Prepared) -> Reading:
        """The agent's reading of a part, with a graph: the one that `prepare` made, the first time it is asked for."""
        if prepared.online:
            return prepared.online.pop()
        return Reading(self.agent, self.required_heads(), part.batch)

    def targets(self, replayed: Replayed, judged: dict[str, Tensor], final_values: Tensor) -> Tensor:
        """Return the (N,) targets of ``Q(s_t, a_t)`` that `config.returns` asks for.

        Args:
            replayed: the drawn episodes.
            judged: float (N,) each, what `judge` returned.
            final_values: float (E,), values behind the ends of the episodes.
        """
        config, rewards, grid, values = self.config, replayed.rewards, replayed.grid, judged["values"]
        if config.returns == "n_step":
            corrections = judged.get("corrections")
            return n_step_targets(rewards, values, final_values, grid, config.n_step, config.gamma, corrections)
        return trace_targets(rewards, values, judged["target_q"], judged["traces"], final_values, grid, config.gamma)

    def move_target(self, share: float) -> None:
        """Move the target network's weights to the online ones by ``share`` of the way."""
        self.slow.follow(self.parameters, share)

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the replay and the target network as arrays, and the counters."""
        arrays: dict[str, Any] = {f"replay.{name}": array for name, array in self.replay.state_arrays().items()}
        arrays |= self.slow.state()
        counters: dict[str, Any] = {
            "gradient_steps": self.num_gradient_steps,
            "replayed_tokens": self.num_replayed_tokens,
        }
        counters["largest_scale"] = self.largest_scale
        return arrays, counters

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        held = take(tensors, "replay.")
        self.replay.load_state_arrays({name: np.asarray(value.cpu()) for name, value in held.items()})
        self.slow.load_state(tensors)
        self.num_gradient_steps = int(data["gradient_steps"])
        self.num_replayed_tokens = int(data["replayed_tokens"])
        self.largest_scale = float(data["largest_scale"])


def head_of(columns: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """The first ``count`` entries of each column."""
    return {name: column[:count] for name, column in columns.items()}


def joined(pieces: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join columns of the same names, piece after piece."""
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
