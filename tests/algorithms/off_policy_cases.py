"""What the tests of DQN and SAC share: a small configuration and a callback that interrupts."""

from tokengym.algorithms.runs.callbacks import Callback

QUICK = {"learning_starts": 0, "rollout_tokens": 64, "num_rows": 16, "batch_episodes": 16}


class Stop(Callback):
    """Stops after a number of updates."""

    def __init__(self, updates):
        self.left = updates

    def on_update(self, algorithm, metrics):
        self.left -= 1
        return self.left > 0
