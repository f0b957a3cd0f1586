"""Random episodes of a task, as the tests compare them."""

import numpy as np

from tokengym.envs import Engine, derive_start


def episodes(task, num_rows=6, seed=0, steps=40):
    """One random episode a row: for each its rewards, its tokens and how it ended."""
    engine = Engine(task, num_rows)
    engine.reset(None, derive_start(seed, np.arange(num_rows)))
    rng = np.random.default_rng(seed)
    actions = rng.integers(task.vocabulary.num_actions, size=(steps, num_rows))
    rewards, said = [[] for _ in range(num_rows)], [[] for _ in range(num_rows)]
    ends: list = [None] * num_rows
    for time in range(steps):
        rows = np.flatnonzero(~engine.over)
        if not len(rows):
            break
        result = engine.step(rows, actions[time, rows])
        for place, row in enumerate(rows):
            rewards[row].append(result.rewards[place])
            said[row].append(int(actions[time, row]))
            if engine.over[row]:
                ends[row] = "terminated" if result.terminated[place] else "truncated"
    return rewards, said, ends
