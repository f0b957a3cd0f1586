"""What every test runs under: one thread a process, so that `pytest -n 2` on two cores does not fight itself."""

import os

# Before torch or numpy load: they read these once. Two test processes with two threads each are slower than one alone.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
# Pictures are drawn to files, whether or not there is a screen; nothing asks a hub for a model.
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What is fitted is fitted here: no file of an earlier run, and none left for a later one.
os.environ["TOKENGYM_CACHE"] = ""
