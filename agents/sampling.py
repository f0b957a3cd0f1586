"""From logits to tokens: masks, log-probabilities, entropies and sampling, all in one place.

Logits that reach this module are already divided by the agent's temperature (see `Agent.evaluate`), so whatever is
computed here belongs to the distribution that was sampled from.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..envs import TokenGymError
from ..envs.checking import Seed, checked
from .devices import is_half
from .masks import PackedMasks

LEAST = -10_000.0
"""Stands for log-probabilities below it where they are weighed by their probability, 0: any type holds its multiples,
where a multiple of the type's least number is infinite, and infinity times 0 no number."""


def mask_logits(logits: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
    """Forbid actions.

    Forbidden logits become the dtype's most negative finite number, not -inf: probabilities are still exactly zero,
    and `p * log p` and its gradient stay finite.

    Args:
        logits: float (..., A).
        masks: bool (..., A), True where the action is allowed, or None.

    Returns:
        float (..., A).
    """
    if masks is None:
        return logits
    return logits.masked_fill(~masks, torch.finfo(logits.dtype).min)


def wide(logits: torch.Tensor) -> torch.Tensor:
    """In float32 at least: sums of 50,000 probabilities have no meaning in half precision."""
    return logits.float() if is_half(logits.dtype) else logits


def log_softmax(logits: torch.Tensor, masks: torch.Tensor | None = None) -> torch.Tensor:
    """Log-probabilities of all actions, float (..., A); forbidden ones are hugely negative but finite."""
    log_probs = torch.log_softmax(mask_logits(logits, masks), dim=-1)
    # Logits of minus infinity, or beside ones as large as the type's range, would come out as minus infinity.
    return log_probs.clamp(min=torch.finfo(log_probs.dtype).min)


def action_log_probs(logits: torch.Tensor, actions: torch.Tensor, masks: torch.Tensor | None = None) -> torch.Tensor:
    """Log-probability of each chosen action.

    Args:
        logits: float (..., A).
        actions: int (...,).
        masks: bool (..., A) or None.

    Returns:
        float (...,).
    """
    logits = mask_logits(logits, masks)
    chosen = logits.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
    return (chosen - torch.logsumexp(logits, dim=-1)).clamp(min=torch.finfo(logits.dtype).min)


def entropy(log_probs: torch.Tensor) -> torch.Tensor:
    """Entropy in nats, (...,), of distributions given as log-probabilities (..., A), finite or minus infinity."""
    return -(log_probs.exp() * log_probs.clamp(min=LEAST)).sum(dim=-1)


def divergence(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Exact KL(π ‖ π_ref) of distributions given as log-probabilities (N, A), in each state; (N,).

    A token that π never says adds nothing, whatever the reference thinks of it.
    """
    probs = log_probs.exp()
    return (probs * (log_probs - reference).masked_fill(probs == 0, 0.0)).sum(-1)


def check_masks(masks: np.ndarray) -> None:
    """Raise a `TokenGymError` where a row of masks (n, A) allows nothing at all."""
    some = masks.any(axis=-1)
    if not some.all():
        raise TokenGymError(
            f"the action mask of row {int(np.flatnonzero(~some)[0])} allows no action; a row in play needs at least one"
        )


def masks_on(device: torch.device, masks: np.ndarray) -> torch.Tensor:
    """Checked masks (n, A) as a tensor on a device, to which they travel at one bit an action."""
    check_masks(masks)
    if device.type == "cpu":
        return torch.as_tensor(masks)
    return PackedMasks.pack(masks).to(device).unpack()


def must_wait_for(tensor: torch.Tensor) -> bool:
    """Whether asking a tensor for its numbers waits for a device, other than the processor that asks."""
    return tensor.device.type != "cpu"


_DIVERGED = "the policy's logits are not finite: training has diverged; lower the learning rate"


class Sampler:
    """Draws tokens from logits with a generator of its own: same seed, same tokens.

    The generator lives on the CPU wherever the logits are, so a seed gives the same draws on every device.

    Args:
        seed: starts the generator.
    """

    @checked
    def __init__(self, seed: Seed):
        self.generator = torch.Generator()
        self.generator.manual_seed(seed)

    @torch.no_grad()
    def sample(
        self, logits: torch.Tensor, masks: torch.Tensor | None = None, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose one action a row.

        The inverse of the cumulative distribution at one uniform draw a row: exact, and it draws n random numbers
        where Gumbel-max draws n·A, which at 64 x 1024 logits on a CPU made it twice as fast, and five times as fast
        as `torch.multinomial`. A forbidden action adds nothing to the cumulative sum and is never hit.

        Args:
            logits: float (n, A).
            masks: bool (n, A), True where allowed, or None.
            deterministic: take the most probable action instead.

        Returns:
            actions int64 (n,) and their log-probabilities float (n,) under softmax of the masked logits (also when
            deterministic).

        Raises:
            TokenGymError: where a row allows no action at all, or logits are not finite.
        """
        if masks is not None and not bool(masks.any(dim=-1).all()):
            check_masks(masks.cpu().numpy())
        actions, chosen = self._choose(logits, masks, deterministic)
        # Log-probabilities are at most 0, so their sum is NaN only where one of them is.
        if math.isnan(chosen.sum()):
            raise TokenGymError(_DIVERGED)
        return actions, chosen

    @torch.no_grad()
    def draw(
        self, logits: torch.Tensor, masks: torch.Tensor | None = None, deterministic: bool = False
    ) -> tuple[np.ndarray, torch.Tensor]:
        """Choose as `sample` does, waiting for the device once: the actions come as an array, and tell what was wrong.

        Args:
            logits: float (n, A).
            masks: bool (n, A), of which `check_masks` was asked where they were made, or None.
            deterministic: take the most probable action instead.

        Returns:
            actions int64 (n,), and their log-probabilities float (n,), still on the device.
        """
        actions, chosen = self._choose(logits, masks, deterministic)
        if not must_wait_for(chosen):
            if math.isnan(chosen.sum()):
                raise TokenGymError(_DIVERGED)
            return actions.numpy(), chosen
        said = actions.masked_fill(chosen.isnan(), -1).cpu().numpy()
        if said.min(initial=0) < 0:
            raise TokenGymError(_DIVERGED)
        return said, chosen

    def _choose(
        self, logits: torch.Tensor, masks: torch.Tensor | None, deterministic: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = log_softmax(wide(logits), masks)
        if deterministic:
            actions = log_probs.argmax(dim=-1, keepdim=True)
        else:
            # Double precision: the last cumulative probability then exceeds every draw, and small ones are not lost.
            cumulative = log_probs.exp().cumsum(dim=-1, dtype=torch.float64)
            draws = torch.rand((len(logits), 1), generator=self.generator, dtype=torch.float64)
            if logits.device.type != "cpu":
                draws = draws.to(logits.device, non_blocking=logits.is_cuda)
            actions = torch.searchsorted(cumulative, draws.mul_(cumulative[:, -1:]), right=True)
            actions.clamp_(max=logits.shape[-1] - 1)
        return actions.squeeze(-1), log_probs.gather(-1, actions).squeeze(-1)

    def __getstate__(self) -> torch.Tensor:
        return self.get_state()

    def __setstate__(self, state: torch.Tensor) -> None:
        self.generator = torch.Generator()
        self.set_state(state)

    def get_state(self) -> torch.Tensor:
        """The generator's state, a uint8 tensor: all that is needed to go on with the same draws."""
        return self.generator.get_state()

    def set_state(self, state: torch.Tensor) -> None:
        """Take up a state from `get_state`."""
        self.generator.set_state(state)
