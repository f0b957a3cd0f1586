"""Jobs of which each changes all of its process that it can, and returns what it found of it when it began."""

from __future__ import annotations

import atexit
import gc
import json
import locale
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path

import gymnasium
import numpy as np
from synthetic import write_run

from tokengym.experiments.study.spec import RunSpec


def prepare(algorithms):
    if "sb3-ppo" in algorithms:
        import torch  # noqa: F401


def state():
    return {
        **(torch_state(sys.modules["torch"]) if "torch" in sys.modules else {}),
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "umask": oct(os.umask(os.umask(0o22))),
        "numpy": np.random.rand(),
        "errors": np.geterr(),
        "print": np.get_printoptions()["precision"],
        "warnings": str(warnings.filters),
        "signal": str(signal.getsignal(signal.SIGUSR1)),
        "locale": locale.setlocale(locale.LC_ALL),
        "path": sys.path,
        "stdout": type(sys.stdout).__name__,
        "recursion": sys.getrecursionlimit(),
        "gc": gc.isenabled(),
        "patched": json.dumps({"a": 1}),
        "modules": "leaked" in sys.modules,
        "registry": "leaked-v0" in gymnasium.registry,
        "threads running": threading.active_count(),
        "priority": os.nice(0),
        "hashes": hash("a text"),
        "attribute": hasattr(os, "leaked"),
    }


def torch_state(torch):
    return {
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "torch": torch.rand(1).item(),  # its first generator has a fixed seed
    }


def change():
    if "torch" in sys.modules:
        change_torch(sys.modules["torch"])
    os.chdir("/")
    os.environ["LEAKED"] = "1"
    os.umask(0o77)
    np.random.seed(5)
    random.seed(5)
    np.seterr(all="raise")
    np.set_printoptions(precision=1)
    warnings.simplefilter("error")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    locale.setlocale(locale.LC_ALL, "C")
    sys.path.insert(0, "/leaked")
    sys.stdout = open(os.devnull, "w")
    sys.setrecursionlimit(5000)
    gc.disable()
    json.dumps = lambda *_: "leaked"
    sys.modules["leaked"] = sys
    gymnasium.register("leaked-v0", entry_point="leaked:leaked")
    threading.Thread(target=threading.Event().wait).start()  # would keep its process alive for ever
    atexit.register(os.abort)
    os.nice(1)
    os.leaked = True


def change_torch(torch):
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True)
    torch.manual_seed(5)


def perform(job, tell):
    spec = RunSpec.from_dict(job["spec"])
    if job["kind"] == "run":
        np.random.seed(3)
        found = state()
        folder = write_run(Path(job["folder"]).parents[3], spec)
        (folder.path.parent / f"state-{spec.seed}.json").write_text(json.dumps(found, sort_keys=True))
        change()
        return 0.5
    change()
    return {"random": 0.0, "optimal": 1.0}
