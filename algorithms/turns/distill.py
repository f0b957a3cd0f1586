"""Distill: on-policy distillation: what the policy says itself is graded by a teacher, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, ReferenceLogits, Scores
from ...agents.specs import is_folder
from ...envs import Task, TokenGymError, solve
from ...envs.checking import unknown_name
from ..configs import DistillConfig
from ..data import Batch, Episodes
from ..making import make_agent
from ..online import Online
from ..parts import AgentReference, Loss, Reference, returns_to_go, token_weights
from ..starting import heads_of_run, holds_run, weighs_policy

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents.specs import Dtype
    from ..configs import DistillOverrides


@dataclass(frozen=True, eq=False)
class Graded:
    """A batch with what its tokens are graded by; tensors over its N tokens.

    Attributes:
        batch: the tokens.
        advantages: what the log-probability of each token is weighed by; None where the loss is a KL alone.
        weights: see `token_weights`.
        metrics: what was seen on the way.
    """

    batch: Batch
    advantages: Tensor | None
    weights: Tensor
    metrics: dict[str, float]


class SolvedTeacher:
    """The best player of a finite task, made soft: proportional to e^(Q*/β), or with a KL as what is optimal with it.

    Args:
        task: a finite task.
        beta: the weight of the KL to the uniform policy whose optimum it is.
        masked: whether only legal tokens are said.
    """

    def __init__(self, task: Task, beta: float, masked: bool) -> None:
        self.policy = solve(task, beta, masked=masked).policy("kl_optimal")  # pyright: ignore[reportArgumentType]

    def logits(self, batch: Batch) -> ReferenceLogits:
        """Return a function that gives the logits (n, A) in a run of the states of ``batch``."""
        tokens, columns = batch.tokens[batch.rows].cpu().numpy(), batch.columns.cpu().numpy()
        with np.errstate(divide="ignore"):
            known = np.log(self.policy(tokens.astype(np.int32), columns))
        logits = torch.as_tensor(np.maximum(known, -1e4)).to(batch.log_probs)
        return lambda part: logits[part]


class Distill(Online[DistillConfig]):
    """On-policy distillation (Agarwal et al. 2024, GKD with the reverse KL): dense credit from a teacher.

    Loss: −Σ w·A·log π with A_t = log π_teacher − log π of the token, or Σ w·KL(π ‖ π_teacher) over the vocabulary, on
    what the policy says itself.
    """

    name: ClassVar[str] = "distill"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: DistillConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[DistillOverrides],
        ) -> None: ...

    def build_reference(self, given: Agent | None) -> Reference | None:
        """The teacher: the given agent, a saved one, or the solver's.

        Raises:
            TokenGymError: it has no policy, or has learnt none, or the task cannot be solved.
        """
        config = self.config
        if given is not None:
            return AgentReference(given.clone_frozen().to(self.agent.device))
        if config.teacher == "optimal":
            if not self.task.finite:
                raise TokenGymError(
                    f"teacher is 'optimal', and {self.task.name} is not a finite task, which could be solved: give "
                    "the folder of a saved agent, or reference=agent."
                )
            return SolvedTeacher(self.task, config.teacher_beta, config.action_masks)
        if not is_folder(config.teacher):
            near = unknown_name("teacher", config.teacher, ["optimal"])
            meant = f": {str(near).partition(': ')[2]}" if "did you mean" in str(near) else ""
            raise TokenGymError(
                f"teacher is {config.teacher!r}, which is no folder here{meant}. Expected 'optimal', or the folder of "
                "a run or a model, which knows something; an agent of your own is given as reference=agent."
            )
        if holds_run(config.teacher) and "policy" not in heads_of_run(config.teacher):
            raise TokenGymError(
                f"teacher is {config.teacher!r}, which learnt no policy but the heads "
                f"{', '.join(heads_of_run(config.teacher))}: take an agent with a policy, such as DQN's with kl_coef, "
                "or with tau and head_free"
            )
        if holds_run(config.teacher) and (name := weighs_policy(config.teacher)):
            raise TokenGymError(
                f"teacher is {config.teacher!r}, a run of {name}: it says its policy weighed by values, "
                "and that policy alone, which would grade, is the clone of its data. Record it (tokengym record … "
                "--player FOLDER), and name the folder of a bc run on that file"
            )
        usual = DistillConfig(temperature=config.temperature)
        taught = make_agent(config.teacher, self.task, usual, self.device, ("policy",))
        return AgentReference(taught.clone_frozen().to(self.agent.device))

    def update(self, batch: Episodes) -> dict[str, float]:
        """Grade what was said, and take one step."""
        prepared = self.prepare(batch)
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit)
        step = self.optimise(self.loss(part, prepared) for part in parts)
        done = {"optim/grad_norm": step.grad_norm, "optim/learning_rate": self.learning_rate}
        return {**prepared.metrics, **step.terms, **done}

    @torch.no_grad()
    def prepare(self, batch: Episodes) -> Graded:
        """Ask policy and teacher for what they think of each token, and credit it."""
        config, flat = self.config, batch.flat
        whole = Batch.from_episodes(batch, self.device)
        found = [self.score(part) for part in whole.parts(config.micro_batch_tokens, self.unit)]
        scores = found[0] if len(found) == 1 else Scores.joined(found)
        assert scores.kl is not None and scores.reference_log_probs is not None
        gaps = (scores.reference_log_probs - scores.log_probs).double().cpu().numpy()
        divergences = scores.kl.double().cpu().numpy()
        if config.estimator == "sampled":
            credit = returns_to_go(flat, 1.0, gaps) if config.credit == "to_go" else gaps
        else:  # the KL of the state itself is the loss; what later states have is owed to what leads there
            credit = divergences - returns_to_go(flat, 1.0, divergences)
        whole_kl = config.estimator == "exact" and config.credit == "token"
        lengths = torch.as_tensor(batch.episode_lengths, device=self.device)
        episode = torch.as_tensor(flat.episode, device=self.device)
        kind, most = config.loss_aggregation, self.task.max_episode_tokens
        return Graded(
            batch=whole,
            advantages=None if whole_kl else torch.as_tensor(credit).to(whole.log_probs),
            weights=token_weights(kind, lengths, episode, most, whole.log_probs.dtype),
            metrics={
                "objective/score": float(batch.returns.mean()),
                "distill/kl": float(divergences.sum()) / len(batch),
                "distill/advantage": float(gaps.mean()),
                "policy/entropy": float(scores.entropy.mean()),
            },
        )

    def score(self, part: Batch) -> Scores:
        """Score a part's tokens beside the teacher."""
        assert self.reference is not None
        return part.score(self.agent, reference=self.reference.logits(part))

    def loss(self, part: Batch, prepared: Graded) -> Loss:
        """−Σ w·A·log π and, where the estimator is "exact", Σ w·KL(π ‖ π_teacher), over the tokens of ``part``."""
        scores, weights = self.score(part), prepared.weights[part.index] * part.scale
        total = weights.new_zeros(())
        if prepared.advantages is not None:
            total = total - (weights * prepared.advantages[part.index] * scores.log_probs).sum()
        if self.config.estimator == "exact":
            assert scores.kl is not None
            total = total + (weights * scores.kl).sum()
        return Loss(total, terms={"policy/loss": total}, named={"log_probs": scores.log_probs})
