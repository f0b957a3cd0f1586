"""A point on a line, steered by pushes: control with quantised observations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...drawing import Cell, Picture
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary

_MOST_STATES = 200_000


class Lattice(FiniteTask):
    """Bring a point to the origin and keep it there.

    ## Description
    A point on a line of whole numbers has a position x in −8…8 and a speed v in −3…3. Each token pushes it: with
    push a in −1, 0, 1 first v ← clip(v + a), then x ← clip(x + v). It isolates control: a Markov state, shown as
    tokens, that is replaced at every turn, and dense rewards. Mirrors the linear-quadratic regulator and robot policies
    that read quantised states and say quantised actions.

    ## Action space
    Tokens `push-`, `coast`, `push+`: a = −1, 0, 1.

    ## Observation space
    `[<bos>, x, v]`, one token each, in context "turn": 17 · 7 = 119 different observations.

    ## Rewards
    −(x² + .1·a²)/64 on the new x. The optimum that `solve` gives knows the clock, as any player does that remembers the
    episode; the clock is not shown, and a player that sees only x and v can at best come near.

    ## Starting state
    x uniform over all positions, v = 0.

    ## Episode end
    Terminated after 20 tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `max_position=8`: largest |x|.
    * `max_speed=3`: largest |v|.
    * `num_steps=20`: tokens in an episode.

    ## References
    Brohan et al., "RT-2: Vision-Language-Action Models Transfer Web Knowledge to Robotic Control", 2023.

    ## Version history
    * v0: first release.
    """

    name = "Lattice"
    family = "control"
    context = "turn"
    isolates = "control, dense rewards"
    mirrors = "linear-quadratic regulator"

    def __init__(self, max_position: int = 8, max_speed: int = 3, num_steps: int = 20) -> None:
        self.max_position, self.max_speed = (
            positive_int("max_position", max_position),
            positive_int("max_speed", max_speed),
        )
        self.num_steps = positive_int("num_steps", num_steps)
        if (2 * max_position + 1) * (2 * max_speed + 1) * num_steps > _MOST_STATES:
            raise TokenGymError(
                f"max_position={max_position}, max_speed={max_speed}, num_steps={num_steps} make more than "
                f"{_MOST_STATES} states: take a shorter line or fewer steps."
            )
        positions = [f"x{position:+d}" for position in range(-max_position, max_position + 1)]
        speeds = [f"v{speed:+d}" for speed in range(-max_speed, max_speed + 1)]
        self.vocabulary = Vocabulary.of(["push-", "coast", "push+"], [*positions, *speeds])

    def initial(self) -> Iterable[Initial]:
        """Return every position, equally likely and at rest; a state is (tokens said, x, v)."""
        positions = range(-self.max_position, self.max_position + 1)
        return [Initial(1 / len(positions), (0, x, 0), self._shown(x, 0)) for x in positions]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Push, move, pay for the distance and the push."""
        said, x, v = state
        push = action - 1
        v = max(-self.max_speed, min(self.max_speed, v + push))
        x = max(-self.max_position, min(self.max_position, x + v))
        following = None if said + 1 == self.num_steps else (said + 1, x, v)
        return [Transition(1.0, following, 0.0 - (x**2 + 0.1 * push**2) / 64, self._shown(x, v))]

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draw the line from end to end, the origin in green, the point, and in yellow how far its speed carries it."""
        first_position = 3
        first_speed = first_position + 2 * self.max_position + 1
        x = int(tokens[1]) - first_position - self.max_position
        v = int(tokens[2]) - first_speed - self.max_speed
        ahead = range(min(x, x + v), max(x, x + v) + 1)
        # A longer label would widen all fields, and a long line would no longer fit on a screen.
        ends = {place: f"{place:+d}" for place in (-self.max_position, self.max_position) if abs(place) < 10}
        cells = [
            Cell(
                "●" if place == x else "0" if place == 0 else ends.get(place, ""),
                "#b7e4c7" if place == 0 else "#fff3bf" if place in ahead else "#ffffff",
                "#1d4ed8" if place == x else "#7a7a7a",
            )
            for place in range(-self.max_position, self.max_position + 1)
        ]
        clock = f"after {self.num_steps if state is None else state[0]} of {self.num_steps} pushes"
        return Picture((tuple(cells),), f"● at x {x:+d}, speed v {v:+d}, {clock}")

    def _shown(self, x: int, v: int) -> tuple[int, int]:
        first_position = 3
        first_speed = first_position + 2 * self.max_position + 1
        return first_position + x + self.max_position, first_speed + v + self.max_speed
