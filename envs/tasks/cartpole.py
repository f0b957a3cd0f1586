"""CartPole: Gymnasium's CartPole-v1 in numpy, for a batch of rows, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import TokenGymError, positive_int
from ..quantise import Grid
from ..random import CounterRandom
from ..task import Outcome, Reply, Rows, State, Task
from ..vocabulary import Vocabulary

GRAVITY = 9.8
MASS_POLE = 0.1
TOTAL_MASS = MASS_POLE + 1.0
LENGTH = 0.5
POLE_MASS_LENGTH = MASS_POLE * LENGTH
FORCE = 10.0
TAU = 0.02
ANGLE_LIMIT = 12 * 2 * math.pi / 360
POSITION_LIMIT = 2.4
RANDOM_RETURN = 22.22
"""Mean return of uniformly random actions, from 100,000 episodes."""
VALUES = ("x", "v", "angle", "spin")
"""The observed values: cart position and velocity, pole angle and angular velocity."""


class CartPole(Task):
    """Balance a pole on a cart: the classic control task with the state told in four tokens.

    **Description.** The dynamics are those of Gymnasium's `CartPole-v1`, equal to the last bit, for all rows at once.
    It isolates long credit in a Markov task (500 decisions of one token) and mirrors a robot controller that reads
    quantised sensors, as in RT-2.

    **Action space.** Two tokens, `left` and `right`: a push of 10 N for .02 s.

    **Observation.** Context `"turn"`: `bos` and one token a value, `x`, `v`, `angle`, `spin`, each with an alphabet of
    its own of `bins` tokens (`x0`, `x1`, …), equally spaced between plus and minus its bound; what lies outside is
    clipped. A linear controller on the dequantised values balances for all 500 steps.

    **Rewards.** 1 a step, the last one included.

    **Starting state.** All four values uniform on ±.05.

    **Episode end.** `terminated` when the cart leaves ±2.4 m or the pole ±12°; `truncated` after `max_steps`.

    **Version history.** v0: first version.
    """

    name = "CartPole"
    family = "control"
    context = "turn"
    max_turn_tokens = 1
    reward_range = (1.0, 1.0)
    deterministic = True

    def __init__(
        self, bins: int = 16, bounds: Sequence[float] = (2.4, 3.0, ANGLE_LIMIT, 3.0), max_steps: int = 500
    ) -> None:
        """Sets the task up.

        Args:
            bins: Tokens of each value, at least 2. More is a finer sight and a larger vocabulary.
            bounds: The largest magnitudes told of position (m), velocity (m/s), angle (rad) and angular velocity
                (rad/s). Typically the limits for the first and third, and 2 … 4 for the velocities.
            max_steps: The time limit.
        """
        if len(bounds) != len(VALUES) or not all(math.isfinite(bound) and bound > 0 for bound in bounds):
            raise TokenGymError(f"bounds={bounds!r}: give four numbers above 0, one for each of {', '.join(VALUES)}")
        self.grid = Grid(-np.array(bounds, np.float64), np.array(bounds, np.float64), bins)
        self.max_steps = positive_int("max_steps", max_steps)
        names = [f"{value}{index}" for value in VALUES for index in range(bins)]
        self.vocabulary = Vocabulary.of(["left", "right"], names)
        self.max_length = 1 + len(VALUES) + 1
        self.max_episode_tokens = max_steps
        self._first = 2 + bins * np.arange(len(VALUES))
        if max_steps == 500:
            self.random_return, self.optimal_return = RANDOM_RETURN, 500.0

    def make_state(self, num_rows: int) -> State:
        """Returns the physical states, float64 (n, 4), and the steps taken."""
        return {"physics": np.zeros((num_rows, len(VALUES))), "steps": np.zeros(num_rows, np.int64)}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Draws the starting states; see `Task.start`."""
        physics = random.uniform(rows, len(VALUES)) * 0.1 - 0.05
        state["physics"][rows] = physics
        state["steps"][rows] = 0
        return self._show(physics)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Pushes each row's cart for one step of Euler's method; see `Task.advance`."""
        x, x_dot, theta, theta_dot = state["physics"][rows].T
        force = np.where(actions == 1, FORCE, -FORCE)
        cos, sin = np.cos(theta), np.sin(theta)
        # The order of the operations is Gymnasium's: another one would round differently.
        push = (force + POLE_MASS_LENGTH * np.square(theta_dot) * sin) / TOTAL_MASS
        theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - MASS_POLE * np.square(cos) / TOTAL_MASS))
        x_acc = push - POLE_MASS_LENGTH * theta_acc * cos / TOTAL_MASS
        x, x_dot = x + TAU * x_dot, x_dot + TAU * x_acc
        theta, theta_dot = theta + TAU * theta_dot, theta_dot + TAU * theta_acc
        physics = np.stack((x, x_dot, theta, theta_dot), axis=1)
        steps = state["steps"][rows] + 1
        state["physics"][rows] = physics
        state["steps"][rows] = steps
        m = len(rows)
        terminated = (np.abs(x) > POSITION_LIMIT) | (np.abs(theta) > ANGLE_LIMIT)
        truncated = steps >= self.max_steps
        return Outcome(np.ones(m), terminated, np.ones(m, np.bool_), self._show(physics), truncated=truncated)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer]:
        """Returns the pushes of a linear controller that sees what the agent sees."""
        seen = self.grid.decode(self.grid.encode(state["physics"][rows].astype(np.float32)))
        return (seen @ np.array([0.1, 0.3, 3.0, 1.0]) > 0).astype(np.int64)

    def read_observations(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Gives the numbers (m, 4) that observation tokens (m, 4), without `bos`, stand for."""
        return self.grid.decode(np.asarray(tokens) - self._first)

    def _show(self, physics: npt.NDArray[np.float64]) -> Reply:
        # Gymnasium shows float32, so that is what is quantised.
        tokens = (self.grid.encode(physics.astype(np.float32)) + self._first).astype(np.int32)
        return Reply(tokens, np.full(len(tokens), len(VALUES), np.int32), padded=True)
