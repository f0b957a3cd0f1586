"""ILQL: implicit Q-learning over tokens, decoded beside a clone of the behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...agents import Policy, StepOutput, joint_q
from ...agents.sampling import log_softmax
from ..configs import ILQLConfig
from ..data import Batch
from ..off_policy import Replayed
from ..parts import Loss, at_actions, conservative_gaps, expectile_errors
from .valued import Bootstrapped, Judged, masks_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import ILQLOverrides


class ILQL(Bootstrapped[ILQLConfig]):
    """Implicit language Q-learning (Snell et al. 2023): no token is ever valued that the dataset does not hold.

    A state is worth an expectile of the Qs of what was said in it; a token what it was paid, and the next state is
    worth. What is said is ``π_β e^{β (Q − V)}``, with π_β the clone that is learnt beside.
    """

    name: ClassVar[str] = "ilql"
    weighs_policy: ClassVar[bool] = True

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: ILQLConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[ILQLOverrides],
        ) -> None: ...

    heads = ("policy", "value", "twin_q")

    def agent_options(self) -> dict[str, Any]:
        """A trunk of their own for the values, where the config says so."""
        return {"separate_critic": self.config.separate_critic}

    def target_heads(self) -> tuple[str, ...]:
        """The slow Qs, of which V is an expectile."""
        return ("twin_q",)

    @property
    def policy(self) -> Policy:
        """The clone, weighed by the advantage."""
        return self.weighted_policy(self.config.beta)

    def judge(self, online: StepOutput, target: StepOutput, actions: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
        """The present values of the states, and the slow Qs of what was said in them, the smaller of two."""
        assert online.values is not None
        return {"target_q": at_actions(joint_q(target), actions), "values": online.values}

    def targets(self, replayed: Replayed, judged: dict[str, Tensor], final_values: Tensor) -> Tensor:
        """Return r + γ·V(s')."""
        return replayed.rewards + self.config.gamma * replayed.grid.following(judged["values"], final_values)

    def loss(self, part: Batch, prepared: Judged) -> Loss:
        """Σ (Q − r − γV')² + |τ − 1(Q̂ < V)|·(Q̂ − V)² + α·Σ (log Σ e^Q − Q) − c_clone·log π, sums over the twins.

        Of all this the mean over tokens.
        """
        columns, count, config = prepared.of(part), len(prepared.batch), self.config
        targets, target_q = columns["targets"], columns["target_q"]

        def said(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            actions, masks = part.actions[run], masks_of(part, run)
            assert output.q is not None and output.q2 is not None
            assert output.values is not None and output.logits is not None
            gaps = conservative_gaps(output.q, actions, masks) + conservative_gaps(output.q2, actions, masks)
            log_probs = at_actions(log_softmax(output.logits, masks), actions)
            return at_actions(output.q, actions), at_actions(output.q2, actions), output.values, gaps, log_probs

        q, q2, values, gaps, log_probs = self.reading(part, prepared).of_tokens(said)
        errors = targets - q
        q_loss = (errors**2 + (targets - q2) ** 2).sum() / count
        value_loss = expectile_errors(values, target_q, config.expectile).sum() / count
        cql_loss = gaps.sum() / count
        cloning_loss = -log_probs.sum() / count
        total = q_loss + value_loss + config.cql_coef * cql_loss + config.cloning_coef * cloning_loss
        return Loss(
            total,
            terms={
                "q/loss": q_loss,
                "q/mean": q.sum() / count,
                "q/target_mean": targets.sum() / count,
                "q/error": errors.abs().sum() / count,
                "value/loss": value_loss,
                "value/mean": values.sum() / count,
                "value/advantage": (target_q - values).sum() / count,
                "cql/gap": cql_loss,
                "policy/loss": cloning_loss,
            },
            tokens={"errors": errors.detach()},
            named={**prepared.named, "q": q, "q2": q2, "value": values},
        )
