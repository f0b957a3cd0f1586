"""sb3-contrib's QR-DQN, MaskablePPO and TRPO as references, where the extra is installed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...envs import TokenGymError
from ..configs import SB3MaskablePPOConfig, SB3QRDQNConfig, SB3TRPOConfig
from .algorithm import SB3Algorithm

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..configs import SB3MaskablePPOOverrides, SB3QRDQNOverrides, SB3TRPOOverrides


class SB3ContribAlgorithm(SB3Algorithm):
    """An algorithm of sb3-contrib, which is imported when one is built: its class is there without it."""

    theirs: ClassVar[str]
    """The name of its class there."""

    @classmethod
    def model_class(cls) -> Any:
        """Return sb3-contrib's class.

        Raises:
            TokenGymError: sb3-contrib is not installed.
        """
        try:
            import sb3_contrib
        except ImportError as error:
            raise TokenGymError(f"{cls.name!r} needs sb3-contrib: pip install 'tokengym[contrib]'") from error
        return getattr(sb3_contrib, cls.theirs)


class SB3QRDQN(SB3ContribAlgorithm):
    """QR-DQN of sb3-contrib."""

    name = "sb3-qrdqn"
    Config = SB3QRDQNConfig
    theirs = "QRDQN"
    learns_q = True
    report_every = 512

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3QRDQNConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3QRDQNOverrides],
        ) -> None: ...


class SB3MaskablePPO(SB3ContribAlgorithm):
    """MaskablePPO of sb3-contrib, which asks the environment for the legal tokens."""

    name = "sb3-maskable-ppo"
    Config = SB3MaskablePPOConfig
    theirs = "MaskablePPO"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3MaskablePPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3MaskablePPOOverrides],
        ) -> None: ...

    def _learn_arguments(self) -> dict[str, Any]:
        return {"use_masking": self.config.action_masks}  # type: ignore[attr-defined]


class SB3TRPO(SB3ContribAlgorithm):
    """TRPO of sb3-contrib; its value reads with a network of its own."""

    name = "sb3-trpo"
    Config = SB3TRPOConfig
    theirs = "TRPO"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp",
            config: SB3TRPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            **overrides: Unpack[SB3TRPOOverrides],
        ) -> None: ...

    def _policy_arguments(self) -> dict[str, Any]:
        # A shared one would be the policy's alone: the value's updates leave out what both use.
        return {**super()._policy_arguments(), "share_features_extractor": False}

    def _kernels(self) -> AbstractContextManager[Any]:
        # The natural gradient takes derivatives of derivatives, which fused attention does not have.
        return sdpa_kernel(SDPBackend.MATH)
