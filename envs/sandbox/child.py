"""The process behind a `Guard`: it calls one function, each time in a process of its own that then ends.

It is started by its path in an empty folder, which it removes at the end, with the standard library only. What comes in
is the owner's and trusted (pickle, with the length before it); what goes out is not: JSON, with the length before it.
First come the import path and the limits, then the function, then lists of the arguments of calls, each of which has a
reply. An exception with the attribute `guard_trouble` says itself what trouble it is.

Where the platform can fork, a call is made in a child that is forked for it, sealed, and killed after it, so that
nothing that a call does is seen by the next. The owner may let the calls of one list share a child; the first that
comes to grief there is made again in a child of its own, and those after it share a new one. Elsewhere this process
makes the calls itself.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

_MOST_BYTES = 1 << 20
"""The longest answer."""


def serve(seal: Any) -> None:
    """Answers requests until the owner closes the pipe or is no more.

    Args:
        seal: The module `seal`.
    """
    folder = os.getcwd()
    try:
        _serve(seal)
    finally:
        with contextlib.suppress(OSError):
            os.chdir(os.path.dirname(folder))
            os.rmdir(folder)


def _serve(seal: Any) -> None:
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    setting = pickle.loads(_read(requests) or b"")
    sys.path[:] = setting["path"]
    try:
        function = pickle.loads(_read(requests) or b"")
    except BaseException as error:
        _write(replies, {"failed": _told(error)})
        return
    forks = hasattr(os, "fork")
    landlock = seal.Landlock() if forks else None
    _write(replies, {"ready": True, "forks": forks, "landlock": landlock.version if landlock else 0})
    refused: list[str] = []
    if not forks:
        seal.refuse_changes(refused)
    gc.freeze()  # what was loaded is shared with the calls' processes: let none of them go over it
    ends = (requests.fileno(), replies.fileno())
    while (request := _read(requests)) is not None:
        calls = pickle.loads(request)
        while calls:
            answered = 0
            if forks:
                share = calls if setting["together"] else calls[:1]
                for reply in _forked(function, share, seal, landlock, setting, ends):
                    _send(replies, reply)
                    answered += 1
            else:
                refused.clear()
                _send(replies, _framed(_called(function, calls[0], refused)))
                answered = 1
            calls = calls[answered:]


def _forked(
    function: Callable[..., Any], calls: list[tuple[Any, ...]], seal: Any, landlock: Any, setting: Any, ends: Any
) -> Iterator[bytes]:
    """Makes calls in a sealed process of their own and gives the replies, the length before each.

    They end with the call that came to grief, which is then made again by itself.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            for end in (read_end, *ends):
                os.close(end)
            refused: list[str] = []
            out = os.fdopen(write_end, "wb")  # before the seal: it is a file to write
            seal.limit(setting["seconds"], setting["memory"], len(calls))
            landlock.put_on()
            seal.refuse_changes(refused)
            for arguments in calls:
                seal.start_clock(setting["seconds"])
                said = _called(function, arguments, refused)
                if len(calls) > 1 and said.get("trouble", "error") != "error":
                    break  # by itself, it may do better
                _write(out, said)
        finally:
            os._exit(0)
    os.close(write_end)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    answered, late = 0, False
    try:
        for reply in _replies(read_end, setting["wall"]):
            late = not reply
            if late:
                break
            yield reply
            answered += 1
            if answered == len(calls):
                break
    finally:
        os.close(read_end)
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        ended_by = os.waitpid(child, 0)[1] & 0x7F
    if answered == len(calls):
        return
    if len(calls) > 1:
        yield from _forked(function, calls[answered : answered + 1], seal, landlock, setting, ends)
    else:
        late = late or ended_by in (signal.SIGPROF, signal.SIGXCPU)
        yield _framed({"trouble": "time" if late else "crash", "message": f"ended by signal {ended_by}"})


def _replies(read_end: int, wall: float) -> Iterator[bytes]:
    """Gives a process's replies, the length before each, until it ends or says too much; b"" where one is late."""
    said, deadline = b"", time.monotonic() + wall
    while len(said) <= _MOST_BYTES:
        while len(said) >= 8 and len(said) >= (end := 8 + struct.unpack("<q", said[:8])[0]) >= 8:
            yield said[:end]
            said, deadline = said[end:], time.monotonic() + wall
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([read_end], [], [], left)[0]:
            yield b""
            return
        piece = os.read(read_end, 1 << 16)
        if not piece:
            return
        said += piece


def _called(function: Callable[..., Any], arguments: tuple[Any, ...], refused: list[str]) -> dict[str, Any]:
    """Calls the function and gives what becomes of it in JSON's types."""
    try:
        said: dict[str, Any] = {"value": function(*arguments)}
        json.dumps(said)
    except MemoryError:
        said = {"trouble": "memory", "message": "no memory left"}
    except Exception as error:
        said = {"trouble": getattr(error, "guard_trouble", "error"), "message": _told(error)}
    except BaseException as error:  # SystemExit, say: an answer that ends the process
        said = {"trouble": "crash", "message": _told(error)}
    # Whatever the function made of the refusal: what tried it earns nothing.
    return {"trouble": "refused", "message": f"tried {refused[0]}"} if refused else said


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _framed(said: dict[str, Any]) -> bytes:
    data = json.dumps(said).encode()
    return struct.pack("<q", len(data)) + data


def _write(pipe: BinaryIO, said: dict[str, Any]) -> None:
    _send(pipe, _framed(said))


def _send(pipe: BinaryIO, reply: bytes) -> None:
    pipe.write(reply)
    pipe.flush()


def _read(pipe: BinaryIO) -> bytes | None:
    head = pipe.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<q", head)
    data = pipe.read(length)
    return data if len(data) == length else None
