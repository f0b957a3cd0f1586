"""Peak memory of learning with a vocabulary of 50,257 tokens: `python -m benchmarks.peak_memory`.

Each row runs in a fresh process, whose largest resident size is read when it ends: imports, weights, optimiser,
collecting and learning, all together. A row that takes more than its limit makes the command fail.

The last line is how much more an iteration of 20,000 tokens takes than one of 4,096 at equal `micro_batch_tokens`.

With ``--checkpoint FOLDER`` there are two rows more: a PPO iteration of 8 × 24 tokens of the model in that folder, in
float32 with a KL to the initial policy, in micro-batches of one episode and with `gradient_checkpointing`; the whole of
it, and adapters of rank 8.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

VOCABULARY, NEW = 50_257, 64
MODEL = {"kind": "gpt2", "hidden_size": 64, "num_layers": 2, "num_heads": 4}
MICRO_BATCH = 512
"""Tokens of a micro-batch: six episodes of prompt and completion, fewer than a minibatch of any row has."""


def learn(name: str, tokens: int, agent: Any = MODEL, new: int = NEW, size: int = VOCABULARY, **settings: Any) -> None:
    """Make an algorithm and learn for one iteration of so many tokens."""
    from tokengym import algorithms

    from .workload import PROMPT, Completion

    task = Completion(prompt=PROMPT, new=new, size=size)
    kind: Any = getattr(algorithms, name)
    algorithm = kind(task, agent=agent, rollout_tokens=tokens, **{"micro_batch_tokens": MICRO_BATCH, **settings})
    algorithm.learn(tokens)
    assert algorithm.num_timesteps >= tokens


OFF_POLICY = {"learning_starts": 0, "updates_per_collection": 1, "batch_episodes": 32, "num_rows": 32}

ROWS: dict[str, tuple[float, Callable[[], None]]] = {
    "imports and an agent": (1.2, lambda: learn("PPO", 1, num_rows=1, new=1)),
    "PPO, 4,096 tokens": (1.2, lambda: learn("PPO", 4096)),
    "PPO, 4,096 tokens, action masks": (1.2, lambda: learn("PPO", 4096, action_masks=True)),
    "PPO, 20,000 tokens": (1.2, lambda: learn("PPO", 20_000)),
    "A2C, 4,096 tokens": (1.2, lambda: learn("A2C", 4096)),
    "SAC, 32 × 64 tokens": (1.5, lambda: learn("SAC", 2048, **OFF_POLICY)),
    "SAC, 32 × 64 tokens, action masks": (1.5, lambda: learn("SAC", 2048, action_masks=True, **OFF_POLICY)),
    "DQN, 32 × 64 tokens": (1.5, lambda: learn("DQN", 2048, **OFF_POLICY)),
    "DQN, 32 × 64 tokens, action masks": (1.5, lambda: learn("DQN", 2048, action_masks=True, **OFF_POLICY)),
}
"""What is measured: by name, the most gigabytes that it may take, and what runs."""

OF_CHECKPOINT: dict[str, tuple[float, int | None]] = {
    "PPO of the checkpoint, 8 × 24 tokens": (3.6, None),
    "PPO of the checkpoint, 8 × 24, LoRA": (2.5, 8),
}
"""Rows of a checkpoint: by name, the most gigabytes, and the rank of the adapters."""


FEW, MANY = "PPO, 4,096 tokens", "PPO, 20,000 tokens"
GROWTH = 1.05
"""How much more the many may take than the few."""


def measure(name: str, checkpoint: str | None = None) -> float:
    """Run a row in a fresh process and return its peak in gigabytes.

    Raises:
        RuntimeError: it failed.
    """
    arguments = [sys.executable, "-m", "benchmarks.peak_memory", "--row", name]
    arguments += [] if checkpoint is None else ["--checkpoint", checkpoint]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{name} failed:\n{ended.stderr}")
    return float(json.loads(ended.stdout.splitlines()[-1]))


def learn_checkpoint(folder: str, lora_rank: int | None = None) -> None:
    """One PPO iteration of 8 × 24 tokens of a language model, in float32 with a KL to what it was."""
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        size = int(json.load(file)["vocab_size"])
    sparing = {"micro_batch_tokens": 40, "gradient_checkpointing": True, "lora_rank": lora_rank}
    learn("PPO", 192, agent=folder, new=24, size=size, num_rows=8, kl_coef=0.05, minibatches=1, epochs=2, **sparing)


def main() -> int:
    """Measure all rows, or run one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a folder of a causal language model, such as SmolLM2-135M")
    parser.add_argument("--only", help="measure the rows whose names hold this")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        if given.row in OF_CHECKPOINT:
            learn_checkpoint(given.checkpoint, OF_CHECKPOINT[given.row][1])
        else:
            ROWS[given.row][1]()
        unit = 1 if sys.platform == "darwin" else 1024
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9))
        return 0
    rows = {**ROWS, **(OF_CHECKPOINT if given.checkpoint else {})}
    limits = {name: row[0] for name, row in rows.items()}
    failed, peaks = False, {}
    for name, limit in limits.items():
        if given.only is None or given.only in name:
            peak = peaks[name] = measure(name, given.checkpoint)
            failed |= peak > limit
            print(f"{name:<40} {peak:5.2f} GB, at most {limit:.2f}{'' if peak <= limit else '  TOO MUCH'}", flush=True)
    if FEW in peaks and MANY in peaks:
        growth = peaks[MANY] / peaks[FEW]
        failed |= growth > GROWTH
        print(f"{MANY} beside 4,096: {growth:.3f} times as much, at most {GROWTH}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
