"""Configurations of the algorithms that learn from a replay of episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ...envs.checking import Range
from .base import Delay, Interval, Norm, NotNegative, Positive, Rate, Repeats, Rows, Share, Temperature, Tokens
from .parts import AdaptiveKLConfig, AlgorithmConfig
from .schedule import Schedule, ends, linear

Prioritisation = Literal["none", "episode", "token"]
"""Draw uniformly, or by the errors of whole episodes or of single tokens."""


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(AlgorithmConfig):
    """What the off-policy algorithms share: replay, exploration, returns and the target network."""

    retired: ClassVar[Mapping[str, tuple[Any, str]]] = {
        "kl_in": ("reward", "the KL is a part of the values, always"),
        "kl_estimator": ("k1", "nothing is estimated, the KL is exact in every state"),
    }

    max_grad_norm: Norm = 10.0
    """Gradients with a larger global norm are scaled down to it. Smaller is safer and slower; 1 to 10."""
    rollout_tokens: Tokens = 64
    """Agent tokens collected between updates. Fewer learn from fresher data and cost more time a token."""

    replay_capacity: Interval = 2000
    """Episodes remembered; the oldest goes first. Fewer follow the policy more closely; 1,000 to 100,000."""
    data: str | None = None
    """Path of recorded episodes, a file or a folder of them, that the replay begins with: what was learnt from them
    offline goes on with them at hand. None begins with an empty replay."""
    batch_episodes: Rows = 32
    """Episodes drawn for an update. More give steadier and costlier updates; 16 to 128."""
    updates_per_collection: Repeats = 4
    """Updates after each collection. More learn more from each token, until they overfit to it; 1 to 8."""
    learning_starts: Delay = 500
    """Agent tokens collected before the first update."""
    prioritised: Prioritisation = "none"
    """Draw uniformly ("none"), or by the errors of whole episodes ("episode") or of single tokens ("token")."""
    priority_alpha: NotNegative = 0.6
    """Exponent of the priorities: 0 is uniform, 1 follows the errors fully."""
    priority_beta: Share | Schedule = 0.4
    """Exponent of the importance weights at the start; it rises linearly to 1, at which no bias is left."""

    epsilon: Share | Schedule = 1.0
    """Share of exploring tokens at the start; the others follow the algorithm's own policy. Starting low can settle on
    the second-best token."""
    final_epsilon: Share = 0.05
    """Share of exploring tokens from `epsilon_fraction` of the budget on."""
    epsilon_fraction: Share = 0.3
    """Share of the budget over which `epsilon` falls linearly to `final_epsilon`; 0.1 to 0.6."""
    exploration: Literal["uniform", "boltzmann", "reference"] = "uniform"
    """What exploring tokens are drawn from: all legal tokens alike, the softmax of the values, or what the reference
    says, which is what scales with the vocabulary of a language model."""
    exploration_temperature: Temperature = 1.0
    """Temperature of "boltzmann", in units of the scaled reward. Larger is closer to uniform; 0.05 to 1."""

    top_p: Annotated[float, Range(above=0, most=1)] = 1.0
    """While collecting, the policy and what explores by values or as the reference does say only their likeliest tokens
    of this share; what is recorded are the probabilities over those. Learning and masks know nothing of it, and uniform
    tokens are drawn from all. Lower explores less; 0.8 to 1 (off)."""

    untried_first: bool = False
    """In each state, say what was never said there before anything else, where it may be said. Goes with `count_bonus`,
    which alone leaves what was never tried at what the networks happen to make of it."""

    target_polyak: Annotated[float, Range(above=0, most=1)] = 0.02
    """How far the target network moves to the online one at each target update; 1 copies it. 0.005 to 0.05, or 1."""
    target_every: Interval = 1
    """Updates between target updates. With `target_polyak` 1 (a hard copy) 100 to 1,000."""
    returns: Literal["n_step", "trace"] = "trace"
    """Targets: uncorrected n-step returns, or returns cut where the behaviour left the policy ("trace")."""
    n_step: Repeats = 3
    """Rewards summed before bootstrapping with "n_step". More spread reward faster and trust old data more; 1 to 8."""
    trace_lambda: Share = 0.9
    """Decay of "trace": 0 is the one-step target, 1 the longest return that the data allow; 0.8 to 1."""
    huber_delta: Positive = 1.0
    """Errors of Q beyond this weigh linearly, not squared, in units of the scaled reward. Smaller resists outliers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            self.replay_capacity >= self.batch_episodes,
            "replay_capacity",
            f"at least {self.batch_episodes:,}, the episodes of a draw (batch_episodes)",
        )
        self.require(
            self.exploration != "reference" or self.kl_reference != "uniform",
            "exploration",
            "'uniform' with kl_reference='uniform': it is the same",
        )

    def delays(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that a budget must outlast, each with what follows where it does not."""
        yield from super().delays()
        yield "learning_starts", "nothing is learnt"

    @property
    def measures_kl(self) -> bool:
        """Whether there is a reference at all, be it for exploring alone."""
        return super().measures_kl or self.exploration == "reference"

    @property
    def held_to_reference(self) -> bool:
        """Whether values and losses, and what is logged, know of a reference that may be there to explore alone."""
        return self.has_kl or self.kl_limit is not None or self.exploration != "reference"

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if isinstance(self.epsilon, Schedule):
            yield "final_epsilon", "epsilon is a schedule"
            yield "epsilon_fraction", "epsilon is a schedule"
        elif self.epsilon == self.final_epsilon:
            yield "epsilon_fraction", "epsilon and final_epsilon are equal"
        if self.prioritised == "none":
            yield "priority_alpha", "prioritised is 'none'"
            yield "priority_beta", "prioritised is 'none'"
        if self.exploration != "boltzmann":
            yield "exploration_temperature", f"exploration is {self.exploration!r}"
        if self.returns == "trace":
            yield "n_step", "returns is 'trace'"
        else:
            yield "trace_lambda", "returns is 'n_step'"

    @property
    def counts_visits(self) -> bool:
        """Whether what was said where is counted."""
        return self.untried_first or super().counts_visits

    def epsilon_at(self, progress: float) -> float:
        """Return the share of exploring tokens once the share ``progress`` of the budget is spent."""
        if isinstance(self.epsilon, Schedule):
            return self.epsilon.at(progress)
        return linear(self.epsilon, self.final_epsilon, progress, self.epsilon_fraction)

    def priority_beta_at(self, progress: float) -> float:
        """Return the exponent of the importance weights once the share ``progress`` of the budget is spent."""
        if isinstance(self.priority_beta, Schedule):
            return self.priority_beta.at(progress)
        return linear(self.priority_beta, 1.0, progress)


@dataclass(frozen=True, kw_only=True)
class DQNConfig(OffPolicyConfig):
    """What DQN adds: how Q is built and how the best token is judged."""

    retired: ClassVar[Mapping[str, tuple[Any, str]]] = {
        **OffPolicyConfig.retired,
        "kl_target": (None, "the values are made with a fixed kl_coef"),
        "kl_horizon": (10_000, "the values are made with a fixed kl_coef"),
    }

    double: bool = True
    """The online network picks the best token, the target network judges it; otherwise the target network does both."""
    dueling: bool = False
    """Build ``Q = V + A − mean A`` from a value head and an advantage head (Wang et al. 2016)."""
    tau: NotNegative = 0.0
    """Weight τ of the entropy, in units of the scaled reward: above 0 the policy is ``softmax(Q / τ)`` and a state is
    worth ``τ log Σ e^{Q / τ}``. Larger stays closer to uniform; 0 (off) to 0.1, Munchausen DQN has 0.03."""
    munchausen: Annotated[float, Range(least=0, most=0.999)] = 0.0
    """Share α of its own log-policy that a token is paid besides (Munchausen), which ties each policy to the one before
    it. 0 (off) to 0.9. With `tau` the entropy weighs (1 − α) τ in the end; `kl_coef` is what the KL weighs in the end,
    whatever α is."""
    munchausen_clip: Annotated[float, Range(least=-1_000_000, most=-0.000001)] | None = None
    """What a token is paid besides is at least α times this; None does not clip. The paper has −1. Closer to 0 is
    steadier and moves the fixed point further, of all tokens that are worse than their state by (1 − α) times this."""
    head_free: bool = False
    """With `tau`, read Q off the policy's own logits, as ``τ ℓ``, instead of a head: the agent is the soft policy
    itself, and can be exported. With `kl_coef` that is so always."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            not isinstance(self.kl_coef, Schedule), "kl_coef", "a number: the values are made with a fixed one"
        )
        self.require(not (self.tau and self.has_kl), "tau", "0 where kl_coef is above 0: one of them makes the values")
        self.require(not (self.dueling and self.has_kl), "dueling", "False where kl_coef is above 0")
        self.require(not (self.dueling and self.head_free), "dueling", "False with head_free, which has no Q head")

    @property
    def soft(self) -> bool:
        """Whether the policy is a soft one, and not the best token."""
        return bool(self.tau) or self.has_kl

    @property
    def from_logits(self) -> bool:
        """Whether Q is read off the policy's logits."""
        return self.head_free or self.has_kl

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.soft:
            yield "double", f"{'kl_coef' if self.has_kl else 'tau'} is above 0, whose values need no best token"
        else:
            yield "munchausen", "tau and kl_coef are 0, and the best token has no log-policy"
        if not self.munchausen:
            yield "munchausen_clip", "munchausen is 0"
        if self.has_kl:
            yield "head_free", "kl_coef is above 0, whose Q are read off the logits always"
        elif not self.tau:
            yield "head_free", "tau is 0, and Q without a temperature is no policy's logits"
        if not self.soft and self.exploration == "uniform":
            yield "top_p", "the best token is one, and uniform tokens are drawn from all"
        if not self.from_logits:
            yield (
                "temperature",
                (
                    "Q has none: tau is the policy's"
                    if self.tau
                    else "kl_coef is 0, and values have none; exploration_temperature is that of exploring"
                ),
            )


@dataclass(frozen=True, kw_only=True)
class SACConfig(AdaptiveKLConfig, OffPolicyConfig):
    """What SAC adds: the temperature of the entropy, the critics and the actor."""

    epsilon_fraction: Share = 0.6
    """Share of the budget over which `epsilon` falls. A soft policy that settled early on a wrong token is only taught
    otherwise by data that still hold the right one, so it explores for longer than DQN; 0.3 to 0.8."""
    replay_capacity: Interval = 5000
    """Episodes remembered; the oldest goes first. Fewer follow the policy more closely; 1,000 to 100,000."""
    returns: Literal["n_step", "trace"] = "n_step"
    """Targets: n-step returns, corrected in expectation, or Retrace ("trace")."""

    alpha: NotNegative | Schedule = 0.03
    """Weight α of the entropy, in units of the scaled reward. Larger stays closer to uniform; 0.003 to 0.3."""
    initial_alpha: Positive | None = None
    """Where α starts; it falls geometrically to `alpha` over `alpha_fraction` of the budget. None keeps it constant."""
    alpha_fraction: Share = 0.5
    """Share of the budget over which α falls from `initial_alpha`."""
    entropy_target: Positive | None = None
    """Entropy a token, in nats, that α is tuned to; None keeps α as scheduled. 0.05 to 0.5 of log A."""
    alpha_learning_rate: Rate = 0.01
    """Step size of log α where it is tuned. Larger follows the target faster and swings more."""
    critics: Literal["min", "mean"] = "min"
    """How two critics make one: the smaller (against overestimation) or the mean (SD-SAC, against underestimation)."""
    q_clip: Positive | None = None
    """Clip of a critic's change against the target network (SD-SAC), in units of the scaled reward; None is off."""
    actor: Literal["reverse_kl", "forward_kl"] = "reverse_kl"
    """Which divergence to ``softmax(Q / α)`` the actor descends: that of SAC, or the mass-covering one, whose gradient
    does not vanish where the policy has given a token up (Chan et al. 2022)."""
    separate_critic: bool = False
    """Give the critics a trunk of their own."""
    head_free: bool = False
    """Read one critic off the actor's own logits, ``Q = (α + β) ℓ − β ℓ_ref``, whose softmax is then its soft optimum:
    there is no other network, and the actor has nothing left to follow. Needs a fixed α and β."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_free:
            fixed = not isinstance(self.alpha, Schedule) and not isinstance(self.kl_coef, Schedule)
            self.require(
                fixed and bool(self.alpha or self.kl_coef), "head_free", "False where α and β are 0 or scheduled"
            )
            for name in ("initial_alpha", "entropy_target", "kl_target"):
                self.require(getattr(self, name) is None, name, "None with head_free, whose values have fixed weights")
        if isinstance(self.alpha, Schedule):
            for name in ("initial_alpha", "entropy_target"):
                self.require(getattr(self, name) is None, name, "None where alpha is a schedule")
        elif self.initial_alpha is not None or self.entropy_target is not None:
            self.require(self.alpha > 0, "alpha", "above 0 where it is annealed or tuned")
        if self.actor == "forward_kl":
            least = min(ends(self.alpha)) + min(ends(self.kl_coef))
            self.require(least > 0, "alpha", "above 0, or kl_coef above 0, with 'forward_kl'")
        self.require(
            self.initial_alpha is None or self.entropy_target is None, "initial_alpha", "None where α is tuned"
        )

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.initial_alpha is None:
            yield "alpha_fraction", "initial_alpha is None"
        if self.entropy_target is None:
            yield "alpha_learning_rate", "entropy_target is None"
        if self.head_free:
            for name in ("critics", "q_clip", "actor", "separate_critic"):
                yield name, "head_free is True, and there is one network"
