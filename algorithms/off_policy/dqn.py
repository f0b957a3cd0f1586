"""Deep Q-learning over tokens: double, dueling, n-step, prioritised; soft with an entropy or a KL, or Munchausen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...agents import AgentPolicy, OwnDistribution, Policy, StepOutput
from ...agents.sampling import log_softmax
from ..configs import DQNConfig
from ..parts import (
    Loss,
    at_actions,
    cut_traces,
    dueling_q,
    greedy_actions,
    logit_q,
    mask_illegal,
    munchausen_bonuses,
    retrace_traces,
    soft_optimal_log_probs,
    soft_optimal_values,
)
from .base import OffPolicy
from .replayed import Part, Prepared, Replayed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import DQNOverrides


class DQN(OffPolicy[DQNConfig]):
    """Q-learning with a network, one teacher-forced pass for all tokens of an episode (Mnih et al. 2015).

    Without a temperature the agent says the token of the largest Q. It is soft with an entropy (``tau`` τ), or with a
    KL to a reference (``kl_coef`` β): the policy is ``π = m e^{(Q − V)/λ}`` and ``V = λ log Σ m e^{Q/λ}``, where m is 1
    and λ is τ, or m is π_ref and λ is β. With a KL, or with ``head_free``, Q is read off the policy's own logits ``ℓ``,
    as ``λ (ℓ − ℓ_ref)``: ``softmax(ℓ)`` is then exactly that policy, and the agent speaks without the reference.

    ``munchausen`` α adds ``α λ log (π/m)`` of the token said to its reward. The fixed point is then the soft optimum of
    the temperature ``(1 − α) λ``; with a KL λ is ``β / (1 − α)``, so that β is what the KL weighs in the objective.
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
        """The policy's own logits where Q is read off them; Q, and a value where it is dueling, else."""
        if self.config.from_logits:
            return ("policy",)
        return ("q", "value") if self.config.dueling else self.heads

    @property
    def soft(self) -> bool:
        """Whether the policy is a soft one."""
        return self.config.soft

    @property
    def softness(self) -> float:
        """λ, in units of the scaled reward."""
        return self.scaled_kl_coef / (1 - self.config.munchausen) if self.config.has_kl else self.config.tau

    @property
    def policy(self) -> Policy:
        """Who acts with what was learnt; of soft Qs ``softmax(Q / τ)``."""
        if self.soft and not self.config.from_logits:
            return AgentPolicy(self.agent, rule=OwnDistribution(self.config.tau))
        return super().policy

    def policy_probabilities(self, output: StepOutput, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the greedy policy of Q, or the soft one; see the base for shapes."""
        if self.config.from_logits:
            assert output.logits is not None
            return torch.softmax(mask_illegal(output.logits, masks), -1), output.logits
        assert output.q is not None
        if self.soft:
            return torch.exp(
                soft_optimal_log_probs(output.q, self.measure(None, output.q, masks), self.softness)
            ), output.q
        greedy = greedy_actions(output.q, masks)
        return torch.zeros_like(output.q).scatter_(1, greedy[:, None], 1.0), output.q

    def q_values(self, output: StepOutput, reference: Tensor | None, masks: Tensor | None) -> Tensor:
        """Return float (k, A), Q of every token, from what an agent says in k states."""
        if self.config.from_logits:
            assert output.logits is not None
            return logit_q(output.logits, reference if self.config.has_kl else None, self.softness)
        assert output.q is not None
        if not self.config.dueling:
            return output.q
        assert output.values is not None
        return dueling_q(output.values, output.q, masks)

    def measure(self, reference: Tensor | None, like: Tensor, masks: Tensor | None) -> Tensor:
        """Return float (k, A), log m: of the reference, or 0 for an entropy; minus infinity at illegal tokens."""
        if not self.config.has_kl:
            return mask_illegal(torch.zeros_like(like), masks)
        assert reference is not None
        return mask_illegal(log_softmax(reference, masks), masks)

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
        measure = self.measure(reference, q, masks)
        values = soft_optimal_values(target_q, measure, self.softness)
        policy = at_actions(soft_optimal_log_probs(q, measure, self.softness), actions)
        seen = {
            "target_q": said,
            "values": values,
            "traces": retrace_traces(policy, log_probs, self.config.trace_lambda),
            "corrections": values - said,
        }
        if self.config.has_kl:
            assert reference is not None
            seen["reference"] = at_actions(reference, actions)
        if self.config.munchausen:
            seen["bonuses"] = munchausen_bonuses(said - values, self.config.munchausen, self.config.munchausen_clip)
        return seen

    def targets(self, replayed: Replayed, judged: dict[str, Tensor], final_values: Tensor) -> Tensor:
        """Return the targets of the returns, with what Munchausen pays besides; see the base."""
        if self.config.munchausen:
            replayed = replace(replayed, rewards=replayed.rewards + judged["bonuses"])
        return super().targets(replayed, judged, final_values)

    def loss(self, part: Part, prepared: Prepared) -> Loss:
        """Huber loss of ``Q(s_t, a_t)`` against its target."""
        columns, count = prepared.of(part), prepared.num_tokens
        targets, weights = columns["targets"], prepared.replayed.weights[part.tokens]

        def said(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            actions = part.batch.actions[run]
            if not self.config.from_logits:
                return (at_actions(self.q_values(output, None, part.masks_in(run)), actions),)
            assert output.logits is not None
            reference = columns["reference"][run] if self.config.has_kl else None
            return (logit_q(at_actions(output.logits, actions), reference, self.softness),)

        (q,) = self.online_of(part, prepared).of_tokens(said)
        errors = targets - q
        losses = self.huber(q, targets)
        total = (weights * losses).sum() / count
        terms = {
            "q/loss": total.detach(),
            "q/mean": q.detach().sum() / count,
            "q/target_mean": targets.sum() / count,
            "q/error": errors.detach().abs().sum() / count,
            "q/trace": columns["traces"].sum() / count,
        }
        if self.config.munchausen:
            terms["q/munchausen"] = columns["bonuses"].sum() / count
        return Loss(
            total,
            terms=terms,
            tokens={"errors": errors.detach()},
            named={**prepared.named, "q": q},
        )
