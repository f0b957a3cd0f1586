"""Soft actor-critic over tokens: exact expectations over the vocabulary, twin critics, an entropy bonus or a KL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...agents import StepOutput
from ...agents.sampling import divergence, entropy, log_softmax
from ..configs import SACConfig, Schedule, linear
from ..parts import Loss, at_actions, mask_illegal, retrace_traces, soft_values
from .base import OffPolicy
from .replayed import Part, Prepared

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import SACOverrides

LARGEST_LOG_ALPHA = 30.0
"""Where a tuned log α stops, on both sides: a target out of reach would drive it on until its exponential overflows."""


class SAC(OffPolicy[SACConfig]):
    """Discrete soft actor-critic (Haarnoja et al. 2018; Christodoulou 2019), a whole episode a pass.

    ``V(s) = Σ_a π(a|s) [min Q̄(s, a) − α log π(a|s) − β (log π(a|s) − log π_ref(a|s))]`` with both coefficients free:
    with ``alpha`` 0 and ``kl_coef`` β the fixed point is the KL-regularised optimum ``π_ref e^{Q/β} / Z``; with
    ``kl_coef`` 0 it is the maximum-entropy one. With ``head_free`` the critic is ``(α + β) ℓ − β ℓ_ref`` of the actor's
    logits ℓ, of which the actor is the soft optimum by itself.
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
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[SACOverrides],
        ) -> None: ...

    heads = ("policy", "twin_q")

    def setup(self) -> None:
        """Build the replay and the target network, and start α."""
        super().setup()
        alpha = self.config.alpha
        self.log_alpha = -math.inf if isinstance(alpha, Schedule) or not alpha else math.log(alpha)

    def required_heads(self) -> tuple[str, ...]:
        """The policy and the critics, or the policy that is its own critic."""
        return ("policy",) if self.config.head_free else self.heads

    def target_heads(self) -> tuple[str, ...]:
        """Return the critics: the actor has no slow copy, where it is not its own critic."""
        return ("policy",) if self.config.head_free else ("twin_q",)

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

    def one_of(self, q: Tensor, q2: Tensor) -> Tensor:
        """Make one critic of two, both (k, A)."""
        return torch.minimum(q, q2) if self.config.critics == "min" else (q + q2) / 2

    def judge(
        self,
        online: StepOutput,
        target: StepOutput,
        reference: Tensor | None,
        actions: Tensor,
        log_probs: Tensor,
        masks: Tensor | None,
    ) -> dict[str, Tensor]:
        """Value the states by the actor and the slow critics; see the base for shapes."""
        assert online.logits is not None
        policy = log_softmax(online.logits, masks)
        log_reference = None if reference is None else log_softmax(reference, masks)
        if self.config.head_free:
            assert target.logits is not None
            q = self.logit_critic(target.logits, reference)
        else:
            assert target.q is not None and target.q2 is not None
            q = self.one_of(target.q, target.q2)
        said = at_actions(q, actions)
        values = soft_values(q, policy, self.alpha, self.scaled_kl_coef, log_reference)
        seen = {
            "target_q": said,
            "entropy": entropy(policy),
            "values": values,
            "traces": retrace_traces(at_actions(policy, actions), log_probs, self.config.trace_lambda),
            "corrections": values - said,
        }
        if log_reference is not None:
            seen["kl"] = divergence(policy, log_reference)
        if self.config.head_free and reference is not None:
            seen["reference"] = at_actions(reference, actions)
        if self.config.q_clip is not None:
            assert target.q is not None and target.q2 is not None
            seen |= {"anchor": at_actions(target.q, actions), "anchor2": at_actions(target.q2, actions)}
        return seen

    def loss(self, part: Part, prepared: Prepared) -> Loss:
        """Loss of both critics against the soft target, plus the loss of the actor against the critics."""
        if self.config.head_free:
            return self.logit_loss(part, prepared)
        columns, count = prepared.of(part), prepared.num_tokens
        targets, weights = columns["targets"], prepared.replayed.weights[part.tokens]
        reference = prepared.reference_of(part)

        def of_run(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            assert output.logits is not None and output.q is not None and output.q2 is not None
            actions, masks = part.batch.actions[run], part.masks_in(run)
            logits = self.reference_logits(reference, run, output.logits)
            log_reference = None if logits is None else log_softmax(logits, masks)
            critic = self.one_of(output.q, output.q2).detach()
            actor = self.actor_losses(log_softmax(output.logits, masks), critic, log_reference, masks)
            return at_actions(output.q, actions), at_actions(output.q2, actions), actor

        q, q2, actor = self.online_of(part, prepared).of_tokens(of_run)
        critic_loss = torch.zeros((), device=targets.device)
        errors = torch.zeros_like(targets)
        for said, anchor in ((q, columns.get("anchor")), (q2, columns.get("anchor2"))):
            losses = self.huber(said, targets)
            if anchor is not None:
                assert self.config.q_clip is not None
                clipped = anchor + (said - anchor).clamp(-self.config.q_clip, self.config.q_clip)
                losses = torch.maximum(losses, self.huber(clipped, targets))
            critic_loss = critic_loss + (weights * losses).sum() / count
            errors = errors + (targets - said).detach().abs() / 2
        actor_loss = actor.sum() / count
        return Loss(
            critic_loss + actor_loss,
            terms={
                "q/loss": critic_loss.detach() / 2,
                "q/target_mean": targets.sum() / count,
                "q/error": errors.sum() / count,
                "q/trace": columns["traces"].sum() / count,
                "policy/loss": actor_loss.detach(),
            },
            tokens={"errors": errors},
            named={**prepared.named, "q": q, "q2": q2, "actor_loss": actor},
        )

    def logit_critic(self, logits: Tensor, reference: Tensor | None) -> Tensor:
        """Return ``(α + β) ℓ − β ℓ_ref``, in the shape of ``logits``: Q of a policy that is its soft optimum."""
        beta = 0.0 if reference is None else self.scaled_kl_coef
        q = (self.alpha + beta) * logits
        return q if reference is None else q - beta * reference

    def logit_loss(self, part: Part, prepared: Prepared) -> Loss:
        """Loss of the critic that is read off the actor's logits."""
        columns, count = prepared.of(part), prepared.num_tokens

        def of_run(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            assert output.logits is not None
            reference = columns["reference"][run] if "reference" in columns else None
            return (self.logit_critic(at_actions(output.logits, part.batch.actions[run]), reference),)

        (q,) = self.online_of(part, prepared).of_tokens(of_run)
        targets, weights = columns["targets"], prepared.replayed.weights[part.tokens]
        total = (weights * self.huber(q, targets)).sum() / count
        errors = (targets - q).detach().abs()
        terms = {
            "q/loss": total.detach(),
            "q/target_mean": targets.sum() / count,
            "q/error": errors.sum() / count,
            "q/trace": columns["traces"].sum() / count,
        }
        return Loss(total, terms=terms, tokens={"errors": errors}, named={**prepared.named, "q": q})

    def after_step(self, prepared: Prepared) -> dict[str, float]:
        """Move α towards its target entropy and β towards its target KL, as the step's draw showed them."""
        config, episodes = self.config, prepared.replayed.grid.num_episodes
        mean_entropy = float(prepared.columns["entropy"].mean())
        metrics = {"policy/entropy": mean_entropy, "policy/alpha": self.alpha}
        if "kl" in prepared.columns:
            kl = float(prepared.columns["kl"].sum()) / episodes
            self.kl_controller.update(kl, episodes)
            self.kl_budget.take(kl)
            metrics |= {"objective/kl": kl, "objective/kl_coef": self.kl_controller.coef}
        if config.entropy_target is not None:
            change = config.alpha_learning_rate * (mean_entropy - config.entropy_target)
            self.log_alpha = min(max(self.log_alpha - change, -LARGEST_LOG_ALPHA), LARGEST_LOG_ALPHA)
        return metrics

    def actor_losses(
        self, log_probs: Tensor, q: Tensor, reference_log_probs: Tensor | None, masks: Tensor | None = None
    ) -> Tensor:
        """Return what the actor descends in each of k states, (k,): minus its soft value, a sum over tokens.

        Args:
            log_probs: float (k, A), of the actor, with gradients.
            q: float (k, A), of the critics, without.
            reference_log_probs: float (k, A) or None.
            masks: bool (k, A) of what may be said, or None.
        """
        if self.config.actor == "reverse_kl":
            return -soft_values(q, log_probs, self.alpha, self.scaled_kl_coef, reference_log_probs)
        beta = 0.0 if reference_log_probs is None else self.scaled_kl_coef
        inner = mask_illegal(q if reference_log_probs is None else q + beta * reference_log_probs, masks)
        target = torch.softmax((inner - inner.amax(-1, keepdim=True)) / (self.alpha + beta), -1)
        return -(target * log_probs.masked_fill(target == 0, 0.0)).sum(-1)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the replay, the target network, the counters and α."""
        arrays, data = super().extra_state()
        return arrays, {**data, "log_alpha": None if math.isinf(self.log_alpha) else self.log_alpha}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        super().load_extra_state(tensors, data)
        self.log_alpha = -math.inf if data["log_alpha"] is None else float(data["log_alpha"])
