"""The package as it is built and installed."""

import configparser
import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "tokengym": "src/tokengym",
    "tokengym.envs": "envs",
    "tokengym.agents": "agents",
    "tokengym.algorithms": "algorithms",
    "tokengym.experiments": "experiments",
}
LEFTOVERS = ("__pycache__", "*.egg-info", ".ruff_cache")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must not fail, in an environment that does not lead Python to this checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads: no earlier build's leftovers reach the wheel, nor this one's the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(*LEFTOVERS))
    return copy


def test_the_wheel_holds_the_folders_and_nothing_else(source: Path, tmp_path: Path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    expected = {
        "/".join([*package.split("."), *path.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not any(fnmatch.fnmatch(part, name) for part in path.parts for name in LEFTOVERS)
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("entry_points.txt") for name in names)
    assert any(name.endswith("LICENSE") for name in names)


def test_every_pattern_of_data_files_matches_a_file():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for package, patterns in config["options.package_data"].items():
        mapped = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
        folder = ROOT / FOLDERS[mapped] / package[len(mapped) :].replace(".", "/").lstrip("/")
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        for pattern in patterns.split(","):
            assert fnmatch.filter(files, pattern.strip()), f"{pattern.strip()} in {package} matches nothing"


def test_it_installs_into_a_new_environment_and_runs_from_any_folder(source: Path, tmp_path: Path):
    """`pip install FOLDER` from elsewhere; only the dependencies are lent, so that the test needs no network."""
    new = tmp_path / "new"
    venv.create(new, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(new), "platbase": str(new)}))
    # Folders named by a .pth file are searched, but their own .pth files, such as an editable tokengym's, are not read.
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "lent.pth").write_text("\n".join(lent) + "\n")
    scripts = new / ("Scripts" if os.name == "nt" else "bin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(scripts / "python", "-m", "pip", "install", *flags, source, cwd=elsewhere)

    listed = run(scripts / "tokengym", "compare", "--list", cwd=elsewhere)
    assert "first" in listed and "(105 runs)" in listed
    where = run(scripts / "python", "-c", "import tokengym.envs as e; print(e.__file__)", cwd=elsewhere)
    assert Path(where).is_relative_to(packages)
    assert "Lattice" in run(scripts / "tokengym", "list", cwd=elsewhere)
    assert "Lattice" in run(scripts / "python", "-m", "tokengym", "list", cwd=elsewhere)


@pytest.mark.parametrize(
    "name",
    [
        "tokengym",
        "tokengym.envs",
        "tokengym.envs.exact.solver",
        "tokengym.envs.registration",
        "tokengym.algorithms",
        "tokengym.experiments.commands.main",
    ],
)
def test_importing_what_needs_no_torch_imports_none(name: str, tmp_path: Path):
    heavy = ("torch", "transformers", "stable_baselines3", "matplotlib")
    code = f"import sys, {name}; print([module for module in {heavy} if module in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "[]"


def test_importing_tokengym_registers_the_environments(tmp_path: Path):
    code = "import gymnasium, tokengym; print(sum(i.startswith('tokengym/') for i in gymnasium.registry))"
    assert int(run(sys.executable, "-c", code, cwd=tmp_path)) >= 14
