"""Deep Q-learning over tokens: double, dueling, n-step, prioritised; with a KL to a reference it is soft Q-learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, one_hot

from ...agents import Agent, StepOutput
from ...agents.masks import opened
from ..configs import DQNConfig
from ..data import Batch
from ..parts import (
    AgentReference,
    cut_traces,
    double_q_values,
    greedy_actions,
    mask_illegal,
    max_values,
    retrace_traces,
    soft_optimal_log_probs,
    soft_optimal_values,
)
from .base import OffPolicy, Replayed, weighted_mean

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..configs import DQNOverrides


class DQN(OffPolicy[DQNConfig]):
    """Q-learning with a network, one teacher-forced pass for all tokens of an episode (Mnih et al. 2015).

    Without a KL the agent says the token of the largest Q. With ``kl_coef`` β above 0 it is soft Q-learning on the
    policy's own logits ``ℓ``: ``Q = β (ℓ − ℓ_ref)`` and ``V = β log Σ π_ref e^{Q/β}``, so that ``softmax(ℓ)`` is
    exactly the KL-regularised optimum of Q, both are 0 at the start, and the agent speaks without the reference.
    """

    name: ClassVar[str] = "dqn"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: DQNConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            reference: Agent | None = None,
            **overrides: Unpack[DQNOverrides],
        ) -> None: ...

    heads = ("q",)

    def required_heads(self) -> tuple[str, ...]:
        """Return the policy's head where it is soft, whose logits are the Qs; else Q, and the value it is split by."""
        if self.soft:
            return ("policy",)
        return ("q", "value") if self.config.dueling else ("q",)

    @property
    def soft(self) -> bool:
        """Whether the policy is soft, tied to a reference."""
        return self.config.has_kl

    def policy_probabilities(self, output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the greedy policy of Q, or the soft one; see the base for shapes."""
        if self.soft:
            assert output.logits is not None
            return torch.softmax(mask_illegal(output.logits, masks), -1), output.logits
        assert output.q is not None
        return one_hot(greedy_actions(output.q, masks), output.q.shape[-1]).to(output.q.dtype), output.q

    def q_values(self, agent: Agent, states: Batch) -> Tensor:
        """Return float (N + F, A), the agent's Q of every token in every state."""
        evaluation = states.evaluate(agent, heads=self.required_heads())
        if self.soft:
            assert evaluation.logits is not None
            return self.scaled_kl_coef * (evaluation.logits - self.reference_logits(states))
        q = evaluation.q
        assert q is not None
        if self.config.dueling:
            assert evaluation.values is not None
            legal = torch.ones_like(q) if states.masks is None else states.masks.unpack().to(q.dtype)
            q = evaluation.values[:, None] + q - (q * legal).sum(-1, keepdim=True) / legal.sum(-1, keepdim=True)
        return q

    @torch.no_grad()
    def reference_logits(self, states: Batch) -> Tensor | float:
        """Return the logits of the reference (N + F, A); 0 for the uniform one."""
        if not isinstance(self.reference, AgentReference):
            return 0.0
        logits = states.evaluate(self.reference.agent, heads=("policy",)).logits
        assert logits is not None
        return logits

    def loss(self, replayed: Replayed) -> tuple[Tensor, Tensor, dict[str, Tensor | float]]:
        """Huber loss of ``Q(s_t, a_t)`` against its target."""
        states, actions, count = replayed.states, replayed.actions, len(replayed.actions)
        q = self.q_values(self.agent, states)
        taken = q[:count].gather(1, actions[:, None])[:, 0]
        with torch.no_grad():
            target_q = self.q_values(self.target, states)
            target_taken = target_q[:count].gather(1, actions[:, None])[:, 0]
            values, traces, corrections = self.judge(replayed, q, target_q, target_taken)
            targets = self.targets(replayed, values, target_taken, traces, corrections)
        errors = targets - taken
        loss = weighted_mean(
            huber_loss(taken, targets, reduction="none", delta=self.config.huber_delta), replayed.weights
        )
        return (
            loss,
            errors,
            {
                "q/loss": loss.detach(),
                "q/mean": taken.detach().mean(),
                "q/target_mean": targets.mean(),
                "q/error": errors.detach().abs().mean(),
                "q/trace": traces.mean(),
            },
        )

    def judge(
        self, replayed: Replayed, q: Tensor, target_q: Tensor, target_taken: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the (N + F,) values of the states, the (N,) traces, and the (N,) n-step corrections or None."""
        config, masks, count = self.config, opened(replayed.states.masks), len(replayed.actions)
        if not self.soft:
            values = double_q_values(q, target_q, masks) if config.double else max_values(target_q, masks)
            judge = q if config.double else target_q
            greedy = greedy_actions(judge[:count], None if masks is None else masks[:count])
            return values, cut_traces(replayed.actions, greedy, config.trace_lambda), None
        assert self.reference is not None
        reference_log_probs = mask_illegal(self.reference.log_probabilities(replayed.states), masks)
        values = soft_optimal_values(target_q, reference_log_probs, self.scaled_kl_coef)
        log_probs = soft_optimal_log_probs(q, reference_log_probs, self.scaled_kl_coef)[:count]
        taken = log_probs.gather(1, replayed.actions[:, None])[:, 0]
        traces = retrace_traces(taken, replayed.log_probs, config.trace_lambda)
        return values, traces, values[:count] - target_taken
