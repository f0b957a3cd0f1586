"""Configurations of methods that know more of a state than one episode tells: by branches, visits, other policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Interval, NotNegative, Positive, Repeats, Rows, Tokens
from .groups import GRPOConfig, RepeatedConfig
from .on_policy import Aggregation, PPOConfig
from .parts import OnlineConfig
from .schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class VinePPOConfig(RepeatedConfig):
    """Configuration of VinePPO."""

    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, without those of the branches, which count for the budget beside them."""
    branches: Rows = 9
    """K: how often a state is played on from, whose mean return is its value. More vary less and cost more; 3 to 9."""
    branch_at: Literal["token", "turn"] = "token"
    """Which states are played on from: those before tokens, or those before turns."""
    branch_every: Repeats = 1
    """Every so many tokens or turns of an episode, from its first on. Fewer states cost less, and all tokens between
    two of them share what came until the next; with 1 each token has its own."""
    clip: Positive | Schedule = 0.2
    """ε: a token's probability ratio earns nothing beyond 1 ± ε. Smaller is more careful; 0.1 to 0.3."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "whiten_rewards", "values are returns of branches, in the units that rewards have"
        if self.one_step:
            yield "clip", "epochs and minibatches are 1, so that the only step starts from the old policy"


@dataclass(frozen=True, kw_only=True)
class NLPOConfig(PPOConfig):
    """Configuration of NLPO."""

    top_p: Annotated[float, Range(above=0, most=1)] = 0.9
    """Share of the lagged policy's probability that the tokens have which may be said, the likeliest first. Smaller
    keeps closer to what was likely and finds less; 1 is PPO. .5 to .95."""
    refresh_every: Interval = 30
    """Updates after which the lagged policy becomes the present one; 1 to 100."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "sync_every", "who collects is kept to what a lagged policy thinks likely, and does not lag itself"
        yield "replay_capacity", "what might be said is known where it was said, and not of what is remembered"
        if self.top_p == 1:
            yield "refresh_every", "top_p is 1, so that all tokens may be said"


@dataclass(frozen=True, kw_only=True)
class GiGPOConfig(GRPOConfig):
    """Configuration of GiGPO: that of GRPO, and how much visits of one state count."""

    step_weight: NotNegative = 1.0
    """ω: what the advantage among visits of one state weighs beside that of the episode. 0 is GRPO; .5 to 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = self.rule
        self.require(
            rule.baseline in ("mean", "leave_one_out") and rule.scale != "mean" and rule.ratio != "geometric",
            "preset",
            "one with the baseline 'mean' or 'leave_one_out', the scale 'none' or 'std' and the ratio 'token' or "
            "'sequence': visits of a state have no lengths, no best and no sign in common",
        )


@dataclass(frozen=True, kw_only=True)
class DistillConfig(OnlineConfig):
    """Configuration of on-policy distillation."""

    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
    teacher: str = "optimal"
    """Who grades: the folder of a saved agent, or "optimal", the exact soft optimum of a finite task at `teacher_beta`.
    An agent given as ``reference`` takes its place."""
    teacher_beta: Positive = 0.1
    """Weight of the KL to the uniform policy whose optimum the teacher "optimal" is. Smaller is surer and better, and
    harsher on what it would not say; .01 to 1."""
    estimator: Literal["sampled", "exact"] = "sampled"
    """Grade the token that was said by log π_teacher − log π, or the whole distribution by KL(π ‖ π_teacher), which
    varies less and reads all of the teacher's logits."""
    credit: Literal["token", "to_go"] = "token"
    """Credit a token with its own grade, as distillation has it; or with those of all that follow, too, which is the
    gradient of the KL of whole episodes and varies more."""
    loss_aggregation: Aggregation = "sum"
    """How tokens are weighed: "token", all alike; "sequence", all episodes alike (favours short ones); "constant", by
    the longest an episode can be; or "sum", which divides by the number of episodes alone."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "token_rewards", "the teacher grades, and rewards are only looked at"
        if self.teacher != "optimal":
            yield "teacher_beta", "the teacher is a saved agent"
