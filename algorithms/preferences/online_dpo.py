"""Online DPO: the policy's own samples are compared, and learnt from at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...agents import Agent
from ..configs import OnlineDPOConfig
from ..data import Batch, Episodes, PreferenceDataset, PreferencePairs, Unit
from ..labelling import Comparisons, SimulatedLabeller
from ..online import Online
from ..parts import Loss, Reference, derive_seed
from .dpo import pair_reference
from .objective import PairObjective
from .pairs import PreparedPairs, differ

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents.specs import Dtype
    from ..configs import OnlineDPOOverrides


class OnlineDPO(Online[OnlineDPOConfig]):
    """Online DPO (Guo et al. 2024, "Direct Language Model Alignment from Online AI Feedback").

    Each collection plays the prompts several times over; neighbours are compared by a simulated labeller, who knows the
    task's reward, and one step is taken on the loss of these pairs, that of `DPO` or another of its table. Pairs whose
    completions are equal are not asked about.
    """

    name: ClassVar[str] = "online-dpo"
    requires: ClassVar[tuple[str, ...]] = ("deterministic", "whole_completions")
    unit: ClassVar[Unit] = "group"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: OnlineDPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[OnlineDPOOverrides],
        ) -> None: ...

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What r is measured from: the given agent, or what ``config.kl_reference`` says; None for SimPO and ORPO."""
        return pair_reference(given, self.agent, self.config)

    def setup(self) -> None:
        """Build the objective and the labeller."""
        self.objective = PairObjective(self.config, self.agent, self.reference, self.config.micro_batch_tokens)
        config = self.config
        self.labeller = SimulatedLabeller(
            config.label_temperature,
            config.label_flips,
            config.length_preference,
            config.labels,
            seed=derive_seed(self.seed, "labels"),
        )

    def finished(self) -> str | None:
        """Why there is no more to do: all labels are bought."""
        return f"all {self.config.labels} labels are bought" if self.labeller.left == 0 else None

    def compare(self, episodes: Episodes) -> PreferencePairs:
        """Ask about every two neighbours that share a prompt and differ, as far as labels are left."""
        first = np.arange(0, len(episodes) - 1, 2)
        first = first[differ(episodes, first, first + 1)]
        first = first if self.labeller.left is None else first[: self.labeller.left]
        won = self.labeller.label(Comparisons(episodes, first, first + 1, episodes.returns)) > 0.5
        return PreferencePairs(np.where(won, first, first + 1), np.where(won, first + 1, first))

    def update(self, batch: Episodes) -> dict[str, float]:
        """Compare fresh episodes and take one step on the loss of the pairs."""
        meaning = "labels of equal episodes are thrown like coins, and teach nothing of the rewards"
        self.warn_where_tied(batch, np.arange(len(batch)) // 2, meaning)
        pairs = self.compare(batch)
        metrics = {"labels/spent": float(self.labeller.spent), "labels/pairs": float(len(pairs))}
        if not len(pairs):
            return metrics
        prepared = self.prepare(PreferenceDataset(batch, self.task.vocabulary, pairs))
        parts = prepared.batch.parts(self.config.micro_batch_tokens, self.unit)
        step = self.optimise(self.loss(part, prepared) for part in parts)
        return {
            **metrics,
            **prepared.metrics,
            **step.terms,
            "optim/grad_norm": step.grad_norm,
            "optim/learning_rate": self.learning_rate,
        }

    def prepare(self, batch: PreferenceDataset) -> PreparedPairs:
        """Ask the reference about the episodes of a batch; pairs weigh as they say, 1 in all."""
        weight = batch.pairs.weight.astype(np.float64)
        return self.objective.prepare(batch.episodes, batch.pairs, weight / weight.sum())

    def loss(self, part: Batch, prepared: PreparedPairs) -> Loss:
        """The loss of pairs within ``part``; see `DPO.loss`."""
        return self.objective.loss(part, prepared)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The labeller: what it has spent, and its generator."""
        return {}, {"labeller": self.labeller.state()}

    def load_extra_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        self.labeller.load_state(data["labeller"])
