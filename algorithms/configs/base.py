"""Configurations: frozen, keyword-only dataclasses in which every field says what it does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ...envs import TokenGymError
from ...envs.checking import Range, check_fields, shown, unknown_name

if TYPE_CHECKING:
    from typing_extensions import Self

Rate = Annotated[float, Range(above=0, most=100)]
"""A step size."""
Positive = Annotated[float, Range(above=0, most=1_000_000)]
"""A number above 0, in whatever unit."""
NotNegative = Annotated[float, Range(least=0, most=1_000_000)]
"""A weight or coefficient, which 0 turns off."""
Temperature = Annotated[float, Range(least=0.000001, most=1_000_000)]
"""Divides logits; smaller ones would leave the range of float32."""
Share = Annotated[float, Range(least=0, most=1)]
"""A part of a whole, a probability or a discount."""
Norm = Annotated[float, Range(above=0, infinite=True)]
"""A norm to clip at; infinite clips nothing."""
Rows = Annotated[int, Range(least=1, most=65_536)]
"""How many are worked on at once: each takes memory for its tokens and for what the model remembers of them."""
Repeats = Annotated[int, Range(least=1, most=10_000)]
"""How often something is done before anything else happens."""
Tokens = Annotated[int, Range(least=1, most=10_000_000)]
"""Tokens or transitions that are held in memory together."""
Interval = Annotated[int, Range(least=1, most=1_000_000_000)]
"""Something is counted that takes no memory."""
Delay = Annotated[int, Range(least=0, most=1_000_000_000)]
"""What is waited for, perhaps not at all."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A configuration: checks its values, names the nearest field for a wrong one, and becomes a dict and back.

    The annotation of a field says its type and its range, and is checked (see `envs.fields`); a subclass adds to
    ``__post_init__`` what only holds between several fields.
    """

    def __init_subclass__(cls) -> None:
        # `dataclass` gives every subclass a ``__repr__`` of all its fields, unless there is one already.
        cls.__repr__ = Config.__repr__

    def __post_init__(self) -> None:
        check_fields(self)

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        changed = (
            f"{field.name}={shown(value)}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def require(self, condition: bool, name: str, expected: str) -> None:
        """Raise a `TokenGymError` that names the field, its value and what was expected, unless ``condition``."""
        if not condition:
            raise TokenGymError(f"{name} is {shown(getattr(self, name))}; expected {expected}.")

    def replace(self, **overrides: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            TokenGymError: a name is not a field (the nearest are listed), or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in overrides:
            if name not in known:
                raise unknown_name(f"{type(self).__name__} field", name, known)
        return dataclasses.replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict; ``Config().replace(**config.to_dict())`` equals ``config``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(Config):
    """What every algorithm has: the optimiser, the collection of episodes, rewards, and the KL to a reference."""

    learning_rate: Rate | None = None
    """Step size of Adam at the start. None takes what the agent's kind of model wants: 2e-3 for mlp, 3e-3 for gru,
    1e-3 for transformers from scratch, 1e-5 for pretrained ones. Larger learns faster, up to a point."""
    final_learning_rate_fraction: Share = 0.05
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    adam_eps: Positive = 1e-5
    """Added to Adam's denominator. Larger means smaller steps where gradients are tiny; 1e-8 to 1e-5."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay (AdamW). Larger keeps the weights smaller; 0 to 0.1."""
    max_grad_norm: Norm = 1.0
    """Gradients with a larger global norm are scaled down to it. Smaller is safer and slower; 0.5 to 10."""
    micro_batch_tokens: Tokens | None = None
    """Tokens, padding included, that the model reads at once in an update; a step adds up the gradients of as many
    passes as that takes. Bounds memory and changes nothing else; None reads a whole minibatch."""

    gamma: Share = 1.0
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""
    temperature: Temperature = 1.0
    """Divides the logits of policy and reference wherever probabilities are computed; larger explores more."""

    rollout_tokens: Tokens = 512
    """Agent tokens a collection aims at. Episodes are always whole, so the number collected only comes near it."""
    num_rows: Rows = 64
    """Episodes that are played side by side. More is faster a token, until memory or caches run out."""
    group_size: Rows = 1
    """Episodes that share a start. Above 1 they can be compared with one another; 4 to 16."""

    reward_scaling: bool = True
    """Divide rewards by a running standard deviation of the return-to-go, so that one learning rate fits many tasks."""
    missing_eos_penalty: NotNegative = 0.0
    """Taken off the last reward of an episode that does not end with the vocabulary's end token; 0 to 1."""
    token_rewards: bool = True
    """Credit per-token rewards that a task knows only at the end of a turn to the tokens that earned them."""
    action_masks: bool = False
    """Restrict behaviour and learning to the tokens that the task calls legal."""

    kl_coef: NotNegative = 0.0
    """Weight β of the KL to the reference policy. Larger stays closer to it; 0 (off) to 0.2."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where β acts: as a penalty in each token's reward, or as a term of the loss."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """Estimate a token: k1 = log-ratio, k2 = its half square, k3 = low variance, never negative. Only k1 in the reward
    has the KL-regularised optimum. In a loss k2 has the gradient of the KL for episodes of one token; over more it
    takes the states as they come, and balances elsewhere."""
    kl_target: Positive | None = None
    """KL an episode that an adaptive β steers to (Ziegler et al. 2019); None keeps β fixed. Typical: 6."""
    kl_horizon: Interval = 10_000
    """Episodes over which the adaptive β reacts. Smaller reacts faster and overshoots more."""
    kl_reference: Literal["initial", "uniform"] = "initial"
    """The reference: the agent as it was at the start, or the uniform policy. A `reference` agent overrides it."""
