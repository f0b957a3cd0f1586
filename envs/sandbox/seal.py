"""What a process gives up before it runs what it does not trust: computing time, memory, writing, the network.

Three layers, each as far as the platform has it:

- limits of the system (`resource`): seconds, memory, no bytes into files, no further processes, no core files;
- Landlock (Linux 5.13 and later, no privileges needed): no file or folder made, written, cut, moved or removed, no
  program started, from Linux 6.7 no TCP, from 6.12 no signal to another process;
- an audit hook of Python's own, everywhere: the same and more (rights, times, sockets, `ctypes`) is refused by name.

The first two hold for machine code, too; the third alone would not. Loaded by its path, as `child` is: standard
library only, nothing of the package.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess  # so that a function which imports it in a call does not start with what is refused
import sys
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1
_READING = 0b1100  # of Landlock's rights on files, those to read a file and to list a folder
_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
_MOST_RIGHTS = 16  # from version 5

_MAY = {"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv"}
_REFUSED = (
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "shutil.",
    "tempfile.",
    "pty.",
    "fcntl.",
    "resource.",
    "signal.",
    "syslog.",
    "sqlite3.",
    "webbrowser.",
    "urllib.",
    "ftplib.",
    "http.",
    "imaplib.",
    "nntplib.",
    "poplib.",
    "smtplib.",
    "telnetlib.",
    "msvcrt.",
    "winreg.",
    "_winapi.",
    "code.__new__",
    "sys.addaudithook",
    "gc.",
)
_REFUSED_MODULES = {"_testcapi", "_testinternalcapi", "_interpreters", "_xxsubinterpreters"}


class Refused(PermissionError):
    """What a sealed process is told when it tries what it may not."""


class Landlock:
    """Rules that forbid every change of files; made before, put on by the process that gives up the rights.

    Attributes:
        version: The kernel's version of Landlock, or 0 where there is none.
    """

    def __init__(self) -> None:
        self.version = 0
        self._call: Any = None
        self._rules = -1
        if not sys.platform.startswith("linux"):
            return
        try:
            import ctypes

            library = ctypes.CDLL(None, use_errno=True)
            self.version = max(0, library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1)))
        except (ImportError, OSError, AttributeError):
            return
        if not self.version:
            return
        rights = (1 << _RIGHTS_OF_VERSION.get(self.version, _MOST_RIGHTS)) - 1
        words = [rights & ~_READING]
        words += [0b11] if self.version >= 4 else []  # TCP: to bind, to connect
        words += [0b11] if self.version >= 6 else []  # abstract sockets and signals stay within
        attributes = (ctypes.c_uint64 * len(words))(*words)
        self._rules = library.syscall(
            _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint(0)
        )
        if self._rules < 0:
            self.version = 0
        self._call = library

    def put_on(self) -> bool:
        """Gives the rights up, for good and for all processes begun from here; returns whether that was done."""
        if not self.version:
            return False
        self._call.prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        done = self._call.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
        done = done and self._call.syscall(_RESTRICT_SELF, self._rules, 0) == 0
        os.close(self._rules)
        self._call = None
        return done


def limit(seconds: float, memory: int, calls: int) -> None:
    """Sets the limits of the system for this process, as far as the platform has them.

    Args:
        seconds: Of computing time for each call (see `start_clock`); the process is killed after them.
        memory: Bytes beside those that it has.
        calls: How many calls it makes.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        start_clock(seconds)
    if resource is None:
        return
    # Should the timer be taken away: whole seconds, and after them the signal that nothing can catch.
    whole = math.ceil(seconds * calls) + 1
    wanted = {
        "RLIMIT_CPU": (whole, whole),
        "RLIMIT_FSIZE": (0, 0),
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_NPROC": (0, 0),
        "RLIMIT_AS": (_address_space() + memory,) * 2,
    }
    for name, ends in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), ends)
        except (AttributeError, ValueError, OSError):  # not here, or not below what is in use (macOS)
            continue


def start_clock(seconds: float) -> None:
    """Gives the process so many seconds of computing time from now on, where the platform can."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _address_space() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 32  # unknown: room for what a Python with its libraries has mapped


def refuse_changes(refused: list[str]) -> None:
    """Refuses, for good, what would change anything outside this process.

    Args:
        refused: Told the name of everything that was refused.
    """
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            bad = isinstance(flags, int) and bool(flags & writing)
        elif event == "import":
            bad = arguments[0] in _REFUSED_MODULES
        else:
            bad = event.startswith(_REFUSED) and event not in _MAY
        if bad:
            refused.append(event)
            raise Refused(f"{event} is refused in a guarded call")

    def start(*arguments: Any) -> None:
        hook("subprocess.Popen", arguments)

    # The one way to a new process that Python does not report.
    for module, name in (("_posixsubprocess", "fork_exec"), (subprocess.__name__, "_fork_exec")):
        if hasattr(sys.modules.get(module), name):
            setattr(sys.modules[module], name, start)
    sys.addaudithook(hook)
