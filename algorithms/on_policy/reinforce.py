"""REINFORCE: what was better than its baseline is said more often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from ...agents import Scores
from ...agents.sampling import wide
from ..configs import PolicyGradientConfig, ReinforceConfig
from ..data import Batch, Episodes, FlatTokens
from ..parts import (
    StepBaseline,
    collision_probabilities,
    gae,
    group_numbers,
    returns_to_go,
    squared_scores,
    step_baselines,
    tied,
    turn_length,
    turn_numbers,
)
from .actor_critic import critic_values
from .policy_gradient import PolicyGradient

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import ReinforceOverrides

ConfigT = TypeVar("ConfigT", bound=PolicyGradientConfig)


class MonteCarlo(PolicyGradient[ConfigT]):
    """Policy gradients whose advantages are returns less a baseline of returns; a subclass says which."""

    @property
    def baseline(self) -> StepBaseline:
        """What a return is measured from, see `step_baselines`."""
        return "none"

    @property
    def credit(self) -> Literal["to_go", "turn", "episode"]:
        """Whether a token is paid what came after it, from its turn on, or all of its episode."""
        return "to_go"

    @property
    def absent_count(self) -> bool:
        """Whether episodes count as 0 where they had ended, or not at all."""
        return False

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Returns less their baseline, over the collection or, where starts are shared, within groups."""
        flat, grouped = episodes.flat, self.config.group_size > 1
        returns = returns_to_go(flat, self.config.gamma, rewards)
        group = group_numbers(episodes.starts) if grouped else np.zeros(len(episodes), np.int64)
        sizes = self.score_sizes(episodes, scores) if self.baseline == "optimal" else None
        if grouped and self.baseline != "none":
            self.warn_of_ties(episodes)
        if self.credit == "episode":
            first, last = flat.episode_offsets[:-1], flat.episode_offsets[1:] - 1
            whole = returns[first]
            whole = whole - step_baselines(whole, group, self.baseline, None if sizes is None else sizes[last])
            if self.baseline != "none":  # a group's mean of equal returns may be off by a rounding
                whole[tied(returns[first], group)[group]] = 0.0
            advantages = whole[flat.episode]
        else:
            advantages = self._along(flat, returns, group, sizes)
        return advantages.astype(rewards.dtype), None, {}

    def _along(self, flat: FlatTokens, returns: np.ndarray, group: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
        """Returns from each token, or each turn, less the baseline of those at the same place in their episodes."""
        place, begins = flat.step, np.arange(len(flat))
        if self.credit == "turn":
            place = turn_numbers(flat, turn_length(self.task))
            begins = np.flatnonzero((np.diff(place, prepend=-1) != 0) | (flat.step == 0))
        of = group[flat.episode[begins]]
        cell = of * (int(place.max()) + 1) + place[begins]
        # W grows along a turn: its last token's is the score of all that was said until then.
        sizes = None if sizes is None else np.maximum.reduceat(sizes, begins)
        members = np.bincount(group)[of] if self.absent_count else None
        advantages = returns[begins] - step_baselines(returns[begins], cell, self.baseline, sizes, members)
        return np.repeat(advantages, np.diff(begins, append=len(flat)))

    def score_sizes(self, episodes: Episodes, scores: Scores) -> np.ndarray:
        """Return W of each token, float64 (N,), see `squared_scores`; it takes a further pass over the episodes."""
        whole = Batch.from_episodes(episodes, self.device)
        parts = whole.parts(self.config.micro_batch_tokens, self.unit)
        collisions = np.concatenate([collision_probabilities(self.agent, part) for part in parts])
        probabilities = wide(scores.log_probs.detach()).exp().double().cpu().numpy()
        return squared_scores(episodes.flat, probabilities, collisions)


class Reinforce(MonteCarlo[ReinforceConfig]):
    """REINFORCE (Williams 1992) on whole episodes of tokens, with a choice of baselines.

    Loss: −Σ w·A·log π(a|s), A the return-to-go less its baseline; one pass, one gradient and one step a collection.
    """

    name: ClassVar[str] = "reinforce"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: ReinforceConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[ReinforceOverrides],
        ) -> None: ...

    def required_heads(self) -> tuple[str, ...]:
        """A critic, too, where it is the baseline."""
        return ("policy", "value") if self.config.baseline == "value" else ("policy",)

    def agent_options(self) -> dict[str, Any]:
        """A critic with a trunk of its own, where the config asks for it."""
        return {"separate_critic": True} if self.config.separate_critic else {}

    @property
    def baseline(self) -> StepBaseline:
        """What a return is measured from: the config's, where that is not a critic's value."""
        return "none" if self.config.baseline == "value" else self.config.baseline

    @property
    def credit(self) -> Literal["to_go", "turn", "episode"]:
        """What a token is paid."""
        return self.config.credit

    @property
    def absent_count(self) -> bool:
        """Whether episodes count as 0 where they had ended."""
        return self.config.absent == "zero"

    @property
    def value_coef(self) -> float:
        """The weight of the value loss at the present `progress`."""
        return self.scheduled(self.config.value_coef)

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Returns less the baseline that the config names."""
        config = self.config
        if config.baseline != "value":
            return super().advantages(episodes, rewards, scores)
        values, final = critic_values(scores)
        return *gae(episodes.flat, rewards, values, final, config.gamma, 1.0), {}
