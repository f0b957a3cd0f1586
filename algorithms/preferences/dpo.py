"""DPO, and the losses of pairs that stand beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...agents import Agent
from ...envs import TokenGymError
from ..configs import DPOConfig, PairLossConfig
from ..data import Batch, PreferenceDataset
from ..making import reference_named
from ..parts import Loss, Reference
from .base import Preferences
from .objective import PairObjective
from .pairs import PreparedPairs

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents.specs import Dtype
    from ..configs import DPOOverrides


class DPO(Preferences[DPOConfig]):
    """Direct preference optimisation (Rafailov et al. 2023), and its kin by `loss`: cDPO, IPO, SimPO, KTO, ORPO.

    Loss: −Σ w·log σ(β(r_w − r_l)) over pairs of a better and a worse completion, r = log π(y|x) − log π_ref(y|x). The
    formulas of all are in `parts.PAIR_LOSSES`.
    """

    name: ClassVar[str] = "dpo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: DPOConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[DPOOverrides],
        ) -> None: ...

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What r is measured from: the given agent, or what ``config.kl_reference`` says; None for SimPO and ORPO."""
        return pair_reference(given, self.agent, self.config)

    def setup(self) -> None:
        """Build the objective."""
        super().setup()
        self.objective = PairObjective(self.config, self.agent, self.reference, self.config.micro_batch_tokens)

    @property
    def batch_size(self) -> int:
        """Pairs a step."""
        return self.config.batch_pairs

    def num_items(self, data: PreferenceDataset) -> int:
        """The number of pairs."""
        return len(data)

    def take(self, indices: np.ndarray) -> PreferenceDataset:
        """Return some of the pairs and their episodes."""
        return self.data.select(indices)

    def prepare(self, batch: PreferenceDataset) -> PreparedPairs:
        """Ask the reference about the completions of a batch.

        A pair weighs its weight over the mean weight of all data, so that what steps follow is the gradient of all.
        """
        mean = float(self.data.pairs.weight.mean(dtype=np.float64))
        return self.objective.prepare(batch.episodes, batch.pairs, batch.pairs.weight / (mean * len(batch)))

    def loss(self, part: Batch, prepared: PreparedPairs) -> Loss:
        """−Σ w·log σ(β(r_w − r_l)), or another of `parts.PAIR_LOSSES`, over the pairs within ``part``."""
        return self.objective.loss(part, prepared)


def pair_reference(given: Agent | None, agent: Agent, config: PairLossConfig) -> Reference | None:
    """Return what a loss of pairs compares with: the given agent, or what ``config.kl_reference`` says, or None.

    Raises:
        TokenGymError: an agent is given, and the loss compares with none.
    """
    if not config.has_reference:
        if given is not None:
            raise TokenGymError(f"reference is given, and the loss {config.loss!r} compares with none; leave it out.")
        return None
    return reference_named(given, agent, config.kl_reference)
