"""The list: the suite by family, variants on demand, scores that were computed before, what is not installed."""

import io
import json

import pytest
from rich.console import Console

from tokengym.envs import FAMILIES, TASKS, Entry
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import solve
from tokengym.envs.registration import make_task
from tokengym.envs.scores import SuiteScores, suite_scores
from tokengym.experiments.commands import list as listing
from tokengym.experiments.commands.main import main


def printed(width=100, **settings):
    console = Console(file=io.StringIO(), width=width)
    listing.show_list(console, **settings)
    return console.file.getvalue()


def test_every_base_environment_is_listed_in_its_family_and_variants_below_their_base():
    text = printed(variants=True)
    lines = [line.rstrip() for line in text.splitlines()]
    shown = [line.split()[0] for line in lines if line.split() and line.split()[0] in {*FAMILIES, *TASKS}]
    expected = [
        word for family, entries in FAMILIES.items() if entries for word in (family, *(name for name in entries))
    ]
    assert shown[: len(expected)] == expected
    for name, entry in TASKS.items():
        line = next(line for line in lines if line.split()[:1] == [name])
        assert line.startswith("    " if entry.variant_of else "  ")
    plain = printed()
    assert not any(f" {name} " in plain for name, entry in TASKS.items() if entry.variant_of)
    assert "sb3-ppo" in plain and "Proximal" in plain.replace("proximal", "Proximal")


def test_a_family_is_listed_alone_and_an_unknown_one_is_refused():
    text = printed(family="control")
    assert "Lattice" in text and "Copy" not in text and "sb3-ppo" not in text
    with pytest.raises(TokenGymError, match="unknown family 'contrl': did you mean 'control'"):
        printed(family="contrl")


def test_the_json_list_holds_everything(capsys):
    assert main(["list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in entries] == [f"tokengym/{name}-v0" for name in TASKS]
    lattice = next(entry for entry in entries if entry["id"] == "tokengym/Lattice-v0")
    solution = solve(make_task("Lattice"))
    assert lattice["family"] == "control" and lattice["vocabulary"] == 3 and lattice["tokens"] == 20
    assert lattice["random"] == pytest.approx(solution.random_return, rel=1e-4)
    assert lattice["optimal"] == pytest.approx(solution.optimal_return, rel=1e-4)
    assert lattice["summary"] == "Bring a point to the origin and keep it there." and lattice["missing"] == []


def test_what_is_not_installed_is_listed_with_the_command_that_installs_it(monkeypatch):
    far = Entry("lattice:Lattice", extra="far", modules=("a_module_nobody_has",))
    monkeypatch.setitem(FAMILIES["control"], "Far", far)
    line = next(line for line in printed(family="control").splitlines() if "Far" in line)
    assert "pip install 'tokengym[far]'" in line
    (entry,) = (entry for entry in listing.listing({"control": {"Far": far}}))
    assert entry["missing"] == ["a_module_nobody_has"] and entry["install"] == "pip install 'tokengym[far]'"


def test_a_bound_from_below_stands_where_the_optimum_is_not_known(monkeypatch):
    known = SuiteScores(
        vocabulary=3, tokens=200, random=-200.0, random_sd=0.0, expert=-119.4, expert_sd=4.0, episodes=50
    )
    monkeypatch.setattr(listing, "suite_scores", lambda: {"MountainCar": known})
    line = next(line for line in printed(family="control").splitlines() if "MountainCar" in line)
    assert line.split()[:5] == ["MountainCar", "3", "200", "~-200", "≥-119.4"]


def test_every_base_environment_has_a_random_score_and_an_optimal_one_or_a_bound():
    for name, known in suite_scores().items():
        assert known.random is not None and (known.optimal is not None or known.expert is not None), name


def test_a_task_of_ones_own_is_listed_with_what_it_says_of_itself(monkeypatch):
    own = Entry(type(make_task("Lattice")), registered_by="mine")
    monkeypatch.setitem(FAMILIES, "custom", {"Own": own})
    assert "Bring a point to the origin" in printed(width=120, family="custom")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width):
    assert all(len(line) <= width for line in printed(width, variants=True).splitlines() if "█" not in line)
