"""Configurations of the algorithms that learn values from a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Interval, NotNegative, Positive, Repeats, Share
from .offline import EpisodesConfig
from .parts import KLConfig
from .schedule import Schedule, ends


@dataclass(frozen=True, kw_only=True)
class RewardedEpisodesConfig(EpisodesConfig):
    """What algorithms have that learn from the rewards of recorded episodes."""

    player: str = "random"
    """Who is recorded where there is no `data`: "expert" (the task's own, or the optimal one where it has none),
    "optimal" (solved exactly), "random", or the folder of a run or a checkpoint."""
    demonstrations: Annotated[int, Range(least=1, most=10_000_000)] = 4096
    """Episodes that are recorded. More try more tokens in more states; 1,000 to 100,000."""
    gamma: Share = 1.0
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""
    reward_clip: Positive | None = None
    """Clip each token's reward to ± this, in the task's own units, before scaling; None does not."""


@dataclass(frozen=True, kw_only=True)
class ValuesConfig(RewardedEpisodesConfig):
    """What algorithms have that learn what tokens are worth from recorded episodes."""

    reward_scaling: bool = True
    """Divide rewards by the standard deviation of the dataset's returns-to-go, so that one learning rate, one `beta`
    and one `cql_coef` fit many tasks."""


@dataclass(frozen=True, kw_only=True)
class DecodedConfig(ValuesConfig):
    """What algorithms have that clone the behaviour and say what it says, weighed by what it is worth."""

    beta: NotNegative = 4.0
    """Weight β of the advantage in what is said, ``log π + β (Q − V)``, in units of the scaled reward. Larger trusts
    the values more and the behaviour less; 0 is the clone, 1 to 32."""
    cloning_coef: NotNegative = 1.0
    """Weight of the cloning loss, which is what the policy head learns. It moves the values only through what they
    share with it; 0.1 to 1."""


@dataclass(frozen=True, kw_only=True)
class MCReturnsConfig(DecodedConfig):
    """Configuration of Monte-Carlo returns."""

    decoding: Literal["weighted", "greedy"] = "weighted"
    """What is said: the clone weighed by the values, or the token of the largest value, without a clone."""
    cql_coef: NotNegative = 0.0
    """Weight of the conservative term, which holds down what was not said. 0 leaves that where it began."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.decoding == "greedy":
            yield "beta", "decoding is 'greedy'"
            yield "cloning_coef", "decoding is 'greedy'"


@dataclass(frozen=True, kw_only=True)
class QSharpConfig(ValuesConfig):
    """Configuration of Q♯."""

    eta: Annotated[float, Range(least=0.01, most=1_000_000)] = 0.25
    """η, the weight of the KL to the reference, in units of the scaled reward. Smaller follows the best that the data
    show and has fewer episodes to learn it from; 0.05 to 1."""
    cloning_coef: NotNegative = 1.0
    """Weight of the cloning loss, by which the policy head becomes the reference. It moves the values only through what
    they share with it; 0.1 to 1."""


@dataclass(frozen=True, kw_only=True)
class ILQLConfig(DecodedConfig):
    """Configuration of implicit language Q-learning."""

    gamma: Share = 0.99
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""
    expectile: Annotated[float, Range(above=0, most=0.999999)] = 0.7
    """Expectile τ of the values of the tokens that were said in a state, which is the state's value: .5 is their mean,
    the behaviour's own value; towards 1 it is the best of them, and noise of the rewards is taken for skill."""
    cql_coef: NotNegative = 0.01
    """Weight of the conservative term, the cross-entropy of softmax(Q) with what was said. Larger holds down what was
    not said, and bends Q towards how often things were; 1e-4 to 1e-1."""
    target_polyak: Annotated[float, Range(above=0, most=1)] = 0.005
    """How far the target network moves to the online one at each update; 1 copies it. 0.005 to 0.05."""
    separate_critic: bool = False
    """Give the values a trunk of their own, so that cloning does not move them."""


@dataclass(frozen=True, kw_only=True)
class CQLConfig(ValuesConfig):
    """Configuration of conservative Q-learning on DQN's targets."""

    cql_coef: NotNegative = 0.1
    """Weight α of the conservative term, log Σ exp Q less Q of what was said. 0 is DQN on the dataset; larger holds
    down what was not said, and in the end clones; 0.01 to 1."""
    double: bool = True
    """The online network picks the best token, the target network judges it; otherwise the target network does both."""
    dueling: bool = False
    """Build ``Q = V + A − mean A`` from a value head and an advantage head (Wang et al. 2016)."""
    returns: Literal["n_step", "trace"] = "trace"
    """Targets: uncorrected n-step returns, or returns cut where the dataset left the greedy policy ("trace")."""
    n_step: Repeats = 3
    """Rewards summed before bootstrapping with "n_step". More spread reward faster and trust the behaviour more."""
    trace_lambda: Share = 0.9
    """Decay of "trace": 0 is the one-step target, 1 the longest return that the data allow; 0.8 to 1."""
    huber_delta: Positive = 1.0
    """Errors of Q beyond this weigh linearly, not squared, in units of the scaled reward. Smaller resists outliers."""
    target_polyak: Annotated[float, Range(above=0, most=1)] = 0.02
    """How far the target network moves to the online one at each target update; 1 copies it. 0.005 to 0.05, or 1."""
    target_every: Interval = 1
    """Updates between target updates. With `target_polyak` 1 (a hard copy) 100 to 1,000."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.returns == "trace":
            yield "n_step", "returns is 'trace'"
        else:
            yield "trace_lambda", "returns is 'n_step'"


@dataclass(frozen=True, kw_only=True)
class OfflineQRPOConfig(KLConfig, RewardedEpisodesConfig):
    """Configuration of QRPO from a dataset."""

    kl_coef: NotNegative | Schedule = 0.1
    """Weight β of the KL to the reference policy, above 0, against a quantile of 0 to 1: what is learnt is
    π_ref·e^(q/β). Larger stays closer to the reference; 0.03 to 1."""
    partition: Literal["continuous", "sampled"] = "sampled"
    """Where log Z comes from: β(e^(1/β) − 1), which is Z where no two rewards tie, as in the paper, or the mean of
    e^(q/β) over the episodes of the start, for any rewards. A Z that is off moves what is learnt, unlike on fresh
    episodes."""
    player: str = "reference"
    """Who is recorded where there is no `data`: "reference" (who the KL is to, among whose returns the quantile is
    meant to be), "expert", "optimal", "random", or the folder of a run or a checkpoint."""
    demonstrations: Annotated[int, Range(least=1, most=10_000_000)] = 4096
    """Episodes that are recorded, rounded up to whole starts. More show more texts; 1,000 to 100,000."""
    reference_samples: Annotated[int, Range(least=2, most=10_000_000)] = 16
    """N: recorded episodes a start, among which each is ranked, itself with them: β counts for N/(N − 1) of what it
    says. More are finer ranks of fewer starts; 8 to 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(min(ends(self.kl_coef)) > 0, "kl_coef", "above 0: without a KL nothing bounds what is learnt")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.data is not None:
            yield "reference_samples", "data is given"
