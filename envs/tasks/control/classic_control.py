"""MountainCar, Acrobot and Pendulum: Gymnasium's classic control in numpy, for a batch of rows, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...continuous import Floats, PhysicsTask, Sketch, captioned, checked_bounds
from ...drawing import Cell, Picture
from ...random import CounterRandom
from ...task import Rows, State
from .double_pendulum import swing, swing_row

_MOST_TORQUES = 2001  # beyond, four digits no longer tell their names apart
_GROUND, _ROD, _BODY, _GOAL = "#c9c4b8", "#c98a4b", "#3b4a5a", "#8fce7e"


class MountainCar(PhysicsTask):
    """Drive out of a valley with an engine that is too weak for the slope.

    ## Description
    A car stands in a valley. Its engine cannot drive it straight up to the flag on the right: it has to swing back and
    forth first. The dynamics are those of Gymnasium's `MountainCar-v0`, for all rows at once. It isolates exploration
    with a constant cost: before the flag was reached for the first time, nothing tells one episode from another.
    Mirrors the textbook problem of control.

    ## Action space
    Tokens `left`, `coast`, `right`.

    ## Observation space
    `[<bos>, x, v]` in context "turn": position and velocity, each in an alphabet of its own of `bins` tokens (`x0`,
    `x1`, …), equally spaced over the position's −1.2…0.6 and the velocity's ±.07.

    ## Rewards
    −1 for every token.

    ## Starting state
    The position uniform on −.6…−.4, at rest.

    ## Episode end
    Terminated at the flag, x ≥ .5; truncated after `max_steps` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=16`: tokens of each value, at least 2.
    * `max_steps=200`: the time limit.

    ## References
    Moore, "Efficient Memory-based Learning for Robot Control", 1990.

    ## Version history
    * v0: first release.
    """

    name = "MountainCar"
    isolates = "exploration under a constant cost"
    mirrors = "Gymnasium's MountainCar"
    reward_range = (-1.0, -1.0)
    values = ("x", "v")

    def __init__(self, bins: int = 16, max_steps: int = 200) -> None:
        self.set_up(["left", "coast", "right"], [-1.2, -0.07], [0.6, 0.07], bins, max_steps)

    def draw(self, rows: Rows, random: CounterRandom) -> Floats:
        """Draws the position, uniform on −.6…−.4."""
        position = random.uniform(rows, 1) * 0.2 - 0.6
        return np.concatenate([position, np.zeros_like(position)], axis=1)

    def move(self, physics: Floats, actions: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Drives for one step; the left end of the track stops the car."""
        x, v = physics.T
        v = np.clip(v + (actions - 1) * 0.001 - np.cos(3 * x) * 0.0025, -0.07, 0.07)
        x = np.clip(x + v, -1.2, 0.6)
        v = np.where((x == -1.2) & (v < 0), 0.0, v)
        return np.stack((x, v), axis=1), np.full(len(x), -1.0), (x >= 0.5) & (v >= 0)

    def move_row(self, physics: list[float], action: int) -> tuple[Sequence[float], float, bool]:
        """Drives one car, as `move` does."""
        x, v = physics
        v = min(max(v + (action - 1) * 0.001 - float(np.cos(3 * x)) * 0.0025, -0.07), 0.07)
        x = min(max(x + v, -1.2), 0.6)
        if x == -1.2 and v < 0:
            v = 0.0
        return (x, v), -1.0, x >= 0.5 and v >= 0

    def control(self, seen: Floats) -> npt.NDArray[np.integer]:
        """Pushes the way that the car goes."""
        return np.where(seen[:, 1] >= 0, 2, 0)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the valley, the flag and the car."""
        sketch = Sketch(19, 9)

        def place(x: float) -> tuple[float, float]:
            return (x + 1.2) / 1.8 * 19, 0.5 + (math.sin(3 * x) + 1) / 2 * 6.5

        for step in range(100):
            column, height = place(-1.2 + 1.799 * step / 99)
            sketch.line((column, 0), (column, height), _GROUND)
        column, height = place(0.5)
        sketch.put(column, height + 1, Cell("F", _GOAL))
        x, v = state["physics"][row].tolist()
        column, height = place(min(x, 0.599))
        sketch.put(column, height + 1, Cell(fill=_BODY))
        return sketch.picture(f"x {x:+.2f}  v {v:+.3f}  F flag")


class Acrobot(PhysicsTask):
    """Swing the end of a double pendulum above a line, with a motor in the middle joint only.

    ## Description
    Two links hang from a fixed point. The only motor is in the joint between them, and too weak to lift them: they have
    to be swung up. The dynamics are those of Gymnasium's `Acrobot-v1`, for all rows at once. It isolates exploration
    with six observed values, of which no single one tells what to do. Mirrors the textbook problem of control.

    ## Action space
    Tokens `torque-`, `coast`, `torque+`: a torque of −1, 0 or 1 N m on the joint.

    ## Observation space
    `[<bos>, cos1, sin1, cos2, sin2, spin1, spin2]` in context "turn": cosine and sine of the first link's angle (0 is
    straight down) and of the second one's against the first, and both angular velocities, each in an alphabet of its
    own of `bins` tokens (`cos1_0`, `cos1_1`, …). What lies outside of the bounds is clipped.

    ## Rewards
    −1 for every token, 0 for the one that reaches the line.

    ## Starting state
    Both angles and both velocities uniform on ±.1.

    ## Episode end
    Terminated when the end is more than one link above the fixed point; truncated after `max_steps` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=16`: tokens of each value, at least 2.
    * `spin_bounds=(6, 12)`: the largest magnitudes told of the two angular velocities (rad/s); the simulator's own
      limits are 4π and 9π.
    * `max_steps=500`: the time limit.

    ## References
    Sutton, "Generalization in Reinforcement Learning: Successful Examples Using Sparse Coarse Coding", 1996.

    ## Version history
    * v0: first release.
    """

    name = "Acrobot"
    isolates = "exploration with many values"
    mirrors = "Gymnasium's Acrobot"
    reward_range = (-1.0, 0.0)
    values = ("cos1_", "sin1_", "cos2_", "sin2_", "spin1_", "spin2_")

    def __init__(self, bins: int = 16, spin_bounds: Sequence[float] = (6.0, 12.0), max_steps: int = 500) -> None:
        high = [1.0] * 4 + list(checked_bounds(spin_bounds, ("spin1", "spin2")))
        self.set_up(["torque-", "coast", "torque+"], [-bound for bound in high], high, bins, max_steps)

    def draw(self, rows: Rows, random: CounterRandom) -> Floats:
        """Draws angles and velocities, uniform on ±.1 and as precise as Gymnasium's."""
        return (random.uniform(rows, 4) * 0.2 - 0.1).astype(np.float32).astype(np.float64)

    def move(self, physics: Floats, actions: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Turns the motor for .2 s, by one step of the fourth-order method of Runge and Kutta."""
        torque = np.asarray(actions, np.float64) - 1.0
        after = swing(physics.T, torque)
        terminated = -np.cos(after[0]) - np.cos(after[1] + after[0]) > 1.0
        return after.T, np.where(terminated, 0.0, -1.0), terminated

    def move_row(self, physics: list[float], action: int) -> tuple[Sequence[float], float, bool]:
        """Turns one motor, as `move` does."""
        first, second, spin1, spin2 = swing_row(physics, action - 1.0)
        terminated = bool(-np.cos(first) - np.cos(second + first) > 1.0)
        return (first, second, spin1, spin2), 0.0 if terminated else -1.0, terminated

    def observe_row(self, physics: Sequence[float]) -> Sequence[float]:
        """Returns the angles as cosines and sines, and the velocities."""
        first, second, spin1, spin2 = physics
        return float(np.cos(first)), float(np.sin(first)), float(np.cos(second)), float(np.sin(second)), spin1, spin2

    def observe(self, physics: Floats) -> Floats:
        """Returns the angles as cosines and sines, and the velocities."""
        first, second, spin1, spin2 = physics.T
        return np.stack([np.cos(first), np.sin(first), np.cos(second), np.sin(second), spin1, spin2], axis=1)

    def control(self, seen: Floats) -> npt.NDArray[np.integer]:
        """Turns the way that the joint moves, which puts energy in at every step."""
        return np.where(seen[:, 5] >= 0, 2, 0)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns both links and the line that the end has to reach."""
        first, second, spin1, spin2 = state["physics"][row].tolist()
        sketch, pivot, length = Sketch(13, 11), (6.5, 5.5), 2.5
        sketch.line((0, pivot[1] + length), (12.9, pivot[1] + length), _GOAL)
        joint = pivot[0] + length * math.sin(first), pivot[1] - length * math.cos(first)
        end = joint[0] + length * math.sin(first + second), joint[1] - length * math.cos(first + second)
        sketch.line(pivot, joint, _BODY)
        sketch.line(joint, end, _ROD)
        sketch.put(*pivot, Cell("+", _BODY, "#ffffff"))
        return sketch.picture(
            captioned(("angle1", "angle2", "spin1", "spin2"), (first, second, spin1, spin2), (" rad", " rad", "", ""))
        )


class Pendulum(PhysicsTask):
    """Swing a pendulum up and hold it upright.

    ## Description
    A pendulum turns about a motor that is too weak to lift it straight up. The dynamics are those of Gymnasium's
    `Pendulum-v1`, for all rows at once, with the torque on a grid. It isolates continuous control by tokens: an ordered
    set of actions, and a dense cost. Mirrors RT-2, where a real-valued action is one token of a number of bins.

    ## Action space
    `torques` tokens, `torque-2`, `torque-1.5`, … `torque+2`: equally spaced torques (N m), held for .05 s.

    ## Observation space
    `[<bos>, cos, sin, spin]` in context "turn": cosine and sine of the angle (0 is upright) and the angular velocity,
    each in an alphabet of its own of `bins` tokens (`cos0`, `cos1`, …).

    ## Rewards
    −(angle² + .1·spin² + .001·torque²), with the angle in ±π and both values from before the step.

    ## Starting state
    The angle uniform on ±π, the velocity uniform on ±1.

    ## Episode end
    Truncated after `max_steps` tokens; there is no other end.

    ## Information
    No keys of its own.

    ## Arguments
    * `torques=9`: the number of torques, at least 2; an odd number has 0 among them.
    * `bins=16`: tokens of each value, at least 2.
    * `max_steps=200`: the time limit.

    ## References
    Brohan et al., "RT-2: Vision-Language-Action Models Transfer Web Knowledge to Robotic Control", 2023.

    ## Version history
    * v0: first release.
    """

    name = "Pendulum"
    isolates = "continuous control by tokens"
    mirrors = "Gymnasium's Pendulum"
    reward_range = (-(math.pi**2 + 0.1 * 8**2 + 0.001 * 2**2), 0.0)
    values = ("cos", "sin", "spin")

    def __init__(self, torques: int = 9, bins: int = 16, max_steps: int = 200) -> None:
        if positive_int("torques", torques, _MOST_TORQUES) < 2:
            raise TokenGymError(f"torques={torques}: give at least 2, for one to either side")
        self.torques = np.linspace(-2.0, 2.0, torques)
        names = [f"torque{torque:+.4g}" for torque in self.torques.tolist()]
        self.set_up(names, [-1.0, -1.0, -8.0], [1.0, 1.0, 8.0], bins, max_steps)

    def draw(self, rows: Rows, random: CounterRandom) -> Floats:
        """Draws the angle, uniform on ±π, and the velocity, uniform on ±1."""
        return (random.uniform(rows, 2) * 2 - 1) * np.array([math.pi, 1.0])

    def move(self, physics: Floats, actions: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Turns the motor for one step of Euler's method."""
        angle, spin = physics.T
        torque = self.torques[actions]
        upright = (angle + np.pi) % (2 * np.pi) - np.pi
        costs = upright**2 + 0.1 * spin**2 + 0.001 * torque**2
        spin = np.clip(spin + (15.0 * np.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
        after = np.stack((angle + spin * 0.05, spin), axis=1)
        return after, -costs, np.zeros(len(angle), np.bool_)

    def observe(self, physics: Floats) -> Floats:
        """Returns cosine and sine of the angle, and the velocity."""
        angle, spin = physics.T
        return np.stack((np.cos(angle), np.sin(angle), spin), axis=1)

    def move_row(self, physics: list[float], action: int) -> tuple[Sequence[float], float, bool]:
        """Turns one motor, as `move` does."""
        angle, spin = physics
        torque = self.torques.item(action)
        upright = (angle + math.pi) % (2 * math.pi) - math.pi
        cost = upright * upright + 0.1 * (spin * spin) + 0.001 * (torque * torque)
        spin = min(max(spin + (15.0 * float(np.sin(angle)) + 3.0 * torque) * 0.05, -8.0), 8.0)
        return (angle + spin * 0.05, spin), -cost, False

    def observe_row(self, physics: Sequence[float]) -> Sequence[float]:
        """Returns cosine and sine of one angle, and the velocity."""
        angle, spin = physics
        return float(np.cos(angle)), float(np.sin(angle)), spin

    def control(self, seen: Floats) -> npt.NDArray[np.integer]:
        """Puts energy in until there is enough to stand upright, and then balances."""
        cos, sin, spin = seen.T
        missing = 15.0 - (spin**2 / 2 + 15.0 * cos)  # per moment of inertia
        swing = np.sign(spin) * np.clip(missing, -2.0, 2.0)
        wanted = np.where(cos > 0.9, -(10.0 * sin + 2.0 * spin), swing)
        return np.abs(self.torques - np.clip(wanted, -2.0, 2.0)[:, None]).argmin(axis=1)

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the rod."""
        angle, spin = state["physics"][row].tolist()
        sketch = Sketch(11, 11)
        sketch.line((5.5, 5.5), (5.5 - 4.9 * math.sin(angle), 5.5 + 4.9 * math.cos(angle)), _ROD)
        sketch.put(5.5, 5.5, Cell("+", _BODY, "#ffffff"))
        upright = (angle + math.pi) % (2 * math.pi) - math.pi
        return sketch.picture(captioned(("angle", "spin"), (upright, spin), (" rad (0 is up)", " rad/s")))
