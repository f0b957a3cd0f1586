"""What is gained and lost on the way from a reference to the optimum of a proxy: gold and proxy against the KL.

The frontier of a task whose texts can be listed is exact. A learner's, measured while it trains, can only lie below it
in proxy; in gold it may lie on either side, since it may stop short of the errors that the proxy pays for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...envs.tasks.learned import ProxyTask

Array = npt.NDArray[np.float64]

BETAS = np.geomspace(20.0, 0.005, 60)
"""Weights of the KL, from next to no optimisation to the proxy's favourite text alone."""
NUMBERS = 2 ** np.arange(0, 15)
"""The n of best-of-n."""
TURNS = 0.1
"""Gold has turned over where it fell by this part of its gain."""


@dataclass(frozen=True)
class Frontier:
    """Proxy and gold at growing distance from a reference, at which both are `start`.

    Attributes:
        kl: KL from the reference, in nats, rising, shape (P,).
        proxy: Expected proxy reward, shape (P,).
        gold: Expected gold reward, shape (P,).
        start: The reference's expected gold reward.
    """

    kl: Array
    proxy: Array
    gold: Array
    start: float

    @property
    def peak(self) -> float:
        """The highest expected gold reward."""
        return float(self.gold.max())

    @property
    def peak_kl(self) -> float:
        """The KL at which it lies."""
        return float(self.kl[self.gold.argmax()])

    @property
    def peak_proxy(self) -> float:
        """The expected proxy reward there."""
        return float(self.proxy[self.gold.argmax()])

    def gold_at(self, kl: float) -> float:
        """The expected gold reward at some KL between the smallest and the largest, linear in √KL between points."""
        return float(np.interp(np.sqrt(kl), np.sqrt(self.kl), self.gold))

    def spread(self, points: int = 60) -> Frontier:
        """The same frontier at distances √KL that lie evenly between the smallest and the largest, by lines between."""
        distance = np.linspace(np.sqrt(self.kl[0]), np.sqrt(self.kl[-1]), points)
        known = np.sqrt(self.kl)
        proxy, gold = (np.interp(distance, known, values) for values in (self.proxy, self.gold))
        return Frontier(distance**2, proxy, gold, self.start)

    @property
    def fall(self) -> float:
        """What part of the gain in gold is lost again at the largest KL; infinite where there never was any."""
        gain = self.peak - self.start
        return float((self.peak - self.gold[-1]) / gain) if gain > 0 else np.inf

    @property
    def turned(self) -> bool:
        """Whether gold turned over while the proxy still climbed."""
        return self.fall >= TURNS and bool(self.proxy[-1] > self.proxy[self.gold.argmax()])


def tilted_frontier(task: ProxyTask, betas: Iterable[float] = BETAS) -> Frontier:
    """Return the exact optima of E[proxy] − β·KL to random play, for falling β."""
    return _frontier(task, [task.tilted(float(beta)) for beta in betas])


def best_of_frontier(task: ProxyTask, numbers: Iterable[int] = NUMBERS) -> Frontier:
    """Return the exact best-of-n of random play, for rising n."""
    return _frontier(task, [task.best_of(int(n)) for n in numbers])


def _frontier(task: ProxyTask, found: list) -> Frontier:
    kl, proxy, gold = (np.array([getattr(one, name) for one in found]) for name in ("kl", "proxy", "gold"))
    return Frontier(kl, proxy, gold, task.random_gold)


@dataclass(frozen=True)
class Form:
    """A functional form of Gao et al. fitted to a gold frontier, with d = √KL.

    Attributes:
        alpha: Slope at the start.
        beta: What bends it down.
        error: Root mean square of the residuals, as a part of the curve's peak.
        explained: R², what part of gold's variance along the frontier the form explains; below 0 where a constant
            would be nearer.
        values: The form at the frontier's distances, shape (P,).
    """

    alpha: float
    beta: float
    error: float
    explained: float
    values: Array


def fitted_form(frontier: Frontier, of: str) -> Form:
    """Fit R(d) = d(α − β·log d), `of="rl"`, or R(d) = d(α − β·d), `of="best-of-n"`, to the gain in gold."""
    far = frontier.kl > 1e-6
    distance, gain = np.sqrt(frontier.kl[far]), frontier.gold[far] - frontier.start
    bend = np.log(distance) if of == "rl" else distance
    terms = np.stack([distance, -distance * bend], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(terms, gain, rcond=None)
    values = np.zeros(len(frontier.kl))
    values[far] = terms @ np.array([alpha, beta])
    residual = np.sqrt(np.mean((values[far] - gain) ** 2))
    explained = 1 - residual**2 / max(gain.var(), 1e-24)
    error = residual / max(gain.max(), 1e-12)
    return Form(float(alpha), float(beta), float(error), float(explained), values + frontier.start)
