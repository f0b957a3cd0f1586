"""CQL: deep Q-learning on a dataset, with what was not said held down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from ...agents import StepOutput
from ..configs import CQLConfig
from ..data import Batch
from ..off_policy import Replayed
from ..parts import (
    Loss,
    at_actions,
    conservative_gaps,
    cut_traces,
    dueling_q,
    greedy_actions,
    n_step_targets,
    trace_targets,
)
from .valued import Bootstrapped, Judged, masks_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import CQLOverrides


class CQL(Bootstrapped[CQLConfig]):
    """Conservative Q-learning (Kumar et al. 2020) over tokens: DQN's targets, and the soft maximum of Q pushed down."""

    name: ClassVar[str] = "cql"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: CQLConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[CQLOverrides],
        ) -> None: ...

    heads = ("q",)

    def required_heads(self) -> tuple[str, ...]:
        """Q, and a value where it is dueling."""
        return ("q", "value") if self.config.dueling else self.heads

    def q_values(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return float (k, A), Q of every token, from what an agent says in k states."""
        assert output.q is not None
        if not self.config.dueling:
            return output.q
        assert output.values is not None
        return dueling_q(output.values, output.q, masks)

    def judge(self, online: StepOutput, target: StepOutput, actions: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
        """Value the states by the best token, as `DQN.judge` does."""
        target_q = self.q_values(target, masks)
        # With double Q-learning the online network picks the token that the target network judges.
        greedy = greedy_actions(self.q_values(online, masks) if self.config.double else target_q, masks)
        traces = cut_traces(actions, greedy, self.config.trace_lambda).to(target_q.dtype)
        return {
            "target_q": at_actions(target_q, actions),
            "values": at_actions(target_q, greedy),
            "traces": traces,
        }

    def targets(self, replayed: Replayed, judged: dict[str, Tensor], final_values: Tensor) -> Tensor:
        """What DQN regresses on, of the same episodes."""
        config, rewards, grid, values = self.config, replayed.rewards, replayed.grid, judged["values"]
        if config.returns == "n_step":
            return n_step_targets(rewards, values, final_values, grid, config.n_step, config.gamma)
        traces, target_q = judged["traces"], judged["target_q"]
        return trace_targets(rewards, values, target_q, traces, final_values, grid, config.gamma)

    def loss(self, part: Batch, prepared: Judged) -> Loss:
        """Huber(Q(s, a) − target) + α·(log Σ e^Q − Q(s, a)), the mean over tokens."""
        columns, count, config = prepared.of(part), len(prepared.batch), self.config
        targets = columns["targets"]

        def said(output: StepOutput, run: slice) -> tuple[Tensor, ...]:
            actions, masks = part.actions[run], masks_of(part, run)
            q = self.q_values(output, masks)
            return at_actions(q, actions), conservative_gaps(q, actions, masks)

        q, gaps = self.reading(part, prepared).of_tokens(said)
        errors = targets - q
        q_loss = huber_loss(q, targets, reduction="none", delta=config.huber_delta).sum() / count
        cql_loss = gaps.sum() / count
        return Loss(
            q_loss + config.cql_coef * cql_loss,
            terms={
                "q/loss": q_loss,
                "q/mean": q.sum() / count,
                "q/target_mean": targets.sum() / count,
                "q/error": errors.abs().sum() / count,
                "q/trace": columns["traces"].sum() / count,
                "cql/gap": cql_loss,
            },
            tokens={"errors": errors.detach()},
            named={**prepared.named, "q": q},
        )
