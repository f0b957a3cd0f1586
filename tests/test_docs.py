"""The documentation's links lead somewhere, every page can be found, and its code imports what there is."""

import ast
import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / "docs" / "README.md"
WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
# The parts by hand of generated pages are read there, and their links lead on from there.
PARTS = ROOT / "docs" / "environments" / "intro"
PAGES = sorted(page for page in WRITTEN if page.parent != PARTS)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_in_the_documentation_imports_what_there_is(page: Path):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        if block.startswith(">>>"):
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, (ast.Import, ast.ImportFrom)) and "tokengym" in ast.unparse(node):
                exec(compile(ast.Module([node], []), page.name, "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sessions_in_the_documentation_print_what_they_say(page: Path):
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0
