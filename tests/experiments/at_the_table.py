"""A person at a terminal: lines in, screens out."""

import io

from rich.console import Console

from tokengym.experiments.terminal.play import play_episodes


def terminal(width=80, height=24):
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system="truecolor")


def run(task, lines, console=None, **settings):
    console = console or Console(file=io.StringIO(), width=100)
    script = iter(lines)

    def ask():
        try:
            line = next(script)
        except StopIteration:
            raise EOFError from None
        if isinstance(line, BaseException):
            raise line
        return line

    return play_episodes(task, console=console, ask=ask, **settings), console.file.getvalue()
