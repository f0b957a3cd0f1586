"""Awaiting from plain code: reward functions that ask a server wait together, whatever loop runs around them.

One event loop runs in a thread of its own, started by the first who awaits. So it works where a loop runs already, as
in a notebook, and clients that belong to a loop can be kept from call to call.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The process that the loop belongs to, as a forked one has no such thread, and the loop."""


def await_all(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """Awaits all at once, in one loop.

    Returns:
        What each gave, or the exception that it raised.
    """
    if not awaitables:
        return []
    future = asyncio.run_coroutine_threadsafe(_gather(awaitables), _loop())
    try:
        return future.result()
    except BaseException:  # Ctrl-C while they wait
        future.cancel()
        raise


def drop(values: Sequence[Any]) -> None:
    """Closes coroutines that will not be awaited after all."""
    for value in values:
        if inspect.iscoroutine(value):
            value.close()


async def _gather(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*awaitables, return_exceptions=True)


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="tokengym-rewards", daemon=True).start()
            _running = os.getpid(), loop
        return _running[1]
