"""Trees small enough to follow by hand: leaves of any depth, each with its reward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from ...envs import FiniteTask, Initial, TokenGymError, Transition, Vocabulary


class LeafTree(FiniteTask):
    """Say digits until a leaf is reached, which pays its reward.

    Args:
        leaves: the reward of each leaf by its digits, such as ``{"0": 1.0, "10": 0.0, "11": 0.5}``. They must be all
            leaves of a tree: whatever is said, exactly one is reached.
        replies: the task says a token of its own after each of the agent's but the last, so that the agent's tokens
            are not next to one another.
    """

    name = "LeafTree"
    family = "diagnostics"
    turn_tokens = 1

    def __init__(
        self, leaves: Mapping[str, float], replies: bool = False, way: Mapping[str, float] | None = None
    ) -> None:
        self.leaves = {str(leaf): float(reward) for leaf, reward in leaves.items()}
        self.replies = replies
        self.way = {str(said): float(reward) for said, reward in (way or {}).items()}
        digits = sorted({digit for leaf in self.leaves for digit in leaf})
        if len(digits) < 2 or digits != [str(number) for number in range(len(digits))]:
            raise TokenGymError(f"leaves={dict(leaves)!r}: expected digits from 0 on, such as '0', '10', '11'.")
        inner = {leaf[:length] for leaf in self.leaves for length in range(len(leaf))}
        children = {prefix + digit for prefix in inner for digit in digits}
        if children - inner != set(self.leaves) or inner & set(self.leaves):
            wrong = sorted((children - inner) ^ set(self.leaves)) or sorted(inner & set(self.leaves))
            raise TokenGymError(f"leaves={dict(leaves)!r} are no tree: see {', '.join(wrong)}.")
        if not set(self.way) <= inner - {""}:
            raise TokenGymError(
                f"way={self.way!r}: expected what leads to leaves, such as {min(inner - {''}, default='1')!r}."
            )
        self.vocabulary = Vocabulary.of([f"t{digit}" for digit in digits], ["reply"] if replies else [])

    @classmethod
    def full(cls, num_tokens: int, depth: int, rewards: Sequence[float], replies: bool = False) -> LeafTree:
        """All texts of one length; rewards in the order of the texts."""
        texts = ["".join(map(str, text)) for text in product(range(num_tokens), repeat=depth)]
        return cls(dict(zip(texts, rewards, strict=True)), replies)

    @classmethod
    def stopping(cls, num_tokens: int, depth: int, rewards: Sequence[float], replies: bool = False) -> LeafTree:
        """Texts that end with their first 0 or at a length; rewards in the order of the texts."""
        texts = {"".join(map(str, text)) for text in product(range(num_tokens), repeat=depth)}
        cut = sorted({text[: text.index("0") + 1] if "0" in text else text for text in texts})
        return cls(dict(zip(cut, rewards, strict=True)), replies)

    def initial(self) -> Iterable[Initial]:
        """Return the root; a state is what was said."""
        return [Initial(1.0, "")]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Go one branch down; pay at the leaf, and on the way where that is said."""
        said = state + str(action)
        if said in self.leaves:
            return [Transition(1.0, None, self.leaves[said])]
        return [Transition(1.0, said, self.way.get(said, 0.0), shown=("reply",) if self.replies else ())]
