"""The documentation's links lead somewhere, every page can be found, all its code runs, and what it names is there."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import doc_blocks
import pytest

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / "docs" / "README.md"
WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
# The parts by hand of generated pages are read there, and their links lead on from there.
PARTS = ROOT / "docs" / "environments" / "intro"
PAGES = sorted(page for page in WRITTEN if page.parent != PARTS)

CHECK = """
import json, sys, torch
sys.path.insert(0, ".")
from transformers import AutoModelForCausalLM, AutoTokenizer
from tokengym.algorithms import load_algorithm
before, after = (AutoModelForCausalLM.from_pretrained(name) for name in ("my-model", "my-trained-model"))
moved = {name: bool((a != b).any()) for (name, a), b in zip(before.named_parameters(), after.parameters())}
tokenizer = AutoTokenizer.from_pretrained("my-trained-model")
saved = load_algorithm("results/sums/checkpoints", allow_imports=["my_rewards"])
said = saved.task.scorer is not None and saved.env_spec["kwargs"]["reward"]
print(json.dumps({"moved": moved, "ids": tokenizer.encode("1 + 2 ="), "reward": said, "tokens": saved.num_timesteps}))
"""


def links(page: Path) -> list[str]:
    """Targets of a page's Markdown links that name a file, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path):
    assert not [target for target in links(page) if not (page.parent / target).exists()]


def test_the_index_of_the_documentation_names_every_page():
    named = {(INDEX.parent / target).resolve() for target in links(INDEX)}
    pages = {page.resolve() for page in PAGES if INDEX.parent in page.parents} - {INDEX}
    assert not sorted(page.relative_to(ROOT).as_posix() for page in pages - named)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What failed of each page's blocks, all run in one process of their own."""
    folder = tmp_path_factory.mktemp("pages")
    runner = Path(__file__).with_name("doc_blocks.py")
    told = subprocess.run(
        [sys.executable, str(runner), str(folder), *map(str, PAGES)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr[-3000:]
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return {page: (found[str(page)], folder / f"page-{number}") for number, page in enumerate(PAGES)}


@pytest.mark.xdist_group("documentation")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_the_documentation_runs(page: Path, outcome):
    failures, _ = outcome[page]
    assert not failures, "\n".join(failures)


@pytest.mark.xdist_group("documentation")
def test_the_guide_to_a_model_of_ones_own_trains_it_and_transformers_reads_it_again(outcome):
    _, place = outcome[ROOT / "docs" / "guides" / "your-model.md"]
    told = subprocess.run([sys.executable, "-c", CHECK], cwd=place, capture_output=True, text=True, check=True)
    found = json.loads(told.stdout.splitlines()[-1])
    assert found["moved"]["lm_head.weight"] and found["moved"]["model.layers.0.self_attn.q_proj.weight"]
    assert len(found["ids"]) == 4 and found["reward"] == "my_rewards:right" and found["tokens"] >= 300
    assert (place / "results" / "sums" / "report.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_command_stands_indented_where_nothing_would_run_it(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"^ {4}(?:tokengym|python -m|make) .*$", text, flags=re.MULTILINE)
    assert not [line for line in found if "minari:" not in line]


def test_a_block_that_fails_a_wrong_flag_and_a_language_that_nothing_runs_are_noticed(tmp_path, monkeypatch):
    page = doc_blocks.ROOT / "docs" / "README.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    wrong = [
        ("python", "undefined_name", 1),
        ("bash", "tokengym list --no-such-flag", 2),
        ("", "tokengym list --family nothing", 3),
        ("bash", "make nothing", 4),
        ("bash", "pip install '.[nothing]'", 5),
        ("bash", "python -m benchmarks.nothing", 6),
        ("fortran", "PRINT *", 7),
        ("json", "{", 8),
    ]
    right = [("python", "x = 1", 9), ("bash", "tokengym list --family text", 10), ("", "agent: a b", 11)]
    monkeypatch.setattr(doc_blocks, "blocks", lambda page: [*wrong, *right])
    failures = doc_blocks.run_page(page)
    assert [int(re.search(r"line (\d+)", failure)[1]) for failure in failures] == [1, 2, 3, 4, 5, 6, 7, 8]
    sys.modules.pop("my_page")


PLACES = re.compile(r"(?<![\w/.-])(?:envs|agents|algorithms|experiments|benchmarks|tests|docs|src)/[\w./-]*[\w/]")
MODULES = re.compile(r"\btokengym(?:\.[a-z_]\w*)+(?:\.[A-Z]\w*)?")
SOURCES = sorted(
    source
    for folder in ("src", "envs", "agents", "algorithms", "experiments", "benchmarks")
    for source in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("folder", ["pages", "sources"])
def test_files_that_messages_docstrings_and_pages_point_to_exist(folder: str):
    missing = []
    for file in PAGES if folder == "pages" else SOURCES:
        if file.name == "CHANGELOG.md":  # tells of what was, too
            continue
        text = re.sub(r"\]\([^)\s]*\)", "", file.read_text(encoding="utf-8"))  # links have a test of their own
        for place in PLACES.findall(text):
            if not (ROOT / place).exists():
                missing.append(f"{file.relative_to(ROOT)}: {place}")
    assert not missing


@pytest.mark.parametrize("folder", ["pages", "sources"])
def test_modules_and_names_that_messages_docstrings_and_pages_point_to_exist(folder: str):
    missing = []
    for file in PAGES if folder == "pages" else SOURCES:
        if file.name != "CHANGELOG.md":
            names = set(MODULES.findall(file.read_text(encoding="utf-8")))
            missing += [f"{file.relative_to(ROOT)}: {name}" for name in sorted(names) if not _is_there(name)]
    assert not missing


def _is_there(name: str) -> bool:
    """Return whether a dotted name leads to a module or to something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sessions_in_the_documentation_print_what_they_say(page: Path):
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0
