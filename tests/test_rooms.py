"""The rooms: folders with faces, whose imports run one way, without circles, and never past a face."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("envs", "agents", "algorithms", "experiments")


def dotted(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


MODULES = {dotted(path): path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
ROOMS = sorted(PACKAGES - set(LAYERS))


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def folder(module: str) -> str:
    """The package that a module stands in; of a package, itself."""
    return module if module in PACKAGES else module.rpartition(".")[0]


def imports(module: str) -> Iterator[tuple[int, str, str]]:
    """Line, package or module, and name, of what a module imports relatively; what is for types alone left out."""

    def walk(node: ast.AST) -> Iterator[ast.ImportFrom]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.ImportFrom) and child.level:
                yield child
            yield from walk(child)

    own = folder(module).split(".")
    for node in walk(tree(module)):
        base = ".".join([*own[: len(own) - node.level + 1], *(node.module or "").split(".")]).strip(".")
        yield from ((node.lineno, base, alias.name) for alias in node.names)


@cache
def face(package: str) -> Mapping[str, str]:
    """The names that a face offers, and the module that each comes from; a module's own name stands for itself."""
    offered: dict[str, str] = {}
    names: list[str] = []
    for node in ast.walk(tree(package)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                module = f"{package}.{node.module}" if node.module else f"{package}.{alias.name}"
                offered[alias.asname or alias.name] = module
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
    return {name: module for name, module in offered.items() if name in names}


def source(base: str, name: str) -> str:
    """The module that a name is defined in, looked for behind the faces."""
    while base in PACKAGES:
        if name in face(base):
            found = face(base)[name]
            if found == base or found not in PACKAGES:
                return found
            base = found
        else:
            return f"{base}.{name}" if f"{base}.{name}" in MODULES else base
    return base


def edges() -> dict[str, set[str]]:
    """What each module needs at run time, sooner or later."""
    return {
        module: {source(base, name) for _, base, name in imports(module)} - {module}
        for module in MODULES
        if module not in PACKAGES
    }


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes each of which can be reached from the others (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    waiting: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        waiting.append(node)
        for after in sorted(graph.get(node, ())):
            if after not in order:
                visit(after)
            if after in waiting:
                lowest[node] = min(lowest[node], lowest[after])
        if lowest[node] == order[node]:
            place = waiting.index(node)
            group = sorted(waiting[place:])
            del waiting[place:]
            if len(group) > 1:
                found.append(group)

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def room_of(module: str) -> str:
    """The room of a module; one that stands on a layer's own floor is a room of its own."""
    place = folder(module)
    return module if place in LAYERS or place == "envs.tasks" else place


def broken_faces(module: str, base: str, name: str) -> Iterator[str]:
    """What an import reaches past: a face that offers the name, or that of a room which it must go through."""
    if base in PACKAGES and f"{base}.{name}" not in MODULES:
        defined = source(base, name)
    else:
        defined = f"{base}.{name}" if f"{base}.{name}" in MODULES else base
    parts = defined.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        inside = folder(module) == package or folder(module).startswith(f"{package}.")
        if package not in PACKAGES or inside or module == package:
            continue
        if base == package and name in face(package):
            return
        if name in face(package):
            yield f"{name} of {base}: the face of {package} offers it"
            return
        if package in ROOMS and package != "envs.tasks" and defined != package:
            yield f"{name} of {base}: past the face of {package}"
            return


def test_no_module_needs_its_importer_not_even_by_a_late_import():
    assert circles(edges()) == []


def test_no_room_needs_a_room_that_needs_it():
    graph: dict[str, set[str]] = {}
    for module, needed in edges().items():
        graph.setdefault(room_of(module), set()).update({room_of(one) for one in needed} - {room_of(module)})
    assert circles(graph) == []


@pytest.mark.parametrize("module", MODULES)
def test_nobody_reaches_past_a_face(module: str):
    assert [
        f"line {line}: {what}" for line, base, name in imports(module) for what in broken_faces(module, base, name)
    ] == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_folder_says_in_one_sentence_what_it_is_and_has_at_most_twenty_modules(package: str):
    first = (ast.get_docstring(tree(package)) or "").split("\n\n")[0]
    assert first.endswith(".") and first.count(". ") == 0
    assert len(list(MODULES[package].parent.glob("*.py"))) <= 20


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


def test_what_reaches_past_a_face_is_found():
    assert list(broken_faces("agents.agent", "envs.checking.errors", "TokenGymError"))
    assert list(broken_faces("agents.agent", "envs.checking", "TokenGymError"))
    assert list(broken_faces("envs.engine", "envs.checking.errors", "whole_number"))
    assert not list(broken_faces("agents.agent", "envs", "TokenGymError"))
    assert not list(broken_faces("envs.checking.fields", "envs.checking.errors", "TokenGymError"))
    assert not list(broken_faces("envs.finite.task", "envs.task", "TokenTask"))
