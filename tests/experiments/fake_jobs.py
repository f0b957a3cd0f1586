"""Jobs without torch, which succeed, fail, crash or hang as the algorithm's and the environment's names say."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

from synthetic import write_run

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.study.spec import RunSpec


def prepare(algorithms):
    pass


def perform(job, tell):
    spec = RunSpec.from_dict(job["spec"])
    label = spec.label.partition("-")[0]
    if job["kind"] == "check":
        if label == "refused":
            raise TokenGymError("unknown algorithm 'refused'")
        misbehave(label.removeprefix("built"))
        return None
    if job["kind"] == "solve":
        misbehave(spec.environment.removeprefix("solve"))
        return {"random": 0.0, "optimal": 1.0}
    tell(("alive", spec.total_tokens // 2, 0.25))
    if label != "leaves":
        misbehave(label)
    write_run(Path(job["folder"]).parents[3], spec)
    if label == "leaves":  # after the seal, before a word of it
        os._exit(3)
    return 0.5


def misbehave(how):
    if how == "raises":
        raise ValueError("loss is NaN")
    if how == "full" and not Path("room").exists():
        raise RuntimeError("not saved") from OSError(errno.ENOSPC, "No space left on device")
    if how == "exits":
        sys.exit(0)
    if how == "crashes":
        print("Fatal Python error: Segmentation fault", file=sys.stderr, flush=True)
        os._exit(9)
    if how == "hangs":
        time.sleep(60)
    if how == "orphans":
        # What a job starts holds its pipes open and would write on.
        code = "import sys, time; time.sleep(20); open(sys.argv[1], 'w')"
        subprocess.Popen([sys.executable, "-c", code, "left-behind"], close_fds=False)
