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
import re
from pathlib import Path
from typing import Any

import yaml

from ..envs.errors import TokenGymError
from .mappings import SpecT, as_integers, as_mapping, build, is_int
from .study import AlgorithmSpec, EnvironmentSpec, EvaluationSpec, Study


def load_study(path: str | Path) -> Study:
    """Read a study from a YAML file.

    Raises:
        TokenGymError: If the file is missing or is no YAML mapping, or a key or value is wrong; names the nearest keys.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise TokenGymError(f"cannot read study {str(path)!r}: {error.strerror or error}; give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TokenGymError(f"study {str(path)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    return study_from_mapping(data, default_name=path.stem)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, to which 1e-3 is a number, as in YAML 1.2 and everywhere else, and not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def study_from_mapping(data: Any, default_name: str = "study") -> Study:
    """Build a study from the mapping that its YAML file holds.

    Raises:
        TokenGymError: If a key is unknown or a value has the wrong type or range.
    """
    values = as_mapping("study", data)
    values.setdefault("name", default_name)
    seeds = values.get("seeds", (0, 1, 2))
    values["seeds"] = tuple(range(seeds)) if is_int(seeds) else tuple(as_integers("seeds", seeds))
    values["evaluation"] = build(EvaluationSpec, "evaluation", as_mapping("evaluation", values.get("evaluation")))
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
    return build(Study, "study", values)


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


def _named(kind: type[SpecT], noun: str, name: Any, entry: Any) -> SpecT:
    return build(kind, f"{noun} {name!r}", {**as_mapping(f"{noun} {name!r}", entry), "name": str(name)})
