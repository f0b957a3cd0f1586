"""Consoles on which text from outside is shown and never obeyed: control characters come out as `visible` writes them.

This is the one place that everything printed goes through. Where widths matter, texts are made visible before they are
laid out as well, for a control character has no width and its picture has.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import ParamSpec

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

from ..envs import TokenGymError
from ..envs.checking import visible

Arguments = ParamSpec("Arguments")


class Terminal(Console):
    """A guarded console that leaves a closed pipe to its caller: by itself it would exit with 1, a failed run here."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as `Console` does, with control characters written out."""
        return map(_shown, super().render(renderable, options))

    def on_broken_pipe(self) -> None:
        """Raise the error on."""
        self.quiet = True
        raise


def guarded(console: Console) -> Console:
    """Return the console, which from now on writes control characters out: any console that a caller may hand over."""
    if not isinstance(console, Terminal) and console not in _GUARDED:
        console.push_render_hook(_Guard())
        _GUARDED.add(console)
    return console


class _Guard(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(one) for one in renderables]


class _Shown:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(_shown, console.render(self.inner, options))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)


def _shown(segment: Segment) -> Segment:
    if segment.control or segment.text.isprintable():
        return segment
    return Segment(visible(segment.text), segment.style)


_GUARDED: weakref.WeakSet[Console] = weakref.WeakSet()


def told_in_a_line(program: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Return a program that tells bad input in a line on stderr and ends with 2, in place of a traceback."""

    @functools.wraps(program)
    def run(*given: Arguments.args, **named: Arguments.kwargs) -> int:
        try:
            return program(*given, **named)
        except TokenGymError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run
