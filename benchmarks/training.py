"""One whole PPO iteration, collecting and learning, against Stable-Baselines3's PPO with the same transformer.

Both learn the same task with the same trunk, heads of one layer, as many epochs and one thread, through the public
`learn`. This library reads a sequence once; Stable-Baselines3 reads the whole prefix for every token, to act and to
learn. It plays fewer rows an iteration, so that a run stays short: its cost a token hardly depends on their number, nor
on the size of its minibatches (64, 128 and 256 were tried).
"""

from __future__ import annotations

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.sb3.algorithm import SB3PPO

from .measure import Comparison, rate
from .workload import NEW, PROMPT, ROWS, Completion

MODEL = {"kind": "gpt2", "hidden_size": 128, "num_layers": 4, "num_heads": 4}
SMALL_MODEL = {"kind": "gpt2", "hidden_size": 32, "num_layers": 1, "num_heads": 2}


def comparisons(quick: bool) -> list[Comparison]:
    """Return the comparison of the two PPOs, with the usual four epochs and with one."""
    return [contest(quick, epochs=4, target=50.0), contest(quick, epochs=1, target=None)]


def contest(quick: bool, epochs: int, target: float | None) -> Comparison:
    """Return the comparison of one iteration of `epochs` passes over the data."""
    new, rows, their_rows = (16, 8, 4) if quick else (NEW, ROWS, 8)
    model = SMALL_MODEL if quick else MODEL
    task = Completion(new=new)
    ours = PPO(task, agent=model, num_rows=rows, rollout_tokens=rows * new, epochs=epochs, minibatches=2)
    batch = their_rows * new // 4
    theirs = SB3PPO(task, agent=model, num_envs=their_rows, n_steps=new, batch_size=batch, n_epochs=epochs)

    def iterate(algorithm: PPO | SB3PPO) -> int:
        before = algorithm.num_timesteps
        algorithm.learn(before + 1)
        return algorithm.num_timesteps - before

    return Comparison(
        name=f"PPO, one iteration, epochs: {epochs}",
        setting=f"GPT-2 d {model['hidden_size']}, layers: {model['num_layers']}; {PROMPT}+{new} tokens",
        peer="Stable-Baselines3's PPO, same transformer",
        unit="tokens/s",
        target=target,
        ours=rate(lambda: iterate(ours)),
        theirs=rate(lambda: iterate(theirs)),
        warm_up=[lambda: iterate(ours)],
    )
