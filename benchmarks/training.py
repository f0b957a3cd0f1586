"""One whole PPO iteration, collecting and learning, against Stable-Baselines3's PPO with the same transformer.

Both learn the same task with the same trunk, heads of one layer, one epoch and one thread, through the public `learn`.
This library reads a sequence once; Stable-Baselines3 reads the whole prefix for every token, to act and to learn. It
plays fewer rows an iteration, so that a run stays short: its cost a token hardly depends on their number.
"""

from __future__ import annotations

from tokengym.algorithms.ppo import PPO
from tokengym.algorithms.sb3 import SB3PPO

from .measure import Comparison, rate
from .workload import NEW, PROMPT, ROWS, Completion

MODEL = {"kind": "gpt2", "hidden_size": 128, "num_layers": 4, "num_heads": 4}


def comparisons(quick: bool) -> list[Comparison]:
    """Return the comparison of the two PPOs."""
    new, rows, their_rows = (16, 8, 4) if quick else (NEW, ROWS, 16)
    model = {"kind": "gpt2", "hidden_size": 32, "num_layers": 1, "num_heads": 2} if quick else MODEL
    task = Completion(new=new)
    ours = PPO(task, agent=model, num_rows=rows, rollout_tokens=rows * new, epochs=1, minibatches=2)
    theirs = SB3PPO(task, agent=model, num_envs=their_rows, n_steps=new, batch_size=their_rows * new // 8, n_epochs=1)

    def iterate(algorithm: PPO | SB3PPO) -> int:
        before = algorithm.num_timesteps
        algorithm.learn(before + 1)
        return algorithm.num_timesteps - before

    return [
        Comparison(
            name="PPO, one iteration of one epoch",
            setting=f"GPT-2 d {model['hidden_size']}, {model['num_layers']} layers; {PROMPT}+{new} tokens",
            peer="Stable-Baselines3's PPO, same transformer",
            unit="tokens/s",
            target=50.0,
            ours=rate(lambda: iterate(ours)),
            theirs=rate(lambda: iterate(theirs)),
            warm_up=[lambda: iterate(ours)],
        )
    ]
