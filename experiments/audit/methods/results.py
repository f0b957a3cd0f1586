"""What an audit found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table

from ..claims import Comparison
from ..objectives import Objective
from .resting import End

RESTS = 1e-9
"""The largest entry of an expected gradient at what is called a point of rest."""


@dataclass(frozen=True)
class Behaviour:
    """Expected gradients from what one behaviour draws.

    Attributes:
        comparison: with what is claimed.
        variance: E‖g‖² − ‖E g‖² of a single batch.
        effective: the share of draws that whole weights π/μ would leave; 1 where nothing is stale.
        batches: how many were listed, or drawn.
        standard_error: of the expected gradient where batches were drawn, as a share of its norm; else 0.
    """

    comparison: Comparison
    variance: float
    effective: float
    batches: int
    standard_error: float = 0.0

    @property
    def unbiased(self) -> bool:
        """Whether it points where it is said to; of drawn batches, whether nothing beyond 3 standard errors is seen."""
        if not self.standard_error:
            return self.comparison.unbiased
        return self.comparison.scale > 0 and self.comparison.error <= 3 * self.standard_error


@dataclass(frozen=True)
class Smallest:
    """The smallest tree on which a failure shows.

    Attributes:
        behaviour: "fresh" or "stale".
        leaves: (what is said, its chance, its return) of each episode.
        gradients: (what was said before, the method's expected gradient of each token's logit, the claimed one times
            the best scale).
        comparison: of the two.
    """

    behaviour: str
    leaves: tuple[tuple[str, float, float], ...]
    gradients: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]
    comparison: Comparison


@dataclass(frozen=True)
class AuditResult:
    """What a method does in expectation, beside what it claims.

    Attributes:
        method: its name.
        task: what it was audited on.
        episodes: how many the task has.
        claim: what it is held against.
        group_size: G, episodes that are compared with one another.
        groups: of a batch.
        level: whether its ratios are of tokens or of sequences.
        settings: fields of its configuration that are not the default.
        behaviours: "fresh", "stale", "top-p .7" and "temperature .7"; empty where no gradient is claimed.
        batches: fresh batches of 1, 2, 4 groups on a tree of three leaves; more than two where they differ.
        invariances: how far a gradient is changed by what should change nothing, as shares of it.
        critic: the largest entry of the critic's expected gradient where it is exact; None without one.
        optimum: the largest entry of the expected gradient at the optimum of the claim, or None where there is none.
        ends: where it ends from several starts.
        vanishes: whether its expected gradient is 0 at every policy that was tried, so that it ends where it starts.
        smallest: the smallest tree that shows a failure; where all is right on fresh data, one on which stale data
            mislead; or None.
        bounded: whether it keeps its policy to a part of the tokens, within which alone it is held against the claim.
    """

    method: str
    task: str
    episodes: int
    claim: Objective
    group_size: int
    groups: int
    level: str
    settings: Mapping[str, Any]
    behaviours: Mapping[str, Behaviour]
    batches: Mapping[int, Comparison]
    invariances: Mapping[str, float]
    critic: float | None
    optimum: float | None
    ends: tuple[End, ...]
    vanishes: bool
    smallest: Smallest | None
    bounded: bool = False

    @property
    def held(self) -> str:
        """What it is held against, in words."""
        return f"{self.claim} of the policy within its bounds" if self.bounded else str(self.claim)

    @property
    def right(self) -> bool:
        """Whether it does what it claims on fresh data: the gradient, or else the point of rest."""
        if self.behaviours:
            return self.behaviours["fresh"].unbiased
        return self.optimum is not None and self.optimum < RESTS

    @property
    def verdict(self) -> str:
        """What was found, in one sentence."""
        if self.behaviours:
            told = []
            for name in ("fresh", "stale"):
                if name in self.behaviours:
                    found = self.behaviours[name]
                    error = f"error {found.comparison.error:.3g}"
                    if found.standard_error:
                        error += f" ± {found.standard_error:.2g}"
                        said = "no bias seen" if found.unbiased else "biased"
                        told.append(f"{said} in drawn {name} batches ({error})")
                        continue
                    said = "unbiased" if found.unbiased else f"biased ({error})"
                    told.append(f"{said} on {name} data")
            return ", ".join(told)
        if self.optimum is None:
            return "claims no gradient, and has no point of rest to be held against"
        return "rests at the optimum" if self.right else f"does not rest at the optimum (gradient {self.optimum:.3g})"

    @property
    def end(self) -> str:
        """Where it ends, in a few words."""
        if self.vanishes:
            return "no gradient anywhere"
        if not self.ends:
            return "not looked for"
        return "; ".join(dict.fromkeys(_end(one) for one in self.ends))

    def row(self) -> dict[str, Any]:
        """Return what a table of many audits shows."""
        fresh, stale = self.behaviours.get("fresh"), self.behaviours.get("stale")
        return {
            "name": self.method,
            "origin": "tokengym",
            "objective": self.held,
            "group_size": self.group_size,
            "level": self.level,
            "fresh_cosine": None if fresh is None else fresh.comparison.cosine,
            "fresh_scale": None if fresh is None else fresh.comparison.scale,
            "fresh_bias": None if fresh is None else fresh.comparison.error,
            "stale_cosine": None if stale is None else stale.comparison.cosine,
            "stale_bias": None if stale is None else stale.comparison.error,
            "ends": self.end,
            "counterexample": "" if self.smallest is None or self.right else told(self.smallest),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {**asdict(self), "right": self.right, "verdict": self.verdict}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show it: what was found first, then the tables."""
        yield from shown(self)


def shown(result: AuditResult) -> Iterator[RenderableType]:
    """Yield what `tokengym audit` prints."""
    groups = f"groups of {result.group_size}" if result.group_size > 1 else "single episodes"
    yield f"[bold]{result.method}[/] claims {escape(result.held)}: [bold]{result.verdict}[/]"
    changed = ", ".join(f"{name}={value}" for name, value in result.settings.items()) or "the defaults"
    yield f"[dim]{result.task}, all its {result.episodes} texts; {groups}; ratios by {result.level}; {changed}[/]"
    if result.behaviours:
        table = Table("drawn by", "cosine", "scale", "error", "variance", "draws left", "batches", box=None)
        for name, one in result.behaviours.items():
            c = one.comparison
            table.add_row(
                name, f"{c.cosine:.4f}", f"{c.scale:.4g}", f"{c.error:.2g}", f"{one.variance:.4g}",
                f"{one.effective:.0%}", f"{one.batches:,}",
            )  # fmt: skip
        yield table
        yield (
            "[dim]expected gradient beside the claimed one: cosine 1 is the same way, error 0 is unbiased; "
            "draws left: the share of them that weights π/μ leave[/]"
        )
    if result.batches:
        first, units = result.batches[1], "groups" if result.group_size > 1 else "episodes"
        if len(result.batches) == 2:
            yield f"the number of {units} in a batch changes nothing (cosine {first.cosine:.4f} on three leaves)"
        else:
            cosines = ", ".join(f"{count}: {one.cosine:.4f}" for count, one in result.batches.items())
            yield f"[yellow]the gradient depends on how many {units} are in a batch[/] (cosines {cosines})"
    for name, change in result.invariances.items():
        yield f"{name} changes {'nothing' if change < 1e-9 else f'[yellow]{change:.2%} of the gradient[/]'}"
    if result.critic is not None:
        yield f"the critic's expected gradient at the exact values: {result.critic:.2g}"
    if result.optimum is not None:
        yield f"its expected gradient at the optimum of the claim: {result.optimum:.2g}"
    if result.vanishes:
        yield "its expected gradient is 0 at every policy that was tried: it ends where it starts"
    for one in result.ends:
        start = "the uniform policy" if one.start == "uniform" else f"a policy ({one.start})"
        yield f"followed from {start}: {_end(one)}"
    if result.smallest is not None:
        yield from _of_smallest(result.smallest)


def _end(end: End) -> str:
    at = "the optimum" if abs(end.regret) < 1e-6 else f"regret {end.regret:.3g}"
    text, chance = end.likeliest
    words = {
        "interior": "at rest" if end.attracts else "at rest, but anything would move it on",
        "vertex": f"collapses to {text}",
        "face": f"some tokens are given up, then at rest with {text} at {chance:.3g}",
        "kink": "at a kink, where the gradient turns round",
        "moving": "still moving",
    }
    return f"{words[end.kind]}: {at}"


def told(smallest: Smallest) -> str:
    """Return a counterexample in one line."""
    leaves = ", ".join(f"{said} pays {paid:g}" for said, _, paid in smallest.leaves)
    return f"{leaves}; {smallest.behaviour}, error {smallest.comparison.error:.2g}"


def _of_smallest(smallest: Smallest) -> Iterator[RenderableType]:
    yield (
        f"[bold]the smallest tree that shows it[/], said by the uniform policy ({smallest.behaviour} data, cosine "
        f"{smallest.comparison.cosine:.4f}):"
    )
    table = Table("text", "chance", "pays", box=None)
    for said, chance, paid in smallest.leaves:
        table.add_row(said, f"{chance:.4g}", f"{paid:g}")
    yield table
    yield "what moves the logits of the next token, on average, and what should (in the length that fits best):"
    table = Table("after", "found", f"claimed × {smallest.comparison.scale:.4g}", box=None)
    for before, found, claimed in smallest.gradients:
        table.add_row(before or "(start)", _numbers(found), _numbers(claimed))
    yield table


def _numbers(values: tuple[float, ...]) -> str:
    return "  ".join(f"{value:+.5f}" for value in values)
