"""The motion of a double pendulum with a motor in its middle joint: for all rows at once, and for one row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...continuous import Floats

_MOST_SPIN_1, _MOST_SPIN_2 = 4 * math.pi, 9 * math.pi


def swing(y: Floats, torque: Floats) -> Floats:
    """Returns angles and velocities (4, m) .2 s later, by one step of the fourth-order method of Runge and Kutta."""
    k1 = _slope(y, torque)
    k2 = _slope(y + 0.1 * k1, torque)
    k3 = _slope(y + 0.1 * k2, torque)
    k4 = _slope(y + 0.2 * k3, torque)
    after = y + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
    for angle in after[:2]:
        while (np.abs(angle) > math.pi).any():
            angle -= np.where(angle > math.pi, 2 * math.pi, 0.0)
            angle += np.where(angle < -math.pi, 2 * math.pi, 0.0)
    after[2] = np.clip(after[2], -_MOST_SPIN_1, _MOST_SPIN_1)
    after[3] = np.clip(after[3], -_MOST_SPIN_2, _MOST_SPIN_2)
    return after


def swing_row(y: Sequence[float], torque: float) -> list[float]:
    """Returns what `swing` does, of one row."""

    def moved(by: float, slope: Sequence[float]) -> list[float]:
        return [value + by * change for value, change in zip(y, slope, strict=True)]

    k1 = _slope_row(y, torque)
    k2 = _slope_row(moved(0.1, k1), torque)
    k3 = _slope_row(moved(0.1, k2), torque)
    k4 = _slope_row(moved(0.2, k3), torque)
    slopes = [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
    first, second, spin1, spin2 = moved(0.2 / 6.0, slopes)
    first, second = _within_a_turn(first), _within_a_turn(second)
    spin1 = min(max(spin1, -_MOST_SPIN_1), _MOST_SPIN_1)
    spin2 = min(max(spin2, -_MOST_SPIN_2), _MOST_SPIN_2)
    return [first, second, spin1, spin2]


def _slope(y: Floats, torque: Floats) -> Floats:
    """Returns the time derivatives (4, m) of angles and velocities (4, m), after Sutton and Barto's book.

    Both links weigh 1 kg, are 1 m long with the centre of mass in the middle, and have a moment of inertia of 1.
    """
    angle1, angle2, spin1, spin2 = y
    cos2, sin2 = np.cos(angle2), np.sin(angle2)
    d1 = 0.25 + (1.25 + cos2) + 2.0
    d2 = (0.25 + 0.5 * cos2) + 1.0
    phi2 = 0.5 * 9.8 * np.cos(angle1 + angle2 - math.pi / 2)
    phi1 = -0.5 * spin2**2 * sin2 - spin2 * spin1 * sin2 + 1.5 * 9.8 * np.cos(angle1 - math.pi / 2) + phi2
    acceleration2 = (torque + d2 / d1 * phi1 - 0.5 * spin1**2 * sin2 - phi2) / (1.25 - d2**2 / d1)
    acceleration1 = -(d2 * acceleration2 + phi1) / d1
    return np.stack((spin1, spin2, acceleration1, acceleration2))


def _slope_row(y: Sequence[float], torque: float) -> Sequence[float]:
    """Returns what `_slope` does, of one row."""
    angle1, angle2, spin1, spin2 = y
    cos2, sin2 = float(np.cos(angle2)), float(np.sin(angle2))
    d1 = 0.25 + (1.25 + cos2) + 2.0
    d2 = (0.25 + 0.5 * cos2) + 1.0
    phi2 = 0.5 * 9.8 * float(np.cos(angle1 + angle2 - math.pi / 2))
    gravity = 1.5 * 9.8 * float(np.cos(angle1 - math.pi / 2))
    phi1 = -0.5 * (spin2 * spin2) * sin2 - spin2 * spin1 * sin2 + gravity + phi2
    push = torque + d2 / d1 * phi1 - 0.5 * (spin1 * spin1) * sin2 - phi2
    acceleration2 = push / (1.25 - d2 * d2 / d1)
    return spin1, spin2, -(d2 * acceleration2 + phi1) / d1, acceleration2


def _within_a_turn(angle: float) -> float:
    """Returns an angle within ±π."""
    while abs(angle) > math.pi:
        if angle > math.pi:
            angle -= 2 * math.pi
        if angle < -math.pi:
            angle += 2 * math.pi
    return angle
