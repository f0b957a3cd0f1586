"""NLPO: PPO that says only what an older self thought likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...agents import AgentPolicy, LaggedPolicy, NucleusPolicy, Policy, Sampler
from ..configs import NLPOConfig
from ..data import Episodes
from ..on_policy import Proximal

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import NLPOOverrides


class NLPO(Proximal[NLPOConfig]):
    """Natural language policy optimisation (Ramamurthy et al. 2023): PPO over the top-p tokens of a lagged policy.

    Loss: PPO's, whose policy, old policy and reference are all renormalised over the same tokens in each state: the
    likeliest of a copy of the policy that moves every ``refresh_every`` updates.
    """

    name: ClassVar[str] = "nlpo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: NLPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[NLPOOverrides],
        ) -> None: ...

    def make_behaviour(self, sampler: Sampler) -> Policy:
        """The policy, kept to what its lagged copy thinks likely."""
        self.lagged = LaggedPolicy(self.agent, sampler)
        return NucleusPolicy(AgentPolicy(self.agent, sampler), self.lagged, self.config.top_p)

    @property
    def policy(self) -> Policy:
        """Who acts with what was learnt: the policy within the same bounds."""
        return NucleusPolicy(AgentPolicy(self.agent), self.lagged, self.config.top_p)

    def update(self, batch: Episodes) -> dict[str, float]:
        """Learn from fresh episodes, and let the lagged copy catch up when it is time to."""
        assert batch.action_masks is not None
        share = float(batch.action_masks.unpack().float().mean())
        metrics = super().update(batch)
        if (self.num_updates + 1) % self.config.refresh_every == 0:
            self.lagged.catch_up(self.agent)
        return {**metrics, "policy/allowed_fraction": share}
