"""Deep Q-learning over tokens: double, dueling, n-step, prioritised; with a KL to a reference it is soft Q-learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...agents import StepOutput
from ...agents.sampling import log_softmax
from ..configs import DQNConfig
from ..parts import (
    Loss,
    at_actions,
    cut_traces,
    dueling_q,
    greedy_actions,
    mask_illegal,
    retrace_traces,
    soft_optimal_log_probs,
    soft_optimal_values,
)
from .base import OffPolicy
from .replayed import Part, Prepared

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
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
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[DQNOverrides],
        ) -> None: ...

    heads = ("q",)

    def required_heads(self) -> tuple[str, ...]:
        """The policy's own logits where it is soft, Q and a value where it is dueling, else Q."""
        if self.soft:
            return ("policy",)
        return ("q", "value") if self.config.dueling else self.heads

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
        greedy = greedy_actions(output.q, masks)
        return torch.zeros_like(output.q).scatter_(1, greedy[:, None], 1.0), output.q

    def q_values(self, output: StepOutput, reference: Tensor | None, masks: Tensor | None) -> Tensor:
        """Return float (k, A), Q of every token, from what an agent says in k states; ``β (ℓ − ℓ_ref)`` where soft."""
        if self.soft:
            assert output.logits is not None and reference is not None
            return self.scaled_kl_coef * (output.logits - reference)
        assert output.q is not None
        if not self.config.dueling:
            return output.q
        assert output.values is not None
        return dueling_q(output.values, output.q, masks)

    def judge(
        self,
        online: StepOutput,
        target: StepOutput,
        reference: Tensor | None,
        actions: Tensor,
        log_probs: Tensor,
        masks: Tensor | None,
    ) -> dict[str, Tensor]:
        """Value the states by the best token, or by the soft optimum; see the base for shapes."""
        q, target_q = self.q_values(online, reference, masks), self.q_values(target, reference, masks)
        said = at_actions(target_q, actions)
        if not self.soft:
            # With double Q-learning the online network picks the token that the target network judges.
            greedy = greedy_actions(q if self.config.double else target_q, masks)
            traces = cut_traces(actions, greedy, self.config.trace_lambda).to(log_probs.dtype)
            return {"target_q": said, "values": at_actions(target_q, greedy), "traces": traces}
        assert reference is not None
        beta, log_reference = self.scaled_kl_coef, mask_illegal(log_softmax(reference, masks), masks)
        values = soft_optimal_values(target_q, log_reference, beta)
        policy = at_actions(soft_optimal_log_probs(q, log_reference, beta), actions)
        return {
            "reference": at_actions(reference, actions),
            "target_q": said,
            "values": values,
            "traces": retrace_traces(policy, log_probs, self.config.trace_lambda),
            "corrections": values - said,
        }

    def loss(self, part: Part, prepared: Prepared) -> Loss:
        """Huber loss of ``Q(s_t, a_t)`` against its target."""
        columns, count = prepared.of(part), prepared.num_tokens
        targets, weights = columns["targets"], prepared.replayed.weights[part.tokens]

        def said(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            actions = part.batch.actions[run]
            if not self.soft:
                return (at_actions(self.q_values(output, None, part.masks_in(run)), actions),)
            assert output.logits is not None
            return (self.scaled_kl_coef * (at_actions(output.logits, actions) - columns["reference"][run]),)

        (q,) = self.online_of(part, prepared).of_tokens(said)
        errors = targets - q
        losses = self.huber(q, targets)
        total = (weights * losses).sum() / count
        return Loss(
            total,
            terms={
                "q/loss": total.detach(),
                "q/mean": q.detach().sum() / count,
                "q/target_mean": targets.sum() / count,
                "q/error": errors.detach().abs().sum() / count,
                "q/trace": columns["traces"].sum() / count,
            },
            tokens={"errors": errors.detach()},
            named={**prepared.named, "q": q},
        )
