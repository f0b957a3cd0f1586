"""Reacher, InvertedPendulum and FetchReach: robots simulated by MuJoCo, token by token (optional dependencies)."""

from __future__ import annotations

import contextlib
import io
import math
from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, flag, positive_int
from ...continuous import MOST_BINS, Sketch
from ...drawing import Cell, Picture
from ...task import Rows, State
from .gym_task import Gym

_MIDDLE = np.array([1.342, 0.749, 0.555])  # where FetchReach's gripper starts
_FRAME, _BODY, _GOAL = "#c98a4b", "#3b4a5a", "#8fce7e"
_PENDULUM_BINS = 33


class Robot(Gym):
    """A simulated robot: every observed value and every component of an action is one token of `bins`.

    A subclass passes on what it wraps, and writes a controller, which serves as expert.
    """

    def __init__(self, env_id: str, bins: int, low: list[float], high: list[float], max_episode_steps: int) -> None:
        if positive_int("bins", bins, MOST_BINS) < 2:
            raise TokenGymError(f"bins={bins}: give at least 2 points for every value")
        super().__init__(env_id, base=bins, digits=1, low=low, high=high, max_episode_steps=max_episode_steps)

    @abstractmethod
    def control(self, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Returns a good controller's actions (m, k), which are clipped, from dequantised observations (m, d)."""

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer]:
        """Returns the tokens that spell the actions of a controller that sees what the agent sees."""
        shown = [env.unwrapped._get_obs() for env in state["env"][rows]]
        actions = self.control(self._observation.decode_numbers(self._observation.encode(shown)))
        spelt = self._action.encode(list(actions))
        return spelt[np.arange(len(rows)), state["turn_counts"][rows]]

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the robot as the observation tells it."""
        return self.drawn(self.read_observations(tokens[None, 1 : 1 + self._observation.num_tokens])[0])

    @abstractmethod
    def drawn(self, seen: npt.NDArray[np.float64]) -> Picture:
        """Returns a picture of dequantised observations (d,)."""


class Reacher(Robot):
    """Bring the tip of an arm of two links to a target.

    ## Description
    An arm of two links turns in a plane; a target lies within its reach. MuJoCo simulates it: Gymnasium's `Reacher-v5`.
    It isolates actions of several tokens: two torques are one step, and only the second one moves the arm. Mirrors
    robot policies that say one token of 256 for each joint.

    ## Action space
    `bins` tokens, `0`, `1`, …; a turn is two of them: the torques of shoulder and elbow on equally spaced points of ±1.

    ## Observation space
    `[<bos>, ten values, tokens of the turn under way]` in context "turn", one token each, the same as the actions':
    cosines of both angles, sines of both, the target's place, both angular velocities, and the way from target to tip.
    Reals outside of their bounds are clipped: ±1 for cosines and sines, ±.2 m, ±10 rad/s, ±.4 m.

    ## Rewards
    −distance − .1·(sum of the squared torques), with the turn's second token.

    ## Starting state
    The angles uniform on ±.1, the velocities on ±.005, the target uniform in a circle of .2 m.

    ## Episode end
    Truncated after `max_episode_steps` turns; there is no other end.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=32`: tokens, and points of every value, at least 2.
    * `max_episode_steps=50`: turns until an episode is cut.

    ## References
    Todorov, Erez and Tassa, "MuJoCo: A Physics Engine for Model-Based Control", 2012.

    ## Version history
    * v0: first release.
    """

    name = "Reacher"
    isolates = "actions of several tokens"
    mirrors = "Gymnasium's Reacher"
    value_names = (
        *("cos shoulder", "cos elbow", "sin shoulder", "sin elbow", "target x", "target y"),
        *("spin shoulder", "spin elbow", "tip − target x", "tip − target y"),
    )
    component_names = ("torque of the shoulder", "torque of the elbow")

    def __init__(self, bins: int = 32, max_episode_steps: int = 50) -> None:
        high = [1.0] * 4 + [0.2] * 2 + [10.0] * 2 + [0.4] * 2
        super().__init__("Reacher-v5", bins, [-bound for bound in high], high, max_episode_steps)

    def control(self, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Pulls the tip towards the target by the arm's Jacobian, transposed, and brakes the joints."""
        cos1, cos2, sin1, sin2, _, _, spin1, spin2, off_x, off_y = seen.T
        cos12, sin12 = cos1 * cos2 - sin1 * sin2, sin1 * cos2 + cos1 * sin2
        elbow = 0.11 * (-sin12 * off_x + cos12 * off_y)
        shoulder = 0.1 * (-sin1 * off_x + cos1 * off_y) + elbow
        return np.clip(np.stack((-9 * shoulder - 0.04 * spin1, -9 * elbow - 0.03 * spin2), axis=1), -1, 1)

    def drawn(self, seen: npt.NDArray[np.float64]) -> Picture:
        """Returns the arm and the target from above."""
        cos1, cos2, sin1, sin2, goal_x, goal_y, _, _, off_x, off_y = seen.tolist()

        def place(x: float, y: float) -> tuple[float, float]:
            return 5.5 + x / 0.22 * 5.5, 5.5 + y / 0.22 * 5.5

        joint = 0.1 * cos1, 0.1 * sin1
        tip = joint[0] + 0.11 * (cos1 * cos2 - sin1 * sin2), joint[1] + 0.11 * (sin1 * cos2 + cos1 * sin2)
        sketch = Sketch(11, 11)
        sketch.line(place(0, 0), place(*joint), _FRAME)
        sketch.line(place(*joint), place(*tip), _FRAME)
        sketch.put(*place(0, 0), Cell("+", _BODY, "#ffffff"))
        sketch.put(*place(goal_x, goal_y), Cell("T", _GOAL))
        sketch.put(*place(*tip), Cell("●", _FRAME))
        return sketch.picture(f"+ shoulder, ● tip, T target; about {math.hypot(off_x, off_y):.2f} m away")


class InvertedPendulum(Robot):
    """Balance a pole on a cart by forces of any size.

    ## Description
    A pole is hinged to a cart on a rail, which is pushed by a force between −3 and 3. MuJoCo simulates it: Gymnasium's
    `InvertedPendulum-v5`. It isolates balance with ordered, continuous actions, where `CartPole` has two pushes only.
    Mirrors the smallest robot of the MuJoCo benchmarks.

    ## Action space
    `bins` tokens, `0`, `1`, …: forces on equally spaced points of ±3.

    ## Observation space
    `[<bos>, position, angle, velocity, spin]` in context "turn", one token each, the same as the actions'. Reals
    outside of their bounds are clipped: ±1 m, ±.25 rad, ±3 m/s, ±5 rad/s.

    ## Rewards
    1 for every token, 0 for the one that lets the pole fall. The optimum is `max_episode_steps`, which the task's
    expert gets with the default bins.

    ## Starting state
    All four values uniform on ±.01.

    ## Episode end
    Terminated when the pole leans by more than .2 rad; truncated after `max_episode_steps` tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=33`: tokens, and points of every value, at least 2; with an odd number 0 is one of the points.
    * `max_episode_steps=1000`: tokens until an episode is cut.

    ## References
    Todorov, Erez and Tassa, "MuJoCo: A Physics Engine for Model-Based Control", 2012.

    ## Version history
    * v0: first release.
    """

    name = "InvertedPendulum"
    isolates = "balance by continuous actions"
    mirrors = "Gymnasium's InvertedPendulum"
    value_names = ("position", "angle", "velocity", "spin")
    component_names = ("force",)

    def __init__(self, bins: int = _PENDULUM_BINS, max_episode_steps: int = 1000) -> None:
        high = [1.0, 0.25, 3.0, 5.0]
        super().__init__("InvertedPendulum-v5", bins, [-bound for bound in high], high, max_episode_steps)
        if bins == _PENDULUM_BINS and max_episode_steps <= 1000:
            self.optimal_return = float(max_episode_steps)  # no episode can pay more, and the expert gets it

    def control(self, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Pushes under the side that the pole leans to."""
        return np.clip(seen @ np.array([[0.5], [20.0], [0.8], [2.5]]), -3, 3)

    def drawn(self, seen: npt.NDArray[np.float64]) -> Picture:
        """Returns the cart on its rail, with the pole on it; the angle is drawn four times as large as it is."""
        position, angle = seen[:2].tolist()
        sketch, centre = Sketch(15, 8), 7.5 + position * 7
        sketch.line((0, 0.5), (14.9, 0.5), "#c9c4b8")
        sketch.line((centre, 1.5), (centre + 6 * math.sin(4 * angle), 1.5 + 6 * math.cos(4 * angle)), _FRAME)
        for beside in (-1, 0, 1):
            sketch.put(centre + beside, 1.5, Cell(fill=_BODY))
        return sketch.picture(f"leans by {angle:+.3f} of 0.2 rad, drawn four times as much")


class FetchReach(Robot):
    """Move the gripper of a robot arm to a point in space.

    ## Description
    A Fetch arm with seven joints is steered by where its gripper shall go next; a goal floats in front of it. It is
    gymnasium-robotics' `FetchReach-v4`, simulated by MuJoCo. It isolates a goal that is told in the observation, and a
    reward that tells only whether it was reached. Mirrors the smallest of the Fetch tasks for goal-conditioned
    learning. On `FetchReach-dense` the reward is the distance.

    ## Action space
    `bins` tokens, `0`, `1`, …; a turn is four of them: the steps along x, y and z, on equally spaced points of ±1, and
    the gripper's fingers, which have no part in this task.

    ## Observation space
    `[<bos>, sixteen values, tokens of the turn under way]` in context "turn", one token each, the same as the actions':
    the gripper's place (achieved goal), the goal's place (desired goal), and the gripper's place once more, the
    fingers' places, the gripper's velocity and the fingers' velocities. Places are told within ±.35 m of where the
    gripper starts, velocities within ±.05 m a step, fingers within 0….05 m; what lies outside is clipped.

    ## Rewards
    0 for a turn after which the gripper is within .05 m of the goal, else −1, with the turn's last token. With `dense`
    −distance.

    ## Starting state
    The gripper at (1.342, .749, .555); the goal within ±.15 m of it on every axis.

    ## Episode end
    Truncated after `max_episode_steps` turns; there is no other end, so it pays to stay at the goal.

    ## Information
    No keys of its own.

    ## Arguments
    * `bins=65`: tokens, and points of every value, at least 2; with an odd number an action can be 0.
    * `dense=False`: whether the reward is −distance.
    * `max_episode_steps=50`: turns until an episode is cut.

    ## References
    Plappert et al., "Multi-Goal Reinforcement Learning: Challenging Robotics Environments and Request for Research",
    2018.

    ## Version history
    * v0: first release.
    """

    name = "FetchReach"
    isolates = "a goal in the observation"
    mirrors = "gymnasium-robotics' FetchReach"
    value_names = ("gripper x", "gripper y", "gripper z", "goal x", "goal y", "goal z", *[""] * 10)
    component_names = ("step along x", "step along y", "step along z", "fingers, without effect")

    def __init__(self, bins: int = 65, dense: bool = False, max_episode_steps: int = 50) -> None:
        # Importing it registers its environments, and prints a notice on some that are not used here.
        with contextlib.redirect_stderr(io.StringIO()):
            import gymnasium_robotics  # noqa: F401  # pyright: ignore[reportMissingImports]
        place, fingers, motion, slide = _MIDDLE.tolist(), [0.025] * 2, [0.0] * 3, [0.0] * 2
        middle = np.array([*place, *place, *place, *fingers, *motion, *slide])
        reach = np.array([0.35] * 9 + [0.025] * 2 + [0.05] * 5)
        env_id = "FetchReachDense-v4" if flag("dense", dense) else "FetchReach-v4"
        super().__init__(env_id, bins, (middle - reach).tolist(), (middle + reach).tolist(), max_episode_steps)

    def control(self, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Goes straight to the goal."""
        steps = np.clip(10 * (seen[:, 3:6] - seen[:, :3]), -1, 1)
        return np.concatenate([steps, np.zeros((len(seen), 1))], axis=1)

    def drawn(self, seen: npt.NDArray[np.float64]) -> Picture:
        """Returns gripper and goal from above, and beside it on a scale how high they are."""
        places = [((seen[first : first + 3] - _MIDDLE) / 0.2 * 4.5 + 4.5).tolist() for first in (0, 3)]
        sketch = Sketch(11, 9)
        for place in range(9):
            sketch.put(9, place, Cell(fill="#c9c4b8"))
        for (x, y, z), cell in zip(reversed(places), (Cell("G", _GOAL), Cell("@", _FRAME)), strict=True):
            sketch.put(min(max(x, 0), 8.9), y, cell)
            sketch.put(10, z, cell)
        distance = float(np.linalg.norm(seen[:3] - seen[3:6]))
        return sketch.picture(f"x to the right, y up; on the right z. @ gripper, G goal; about {distance:.2f} m away")
