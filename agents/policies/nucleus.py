"""NucleusPolicy: an agent that says only what an older self thought likely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...envs import Engine
from ...envs.checking import Seed, Share, checked
from ..sampling import log_softmax, masks_on
from .of_agents import AgentPolicy, LaggedPolicy
from .policy import Act, Policy


def nucleus(logits: Tensor, top_p: float, masks: Tensor | None = None) -> Tensor:
    """Return bool (m, A): the smallest set of the likeliest tokens with at least ``top_p`` of the probability.

    Args:
        logits: (m, A).
        top_p: the share; 1 keeps whatever may be said.
        masks: bool (m, A) of what may be said, or None.
    """
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool) if masks is None else masks.clone()
    probabilities = log_softmax(logits.double(), masks).exp()
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    kept = ranked.cumsum(-1) - ranked < top_p
    found = torch.zeros_like(kept).scatter(-1, order, kept)
    return found if masks is None else found & masks


class NucleusPolicy(Policy):
    """Draws from an agent's own distribution over the likeliest tokens of a lagged copy, which its acts tell of.

    Args:
        policy: who acts.
        lagged: whose likeliest tokens may be said.
        top_p: how much of the lagged copy's probability they have, at least.
    """

    @checked
    def __init__(self, policy: AgentPolicy, lagged: LaggedPolicy, top_p: Share) -> None:
        self.policy = policy
        self.lagged = lagged
        self.top_p = top_p

    @property
    def sampling(self) -> str:
        """What it draws tokens from, in words."""
        return f"{self.policy.sampling} within top-p {self.top_p:g} of an older self"

    @property
    def on_policy(self) -> bool:
        """Whether it draws from the agent's own policy over the tokens that its acts say may be said."""
        return self.policy.on_policy

    @contextmanager
    def playing(self, engine: Engine) -> Iterator[None]:
        """Let both play the rows."""
        with self.policy.playing(engine), self.lagged.playing(engine):
            yield

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Let the agent choose among what its older self thought likely; see `Policy.act`."""
        with torch.no_grad():
            output = self.lagged.read(tokens, lengths, rows)
            legal = None if masks is None else masks_on(self.lagged.agent.device, masks)
            allowed = nucleus(self.lagged.logits(output, legal), self.top_p, legal).cpu().numpy()
        return self.policy.act(rows, tokens, lengths, allowed, deterministic)._replace(masks=allowed)

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return what it would say next, float64 (m, A), for whole sequences and without a cache."""
        with np.errstate(divide="ignore"):
            logits = torch.from_numpy(np.log(self.lagged.probabilities(tokens, lengths, masks)))
        legal = None if masks is None else torch.from_numpy(np.asarray(masks, bool))
        return self.policy.probabilities(tokens, lengths, nucleus(logits, self.top_p, legal).numpy())

    @checked
    def seeded(self, seed: Seed, measured: bool = False) -> NucleusPolicy:
        """Return the same policy with draws of its own."""
        return NucleusPolicy(self.policy.seeded(seed, measured), self.lagged, self.top_p)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator's state and the lagged weights."""
        return {**self.lagged.state()[0], **self.policy.state()[0]}, {}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.lagged.load_state(tensors, data)
        self.policy.load_state(tensors, data)
