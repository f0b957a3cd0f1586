"""The one place where YAML is read and written: study files, values on the command line, the files of runs.

What stands in a file means what YAML 1.2's core schema says: `01000` is a thousand, `1e-3` a number, and `yes`, `on`,
`1:30`, `1_000` and `2024-01-01` are texts. PyYAML reads YAML 1.1 by default; here it has 1.2's scalars. Beyond the
schema stand the merge key `<<` and a few refusals: a key given twice, a number that overflows, an alias that holds
itself or unfolds to very much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ...envs import TokenGymError

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_MOST_VALUES = 100_000
_MOST_DIGITS = 400

_NULL = r"~|null|Null|NULL|"
_BOOL = r"true|True|TRUE|false|False|FALSE"
_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_SCALARS = (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", "<<", ["<"]),
)


def read_yaml_file(path: Path, noun: str, holds: str) -> Any:
    """Return the one value that a YAML file holds; see `read_yaml`.

    Args:
        path: The file.
        noun: What it is, for the message, such as ``study 'first.yaml'``.
        holds: What it must name, for the message where it is empty.

    Raises:
        TokenGymError: If it cannot be read, is no UTF-8 text, is not valid YAML, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TokenGymError(f"cannot read {noun}: {error.strerror or error}; give a YAML file") from error
    except UnicodeDecodeError as error:
        raise TokenGymError(
            f"{noun} is not UTF-8 text ({error.reason} at byte {error.start}); save it as such"
        ) from error
    data = read_yaml(text, noun)
    if data is None:
        raise TokenGymError(f"{noun} is empty; it must name {holds}")
    return data


def read_yaml(text: str, noun: str) -> Any:
    """Return the one value that a YAML text holds: None, texts, numbers, booleans, lists and dictionaries.

    Args:
        text: The text.
        noun: What it is, for the message, such as ``study 'first.yaml'``.

    Raises:
        TokenGymError: If it is not valid YAML, holds several documents, repeats a key, or holds what is too much; names
            the line.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, {}, set())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise TokenGymError(f"{noun} is not valid YAML: {_message(error)}") from error
    except RecursionError:
        raise TokenGymError(f"{noun} is nested too deeply to be read; write it with fewer levels") from None


def write_yaml(value: Any, *, width: int = 110) -> str:
    """Return the YAML of a value that `read_yaml` gives back bit for bit.

    Raises:
        TokenGymError: If it holds something that YAML's core schema has no word for.
    """
    try:
        return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
    except yaml.YAMLError as error:
        raise TokenGymError(f"{value!r} cannot be written as YAML: {_message(error)}") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's reader with the scalars of YAML 1.2's core schema and no other tags."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dictionary; what is merged in gives way to what stands there, and nothing may stand there twice."""
        if not isinstance(node, yaml.MappingNode):
            raise _error(node, "expected a mapping")
        own: dict[Hashable, Any] = {}
        merged: dict[Hashable, Any] = {}
        lines: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            key = "<<" if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _error(key_node, "a key must be one text or number, not a list or a mapping")
            # 1, 1.0 and true are one key to Python, and would be lost as silently.
            if key in lines:
                raise _error(key_node, f"the key {key!r} stands there twice, first in line {lines[key]}; keep one")
            lines[key] = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    for name, value in self.construct_mapping(part, deep=True).items():
                        merged.setdefault(name, value)
            else:
                own[key] = self.construct_object(value_node, deep=True)
        return {**{name: value for name, value in merged.items() if name not in own}, **own}


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe writer, which puts every text into quotes that YAML 1.2 or 1.1 would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice twice."""
        return True


def _null(loader: _Loader, node: yaml.ScalarNode) -> None:
    return None


def _bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    if not re.fullmatch(_BOOL, node.value):
        raise _error(node, f"expected true or false, got {node.value!r}")
    return node.value.lower() == "true"


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    if not re.fullmatch(_INT, node.value):
        raise _error(node, f"expected a whole number, got {node.value!r}")
    if len(node.value) > _MOST_DIGITS:
        raise _error(node, f"a whole number has at most {_MOST_DIGITS} digits, got {len(node.value)}")
    prefix = node.value[:2]
    return int(node.value, {"0o": 8, "0x": 16}.get(prefix, 10))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    if not re.fullmatch(f"{_FLOAT}|{_INT}", node.value):
        raise _error(node, f"expected a number, got {node.value!r}")
    text = node.value.lower()
    if text.endswith(("inf", "nan")):
        return float(text.replace(".", ""))
    value = float(int(text, 0)) if text[:2] in ("0o", "0x") else float(text)
    if math.isinf(value):
        raise _error(node, f"the number {node.value} is too large; write .inf where no limit is meant")
    return value


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(node, "expected a text")
    return node.value


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    return loader.construct_mapping(node, deep=True)


def _unknown(loader: _Loader, node: yaml.Node) -> None:
    raise _error(node, f"the tag {node.tag!r} is none of YAML's core schema; leave it out")


def _write_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = None
    if not value.replace("\n", "").isprintable():
        style = '"'  # escapes; PyYAML's other styles lose a line break that is not a plain one
    elif _OLD.resolve(yaml.ScalarNode, value, (True, False)) != f"{_TAG}str":
        style = "'"  # for other programs, to which YAML 1.1's numbers, dates and switches are none of our texts
    return dumper.represent_scalar(f"{_TAG}str", value, style=style)


_OLD = yaml.resolver.Resolver()

_CONSTRUCTORS: dict[Any, Any] = {
    f"{_TAG}null": _null,
    f"{_TAG}bool": _bool,
    f"{_TAG}int": _int,
    f"{_TAG}float": _float,
    f"{_TAG}str": _text,
    f"{_TAG}seq": _list,
    f"{_TAG}map": _mapping,
    # As a value, `<<` is a text.
    _MERGE: _text,
    None: _unknown,
}
_Loader.yaml_constructors = _CONSTRUCTORS
_Loader.yaml_implicit_resolvers = {}
_Dumper.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)
_KINDS: tuple[Any, ...] = (type(None), bool, int, float, list, dict, None)  # the last refuses all others
_Dumper.yaml_representers = {kind: yaml.SafeDumper.yaml_representers[kind] for kind in _KINDS}
_Dumper.add_representer(str, _write_text)


def _check_size(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """Return how many values a node unfolds to, aliases included, or raise where that is too much."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise _error(node, "an alias holds itself")
    size = 1
    if isinstance(node, yaml.CollectionNode):
        above.add(id(node))
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                size += _check_size(part, sizes, above)
        above.discard(id(node))
    if size > _MOST_VALUES:
        raise _error(node, f"with its aliases it unfolds to more than {_MOST_VALUES:,} values")
    sizes[id(node)] = size
    return size


def _error(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _message(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        what = " ".join(part for part in (error.context, error.problem) if part)
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {' '.join(what.split())}"
    return " ".join(str(error).split())
