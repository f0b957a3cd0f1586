"""A worker process without torch, whose runs finish, fail, crash or hang as the algorithm's name says."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from synthetic import write_run

from tokengym.experiments.study import RunSpec


def main(connection, log):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stderr = open(log, "a", buffering=1)
    connection.send(("ready",))
    while (job := connection.recv()) is not None:
        if job["kind"] == "check":
            refused = [spec["label"] for spec in job["specs"] if spec["label"] == "refused"]
            connection.send(("checked", "Copy/refused: unknown algorithm 'refused'" if refused else ""))
            continue
        spec, path = RunSpec.from_dict(job["spec"]), Path(job["folder"])
        label = spec.label.partition("-")[0]
        connection.send(("alive", spec.total_tokens // 2, 0.25))
        if label == "raises":
            connection.send(("failed", "ValueError: loss is NaN", "Traceback …"))
        elif label == "crashes":
            print("Fatal Python error: Segmentation fault", file=sys.stderr)
            os._exit(9)
        elif label == "hangs":
            time.sleep(60)
        else:
            write_run(path.parents[3], spec)
            connection.send(("done", 0.5))
