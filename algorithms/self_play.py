"""Self-play: the learner plays against frozen copies of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..agents import Agent, certain, policy_of, rebuild_agent
from ..envs import FiniteTask, Task, TokenGymError, TwoPlayerTask
from ..envs.checking import Count, Seed, checked
from .learner import Learner
from .runs import Callback, read, take
from .runs import state as saving


class FrozenPolicy:
    """A policy as an opponent: `policy(tokens, lengths, masks)` to probabilities (m, A), as a game asks for its moves.

    A game asks for distributions, of all its positions at once where it is compiled, so whoever plays has to know its
    own: an agent, under any decoding rule, a masked policy, a random or an optimal player, but no best of n.

    Args:
        agent: what plays, an `Agent` or anything else that `policy_of` makes a policy with `probabilities` of; not
            copied, so give an agent's `clone_frozen()` where it goes on learning.
        greedy: make the most probable move (the largest Q) instead of drawing one; None does so for an agent without a
            policy head, whose Qs are no probabilities.
    """

    @checked
    def __init__(self, agent: Any, greedy: bool | None = None) -> None:
        self.agent = agent
        self.policy: Any = policy_of(agent)
        if not hasattr(self.policy, "probabilities"):
            raise TokenGymError(
                f"agent is a {type(agent).__name__}; expected who knows the probabilities of its moves, as an Agent"
            )
        self.greedy = (isinstance(agent, Agent) and "policy" not in agent.heads) if greedy is None else greedy

    def __call__(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Return float64 (m, A) for int tokens (m, L), lengths (m,) and bool masks (m, A) of what may be said."""
        probabilities = self.policy.probabilities(tokens, lengths, masks)
        if not self.greedy:
            return probabilities
        return certain(probabilities.argmax(axis=1), probabilities.shape[1])


@checked
def checkpoint_policy(checkpoint: str | Path, greedy: bool | None = None) -> FrozenPolicy:
    """Read the agent of a sealed checkpoint as an opponent: what `{"checkpoint": "folder"}` names to a game.

    Args:
        checkpoint: a folder written by `Algorithm.save`, or a folder of such, of which the newest whole one is taken.
        greedy: as in `FrozenPolicy`.

    Raises:
        TokenGymError: there is no checkpoint, or it is broken.
    """
    tensors, data = read(checkpoint)
    with saving.complete(data):
        return FrozenPolicy(saving.load_agent(tensors, data).requires_grad_(False), greedy)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A frozen copy of the learner.

    Attributes:
        timesteps: how many tokens it had learnt from.
        agent: the copy.
    """

    timesteps: int
    agent: Agent


class SelfPlay(Callback):
    """Puts a frozen copy of the learner on the other side of a two-player game, and a new one every so many tokens.

    Learning begins against the untrained copy. At the first boundary at or after every multiple of ``every`` tokens the
    learner is frozen again; the opponent becomes the new copy, or one drawn from the last ``pool`` copies, which keeps
    the learner from forgetting how to beat what it was. A game is compiled once: a new opponent costs one batched
    question in all its positions. At these boundaries no episode is under way, so none is played against two opponents;
    an off-policy learner's replay, however, remembers episodes against earlier ones.

    The task keeps the last opponent, also for others who use the same task object; `TwoPlayerTask.set_opponent` puts
    another one in place. A checkpoint of the algorithm holds the copies: load it, call `learn` with a `SelfPlay` of the
    same arguments, and it goes on as if it had not been interrupted.

    Args:
        every: agent tokens between two copies, at least 1.
        pool: how many of the newest copies the opponent is drawn from; 1 is always the newest.
        greedy: whether the copies make their most probable move; see `FrozenPolicy`.
        seed: of the draws from the pool.

    Attributes:
        snapshots: the copies in the pool, the oldest first.
        playing: the place in `snapshots` of the present opponent.
    """

    @checked
    def __init__(self, every: Count, pool: Count = 1, greedy: bool | None = None, seed: Seed = 0) -> None:
        self.every = every
        self.pool = pool
        self.greedy = greedy
        self.seed = seed
        self.snapshots: list[Snapshot] = []
        self.playing = 0
        self.num_taken = 0

    @property
    def opponent(self) -> FrozenPolicy:
        """The copy that plays the other side now, as a policy."""
        return FrozenPolicy(self.snapshots[self.playing].agent, self.greedy)

    def on_start(self, algorithm: Learner) -> None:
        """Freeze the first copy, or put the one back that a checkpoint says was playing.

        Raises:
            TokenGymError: the task is no game of two players on both sides, or the agent cannot be copied.
        """
        game = algorithm.task.unwrapped
        if not isinstance(game, TwoPlayerTask):
            raise TokenGymError(
                f"SelfPlay needs a game of two players such as 'TicTacToe-both'; {game.name!r} is none."
            )
        if game.side != "both":
            raise TokenGymError(
                f"SelfPlay on {game.name!r} with side={game.side!r}: the copy would play a side that the learner "
                f"never sees. Take side='both' ('{game.name}-both')."
            )
        if not isinstance(algorithm.agent, Agent):
            raise TokenGymError(f"SelfPlay copies agents of this library; {algorithm.name} has none.")
        if self.snapshots:
            for snapshot in self.snapshots:
                snapshot.agent.to(algorithm.device)
            _face(algorithm.task, self.opponent)
        else:
            self.refresh(algorithm)

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> None:
        """Freeze a new copy where a multiple of ``every`` was passed since the last."""
        if algorithm.num_timesteps // self.every > self.snapshots[-1].timesteps // self.every:
            self.refresh(algorithm)

    def refresh(self, algorithm: Learner) -> None:
        """Freeze the learner as it is, and choose who plays from now on."""
        self.snapshots.append(Snapshot(algorithm.num_timesteps, algorithm.agent.clone_frozen()))
        del self.snapshots[: -self.pool]
        # Keyed by the number of the draw, so that there is no generator to save.
        generator = np.random.default_rng([self.seed, self.num_taken])
        self.playing = int(generator.integers(len(self.snapshots)))
        self.num_taken += 1
        _face(algorithm.task, self.opponent)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the copies' weights, and who they are."""
        if not self.snapshots:
            return {}, {}
        tensors = {
            f"{place}/{name}": tensor
            for place, snapshot in enumerate(self.snapshots)
            for name, tensor in snapshot.agent.state_dict().items()
        }
        return tensors, {
            "agents": [snapshot.agent.config() for snapshot in self.snapshots],
            "timesteps": [snapshot.timesteps for snapshot in self.snapshots],
            "playing": self.playing,
            "num_taken": self.num_taken,
        }

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.snapshots = []
        for place, (config, timesteps) in enumerate(zip(data["agents"], data["timesteps"], strict=True)):
            agent = rebuild_agent(config)
            agent.load_state_dict(take(tensors, f"{place}/"))
            self.snapshots.append(Snapshot(int(timesteps), agent.requires_grad_(False)))
        self.playing = int(data["playing"])
        self.num_taken = int(data["num_taken"])


def _face(task: Task, policy: FrozenPolicy) -> None:
    """Make a policy the opponent in a game, through all transforms around it."""
    game: Any = task.unwrapped
    game.set_opponent(policy)
    layer: Any = task
    while layer is not game:
        inner = layer.task
        if isinstance(layer, FiniteTask):
            layer.recompile()
        layer = inner
