"""A2C: advantage actor-critic, one step a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import A2CConfig
from .actor_critic import OneStep

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import A2COverrides


class A2C(OneStep[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016) on whole episodes.

    Loss: −Σ w·A·log π(a|s) + c_v·Σ w·½(V − R)² − c_H·Σ w·H(π), plus the KL term where the config asks for it, with
    one pass, one gradient and one step a collection. It is PPO with one epoch and one minibatch.
    """

    name: ClassVar[str] = "a2c"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: A2CConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[A2COverrides],
        ) -> None: ...
