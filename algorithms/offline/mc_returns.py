"""Monte-Carlo returns: values are what the dataset's episodes earned, and the clone is weighed by them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ...agents import AgentPolicy, Policy, StepOutput
from ...agents.sampling import log_softmax
from ..configs import MCReturnsConfig
from ..data import Batch, Episodes
from ..parts import Loss, at_actions, conservative_gaps, returns_to_go
from .valued import Judged, Valued, masks_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import MCReturnsOverrides


class MCReturns(Valued[MCReturnsConfig]):
    """Regresses Q on the returns-to-go of the dataset, and says ``π_β e^{βQ}`` (MC of LMRL-Gym, Abdulhai et al. 2023).

    What it learns is the behaviour's own Q; what it says is one step of improvement on the behaviour.
    """

    name: ClassVar[str] = "mc-returns"
    weighs_policy: ClassVar[bool] = True

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: MCReturnsConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[MCReturnsOverrides],
        ) -> None: ...

    heads = ("policy", "q")

    def required_heads(self) -> tuple[str, ...]:
        """Q, and the clone where it is said."""
        return ("q",) if self.config.decoding == "greedy" else self.heads

    @property
    def policy(self) -> Policy:
        """The clone weighed by Q, or Q alone."""
        return AgentPolicy(self.agent) if self.config.decoding == "greedy" else self.weighted_policy(self.config.beta)

    def prepare(self, batch: Episodes) -> Judged:
        """Sum up what was earned from each token on; nothing is added behind the end of a truncated episode."""
        returns = returns_to_go(batch.flat, self.config.gamma, self.learning_rewards(batch))
        targets = torch.as_tensor(returns.astype(batch.rewards.dtype), device=self.device)
        metrics = {"data/return": float(batch.returns.mean())}
        tokens = Batch.from_episodes(batch, self.device)
        tokens = replace(tokens, final_rows=tokens.final_rows[:0])  # no value behind an end is asked for
        return Judged(tokens, {"targets": targets}, metrics, {"targets": targets})

    def loss(self, part: Batch, prepared: Judged) -> Loss:
        """(Q(s, a) − G)² + c_clone·(−log π(a|s)) + α·(log Σ e^Q − Q(s, a)), the mean over tokens."""
        targets, count, config = prepared.of(part)["targets"], len(prepared.batch), self.config
        clones = "policy" in self.required_heads()

        def said(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            actions, masks = part.actions[run], masks_of(part, run)
            assert output.q is not None
            columns = at_actions(output.q, actions), conservative_gaps(output.q, actions, masks)
            if not clones:
                return columns
            assert output.logits is not None
            return *columns, at_actions(log_softmax(output.logits, masks), actions)

        q, gaps, *log_probs = self.reading(part, prepared).of_tokens(said)
        errors = targets - q
        q_loss, cql_loss = (errors**2).sum() / count, gaps.sum() / count
        terms = {
            "q/loss": q_loss,
            "q/mean": q.sum() / count,
            "q/target_mean": targets.sum() / count,
            "q/error": errors.abs().sum() / count,
            "cql/gap": cql_loss,
        }
        total = q_loss + config.cql_coef * cql_loss
        if log_probs:
            cloning_loss = -log_probs[0].sum() / count
            total = total + config.cloning_coef * cloning_loss
            terms["policy/loss"] = cloning_loss
        return Loss(total, terms=terms, tokens={"errors": errors.detach()}, named={**prepared.named, "q": q})
