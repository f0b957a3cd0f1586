import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["concepts/rewards.md", "concepts/your-own-task.md"])
def test_the_examples_of_a_page_give_what_they_show(page):
    result = doctest.testfile(str(DOCS / page), module_relative=False)
    assert result.attempted > 3 and result.failed == 0
