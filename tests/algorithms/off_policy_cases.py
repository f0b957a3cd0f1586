"""What the tests of DQN and SAC share: a small configuration, a callback that interrupts, and a draw's whole loss."""

import torch

from tokengym.algorithms.runs.callbacks import Callback

QUICK = {"learning_starts": 0, "rollout_tokens": 64, "num_rows": 16, "batch_episodes": 16}


class Stop(Callback):
    """Stops after a number of updates."""

    def __init__(self, updates):
        self.left = updates

    def on_update(self, algorithm, metrics):
        self.left -= 1
        return self.left > 0


def whole_loss(algorithm, replayed):
    """The loss of a draw, its temporal-difference errors and its terms; what comes of it for coefficients, too."""
    prepared = algorithm.prepare(replayed)
    losses = [algorithm.loss(part, prepared) for part in prepared.parts]
    total = torch.stack([loss.total for loss in losses]).sum()
    errors = torch.cat([loss.tokens["errors"] for loss in losses])
    return total, errors, algorithm.after_step(prepared)


def states_of(replayed):
    """Rows and columns of the states of the N tokens and, behind them, of the F final ones."""
    batch = replayed.batch
    rows = torch.cat([batch.rows, batch.final_rows])
    return rows, torch.cat([batch.columns, batch.lengths[batch.final_rows]])


def numbers_of(algorithm, replayed):
    """The numbers of a draw's N + F states in the agent's table."""
    rows, columns = states_of(replayed)
    return algorithm.agent.trunk(replayed.batch.tokens, replayed.batch.lengths)[rows, columns - 1]


def outputs_of(algorithm, agent, replayed, heads):
    """What an agent says in a draw's N + F states."""
    rows, columns = states_of(replayed)
    return agent.evaluate(replayed.batch.tokens, replayed.batch.lengths, rows, columns, heads=heads)


def masks_of(replayed):
    """What may be said in a draw's N + F states, bool (N + F, A), or None."""
    if replayed.batch.masks is None:
        return None
    return torch.cat([replayed.batch.masks.unpack(), replayed.final_masks.unpack()])
