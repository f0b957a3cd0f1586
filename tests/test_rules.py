"""The rules that all source keeps: imports run one way, modules do one thing, no global random generator."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("envs", "agents", "algorithms", "experiments")
FRONT_DOOR = ROOT / "src" / "tokengym"
PACKAGE = sorted(path for folder in (FRONT_DOOR, *(ROOT / layer for layer in LAYERS)) for path in folder.rglob("*.py"))
CODE = [*PACKAGE, *sorted((ROOT / "benchmarks").rglob("*.py"))]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=relative(path))


def imports(code: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str, bool]]:
    """Line, absolute name and whether it was written relatively, of all imports, those inside functions too."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            # `from .. import agents` names a module in its list, `from ..agents import Agent` before it.
            yield from ((node.lineno, ".".join([*base, alias.name]), bool(node.level)) for alias in node.names)


def broken_import_rules(code: ast.AST, layer: str, package: tuple[str, ...]) -> Iterator[str]:
    """What a module of a layer (`""` is the front door) imports against the rules."""
    above = LAYERS[LAYERS.index(layer) + 1 :] if layer else ()
    for line, name, is_relative in imports(code, package):
        parts = name.split(".")
        if parts[0] == "tokengym" and layer and not is_relative:
            yield f"line {line}: {name} by its absolute name"
        if parts[0] == "tokengym" and len(parts) > 1 and parts[1] in above:
            yield f"line {line}: {name} from above"
        if layer == "envs" and parts[0] == "torch":
            yield f"line {line}: torch"


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_imports_run_one_way_and_stay_relative(path: Path):
    layer = "" if path.is_relative_to(FRONT_DOOR) else path.relative_to(ROOT).parts[0]
    folder = path.parent.relative_to(FRONT_DOOR if not layer else ROOT)
    assert not list(broken_import_rules(tree(path), layer, ("tokengym", *folder.parts)))


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("from ..algorithms import ppo", True),
        ("from .. import algorithms", True),
        ("from ..envs.task import Task", False),
        ("from . import agent", False),
        ("import tokengym.envs", True),
        ("def f():\n    from ..experiments.study import run", True),
    ],
)
def test_the_search_for_broken_imports_finds_them(line: str, broken: bool):
    assert bool(list(broken_import_rules(ast.parse(line), "agents", ("tokengym", "agents")))) is broken


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_modules_say_what_they_are_for_and_stay_short(path: Path):
    assert ast.get_docstring(tree(path)), "no docstring"
    if path.name != "overrides.py":  # written by `write_overrides`, and as long as there are algorithms
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, "does it do one thing?"


# The one place that may seed the global generator, for the initialisers of torch's modules, which take no other.
SEEDING = ROOT / "agents" / "seeding.py"
# What draws from, or seeds, a generator that the whole process shares.
GLOBAL = ("numpy.random.", "np.random.", "torch.manual_seed", "torch.seed", "torch.random.", "set_random_seed")
# Generators of one's own, and what hands the global ones back as they were.
OWNED = (
    {"random.Random", "random.getstate", "random.setstate"}
    | {f"torch.random.{name}" for name in ("fork_rng", "get_rng_state", "set_rng_state")}
    | {
        f"{module}.random.{name}"
        for module in ("np", "numpy")
        for name in (
            "default_rng Generator SeedSequence PCG64 Philox BitGenerator RandomState get_state set_state "
            "get_bit_generator set_bit_generator MT19937.state.__set__".split()
        )
    }
)
# These draw from the global generator unless `generator=` says otherwise.
TORCH_FUNCTIONS = set("rand randn randint randperm multinomial bernoulli normal rand_like randn_like".split())
TORCH_METHODS = set("uniform_ normal_ exponential_ bernoulli_ random_ log_normal_ geometric_ cauchy_".split())


def global_draws(code: ast.AST) -> Iterator[str]:
    """Every call that would use a global random generator."""
    # `random` is the standard library's only where it is imported: a task calls its own generator so, too.
    imported = {alias.name for node in ast.walk(code) if isinstance(node, ast.Import) for alias in node.names}
    shared = (*GLOBAL, "random.") if "random" in imported else GLOBAL
    for node in ast.walk(code):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        function = name.removeprefix("torch.") if name.startswith("torch.") else ""
        # Initialisers are run under the one place's seed, as the modules' own are.
        method = node.func.attr if isinstance(node.func, ast.Attribute) and not name.startswith("nn.init.") else ""
        owned = any(keyword.arg in ("generator", None) for keyword in node.keywords)
        # A bracket within the name: a method of a generator that was made on the spot.
        if (name.startswith(shared) and "(" not in name and name not in OWNED) or (
            (function in TORCH_FUNCTIONS or method in TORCH_METHODS) and not owned
        ):
            yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", [path for path in CODE if path != SEEDING], ids=relative)
def test_every_draw_comes_from_a_generator_of_its_own(path: Path):
    assert not list(global_draws(tree(path)))


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("np.random.rand(3)", True),
        ("import random\nrandom.shuffle(x)", True),
        ("torch.manual_seed(0)", True),
        ("torch.randn(3)", True),
        ("weight.normal_(0, 0.1)", True),
        ("np.random.default_rng(0).permutation(3)", False),
        ("random.uniform(rows, 2)", False),
        ("torch.randn(3, generator=g)", False),
        ("nn.init.orthogonal_(w)", False),
    ],
)
def test_the_search_for_global_draws_finds_them(line: str, caught: bool):
    assert bool(list(global_draws(ast.parse(line)))) is caught


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_no_matrix_is_as_large_as_the_vocabulary_squared(path: Path):
    """An identity over 50,000 tokens takes 20 GB, whatever rows of it are wanted."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [f"line {node.lineno}" for node in calls if ast.unparse(node.func).endswith((".eye", ".identity"))]


# What imports modules by name: the gate, and tables of this package's own modules.
IMPORTERS = {
    "envs/checking/entry_points.py",
    "envs/catalogue.py",
    "envs/tasks/reasoning/reasoning_gym_scoring.py",
    "envs/lazy.py",
    "algorithms/registry.py",
    "experiments/commands/main.py",
}


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_a_module_that_a_string_names_is_imported_by_the_gate_alone(path: Path):
    calls = [ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    found = [
        name for name in calls if name.split(".")[-1] in ("import_module", "__import__", "exec_module", "run_path")
    ]
    of_gate = [name for name in found if name == "import_module" and relative(path).startswith("envs/")]
    assert relative(path) in IMPORTERS or found == of_gate


def test_nothing_large_or_packed_lies_in_the_folders():
    """What a checkout holds is text and small pictures: no wheels, archives, weights or data of a run."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no checkout")
    files = [ROOT / name for name in tracked.stdout.split("\0") if name]
    packed = {".whl", ".zip", ".gz", ".safetensors", ".gguf", ".bin", ".pt", ".pkl"}
    there = [file for file in files if file.exists()]
    assert not [str(file) for file in there if file.suffix in packed or file.stat().st_size > 512 * 1024]
