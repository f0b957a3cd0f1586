"""How a finite task is declared: the ways to start, and the outcomes of every token in every state."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from ..vocabulary import Vocabulary

Shown: TypeAlias = "str | tuple[int | str, ...]"
"""What a task says: a tuple of token ids or names, or a single name."""


class Initial(NamedTuple):
    """A way for an episode to start: with this probability, in this state, showing these tokens after `bos`."""

    probability: float
    state: Hashable
    shown: Shown = ()


class Transition(NamedTuple):
    """An outcome of saying a token in a state.

    Attributes:
        probability: Probability of this outcome.
        state: The next state (hashable), or None where the episode ends.
        reward: Expected reward.
        shown: The tokens that the task says next, by id or name. Only a token that ends a turn may have any.
        noise: Standard deviation of a normal noise added to the reward.
        columns: What is reported beside the reward, by name, finite numbers; see `Task.columns`. None for nothing.
    """

    probability: float
    state: Hashable | None
    reward: float = 0.0
    shown: Shown = ()
    noise: float = 0.0
    columns: Mapping[str, float] | None = None


class Declaration(Protocol):
    """What the compiler asks of a finite task; see `FiniteTask` for what the names mean."""

    name: str
    turn_tokens: int
    max_states: int

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens."""
        ...

    def initial(self) -> Iterable[Initial]:
        """Returns the ways for an episode to start."""
        ...

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the outcomes of a token in a state."""
        ...

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns the tokens that may be said in a state, or None for all."""
        ...
