"""Running a pipeline: its stages in order, each done once, told of as they end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...envs import TokenGymError
from ..study import sole_use
from .costs import cost_since
from .file import data_file
from .spec import Pipeline
from .stages import BEFORE, COMPARISONS, MODEL, TUNED, Stage

EventKind = Literal["kept", "started", "alive", "told", "finished"]


@dataclass(frozen=True, kw_only=True)
class StageEvent:
    """What happened to a stage."""

    kind: EventKind
    """Kept as it was done before, started, a sign of life, something told of it, or finished."""
    seed: int
    """The seed."""
    stage: str
    """The stage."""
    part: float = 0.0
    """The part of it that is done."""
    text: str = ""
    """What was told."""
    seconds: float = 0.0
    """How long a finished stage took."""
    facts: dict[str, Any] | None = None
    """What a finished or kept stage found."""


OnEvent = Callable[[StageEvent], None]


def plan(pipeline: Pipeline, out: Path, seed: int) -> list[Stage]:
    """Return the stages of one seed, in their order."""
    folder = out / f"seed-{seed}"
    common = {"seed": seed, "environment": asdict(pipeline.environment), "model": pipeline.model}
    common |= {"dtype": pipeline.dtype} if pipeline.dtype != "float32" else {}
    judged = asdict(pipeline.judgement)
    if not judged["kwargs"]:
        del judged["kwargs"]
    stages: list[Stage] = []
    below: tuple[Stage, ...] = ()
    if pipeline.sft is not None:
        sft = Stage(
            TUNED, folder / TUNED, {**common, **asdict(pipeline.sft), **_content(pipeline.sft.data)}, resumable=True
        )
        stages.append(sft)
        below = (sft,)
    if pipeline.comparisons is not None:
        wanted = {**common, **asdict(pipeline.comparisons), **_content(pipeline.comparisons.file)}
        comparisons = Stage(COMPARISONS, folder / COMPARISONS, wanted, below)
        stages.append(comparisons)
        below = (*below, comparisons)
    if pipeline.reward_model is not None:
        # One that was fitted elsewhere is told by its path; that it is the same one is whoever's who put it there.
        stages.append(Stage(MODEL, folder / MODEL, {**common, **asdict(pipeline.reward_model)}, below))
        below = (*below, stages[-1])
    stages.append(Stage(BEFORE, folder / BEFORE, {**common, **judged}, below))
    for method in pipeline.methods:
        settings = {**common, **judged, **asdict(method)}
        stages.append(Stage(method.name, folder / "methods" / method.name, settings, below, resumable=not method.n))
    return stages


def _content(file: str | None) -> dict[str, str]:
    """Return what is in a file as a hash, so that a file that is written anew is another one."""
    if file is None or not data_file(file).is_file():
        return {}
    return {"content": hashlib.sha256(data_file(file).read_bytes()).hexdigest()[:16]}


def all_stages(pipeline: Pipeline, out: Path) -> Iterator[tuple[int, Stage]]:
    """Yield every seed's stages in their order."""
    for seed in pipeline.seeds:
        for stage in plan(pipeline, out, seed):
            yield seed, stage


def run_pipeline(
    pipeline: Pipeline,
    out: str | Path,
    *,
    replace_changed: bool = False,
    stop: Any = None,
    on_event: OnEvent = lambda event: None,
) -> None:
    """Do what is not done yet of a pipeline.

    Args:
        pipeline: The pipeline.
        out: Folder of its results.
        replace_changed: Do again what was done under other settings, instead of stopping.
        stop: A callback that may end learning early; what was learnt is then saved.
        on_event: Told of every stage as it starts, goes on, and ends.

    Raises:
        TokenGymError: A stage cannot be done, or was done under other settings; then nothing was run.
        KeyboardInterrupt: `stop` ended it.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise TokenGymError(f"{out} is a file; --out names a folder, choose another")
    stages = list(all_stages(pipeline, out))
    for _, stage in stages:
        if stage.state() == "changed" and not replace_changed:
            raise TokenGymError(
                f"{stage.path} was done with other settings: {stage.changes()}; choose another --out, or pass "
                "--replace-changed to do it again"
            )
    out.mkdir(parents=True, exist_ok=True)
    with sole_use(out, "running the pipeline"):
        setting: Any = None
        for seed, stage in stages:
            if stage.state() == "done":
                on_event(StageEvent(kind="kept", seed=seed, stage=stage.name, facts=stage.facts()))
                continue
            if setting is None or setting.seed != seed:  # one at a time: each holds models
                from .given import check_given
                from .setting import Setting, check_device

                first = setting is None
                if first:
                    check_device(pipeline)
                setting = Setting(pipeline, seed, out / f"seed-{seed}")
                if first:
                    check_given(setting)
                if stop is not None:
                    setting.stop = stop
            _do(setting, stage, on_event)


def _do(setting: Any, stage: Stage, on_event: OnEvent) -> None:
    """Do one stage, from where it stands."""
    from .doing import do

    def told(kind: EventKind, **what: Any) -> None:
        on_event(StageEvent(kind=kind, seed=setting.seed, stage=stage.name, **what))

    if stage.state() == "changed" or not stage.resumable:
        stage.clear()
    stage.path.mkdir(parents=True, exist_ok=True)
    told("started")
    setting.progress = lambda part: told("alive", part=part)
    setting.tell = lambda text: told("told", text=text)
    began, computed = time.perf_counter(), time.process_time()
    facts = do(setting, stage)
    seconds = time.perf_counter() - began
    stage.finish(facts, seconds, cost_since(computed, setting.pipeline.device))
    told("finished", seconds=seconds, facts=facts)
