"""Scores that stand on the environments' pages by hand, for other arguments, are those that the solver gives."""

import ast
import re
from pathlib import Path

import pytest

from tokengym.envs.exact.solver import solve
from tokengym.envs.registration import make_task

PAGES = Path(__file__).resolve().parents[2] / "docs" / "environments"
ROW = re.compile(
    r"^\| `(?P<call>\w+\(.*?\))` \| (?P<numbers>(?:[^|]+ ± [^|]+\|){2}(?:[^|]+\|){3}[^|]+)\|$", re.MULTILINE
)
ROWS = [
    (match["call"], match["numbers"])
    for page in sorted(PAGES.glob("*.md"))
    for match in ROW.finditer(page.read_text(encoding="utf-8"))
]


def test_the_pages_have_such_scores():
    assert any(call == "WordleMini(words_only=True)" for call, _ in ROWS)


@pytest.mark.parametrize(("call", "numbers"), ROWS, ids=[call for call, _ in ROWS])
def test_documented_scores_are_the_solver_s(call, numbers):
    function = ast.parse(call, mode="eval").body
    assert isinstance(function, ast.Call) and isinstance(function.func, ast.Name)
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in function.keywords if keyword.arg}
    solution = solve(make_task(function.func.id, **arguments), beta=0.2, masked=arguments.get("words_only", False))
    documented = [float(number) for number in re.findall(r"-?[\d.]+", numbers.replace("−", "-").replace(",", ""))]
    assert documented == pytest.approx(
        [
            solution.random_return,
            solution.random_variance**0.5,
            solution.optimal_return,
            solution.optimal_variance**0.5,
            solution.kl_optimal_return,
            solution.kl_optimal_reward,
            solution.kl_optimal_kl,
            solution.num_information_states,
        ],
        abs=5.1e-5,
    )
