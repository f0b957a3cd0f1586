"""Where an expected gradient ends: followed uphill from a start by steps that become Newton's where it fades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Field = Callable[[np.ndarray], np.ndarray]
"""What tables hold, (S, W), to the direction (S, W) that a method moves them in, on average."""

Reach = Callable[[np.ndarray], np.ndarray]
"""What tables hold to how often an episode passes through each state, (S,)."""

Kind = Literal["interior", "vertex", "face", "kink", "moving"]

STILL = 1e-9
"""The largest entry of an expected gradient at what is called a point of rest."""

FAR = 12.0
"""From this many nats on behind the likeliest token of its state one may be on its way out."""

OUT = 36.0
"""So many nats behind it a token is never said, as far as float64 can tell."""

ALONE = 300.0
"""The same on what another policy says, where a gap still shows in β·log π."""

NOISE = 1e-7
"""Fields below this that fall no more are 0 as far as they were worked out, some of them in float32."""

FADING = 1e-3
"""Who rests this near to being sure of one text is still driven there, by a field that fades on its way: that of the
best of k is of the order of (1 − p)^(k − 1), and where it is lost in rounding says nothing."""

MEETING = 0.03
"""Fields that meet hold a point still where their shortest mean is below this share of them."""

SHORT = 2e-3
"""Steps that are shorter than this share of the field are taken for a sign of a kink."""

SELDOM = 1e-9
"""What happens in a state that is reached less often does not matter."""


@dataclass(frozen=True, eq=False)
class Rest:
    """Where a flow ends.

    Attributes:
        values: float64 (S, W).
        kind: "interior", a point at which the field is 0; "face", the same after some tokens were given up; "vertex",
            all but one token was given up in every state that is still reached, and the field drives on that way;
            "kink", the field turns round from one side to the other without being 0, and on average is less than
            `MEETING` of itself; "moving", none of these.
        norm: the largest entry of the field there, what was given up left out.
        attracts: whether no direction leads away from it.
        steps: how many were taken.
    """

    values: np.ndarray
    kind: Kind
    norm: float
    attracts: bool
    steps: int


def follow(
    field: Field,
    values: np.ndarray,
    logits: slice | None = None,
    reach: Reach | None = None,
    most_steps: int = 150,
    out: float = OUT,
) -> Rest:
    """Follow a field of expected gradients to where it ends.

    Each step is one of the implicit Euler method, (1/Δ − J)·d = F, with J by differences. Δ grows only as F falls
    (switched evolution relaxation), and stays below half of what the fastest growing direction allows, beyond which
    such a step would run against the flow. So it is the path of small gradient steps as long as there is one to follow,
    and Newton's method where F fades. A token that falls far behind the likeliest is tried out at a probability of 0:
    where the field drives it on there, too, it was given up.

    Args:
        field: what the method does on average.
        values: float64 (S, W), where to start.
        logits: which columns are logits, that matter up to a constant a row.
        reach: how often states are reached; None: all count.
        most_steps: of Euler's.
        out: the gap, in nats, at which a token is never said.
    """
    at = _Place(field, values.astype(np.float64).copy(), logits, reach, out)
    force = at.force()
    span = 1.0 / max(float(np.abs(force).max(initial=0.0)), 1e-300)
    least, stalled = np.inf, 0
    for taken in range(most_steps + 1):
        size = float(np.abs(force).max(initial=0.0))
        stalled = stalled + 1 if least / 2 < size < NOISE else 0
        least = min(least, size)
        if size < STILL / 100 or not len(force) or stalled == 5:
            return at.rest(size, taken)
        if taken == most_steps:
            break
        jacobian = at.jacobian(force)
        growing = float(np.linalg.eigvals(jacobian).real.max())
        span = min(span, 0.5 / growing) if growing > 0 else span
        while True:
            move = np.linalg.lstsq(np.diag(np.ones(len(force)) / span) - jacobian, force, rcond=None)[0]
            move *= min(1.0, 1.0 / max(float(np.abs(at.basis @ move).max()), 1e-300))
            after = at.force(move)
            longest = float(np.abs(move).max())
            turned = float(after @ force) < 0 and float(np.abs(after).max()) > size / 2
            if not turned or size < STILL or longest < SHORT * size:
                break
            span = min(span, longest / size) / 4
        if longest < SHORT * size and size > STILL:  # no smooth field needs steps so short: another one begins here
            mean, move = at.along_kink(2 * SHORT * size)
            if float(np.abs(mean).max()) < 1e-6 * size or not move.any():
                return Rest(at.values, "kink" if not mean.any() else "moving", size, True, taken)
            span, after = 1.0 / size, at.force(move)
        fell = size / max(float(np.abs(after).max()), 1e-300)
        at.go(move)
        span *= min(max(fell, 0.5), 10.0) if fell < 0.99 or fell > 1.01 else 1.0
        force = at.force() if at.give_up() else after
    return Rest(at.values, "moving", float(np.abs(force).max()), False, most_steps)


class _Place:
    """A point on the way, and the directions that are still open: orthonormal ones, as columns of `basis`."""

    def __init__(self, field: Field, values: np.ndarray, logits: slice | None, reach: Reach | None, gap: float) -> None:
        self.field, self.values, self.logits, self.reach, self.gap = field, values, logits, reach, gap
        self.out = np.zeros(values.shape, bool)
        self.stayed: dict[tuple[int, int], float] = {}
        self.basis = self._open()

    def _open(self) -> np.ndarray:
        """(S·W, k): of live logits all but their level, of other columns each."""
        rows, width = self.values.shape
        counts = np.ones(rows, bool) if self.reach is None else self.reach(self.values) > SELDOM
        inside = np.zeros(width, bool)
        if self.logits is not None:
            inside[self.logits] = True
        columns = []
        for row in np.flatnonzero(counts).tolist():
            for column in np.flatnonzero(~inside):
                columns.append(self._unit(row, np.array([column]), np.ones(1)))
            live = np.flatnonzero(inside & ~self.out[row])
            if len(live) > 1:
                centred = np.linalg.qr(np.diag(np.ones(len(live))) - 1 / len(live))[0][:, : len(live) - 1]
                columns += [self._unit(row, live, direction) for direction in centred.T]
        return np.stack(columns, 1) if columns else np.zeros((self.values.size, 0))

    def _unit(self, row: int, columns: np.ndarray, entries: np.ndarray) -> np.ndarray:
        unit = np.zeros(self.values.shape)
        unit[row, columns] = entries
        return unit.ravel()

    def force(self, move: np.ndarray | None = None) -> np.ndarray:
        """The field along the open directions, (k,), here or after a move."""
        return self.basis.T @ self.field(self._moved(move)).ravel()

    def _moved(self, move: np.ndarray | None) -> np.ndarray:
        return self.values if move is None else self.values + (self.basis @ move).reshape(self.values.shape)

    def jacobian(self, force: np.ndarray) -> np.ndarray:
        """(k, k), by differences."""
        steps = np.diag(np.full(len(force), 1e-6))
        return np.stack([(self.force(step) - force) / 1e-6 for step in steps], 1)

    def go(self, move: np.ndarray) -> None:
        """Take a step."""
        self.values = self._moved(move)

    def along_kink(self, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Where several fields meet: the shortest of their means, (k,), and a step that way while the meeting lasts.

        On such an edge a flow of small steps goes to and fro, and on average along it (Filippov); where even the
        shortest mean is 0 it stays.
        """
        count = self.basis.shape[1]
        around = np.random.default_rng(0).normal(size=(4 * count + 4, count))
        around *= radius / np.linalg.norm(around, axis=1, keepdims=True)
        fields = np.stack([self.force(step) for step in around])
        mean = shortest_mean(fields)
        length = float(np.abs(mean).max())
        if length < MEETING * float(np.abs(fields).max()):
            return np.zeros(count), np.zeros(count)
        size = 0.3
        while size > radius / 10:
            move = mean * (size / length)
            there = shortest_mean(np.stack([self.force(move + one) for one in around]))
            if there @ mean > 0:
                return mean, move
            size /= 4
        return mean, np.zeros(count)

    def give_up(self) -> bool:
        """Take tokens out that the field drives out, and look which states still count; whether anything changed."""
        if self.logits is None:
            return False
        found = False
        behind = self.values.max(1, where=self._logit_mask(), initial=-np.inf)[:, None] - self.values
        for row, token in np.argwhere((behind > FAR) & self._logit_mask() & ~self.out).tolist():
            if behind[row, token] < self.stayed.get((row, token), 0.0) + 2.0:
                continue
            if self._driven_out(row, token):
                self.out[row, token] = found = True
            else:
                self.stayed[row, token] = float(behind[row, token])
        basis = self._open()
        changed = found or basis.shape != self.basis.shape
        if changed:
            self.basis = basis
        return changed

    def _logit_mask(self) -> np.ndarray:
        inside = np.zeros(self.values.shape, bool)
        inside[:, self.logits] = True
        return inside

    def _driven_out(self, row: int, token: int) -> bool:
        """Whether the field widens a gap, here and, as far as it says so, where the token is never said.

        If so it stays there: at the largest of the gaps at which the field is still a number that does not close it.
        """
        leader = int(np.argmax(np.where(self._logit_mask()[row], self.values[row], -np.inf)))
        pushed = self.field(self.values)[row]
        if pushed[token] >= pushed[leader]:
            return False
        kept = self.values.copy()
        for gap in (self.gap, OUT):
            self.values[row, token] = self.values[row, leader] - max(gap, kept[row, leader] - kept[row, token])
            pushed = self.field(self.values)[row]
            if np.isfinite(pushed).all() and pushed[token] <= pushed[leader]:  # it may have faded
                return True
        self.values = kept
        return False

    def rest(self, norm: float, steps: int) -> Rest:
        """What kind of end this is."""
        live = self._logit_mask() & ~self.out
        counts = np.ones(len(live), bool) if self.reach is None else self.reach(self.values) > SELDOM
        kind: Kind = "interior"
        if self.out[counts].any():
            kind = "vertex" if bool((live[counts].sum(1) == 1).all()) else "face"
        attracts = True
        if self.basis.shape[1]:
            eigenvalues = np.linalg.eigvals(self.jacobian(self.force())).real
            attracts = bool(eigenvalues.max() <= 1e-5 * max(float(np.abs(eigenvalues).max()), 1e-300))
        return Rest(self.values, kind, norm, attracts, steps)


def shortest_mean(vectors: np.ndarray) -> np.ndarray:
    """Return the shortest of all weighted means of vectors (n, k), by Wolfe's algorithm (1976)."""
    chosen = [int(np.argmin(np.square(vectors).sum(1)))]
    weights = np.ones(1)
    for _ in range(10 * len(vectors)):
        mean = weights @ vectors[chosen]
        best = int(np.argmin(vectors @ mean))
        if best in chosen or float(mean @ (mean - vectors[best])) <= 1e-14 * float(np.square(vectors).sum(1).max()):
            return mean
        chosen.append(best)
        weights = np.append(weights, 0.0)
        while True:
            own = vectors[chosen]
            system = np.ones((len(chosen) + 1, len(chosen) + 1))
            system[0, 0], system[1:, 1:] = 0.0, own @ own.T
            right = np.zeros(len(chosen) + 1)
            right[0] = 1.0
            wanted = np.linalg.lstsq(system, right, rcond=None)[0][1:]
            if (wanted > 1e-12).all():
                weights = wanted
                break
            falling = wanted <= 1e-12
            share = float(np.min(weights[falling] / np.maximum(weights[falling] - wanted[falling], 1e-300)))
            weights = weights + min(share, 1.0) * (wanted - weights)
            kept = weights > 1e-12
            chosen = [one for one, keep in zip(chosen, kept, strict=True) if keep]
            weights = weights[kept] / weights[kept].sum()
    return weights @ vectors[chosen]
