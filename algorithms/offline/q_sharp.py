"""Q♯: what a reference would earn, through an exponential, says how it is to be weighed; the optimum, and no search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from ...agents import AgentPolicy, Policy, StepOutput
from ...agents.sampling import log_softmax
from ..configs import QSharpConfig
from ..data import Batch, Episodes
from ..parts import Loss, at_actions, returns_to_go
from .valued import Judged, Valued, masks_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import QSharpOverrides


class Tilted:
    """The clone weighed by ``e^{Q/η}``, where ``Q = R_max + η log σ(z)`` and R_max moves all tokens alike."""

    def __call__(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return float (m, A)."""
        assert output.logits is not None and output.q is not None
        return output.logits + logsigmoid(output.q)


class QSharp(Valued[QSharpConfig]):
    """Q♯ (Zhou et al. 2025) on episodes of the reference: ``Q = η log E_ref[e^{R/η}]``, and ``π_ref e^{Q/η}`` is said.

    Loss: the cross-entropy of σ(z(s, a)) with e^((G − R_max)/η), G the return-to-go and R_max the largest of the
    dataset, and that of the policy head with what was said. It rests where σ(z) is the mean of the exponential, so that
    what is said is the optimum of the return less η·KL to the reference. Of returns 0 and 1 it is the likelihood of a
    Bernoulli return; of others it is the one moment of their distribution that Q at this η is made of.
    """

    name: ClassVar[str] = "q-sharp"
    weighs_policy: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("deterministic",)

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: QSharpConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[QSharpOverrides],
        ) -> None: ...

    heads = ("policy", "q")

    @property
    def policy(self) -> Policy:
        """The clone of the reference, weighed."""
        return AgentPolicy(self.agent, rule=Tilted(), heads=self.required_heads())

    def make_parts(self) -> None:
        """Leave the largest return until it is asked for: it needs the data, which acting does not."""
        super().make_parts()
        self._largest: float | None = None

    @property
    def largest_return(self) -> float:
        """R_max, the largest return-to-go of what is learnt from, in scaled rewards."""
        if self._largest is None:
            self._largest = float(self.returns_of(self.data.dataset.episodes.select(self.data.learnt)).max())
        return self._largest

    def returns_of(self, episodes: Episodes) -> np.ndarray:
        """The scaled return from each token on, float (N,), discounted from the start of its episode.

        The KL of a token counts the same wherever it stands. Were its return discounted from the token alone, each
        state would have the optimum of another objective than the one before it.
        """
        gamma, flat = self.config.gamma, episodes.flat
        returns = returns_to_go(flat, gamma, self.learning_rewards(episodes))
        return returns if gamma == 1 else returns * gamma**flat.step

    def prepare(self, batch: Episodes) -> Judged:
        """Raise e to what was earned from each token on, less the most that ever was."""
        powers = (self.returns_of(batch).astype(np.float64) - self.largest_return) / self.config.eta
        targets = torch.as_tensor(np.exp(np.minimum(powers, 0.0)).astype(batch.rewards.dtype), device=self.device)
        metrics = {"data/return": float(batch.returns.mean())}
        return Judged(Batch.from_episodes(batch, self.device), {"targets": targets}, metrics, {"targets": targets})

    def loss(self, part: Batch, prepared: Judged) -> Loss:
        """CE(σ(z(s, a)), e^((G − R_max)/η)) + c_clone·(−log π(a|s)), the mean over tokens."""
        targets, count = prepared.of(part)["targets"], len(prepared.batch)

        def said(output: StepOutput, run: slice) -> tuple[Tensor, Tensor]:
            assert output.q is not None and output.logits is not None
            actions = part.actions[run]
            return at_actions(output.q, actions), at_actions(log_softmax(output.logits, masks_of(part, run)), actions)

        z, log_probs = self.reading(part, prepared).of_tokens(said)
        q_loss = binary_cross_entropy_with_logits(z, targets, reduction="sum") / count
        cloning_loss = -log_probs.sum() / count
        errors = targets - torch.sigmoid(z)
        terms = {
            "q/loss": q_loss,
            "q/mean": (self.config.eta * logsigmoid(z) + self.largest_return).sum() / count,
            "q/error": errors.abs().sum() / count,
            "policy/loss": cloning_loss,
        }
        total = q_loss + self.config.cloning_coef * cloning_loss
        return Loss(total, terms=terms, tokens={"errors": errors.detach()}, named={**prepared.named, "q": z})
