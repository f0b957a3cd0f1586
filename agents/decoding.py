"""Decoding rules: from what an agent's heads say to the logits that a token is drawn from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..envs import TokenGymError
from ..envs.checking import NotNegative, Positive, Share, checked
from .sampling import mask_logits, wide
from .session import StepOutput

Rule = Callable[[StepOutput, "Tensor | None"], Tensor]
"""From an agent's output on m rows and bool (m, A) masks, or None, to float logits (m, A), masked after it."""


def own_logits(output: StepOutput, temperature: float = 1.0) -> Tensor:
    """Return logits (m, A) of an agent's own distribution: the policy's, or Q / temperature (of the twins' minimum)."""
    if output.logits is not None:
        return output.logits
    return joint_q(output) / temperature


def joint_q(output: StepOutput) -> Tensor:
    """Return Q (m, A), of twins the minimum."""
    if output.q is None:
        raise TokenGymError("this agent has no Qs; give it the head 'q' or 'twin_q'")
    return output.q if output.q2 is None else torch.minimum(output.q, output.q2)


class OwnDistribution:
    """What the agent itself says: its policy, or where it has none Boltzmann over its Qs.

    Args:
        temperature: of the Qs; a policy's logits come out divided by it already.
    """

    @checked
    def __init__(self, temperature: Positive) -> None:
        self.temperature = temperature

    def __call__(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return float (m, A)."""
        return own_logits(output, self.temperature)


class AdvantageWeighted:
    """The policy reweighted by ``exp(β (Q − V))``, as ILQL decodes (Snell et al., ICLR 2023).

    An agent with Qs and no policy starts from the uniform one. V moves all logits of a state alike, so it changes no
    probability and an agent without a value head loses nothing.

    Args:
        beta: β, at least 0; 0 is the policy itself.
    """

    @checked
    def __init__(self, beta: NotNegative) -> None:
        self.beta = beta

    def __call__(self, output: StepOutput, masks: Tensor | None) -> Tensor:
        """Return float (m, A)."""
        advantages = joint_q(output)
        if output.values is not None:
            advantages = advantages - output.values[:, None]
        weighted = self.beta * advantages
        return weighted if output.logits is None else output.logits + weighted


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """The likeliest tokens that make up a share of the probability, spread anew over them (Holtzman et al. 2020).

    Args:
        probs: float (m, A).
        top_p: the share, above 0; 1 leaves everything as it is. A token is kept as long as those before it have less.
    """
    if top_p >= 1:
        return probs
    ranked, order = torch.sort(probs, dim=-1, descending=True, stable=True)
    ranked = ranked.masked_fill(ranked.cumsum(-1) - ranked >= top_p, 0.0)
    ranked[..., 0] = ranked[..., 0].clamp(min=torch.finfo(ranked.dtype).tiny)
    return torch.zeros_like(probs).scatter_(-1, order, ranked / ranked.sum(-1, keepdim=True))


class Exploring:
    """Another distribution mixed in: ``(1 − ε) · policy + ε · exploration`` over what may be said.

    What explores is uniform, Boltzmann over the values that `policy` gives beside its probabilities, or what a
    reference says.

    Args:
        policy: from output and masks to probabilities (m, A), 0 where forbidden, which are overwritten, and values
            (m, A) to explore by.
        epsilon: asked for ε at every act.
        temperature: of the Boltzmann exploration, above 0; None explores uniformly.
        top_p: policy, Boltzmann and reference say only what their likeliest tokens of this share are; what comes out
            are the probabilities that are left. Uniform tokens are never left out.
    """

    @checked
    def __init__(
        self,
        policy: Callable[[StepOutput, Tensor | None], tuple[Tensor, Tensor]],
        epsilon: Callable[[], float],
        temperature: Positive | None = None,
        top_p: Share = 1.0,
    ) -> None:
        self.policy = policy
        self.epsilon = epsilon
        self.temperature = temperature
        self.top_p = top_p

    def probabilities(self, output: StepOutput, masks: Tensor | None, reference: Tensor | None = None) -> Tensor:
        """Return float (m, A), 0 where forbidden; the logits (m, A) of a reference, where there are some, explore."""
        probs, values = self.policy(output, masks)
        explored = self.explored(values, masks, reference)
        return nucleus(probs, self.top_p).lerp_(explored.to(probs.dtype).expand_as(probs), self.epsilon())

    def explored(self, values: Tensor, masks: Tensor | None, reference: Tensor | None = None) -> Tensor:
        """Return float (m, A), what explores; (1, A) where one row serves all."""
        if reference is not None:
            return nucleus(torch.softmax(mask_logits(wide(reference), masks), -1), self.top_p)
        if self.temperature is None:
            # One row serves all, where the same may be said in all.
            values = torch.zeros_like(values if masks is not None else values[:1])
        if masks is not None:
            values = values.masked_fill(~masks, -torch.inf)
        # Against the best legal token, so that a temperature near 0 gives minus infinity, never infinity.
        logits = (values - values.amax(-1, keepdim=True)).div_(1.0 if self.temperature is None else self.temperature)
        probs = torch.softmax(logits, -1)
        return probs if self.temperature is None else nucleus(probs, self.top_p)

    def __call__(self, output: StepOutput, masks: Tensor | None, reference: Tensor | None = None) -> Tensor:
        """Return the mixture's log-probabilities, float (m, A)."""
        log_probs = self.probabilities(output, masks, reference).log_()
        # The sampler wants logits; those of impossible tokens must be finite, as its masked ones are.
        return log_probs.clamp_(min=torch.finfo(log_probs.dtype).min)
