"""Pipelines as YAML files: read, checked, found by name, and written again.

What such a file holds is shown by those in `examples`, and explained in docs/guides/rlhf.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ...envs import TokenGymError
from ...envs.checking import checked, from_mapping
from ..study import as_integers, as_mapping, files_in, find_file, is_int, read_yaml_file
from .spec import (
    ComparisonsPart,
    EnvironmentPart,
    JudgementPart,
    MethodPart,
    Pipeline,
    RewardModelPart,
    TuningPart,
)

EXAMPLES = Path(__file__).resolve().parent / "examples"
"""Where the pipelines are that come with the package."""

_PARTS = {
    "environment": EnvironmentPart,
    "sft": TuningPart,
    "comparisons": ComparisonsPart,
    "reward_model": RewardModelPart,
    "judgement": JudgementPart,
}
_ALWAYS = ("environment", "judgement")
"""Parts that there are where a file says nothing of them."""
_MOST_SEEDS = 1000


@checked
def load_pipeline(path: str | Path) -> Pipeline:
    """Read a pipeline from a YAML file; what it names is looked at by `check_pipeline`.

    Raises:
        TokenGymError: If the file is missing or no YAML mapping, or a key or value is wrong; names the nearest keys.
    """
    path = Path(path)
    data = read_yaml_file(path, f"pipeline {str(path)!r}", "an environment and methods")
    try:
        return pipeline_from_mapping(data, path.stem)
    except TokenGymError as error:
        raise TokenGymError(f"{path}: {error}") from error


def pipeline_from_mapping(data: Any, default_name: str = "pipeline") -> Pipeline:
    """Build a pipeline from the mapping that its file holds.

    Raises:
        TokenGymError: If a key is unknown, or a value of a wrong type or out of range.
    """
    values = as_mapping("pipeline", data)
    values.setdefault("name", default_name)
    if "seeds" in values:
        values["seeds"] = _seeds(values["seeds"])
    for key, kind in _PARTS.items():
        if key in values or key in _ALWAYS:
            # `sft:` with nothing behind it, and `sft: {}`, ask for the part as it is by default; null for none.
            given = values.get(key)
            none = given is None and key not in _ALWAYS
            values[key] = None if none else from_mapping(kind, key, as_mapping(key, given))
    methods = []
    for name, entry in as_mapping("methods", values.get("methods")).items():
        if not isinstance(name, str):
            raise TokenGymError(f"the method name {name!r} is no text; write it in quotes: '{name}'")
        given = as_mapping(f"method {name!r}", entry)
        if is_int(given.get("n")):
            given["n"] = [given["n"]]
        methods.append(from_mapping(MethodPart, f"method {name!r}", {**given, "name": name}))
    values["methods"] = tuple(methods)
    return from_mapping(Pipeline, "pipeline", values)


def pipeline_to_mapping(pipeline: Pipeline) -> dict[str, Any]:
    """Return the mapping from which `pipeline_from_mapping` rebuilds it, without what is left at its default."""
    data = _without_defaults(pipeline)
    for key in _PARTS:
        part = getattr(pipeline, key)
        data.pop(key, None)
        if part is not None and (key not in _ALWAYS or _without_defaults(part)):
            data[key] = _without_defaults(part)
    data["methods"] = {}
    for method in pipeline.methods:
        entry = _without_defaults(method)
        data["methods"][entry.pop("name")] = entry
    return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}


def data_file(name: str) -> Path:
    """Return a file of texts or comparisons: itself, or the package's own of that name."""
    return EXAMPLES / name if not Path(name).is_file() and (EXAMPLES / name).is_file() else Path(name)


def packaged_pipelines() -> dict[str, Path]:
    """Return the files of the pipelines that come with the package, by name."""
    return files_in(EXAMPLES)


def find_pipeline(pipeline: str | Path) -> Path:
    """Return the file of a pipeline: itself, ``<name>.yaml``, or the package's own of that name.

    Raises:
        TokenGymError: If a bare name is none of these; names the nearest.
    """
    return find_file("pipeline", pipeline, packaged_pipelines())


def _seeds(value: Any) -> tuple[int, ...]:
    if not is_int(value):
        return tuple(as_integers("seeds", value))
    if not 1 <= value <= _MOST_SEEDS:
        raise TokenGymError(f"seeds: {value} stands for the first {value} seeds; give 1 to {_MOST_SEEDS}, or a list")
    return tuple(range(value))


def _without_defaults(part: Any) -> dict[str, Any]:
    kept = {}
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if value != default:
            kept[item.name] = list(value) if isinstance(value, tuple) else value
    return kept
