"""Soft actor-critic over tokens: exact expectations over the vocabulary, twin critics, an entropy bonus or a KL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ...agents import StepOutput
from ...agents.masks import opened
from ...agents.sampling import log_softmax
from ..configs import SACConfig, Schedule, linear
from ..parts import mask_illegal, retrace_traces, soft_values
from .base import OffPolicy, Replayed, weighted_mean

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ..configs import SACOverrides

LARGEST_LOG_ALPHA = 30.0
"""Where a tuned log α stops, on both sides: a target out of reach would drive it on until its exponential overflows."""


class SAC(OffPolicy[SACConfig]):
    """Discrete soft actor-critic (Haarnoja et al. 2018; Christodoulou 2019), a whole episode a pass.

    ``V(s) = Σ_a π(a|s) [min Q̄(s, a) − α log π(a|s) − β (log π(a|s) − log π_ref(a|s))]`` with both coefficients free:
    with ``alpha`` 0 and ``kl_coef`` β the fixed point is the KL-regularised optimum ``π_ref e^{Q/β} / Z``; with
    ``kl_coef`` 0 it is the maximum-entropy one.
    """

    name: ClassVar[str] = "sac"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: SACConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            reference: Agent | None = None,
            **overrides: Unpack[SACOverrides],
        ) -> None: ...

    heads = ("policy", "twin_q")

    def setup(self) -> None:
        """Build the replay and the target network, and start α."""
        super().setup()
        alpha = self.config.alpha
        self.log_alpha = -math.inf if isinstance(alpha, Schedule) or not alpha else math.log(alpha)

    def agent_options(self) -> dict[str, Any]:
        """Give the critics a trunk of their own where the config asks for it."""
        return {"separate_critic": self.config.separate_critic}

    @property
    def alpha(self) -> float:
        """The weight of the entropy at the present `progress`, or as tuned so far."""
        config = self.config
        if isinstance(config.alpha, Schedule):
            return config.alpha.at(self.progress)
        if config.initial_alpha is None:
            return math.exp(self.log_alpha)
        return math.exp(linear(math.log(config.initial_alpha), self.log_alpha, self.progress, config.alpha_fraction))

    def policy_probabilities(self, output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the actor's probabilities and logits; see the base for shapes."""
        assert output.logits is not None
        return torch.softmax(mask_illegal(output.logits, masks), -1), output.logits

    def judge(self, q: Tensor, q2: Tensor) -> Tensor:
        """Make one critic of two, both (N, A)."""
        return torch.minimum(q, q2) if self.config.critics == "min" else (q + q2) / 2

    def loss(self, replayed: Replayed) -> tuple[Tensor, Tensor, dict[str, Tensor | float]]:
        """Loss of both critics against the soft target, plus the loss of the actor against the critics."""
        states, actions, count = replayed.states, replayed.actions, len(replayed.actions)
        evaluation = states.evaluate(self.agent, heads=self.heads)
        assert evaluation.logits is not None and evaluation.q is not None and evaluation.q2 is not None
        log_probs = log_softmax(evaluation.logits, opened(states.masks))
        with torch.no_grad():
            slow = states.evaluate(self.target, heads=("twin_q",))
            assert slow.q is not None and slow.q2 is not None
            slow_q = self.judge(slow.q, slow.q2)
            reference = None if self.reference is None else self.reference.log_probabilities(states)
            values = soft_values(slow_q, log_probs, self.alpha, self.scaled_kl_coef, reference)
            slow_taken = slow_q[:count].gather(1, actions[:, None])[:, 0]
            policy_taken = log_probs[:count].gather(1, actions[:, None])[:, 0]
            traces = retrace_traces(policy_taken, replayed.log_probs, self.config.trace_lambda)
            targets = self.targets(replayed, values, slow_taken, traces, values[:count] - slow_taken)
        critic_loss = torch.zeros((), device=targets.device)
        errors = torch.zeros_like(targets)
        for q, slow_twin in ((evaluation.q, slow.q), (evaluation.q2, slow.q2)):
            taken = q[:count].gather(1, actions[:, None])[:, 0]
            losses = huber_loss(taken, targets, reduction="none")
            if self.config.q_clip is not None:
                anchor = slow_twin[:count].gather(1, actions[:, None])[:, 0]
                clipped = anchor + (taken - anchor).clamp(-self.config.q_clip, self.config.q_clip)
                losses = torch.maximum(losses, huber_loss(clipped, targets, reduction="none"))
            critic_loss = critic_loss + weighted_mean(losses, replayed.weights)
            errors = errors + (targets - taken).detach().abs() / 2
        actor_loss = self.actor_loss(
            log_probs[:count],
            self.judge(evaluation.q, evaluation.q2).detach()[:count],
            None if reference is None else reference[:count],
            None if states.masks is None else states.masks[:count].unpack(),
        )
        with torch.no_grad():
            entropy = soft_values(torch.zeros_like(slow_q), log_probs, 1.0)[:count].mean()
            metrics: dict[str, Tensor | float] = {
                "q/loss": critic_loss.detach() / 2,
                "q/target_mean": targets.mean(),
                "q/error": errors.mean(),
                "q/trace": traces.mean(),
                "policy/loss": actor_loss.detach(),
                "policy/entropy": entropy,
                "policy/alpha": self.alpha,
            }
            if reference is not None:
                kl = -soft_values(torch.zeros_like(slow_q), log_probs, 0.0, 1.0, reference)[:count].sum()
                kl_an_episode = float(kl) / replayed.grid.num_episodes
                self.kl_controller.update(kl_an_episode, replayed.grid.num_episodes)
                metrics["objective/kl"] = kl_an_episode
                metrics["objective/kl_coef"] = self.kl_controller.coef
        if self.config.entropy_target is not None:
            change = self.config.alpha_learning_rate * (float(entropy) - self.config.entropy_target)
            self.log_alpha = min(max(self.log_alpha - change, -LARGEST_LOG_ALPHA), LARGEST_LOG_ALPHA)
        return critic_loss + actor_loss, errors, metrics

    def actor_loss(
        self, log_probs: Tensor, q: Tensor, reference_log_probs: Tensor | None, masks: Tensor | None = None
    ) -> Tensor:
        """Return what the actor descends: minus its soft value, summed over tokens, averaged over states.

        Args:
            log_probs: float (N, A), of the actor, with gradients.
            q: float (N, A), of the critics, without.
            reference_log_probs: float (N, A) or None.
            masks: bool (N, A) of what may be said, or None.
        """
        if self.config.actor == "reverse_kl":
            return -soft_values(q, log_probs, self.alpha, self.scaled_kl_coef, reference_log_probs).mean()
        beta = 0.0 if reference_log_probs is None else self.scaled_kl_coef
        inner = mask_illegal(q if reference_log_probs is None else q + beta * reference_log_probs, masks)
        target = torch.softmax((inner - inner.amax(-1, keepdim=True)) / (self.alpha + beta), -1)
        return -(target * log_probs.masked_fill(target == 0, 0.0)).sum(-1).mean()

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the replay, the target network, the counters and α."""
        arrays, data = super().extra_state()
        return arrays, {**data, "log_alpha": None if math.isinf(self.log_alpha) else self.log_alpha}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        super().load_extra_state(tensors, data)
        self.log_alpha = -math.inf if data["log_alpha"] is None else float(data["log_alpha"])
