"""Calls of a function in a process apart, with a time limit and nothing worth breaking.

For what runs, or may run, what an agent said: scorers that evaluate an answer, regular expressions that never end,
parsers with flaws. What is guaranteed, and on which platform, says `docs/concepts/rewards.md`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import pickletools
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..checking import TokenGymError, finite_number, flag, positive_int

_START = (
    "import importlib.util as u, sys\n"
    "def load(path):\n"
    "    spec = u.spec_from_file_location('guard', path)\n"
    "    module = u.module_from_spec(spec)\n"
    "    spec.loader.exec_module(module)\n"
    "    return module\n"
    "load(sys.argv[1]).serve(load(sys.argv[2]))\n"
)
"""By their paths, as the folder of this module must not become a place to import from: it has a `random.py`."""
_STARTING, _GRACE = 300.0, 30.0
"""Seconds: for the process to load its function, and beyond a call's own limit until the process itself is given up."""
_MOST_BYTES = 1 << 21
_KEPT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Of the environment: what a Python may need to start at all."""

TROUBLES = ("time", "memory", "crash", "refused", "error")
"""What may become of a call besides a value."""


class Verdict(NamedTuple):
    """What became of a guarded call.

    Attributes:
        value: What the function returned, in JSON's types; None in trouble.
        trouble: None; or `"time"` (it took too long), `"memory"`, `"crash"` (the process ended without an answer),
            `"refused"` (it tried to write a file, start a program, open a socket, …), `"error"` (it raised).
        message: Of the trouble, for people.
    """

    value: Any = None
    trouble: str | None = None
    message: str = ""


class Guard:
    """Calls one function in a process apart, every call in a state of its own unless they are `together`.

    The process starts with the first call and stays until `close`, until the guard is collected, or until this process
    ends; it is replaced if it fails. Copies have a process of their own.

    Attributes:
        function: The function.
        seconds: Computing time of a call; by the clock it may take three times that and a second more.
        memory_mb: Megabytes that a call may take beside what the function had when it was loaded.
        together: Whether the calls of one `calls` share a process.
        counts: How many calls came into which trouble.
    """

    def __init__(
        self, function: Callable[..., Any], *, seconds: float = 2.0, memory_mb: int = 1024, together: bool = False
    ) -> None:
        """Sets the limits; the process starts later.

        Args:
            function: What `pickle` takes: a function or class of an importable module, or an object made of such.
            seconds: Computing time of a call.
            memory_mb: Megabytes of a call.
            together: Whether the calls of one `calls` may share a process, which is many times faster where a call is
                short: for a function that keeps nothing from one call to the next. A call that comes to grief there is
                made again by itself, and what becomes of it then counts. Memory and time are a single call's.

        Raises:
            TokenGymError: For a limit that is none, or a function that another process could not import.
        """
        self.function = function
        self.seconds = finite_number("seconds", seconds)
        if not 0.001 <= self.seconds <= 86_400:
            raise TokenGymError(f"seconds={seconds!r}: give 0.001 to 86,400 seconds")
        self.memory_mb = positive_int("memory_mb", memory_mb, 1 << 20)
        self.together = flag("together", together)
        self.counts: Counter[str] = Counter()
        self._pickled = _pickled(function)
        self._process: _Process | None = None
        self._lock = threading.Lock()
        _GUARDS.add(self)

    def call(self, *arguments: Any) -> Verdict:
        """Calls the function once; see `calls`."""
        return self.calls([arguments])[0]

    def calls(self, calls: Sequence[tuple[Any, ...]]) -> list[Verdict]:
        """Calls the function once for each tuple of arguments, in this order, each as if it were the only one.

        The arguments must be picklable, and what the function returns of JSON's types.

        Raises:
            TokenGymError: If the process cannot start or cannot load the function.
        """
        verdicts: list[Verdict] = []
        lost = False
        with self._lock:
            while len(verdicts) < len(calls):
                answered = len(verdicts)
                verdicts += self._ask(calls[answered:])
                if len(verdicts) > answered:
                    lost = False
                elif lost:  # twice by the same call
                    verdicts.append(Verdict(None, "crash", "the process ended"))
                    lost = False
                else:
                    lost = True
        self.counts.update(verdict.trouble for verdict in verdicts if verdict.trouble)
        return verdicts

    def close(self) -> None:
        """Ends the process; another call starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    @property
    def protection(self) -> dict[str, Any]:
        """What the platform has: `forks` (every call in a process of its own), `landlock` (version, 0 for none)."""
        with self._lock:
            return dict(self._running().told)

    def __getstate__(self) -> dict[str, Any]:
        """Gives what a copy needs: neither the process nor what it has counted."""
        return {name: getattr(self, name) for name in ("function", "seconds", "memory_mb", "together")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes what `__getstate__` gave."""
        self.__init__(**state)

    def _running(self) -> _Process:
        if self._process is None:
            self._process = _Process(self._pickled, self.seconds, self.memory_mb, self.together)
        return self._process

    def _ask(self, calls: Sequence[tuple[Any, ...]]) -> list[Verdict]:
        """Gives what became of the calls up to the first with which the process was lost."""
        process = self._running()
        process.send(pickle.dumps(list(calls)))
        verdicts: list[Verdict] = []
        while len(verdicts) < len(calls):
            patience = _wall(self.seconds) * (2 if self.together else 1)  # for the second try of a call
            said, late = process.receive(patience + (_GRACE if process.forks else 0))
            if said:
                verdicts.append(_read(said))
                continue
            self.close()
            return [*verdicts, Verdict(None, "time", "late")] if late else verdicts
        return verdicts


def _wall(seconds: float) -> float:
    """Gives how long a call may take by the clock: a busy machine must not change what is scored."""
    return 3 * seconds + 1


class _Process:
    """The process of a guard, in this one's hands."""

    def __init__(self, function: bytes, seconds: float, memory_mb: int, together: bool) -> None:
        if not sys.executable:
            raise TokenGymError("a guarded call needs a Python to start, but sys.executable is empty here: set it")
        here = Path(__file__).parent
        self.folder = tempfile.mkdtemp(prefix="tokengym-guard-")
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"PATH": os.defpath, "HOME": self.folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        environment |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        parts = [str(here / name) for name in ("child.py", "seal.py")]
        try:
            self.popen = subprocess.Popen(
                [sys.executable, "-s", "-B", "-c", _START, *parts],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise TokenGymError(f"the process of a guarded call cannot be started: {error}") from error
        self.close = weakref.finalize(self, _end, self.popen, self.folder)
        setting = {
            "path": [str(Path(entry).absolute()) for entry in sys.path],
            "seconds": seconds,
            "wall": _wall(seconds),
            "memory": memory_mb << 20,
            "together": together,
        }
        self.send(pickle.dumps(setting))
        self.send(function)
        said, late = self.receive(_STARTING)
        self.told = _object(said)
        if not self.told.get("ready"):
            self.close()
            reason = f"nothing came for {_STARTING:.0f} seconds" if late else self.told.get("failed", "it ended")
            raise TokenGymError(
                f"a guarded call cannot load its function in a process of its own: {reason}; the module must be "
                "importable there, with the import path that this process has, and without this one's environment"
            )
        del self.told["ready"]
        self.forks = bool(self.told.get("forks"))

    def send(self, data: bytes) -> None:
        """Sends a message."""
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):  # it is gone: nothing will come back
            self.popen.stdin.write(struct.pack("<q", len(data)) + data)
            self.popen.stdin.flush()

    def receive(self, seconds: float) -> tuple[bytes, bool]:
        """Waits for a message: b"" if the process is lost, and whether that is because it was late."""
        late = threading.Event()
        popen = self.popen

        def give_up() -> None:
            late.set()
            popen.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        if os.name == "nt":  # no waiting for pipes there
            timer.start()
        try:
            deadline = time.monotonic() + seconds
            head = self._bytes(8, deadline, give_up)
            length = struct.unpack("<q", head)[0] if len(head) == 8 else 0
            said = self._bytes(length, deadline, give_up) if 0 < length <= _MOST_BYTES else b""
            return (said if len(said) == length else b""), late.is_set()
        finally:
            timer.cancel()

    def _bytes(self, length: int, deadline: float, give_up: Callable[[], None]) -> bytes:
        assert self.popen.stdout is not None
        pipe, said = self.popen.stdout.fileno(), b""
        while len(said) < length:
            if os.name != "nt" and not _readable(pipe, deadline):
                give_up()
                return b""
            piece = os.read(pipe, length - len(said))
            if not piece:
                return b""
            said += piece
        return said

    def drop(self) -> None:
        """Lets go of a process that belongs to the process from which this one was forked."""
        self.close.detach()
        self.popen.returncode = 0  # it is no child of this process: nothing to wait for
        for pipe in (self.popen.stdin, self.popen.stdout):
            # Not the buffer around it, whose lock another thread may have held.
            pipe.raw.close()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def _readable(pipe: int, deadline: float) -> bool:
    waiting = selectors.DefaultSelector()  # unlike select, not bound to small numbers
    with waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        return bool(waiting.select(max(0.0, deadline - time.monotonic())))


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()


def _let_go() -> None:
    for guard in list(_GUARDS):
        guard._lock = threading.Lock()
        process, guard._process = guard._process, None
        if process is not None:
            process.drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _end(popen: subprocess.Popen[bytes], folder: str) -> None:
    """Ends a process, which removes its folder, and removes it where the process could not."""
    with contextlib.suppress(OSError):
        popen.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
    try:
        popen.wait(0.5)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    popen.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
    shutil.rmtree(folder, ignore_errors=True)


def _read(said: bytes) -> Verdict:
    """Gives what a reply says, which is not trusted."""
    told = _object(said)
    if "value" in told:
        return Verdict(told["value"])
    if told.get("trouble") in TROUBLES:
        return Verdict(None, told["trouble"], str(told.get("message", ""))[:500])
    return Verdict(None, "crash", "the answer cannot be read")


def _object(said: bytes) -> dict[str, Any]:
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _pickled(function: Callable[..., Any]) -> bytes:
    try:
        data = pickle.dumps(function)
    except Exception as error:
        raise TokenGymError(
            f"{function!r} cannot be sent to a guarded process ({error}): give a function or class at the top level of "
            "a module, or an object made of such"
        ) from error
    if any(argument == "__main__" for _, argument, _ in pickletools.genops(data)):
        raise TokenGymError(
            f"{function!r} stands in the script that was started, which a guarded process cannot import: put it into a "
            "module of its own and import it from there"
        )
    return data
