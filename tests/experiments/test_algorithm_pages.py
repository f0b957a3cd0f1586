"""The pages of the algorithms: what is generated is up to date, and each has the sections that a reader expects."""

import re

import pytest

from tokengym.algorithms import ALGORITHMS
from tokengym.experiments.zoo.fields import attribute_texts, fields_of, taken
from tokengym.experiments.zoo.pages import MARK, PAGES, lower_part, main, page_names, page_of

SECTIONS = ("## Pseudo-code", "## Logged metrics", "## Every field", "## In the code")


@pytest.mark.parametrize("page", page_names())
def test_the_lower_part_is_what_the_source_and_the_audit_say_now(page):
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    assert text.partition(MARK)[2].lstrip("\n") == lower_part(page), "run python -m tokengym.experiments.zoo.pages"


@pytest.mark.parametrize("page", page_names())
def test_a_page_has_the_sections_that_a_reader_expects(page):
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    own = ("## The loss", "## Implementation details")
    wanted = (*SECTIONS, *own) if page != "sb3" else [one for one in SECTIONS if one != "## In the code"]
    headings = re.findall(r"^## .*$", text, flags=re.MULTILINE)
    assert not [one for one in wanted if not any(heading.startswith(one) for heading in headings)]
    if page != "sb3":
        details = text.partition("\n## Implementation details\n")[2].partition("\n## ")[0]
        assert re.search(r"^1\. .*^2\. ", details, flags=re.MULTILINE | re.DOTALL)


def test_what_the_zoo_found_is_on_the_pages_of_all_that_it_compares():
    table = (PAGES.parent / "studies" / "zoo.md").read_text(encoding="utf-8").partition("## All online algorithms")[2]
    compared = [
        name for name in re.findall(r"^\| `([a-z0-9-]+)` \|", table, flags=re.MULTILINE) if name in ALGORITHMS.built_in
    ]
    assert len(compared) >= 20
    for name in compared:
        told = (PAGES / f"{page_of(name)}.md").read_text(encoding="utf-8").partition("## Compared in")[2]
        score = re.search(rf"^\| `{name}` \|.*\| (\S+)<br><sub>[^|]* \|[^|]*\|[^|]*\|$", table, flags=re.MULTILINE)
        assert score is not None and f"{score[1]} (" in told, name


@pytest.mark.parametrize("name", ALGORITHMS.built_in)
def test_every_field_has_a_text_a_default_and_what_it_takes(name):
    fields = fields_of(ALGORITHMS.config(name))
    text = (PAGES / f"{page_of(name)}.md").read_text(encoding="utf-8")
    assert fields and all(field.meaning.endswith((".", ")")) for field in fields)
    assert all(f"| `{field.name}` | `{field.default}` |" in text for field in fields)
    assert not [field.name for field in fields if "typing." in field.takes or "<class" in field.takes]


def test_the_texts_of_a_class_are_those_below_its_own_names():
    texts = attribute_texts(ALGORITHMS.config("grpo"))
    assert texts["scale"].startswith("What advantages are divided by") and "gamma" not in texts


def test_what_a_field_takes_is_said_in_words():
    assert taken(int | None) == "a whole number or None"
    assert taken(str) == "a name"


def test_a_page_that_is_not_there_is_named(capsys):
    assert main(["gpo"]) == 2
    assert "no page is called 'gpo': ppo, a2c" in capsys.readouterr().err
