"""Bytes that the replay holds for a token that the agent said, everything counted, against a replay of transitions."""

from __future__ import annotations

from stable_baselines3.common.buffers import DictReplayBuffer

from tokengym.algorithms.data.replay import EpisodeReplay
from tokengym.algorithms.off_policy.dqn import DQN
from tokengym.algorithms.sb3.env import SB3VecEnv
from tokengym.envs.registration import make_task
from tokengym.envs.task import Task

from .measure import Comparison
from .workload import NEW, PROMPT, Completion

AGENT = {"kind": "gru", "hidden_size": 8, "num_layers": 1}


def replay_bytes(task: Task, tokens: int) -> float:
    """Fill a replay with at least `tokens` tokens of an untrained agent and return the bytes held for each."""
    player = DQN(task, agent=AGENT, rollout_tokens=tokens)
    replay = EpisodeReplay(tokens, task.vocabulary.pad)
    replay.add(player.collect())
    return replay.nbytes / replay.num_tokens


def transition_bytes(task: Task) -> float:
    """Bytes of a transition in Stable-Baselines3's replay of the same task."""
    env = SB3VecEnv(task, 1)
    buffer = DictReplayBuffer(100, env.observation_space, env.action_space)  # type: ignore[arg-type]
    arrays = [*buffer.observations.values(), *buffer.next_observations.values()]
    arrays += [buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts]
    return sum(array.nbytes for array in arrays) / 100


def comparisons(quick: bool) -> list[Comparison]:
    """Return bytes a token for a completion, and the share of what transitions take, there and in a game of turns."""
    tokens = 500 if quick else 5000
    completion, lattice = Completion(), make_task("Lattice")
    return [
        Comparison(
            name="replay, bytes a token",
            setting=f"{PROMPT}+{NEW} tokens, no masks",
            peer="",
            unit="bytes",
            target=32.0,
            at_most=True,
            ours=lambda: replay_bytes(completion, tokens),
        ),
        *(
            Comparison(
                name="replay, bytes a token",
                setting=setting,
                peer="Stable-Baselines3's replay",
                unit="bytes",
                ours=lambda task=task: replay_bytes(task, tokens),
                theirs=lambda task=task: transition_bytes(task),
            )
            for setting, task in ((f"{PROMPT}+{NEW} tokens, no masks", completion), ("Lattice, no masks", lattice))
        ),
    ]
