"""What a run was made on: the machine and the versions that its times and bits belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("tokengym", "torch", "numpy", "gymnasium", "transformers", "stable-baselines3")


def machine() -> dict[str, str]:
    """Return processor, cores, system and versions as text, in the order in which they are told."""
    told = {
        "processor": _processor(),
        "cores": str(os.cpu_count() or "unknown"),
        "system": platform.platform(terse=True),
    }
    told["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            told[package] = "not installed"
    return told


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine() or "unknown"
