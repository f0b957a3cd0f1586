"""A tree of tokens with a fixed reward on every leaf: the test of KL-regularised objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...checking import TokenGymError, positive_int, unknown_name
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random

_MOST_LEAVES = 100_000
_REWARDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda random, leaves: random.uniform(size=leaves),
    "normal": lambda random, leaves: random.normal(size=leaves),
    "one_leaf": lambda random, leaves: (np.arange(leaves) == random.integers(leaves)).astype(np.float64),
}


class KLTree(FiniteTask):
    """Write a text of fixed length; every text has its own fixed reward.

    ## Description
    All V^T texts form a tree, and each leaf carries a reward drawn once from a uniform distribution on 0…1. It isolates
    the KL-regularised objective of learning from human feedback, E[R] − β·KL(π ‖ π_ref): with a uniform reference and
    β = .2 the optimum is soft, V* = β·log mean exp(R/β) over the leaves, and a learner that only hunts for the best
    leaf is measurably wrong. (With normal rewards the best leaf alone would be nearly optimal, and softness would go
    untested.) With `rewards="one_leaf"` the tree is sparse: one leaf pays 1 and all others nothing. There a method that
    weighs each token's KL without what it leads to ends far from the optimum, which uniform rewards do not show.

    ## Action space
    `num_tokens` tokens `t0`, `t1`, ….

    ## Observation space
    `[<bos>]`, then what the agent said.

    ## Rewards
    With the last token: the leaf's reward, in 0…1 (any number with `rewards="normal"`). Random: the mean of the leaves;
    optimal: the largest; KL-optimal with a uniform reference: β·log mean exp(R/β).

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after `depth` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_tokens=4`: tokens that can be said (V), at least 2.
    * `depth=4`: length of the text (T). V^T may be at most 100,000.
    * `instance_seed=0`: draws the leaves' rewards.
    * `rewards="uniform"`: on 0…1; or "normal", of mean 0 and variance 1; or "one_leaf", 1 on one leaf and 0 elsewhere.

    The attribute `beta` (.2) is the weight that the suite's scores are stated for; the environment does not use it.

    ## References
    Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019; Levine, "Reinforcement Learning and
    Control as Probabilistic Inference", 2018.

    ## Version history
    * v0: first release.
    """

    name = "KLTree"
    family = "diagnostics"
    isolates = "the KL-regularised objective"
    mirrors = "RLHF objectives"
    beta = 0.2

    def __init__(self, num_tokens: int = 4, depth: int = 4, instance_seed: int = 0, rewards: str = "uniform") -> None:
        self.num_tokens, self.depth = positive_int("num_tokens", num_tokens), positive_int("depth", depth)
        if num_tokens < 2:
            raise TokenGymError(f"num_tokens={num_tokens}: a tree needs at least 2 branches.")
        # By logarithm: the power itself may be astronomically large.
        if depth * np.log(num_tokens) > np.log(_MOST_LEAVES):
            raise TokenGymError(
                f"num_tokens={num_tokens}, depth={depth} make more than {_MOST_LEAVES} leaves: take a smaller depth or "
                "fewer tokens."
            )
        self.turn_tokens = depth
        self.vocabulary = Vocabulary.of([f"t{token}" for token in range(num_tokens)])
        if not isinstance(rewards, str) or rewards not in _REWARDS:
            raise unknown_name("kind of rewards", rewards, _REWARDS)
        self.leaf_rewards = _REWARDS[rewards](instance_random(instance_seed), num_tokens**depth)

    def initial(self) -> Iterable[Initial]:
        """Return the root; a state is (tokens said, the text read as a number)."""
        return [Initial(1.0, (0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Go one branch down; pay at the leaf."""
        said, text = state
        said, text = said + 1, text * self.num_tokens + action
        if said == self.depth:
            return [Transition(1.0, None, float(self.leaf_rewards[text]))]
        return [Transition(1.0, (said, text))]

    def expert_action(self, state: Any) -> int | None:
        """Return the branch to the best leaf below."""
        said, text = state
        below = self.num_tokens ** (self.depth - said)
        best = int(np.argmax(self.leaf_rewards[text * below : (text + 1) * below]))
        return best // (below // self.num_tokens)
