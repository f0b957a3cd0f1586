"""What each stage of a pipeline does; imported when the first one is done, since it needs torch."""

from __future__ import annotations

from typing import Any

from ...agents.chunks import return_free_memory
from . import learning, preparing
from .setting import Setting
from .stages import BEFORE, COMPARISONS, MODEL, TUNED, Stage


def do(setting: Setting, stage: Stage) -> dict[str, Any]:
    """Do a stage and return what it found."""
    return_free_memory()
    if stage.name == TUNED:
        return preparing.tune(setting)
    if stage.name == COMPARISONS:
        return preparing.compare(setting, stage.path)
    if stage.name == MODEL:
        return preparing.fit(setting, stage.path)
    if stage.name == BEFORE:
        return learning.before(setting)
    (part,) = (method for method in setting.pipeline.methods if method.name == stage.name)
    return learning.method(setting, stage.path, part)
