"""Studies as YAML files: read, checked, and written again.

A study file names everything that decides a result, so that the file and the commit are enough to repeat it:

    name: first
    total_tokens: 20000
    seeds: [0, 1, 2]
    environments:
      Copy: {kwargs: {num_tokens: 8, k: 3}}
      KLTree: {agent: table, beta: 0.2}
    algorithms:
      ppo: {config: {learning_rate: 1e-3}, overrides: {KLTree: {kl_coef: 0.2}}}
      sb3-ppo: {agent: mlp, reference: true}
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ...envs import TokenGymError
from ...envs.checking import ClassT, checked, from_mapping
from .check import check_study
from .mappings import as_integers, as_mapping, is_int
from .spec import MOST_SEEDS, AlgorithmSpec, EnvironmentSpec, EvaluationSpec, Study
from .yaml_text import read_yaml_file


@checked
def load_study(path: str | Path, *, check: bool = True) -> Study:
    """Read a study from a YAML file.

    Args:
        path: The file.
        check: Whether to look at what it names, too, as `check_study` does; a study that was run elsewhere may name
            what is not here.

    Raises:
        TokenGymError: If the file is missing or is no YAML mapping, or a key or value is wrong; names the nearest keys.
    """
    path = Path(path)
    data = read_yaml_file(path, f"study {str(path)!r}", "environments and algorithms")
    try:
        return study_from_mapping(data, default_name=path.stem, check=check)
    except TokenGymError as error:
        raise TokenGymError(f"{path}: {error}") from error


def study_from_mapping(data: Any, default_name: str = "study", *, check: bool = True) -> Study:
    """Build a study from the mapping that its YAML file holds.

    Args:
        data: The mapping.
        default_name: Name of a study that has none.
        check: As in `load_study`.

    Raises:
        TokenGymError: If a key is unknown or a value has the wrong type or range.
    """
    values = as_mapping("study", data)
    values.setdefault("name", default_name)
    values["seeds"] = _seeds(values.get("seeds", (0, 1, 2)))
    values["evaluation"] = from_mapping(
        EvaluationSpec, "evaluation", as_mapping("evaluation", values.get("evaluation"))
    )
    values["environments"] = tuple(
        _named(EnvironmentSpec, "environment", name, entry)
        for name, entry in as_mapping("environments", values.get("environments")).items()
    )
    algorithms = []
    for name, entry in as_mapping("algorithms", values.get("algorithms")).items():
        entry = as_mapping(f"algorithm {name!r}", entry)
        if entry.get("environments") is not None:
            entry["environments"] = _names(f"environments of algorithm {name!r}", entry["environments"])
        overrides = as_mapping(f"overrides of {name!r}", entry.get("overrides"))
        entry["overrides"] = {
            key: as_mapping(f"overrides of {name!r} on {key!r}", value) for key, value in overrides.items()
        }
        algorithms.append(_named(AlgorithmSpec, "algorithm", name, entry))
    values["algorithms"] = tuple(algorithms)
    study = from_mapping(Study, "study", values)
    if check:
        check_study(study)
    return study


def _seeds(value: Any) -> tuple[int, ...]:
    if not is_int(value):
        return tuple(as_integers("seeds", value))
    # Looked at before a tuple of so many is made.
    if not 1 <= value <= MOST_SEEDS:
        raise TokenGymError(
            f"seeds: {value} stands for the first {value} seeds; give 1 to {MOST_SEEDS:,}, or a list such as [{value}]"
        )
    return tuple(range(value))


def _names(noun: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TokenGymError(f"{noun} must be a list of names, got {value!r}; write [{value}] for one")
    return tuple(value)


def study_to_mapping(study: Study) -> dict[str, Any]:
    """Return the mapping from which `study_from_mapping` rebuilds the study, without what is left at its default."""
    data = _without_defaults(study)
    data["seeds"] = list(study.seeds)
    data["evaluation"] = _without_defaults(study.evaluation)
    for key, specs in (("environments", study.environments), ("algorithms", study.algorithms)):
        data[key] = {}
        for spec in specs:
            entry = _without_defaults(spec)
            del entry["name"]
            if "environments" in entry:
                entry["environments"] = list(entry["environments"])
            data[key][spec.name] = entry
    return data


def _without_defaults(spec: Any) -> dict[str, Any]:
    kept = {}
    for item in dataclasses.fields(spec):
        value = getattr(spec, item.name)
        default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
        if value != default:
            kept[item.name] = value
    return kept


def _named(kind: type[ClassT], noun: str, name: Any, entry: Any) -> ClassT:
    if not isinstance(name, str):
        raise TokenGymError(f"the {noun} name {name!r} is no text; write it in quotes: '{name}'")
    return from_mapping(kind, f"{noun} {name!r}", {**as_mapping(f"{noun} {name!r}", entry), "name": name})
