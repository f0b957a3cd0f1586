"""CartPole: Gymnasium's CartPole-v1 in numpy, for a batch of rows, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...continuous import Floats, PhysicsTask, Sketch, captioned, checked_bounds
from ...drawing import Cell, Picture
from ...random import CounterRandom
from ...task import Rows, State

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


class CartPole(PhysicsTask):
    """Balance a pole on a cart.

    ## Description
    A pole stands on a cart that is pushed to the left or to the right at every step. The dynamics are those of
    Gymnasium's `CartPole-v1`, equal to the last bit, for all rows at once. It isolates long credit in a Markov task:
    500 decisions of one token, of which a bad one shows much later. Mirrors a robot controller that reads quantised
    sensors, as in RT-2.

    ## Action space
    Tokens `left`, `right`: a push of 10 N for .02 s.

    ## Observation space
    `[<bos>, x, v, angle, spin]` in context "turn": cart position and velocity, pole angle and angular velocity, each in
    an alphabet of its own of `bins` tokens (`x0`, `x1`, …), equally spaced between plus and minus its bound; what lies
    outside is clipped. A linear controller on the dequantised values, the task's `expert`, balances for all 500 steps:
    it pushes right where .1·x + .3·v + 3·angle + spin > 0.

    ## Rewards
    1 for every token, the last one included. The random return of 22.22 is measured, over 100,000 episodes.

    ## Starting state
    All four values uniform on ±.05.

    ## Episode end
    Terminated when the cart leaves ±2.4 m or the pole ±12°; truncated after `max_steps` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=16`: tokens of each value, at least 2. More is a finer sight and a larger vocabulary.
    * `bounds=(2.4, 3, .2094, 3)`: the largest magnitudes told of position (m), velocity (m/s), angle (rad) and angular
      velocity (rad/s).
    * `max_steps=500`: the time limit.

    ## References
    Barto, Sutton and Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems", 1983.

    ## Version history
    * v0: first release.
    """

    name = "CartPole"
    isolates = "long credit, Markov state"
    mirrors = "Gymnasium's CartPole"
    reward_range = (1.0, 1.0)
    values = VALUES

    def __init__(
        self, bins: int = 16, bounds: Sequence[float] = (2.4, 3.0, ANGLE_LIMIT, 3.0), max_steps: int = 500
    ) -> None:
        high = checked_bounds(bounds, VALUES)
        self.set_up(["left", "right"], [-bound for bound in high], high, bins, max_steps)
        if max_steps == 500:
            self.random_return, self.optimal_return = RANDOM_RETURN, 500.0

    def draw(self, rows: Rows, random: CounterRandom) -> Floats:
        """Draws all four values, uniform on ±.05."""
        return random.uniform(rows, len(VALUES)) * 0.1 - 0.05

    def move(self, physics: Floats, actions: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Pushes the carts for one step of Euler's method."""
        x, x_dot, theta, theta_dot = physics.T
        force = np.where(actions == 1, FORCE, -FORCE)
        cos, sin = np.cos(theta), np.sin(theta)
        # The order of the operations is Gymnasium's: another one would round differently.
        push = (force + POLE_MASS_LENGTH * np.square(theta_dot) * sin) / TOTAL_MASS
        theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - MASS_POLE * np.square(cos) / TOTAL_MASS))
        x_acc = push - POLE_MASS_LENGTH * theta_acc * cos / TOTAL_MASS
        x, x_dot = x + TAU * x_dot, x_dot + TAU * x_acc
        theta, theta_dot = theta + TAU * theta_dot, theta_dot + TAU * theta_acc
        terminated = (np.abs(x) > POSITION_LIMIT) | (np.abs(theta) > ANGLE_LIMIT)
        return np.stack((x, x_dot, theta, theta_dot), axis=1), np.ones(len(x)), terminated

    def move_row(self, physics: list[float], action: int) -> tuple[Sequence[float], float, bool]:
        """Pushes one cart, as `move` does."""
        x, x_dot, theta, theta_dot = physics
        force = FORCE if action == 1 else -FORCE
        cos, sin = float(np.cos(theta)), float(np.sin(theta))
        push = (force + POLE_MASS_LENGTH * (theta_dot * theta_dot) * sin) / TOTAL_MASS
        theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - MASS_POLE * (cos * cos) / TOTAL_MASS))
        x_acc = push - POLE_MASS_LENGTH * theta_acc * cos / TOTAL_MASS
        x, x_dot = x + TAU * x_dot, x_dot + TAU * x_acc
        theta, theta_dot = theta + TAU * theta_dot, theta_dot + TAU * theta_acc
        return (x, x_dot, theta, theta_dot), 1.0, abs(x) > POSITION_LIMIT or abs(theta) > ANGLE_LIMIT

    def control(self, seen: Floats) -> npt.NDArray[np.integer]:
        """Pushes to the side that a linear controller says."""
        return (seen @ np.array([0.1, 0.3, 3.0, 1.0]) > 0).astype(np.int64)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the cart on its track, with the pole on it."""
        x, v, angle, spin = state["physics"][row].tolist()
        sketch = Sketch(15, 8)
        sketch.line((0, 0.5), (14.9, 0.5), "#c9c4b8")
        centre = 7.5 + x / POSITION_LIMIT * 7
        sketch.line((centre, 1.5), (centre + 6 * math.sin(angle), 1.5 + 6 * math.cos(angle)), "#c98a4b")
        for place in (-1, 0, 1):
            sketch.put(centre + place, 1.5, Cell(fill="#3b4a5a"))
        told = captioned(VALUES, (x, v, angle, spin), (" m", " m/s", " rad", " rad/s"))
        return sketch.picture(f"{told}; over at ±{POSITION_LIMIT}, ±{ANGLE_LIMIT:.2f}")
