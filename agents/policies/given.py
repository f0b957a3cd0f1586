"""From a player of any kind to the policy that acts for it, with draws of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...envs import TokenGymError, derive_start
from ...envs.checking import Seed, checked, shown
from .policy import Act, Policy, ProbabilityPolicy


class GivenProbabilities(ProbabilityPolicy):
    """Plays what an object with `probabilities(tokens, lengths[, masks])` would say next.

    Args:
        player: the object; masks are given to it only where there are any.
        seed: starts the generator that tokens are drawn with.
    """

    def __init__(self, player: Any, seed: int = 0) -> None:
        super().__init__(seed)
        self.player = player

    @property
    def sampling(self) -> str:
        """What the player draws from, in words."""
        return getattr(self.player, "sampling", "policy")

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `ProbabilityPolicy.probabilities`."""
        if masks is None:
            return self.player.probabilities(tokens, lengths)
        return self.player.probabilities(tokens, lengths, masks)


class GivenPredictions(Policy):
    """Plays what an object with `predict(observation, deterministic=…)` says, as Stable-Baselines3 has it.

    Nobody knows with what probability. Such a player may draw from torch's global generator; it gets one of this
    policy's, and the global one is left alone.

    Args:
        player: the object.
        seed: starts the generator that it finds as torch's global one.
    """

    def __init__(self, player: Any, seed: int = 0) -> None:
        import torch

        self.player = player
        self._random = torch.Generator().manual_seed(derive_start(seed, 0) >> 1).get_state()

    def act(
        self,
        rows: np.ndarray | None,
        tokens: np.ndarray,
        lengths: np.ndarray,
        masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> Act:
        """Ask the player, who is not told of masks; see `Policy.act`."""
        import torch

        observation = {"tokens": tokens, "length": lengths[:, None]}
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(self._random)
            actions, _ = self.player.predict(observation, deterministic=deterministic)
            self._random = torch.random.get_rng_state()
        said = np.asarray(actions)
        return Act.of_one(said, np.full(len(said), np.nan))

    def seeded(self, seed: int, measured: bool = False) -> Policy:
        """Return a policy of the same player with draws of its own."""
        return GivenPredictions(self.player, seed)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state of the generator that the player is given."""
        return {"generator": self._random}, {}

    def load_state(self, tensors: dict[str, Any], data: dict[str, Any]) -> None:
        """Go on with the same draws."""
        self._random = tensors["generator"]


@checked
def policy_of(player: Any, seed: Seed = 0, measured: bool = False) -> Policy:
    """Return the policy of a player, which draws from a generator of its own and moves none of the player's.

    Args:
        player: a `Policy`, what has one as its `policy` (an algorithm) or its `agent`, an `Agent`, or any object with
            `probabilities` or `predict`.
        seed: of the draws.
        measured: measure the entropies of what is drawn from, where the policy can.

    Raises:
        TokenGymError: something that cannot act.
    """
    if isinstance(player, type):
        raise TokenGymError(f"player is {shown(player)}; expected an Agent, an algorithm, or what has a predict(…)")
    agent = getattr(player, "agent", None)
    for own in (player, getattr(player, "policy", None), agent):
        if isinstance(own, Policy):
            return own.seeded(seed, measured)
    player = agent if hasattr(agent, "probabilities") else player
    if hasattr(player, "session") and hasattr(player, "acting_heads"):
        # Whoever has an agent has torch; nobody else needs it here.
        from .of_agents import AgentPolicy

        return AgentPolicy(player).seeded(seed, measured)
    if hasattr(player, "probabilities"):
        return GivenProbabilities(player, seed)
    if hasattr(player, "predict"):
        return GivenPredictions(player, seed)
    raise TokenGymError(f"player is {shown(player)}; expected an Agent, an algorithm, or what has a predict(…)")
