"""The zoo: what it compares, how it is tuned, and what its table says."""

import dataclasses
import re
from pathlib import Path

import pytest
from synthetic import make_study, write_run

from tokengym.algorithms import ALGORITHMS
from tokengym.algorithms.configs.groups import PRESETS
from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.report.results import collect
from tokengym.experiments.study import find_study, load_study
from tokengym.experiments.study.file import study_from_mapping
from tokengym.experiments.zoo import table, tuning
from tokengym.experiments.zoo.pictures import KINDS, heat_map, profile_picture, room
from tokengym.experiments.zoo.rows import best_of, rows

ONLINE = [name for name in ALGORITHMS.built_in if ALGORITHMS.config(name).budget == "tokens"]
ABSENT = {"distill": "its teacher is the solved task, and rewards teach it nothing"}
"""Online algorithms that the zoo leaves out, and why."""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies" / "zoo.md"


def zoo(name="zoo"):
    return load_study(find_study(name))


def test_every_online_algorithm_is_in_the_zoo_or_it_is_said_why_not():
    there = {one.registered_name for one in zoo().algorithms}
    assert there | set(ABSENT) == set(ONLINE) and not there & set(ABSENT)
    assert [one.name for one in zoo().algorithms] == [one.registered_name for one in zoo().algorithms]


def test_the_zoo_is_as_large_as_it_says():
    study = zoo()
    assert len(study.environments) >= 12 and study.seeds == (0, 1, 2, 3, 4)
    assert {table.family_of(one) for one in study.environments} >= {
        *("diagnostics", "text", "games", "control", "reasoning", "learned")
    }
    for algorithm in study.algorithms:
        changed = {field for values in algorithm.overrides.values() for field in values} | set(algorithm.config)
        assert changed <= {"learning_rate"}, algorithm.name
    assert not set(tuning.SEEDS) & set(study.seeds)


def test_presets_are_all_of_grpos_and_others_on_the_same_environments():
    presets = zoo("zoo-presets")
    assert presets.environments == zoo().environments and presets.seeds == zoo().seeds
    of_grpo = {one.config.get("preset") for one in presets.algorithms if one.registered_name == "grpo"}
    assert of_grpo >= set(PRESETS)


def test_the_quick_form_is_a_part_of_the_zoo():
    quick, whole = zoo("zoo-quick"), zoo()
    assert len(quick.environments) == 4 and len(quick.algorithms) == 10 and len(quick.runs()) == 40
    assert all(one in whole.environments for one in quick.environments)
    assert {one.name for one in quick.algorithms} <= {one.name for one in whole.algorithms}


def small(**algorithms):
    return study_from_mapping(
        {
            "name": "small",
            "total_tokens": 100,
            "seeds": [0],
            "environments": {"Copy": {"agent": "mlp-tiny"}, "Lock": {"agent": {"kind": "table", "capacity": 64}}},
            "algorithms": algorithms,
        }
    )


def test_each_algorithm_is_tried_with_three_step_sizes_of_its_own():
    study = small(ppo={}, **{"sb3-dqn": {"agent": "mlp", "environments": ["Copy"]}})
    tried = tuning.tuning_study(study)
    rates = {(spec.label, spec.environment): spec.config["learning_rate"] for spec in tried.runs() if spec.seed == 100}
    assert rates == {
        **{("ppo.third", "Copy"): 0.00067, ("ppo.default", "Copy"): 0.002, ("ppo.triple", "Copy"): 0.006},
        **{("ppo.third", "Lock"): 0.0067, ("ppo.default", "Lock"): 0.02, ("ppo.triple", "Lock"): 0.06},
        ("sb3-dqn.third", "Copy"): 0.00033,
        ("sb3-dqn.default", "Copy"): 0.001,
        ("sb3-dqn.triple", "Copy"): 0.003,
    }
    assert len(tried.runs()) == len(rates)


def test_what_is_tuned_again_starts_from_the_default_and_never_on_a_reported_seed():
    tuned = small(ppo={"overrides": {"Copy": {"learning_rate": 0.5}}})
    assert tuning.tuning_study(tuned) == tuning.tuning_study(small(ppo={}))
    with pytest.raises(TokenGymError, match="seed 0 is reported"):
        tuning.tuning_study(tuned, seeds=[0, 100])


def test_environments_with_one_kind_of_model_are_chosen_for_together(tmp_path):
    study = study_from_mapping(
        {
            "name": "together",
            "total_tokens": 100,
            "seeds": [0],
            "environments": {"Copy": {}, "Lattice": {"agent": {"kind": "mlp", "hidden_size": 8}}},
            "algorithms": {"ppo": {}},
        }
    )
    tried = tuning.tuning_study(study)
    for spec in tried.runs():
        first = {"ppo.third": 0.1, "ppo.default": 0.5, "ppo.triple": 0.9}
        second = {"ppo.third": 0.9, "ppo.default": 0.8, "ppo.triple": 0.6}
        write_run(tmp_path, spec, final=(first if spec.environment == "Copy" else second)[spec.label])
    assert tuning.chosen_rates(study, collect(tried, tmp_path)) == {"ppo": {"Copy": 0.006, "Lattice": 0.006}}


@pytest.mark.parametrize(
    ("third", "default", "triple", "wanted"),
    [
        (0.5, 0.9, 0.7, 1.0),
        (0.905, 0.9, 0.7, 1.0),  # as good: the default stays
        (0.92, 0.9, 0.7, 1 / 3),
        (0.2, 0.4, 0.9, 3.0),
        (0.9, 0.1, 0.905, 1 / 3),  # equally far from the default: the smaller
    ],
)
def test_the_best_step_size_is_chosen_and_of_equals_the_default(third, default, triple, wanted):
    assert tuning.chosen({1 / 3: third, 1.0: default, 3.0: triple}) == wanted


def test_what_was_chosen_is_written_into_the_file_and_read_again(tmp_path):
    text = "# By hand.\nname: small\ntotal_tokens: 100\nseeds: [0]\nenvironments:\n  Copy: {}\n  Lock: {agent: table}\n"
    path = tmp_path / "small.yaml"
    path.write_text(f"{text}algorithms:\n  ppo: {{}}\n  sb3-ppo: {{agent: mlp, reference: true}}\n")
    study = load_study(path)
    tried = tuning.tuning_study(study, [100])
    for spec in tried.runs():
        best = "ppo.triple" if spec.environment == "Copy" else "ppo.default"
        write_run(tmp_path / "results", spec, final=0.9 if spec.label == best else 0.2)
    rates = tuning.chosen_rates(study, collect(tried, tmp_path / "results"))
    assert rates == {"ppo": {"Copy": 0.006}}
    path.write_text(tuning.with_rates(path.read_text(), study, rates))
    assert path.read_text().startswith(text)
    again = load_study(path)
    ppo, reference = again.algorithms
    assert ppo.overrides == {"Copy": {"learning_rate": 0.006}} and reference == study.algorithms[1]
    assert again.environments == study.environments
    assert tuning.with_rates(path.read_text(), again, rates) == path.read_text()


@pytest.fixture
def results(tmp_path):
    study = make_study(environments=("Copy", "Lattice"), algorithms=("ppo", "dqn", "sac"), seeds=5)
    sac = dataclasses.replace(study.algorithms[2], environments=("Copy",))
    study = dataclasses.replace(study, algorithms=(*study.algorithms[:2], sac))
    for spec in study.runs():
        final = {"ppo": 0.5, "dqn": 0.9, "sac": 0.99}[spec.label] + 0.01 * spec.seed
        write_run(tmp_path, spec, final=min(final, 1.0))
    return collect(study, tmp_path)


def test_rows_are_sorted_by_where_they_ran_and_how_they_did(results):
    found = rows(results)
    assert [row.algorithm for row in found] == ["dqn", "ppo", "sac"]
    dqn, ppo, sac = found
    assert dqn.cells[0] is not None and sac.cells[1] is None and (dqn.ran, sac.ran) == (2, 1)
    assert dqn.runs == 10 and dqn.seconds == pytest.approx(30.0)  # 10·(1 + seed), as made up
    for row in (dqn, ppo):
        assert row.iqm.low <= row.iqm.estimate <= row.iqm.high
        assert row.gap.estimate == pytest.approx(
            1 - sum(min(one, 1) for each in results.scores_by_task(row.algorithm) for one in each) / 10
        )
    assert best_of(found, results.environments)["Copy"][0] == "sac"
    assert best_of(found, results.environments)["Lattice"][0] == "dqn"


def test_the_table_has_intervals_and_marks_the_best_of_each_column(results):
    header, _, dqn, _, sac = table.matrix(results).splitlines()
    assert header.startswith("| algorithm | Copy | Lattice | all: IQM | optimality gap |")
    cells = [cell.strip() for cell in dqn.split("|")[1:-1]]
    assert re.fullmatch(r"\.\d\d<br><sub>\.\d\d–.*</sub>", cells[1])
    assert re.fullmatch(r"\*\*\.\d\d\*\*<br><sub>\.\d\d–.*</sub>", cells[2])
    assert [cell.strip() for cell in sac.split("|")[1:4]][2] == "–" and "<br>of 1" in sac


def test_the_heat_map_writes_every_score_and_the_profiles_hold_every_algorithm_of_their_kind(results):
    axis = heat_map(results, rows(results)).axes[0]
    written = [text.get_text() for text in axis.texts]
    assert len(written) == 3 * 3 and written.count("–") == 1
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dqn", "ppo", "sac"]
    panels = profile_picture(results).axes
    assert [panel.get_title(loc="left") or panel.get_title() for panel in panels] == list(KINDS)
    assert [[line.get_label() for line in panel.lines] for panel in panels] == [["ppo"], ["dqn", "sac"], []]


def test_every_algorithm_has_a_panel_of_the_profiles():
    rooms = {name for names in KINDS.values() for name in names}
    assert {room(name) for name in ONLINE} <= rooms


def test_numbers_are_short():
    assert [table._short(one) for one in (0.971, 1.0, 0.0, -0.001, -0.25, -1.2)] == [
        *(".97", "1.00", ".00", ".00", "−.25", "−1.20")
    ]


def test_the_page_keeps_what_is_written_by_hand_and_is_written_twice_alike(results):
    lower = table.lower_part(results, None, "command")
    once = table.whole("# The zoo\n\nBy hand.\n", lower)
    assert table.whole(once, lower) == once and once.startswith("# The zoo\n\nBy hand.\n")
    assert "25 runs of 25." in once and "Presets" not in once


def test_the_page_names_its_commands():
    page = PAGE.read_text(encoding="utf-8")
    for command in ("tokengym compare zoo", "tokengym compare zoo-presets", "tokengym compare zoo-quick"):
        assert command in page
    assert "python -m tokengym.experiments.zoo.tuning" in page and table.MARK in page
