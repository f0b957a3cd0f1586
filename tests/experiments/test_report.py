"""Gathered results, tables, pictures and the report, on made-up runs."""

import json
import re
import struct
from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_study, write_run, write_study

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.report import tables
from tokengym.experiments.report.columns import column_curves, column_names, column_table
from tokengym.experiments.report.drawing import colours
from tokengym.experiments.report.page import write_report
from tokengym.experiments.report.plots import save_plots
from tokengym.experiments.report.results import StudyResults, aggregates, collect, improvement_matrix, summary
from tokengym.experiments.statistics import interquartile_mean, summarise
from tokengym.experiments.study.machine import machine

PLOTS = [
    "scores",
    "learning_by_tokens",
    "learning_by_seconds",
    "aggregates",
    "performance_profile",
    "improvement",
    "metrics",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("small")
    study = make_study(environments=("Copy", "KLTree"), algorithms=("ppo", "sac", "sb3-ppo"), seeds=3)
    write_study(out, study, failed=("Copy/sac/seed-1",), missing=("KLTree/sb3-ppo/seed-0",))
    return study, out


def test_scores_are_gathered_by_cell_and_failures_and_gaps_are_kept(small):
    results = collect(*small)
    assert [len(results.scores("Copy", name)) for name in ("ppo", "sac", "sb3-ppo")] == [3, 2, 3]
    assert [run.spec.name for run in results.failures()] == ["Copy/sac/seed-1"]
    assert [run.spec.name for run in results.missing()] == ["KLTree/sb3-ppo/seed-0"]


def test_an_aggregate_is_over_all_environments_and_counts_failures(small):
    row = next(row for row in aggregates(collect(*small)) if row.algorithm == "sac")
    scores = np.concatenate([collect(*small).scores(name, "sac") for name in ("Copy", "KLTree")])
    assert row.iqm.estimate == interquartile_mean(scores)
    assert (row.finished, row.failed, row.expected) == (5, 1, 6)


def test_an_algorithm_without_a_run_on_an_environment_has_no_aggregate(tmp_path):
    study = make_study(environments=("Copy", "KLTree"), algorithms=("ppo", "sac"), seeds=2)
    write_study(tmp_path, study, failed=("Copy/sac/seed-0", "Copy/sac/seed-1"))
    results = collect(study, tmp_path)
    assert [row.iqm is None for row in aggregates(results)] == [False, True]
    assert improvement_matrix(results) == (["ppo"], {})
    assert tables.score_table(results).rows[0][2] == tables.Cell("2 of 2 failed", "failed")


def test_a_failed_run_is_shown_beside_the_score_of_the_others(small):
    table = tables.score_table(collect(*small))
    cell = table.rows[0][table.header.index("sac")]
    assert cell.kind == "failed" and re.fullmatch(r"0\.\d\d \(.* to .*\), 1 of 3 failed", cell.text)
    assert "1 of 3 failed" in tables.to_markdown(table)


def test_a_table_wider_than_high_is_turned_and_another_is_not():
    rows = [[tables.Cell("x", "name"), tables.Cell("1"), tables.Cell("2")]]
    turned = tables.upright(tables.Table("t", ["e", "a", "b"], rows))
    assert turned.header == ["algorithm", "x"]
    assert [[cell.text for cell in row] for row in turned.rows] == [["a", "1"], ["b", "2"]]
    assert tables.upright(turned) is turned


def test_every_picture_is_drawn_and_drawn_the_same_again(small, tmp_path):
    results = collect(*small)
    first, second = save_plots(results, tmp_path / "a"), save_plots(results, tmp_path / "b")
    assert list(first) == PLOTS
    for name in PLOTS:
        data = first[name].read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert width > 500 and height > 200
        assert data == second[name].read_bytes()


def test_without_a_finished_run_nothing_is_drawn_and_the_report_still_shows_the_failures(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1)
    write_study(tmp_path, study, failed=("Copy/ppo/seed-0",))
    files = write_report(collect(study, tmp_path), tmp_path, command="tokengym compare s.yaml")
    assert files.plots == {}
    assert "loss is NaN" in files.html.read_text()


def test_a_reference_has_the_colour_of_what_it_refers_to(small):
    palette = colours(collect(*small))
    assert palette["sb3-ppo"] == palette["ppo"] != palette["sac"]


def test_the_report_is_one_page_that_loads_nothing(small):
    study, out = small
    html = write_report(collect(study, out), out, command="tokengym compare s.yaml --out 'a b'").html.read_text()
    assert html.count('src="data:image/png;base64,') == len(PLOTS)
    assert html.count('srcset="data:image/png;base64,') == 3
    assert (
        not re.search(r"""(src|href)=["'](?!data:|#|runs/)""", html) and "<script" not in html and "@import" not in html
    )
    assert "tokengym compare s.yaml --out &#39;a b&#39;" in html
    assert "1 of 3 failed" in html and "Traceback (most recent call last)" in html
    assert "Not run: KLTree/sb3-ppo/seed-0" in html


def test_what_an_agent_said_is_escaped(small):
    study, out = small
    html = write_report(collect(study, out), out, command="x").html.read_text()
    assert "a b &lt;b&gt;&amp;" in html and "a b <b>&" not in html


def test_the_summary_holds_no_time_and_is_the_same_again(small):
    study, out = small
    first = write_report(collect(study, out), out, command="x").summary.read_text()
    assert write_report(collect(study, out), out, command="y").summary.read_text() == first
    content = json.loads(first)
    assert "seconds" not in first
    assert content["failures"] == {"Copy/sac/seed-1": "ValueError: loss is NaN"}
    assert set(content["environments"]["Copy"]["scores"]["ppo"]) == {"0", "1", "2"}


def test_a_seal_without_a_score_is_corrupt(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1)
    folder = write_run(tmp_path, study.runs()[0])
    folder.finish({"tokens": 1})
    with pytest.raises(TokenGymError, match="its seal holds no score"):
        collect(study, tmp_path)


@pytest.mark.parametrize(
    ("seeds", "told", "untold"),
    [
        (1, "One seed: its score, without an interval", ["nterquartile mean over", "their range"]),
        (3, "Mean of 3 seeds and, in parentheses, their range", ["nterquartile mean over 3"]),
        (4, "Interquartile mean over 4 seeds and, in brackets, a 95% percentile bootstrap interval", ["their range"]),
    ],
)
def test_tables_captions_and_summary_say_what_the_numbers_are(tmp_path, seeds, told, untold):
    study = make_study(environments=("Copy",), algorithms=("ppo", "sac"), seeds=seeds)
    write_study(tmp_path, study)
    files = write_report(collect(study, tmp_path), tmp_path, command="x")
    html, table, content = files.html.read_text(), files.table.read_text(), json.loads(files.summary.read_text())
    assert html.count(told) >= 3 and told in table
    assert not any(text in page for text in untold for page in (html, table))
    cell, row = content["environments"]["Copy"]["summary"]["ppo"], content["aggregates"]["ppo"]
    expected = {1: ("one run", "none"), 3: ("mean", "range"), 4: ("interquartile mean", "bootstrap")}[seeds]
    assert (cell["statistic"], cell["spread"]) == expected
    assert (row["iqm"] is None, row["mean"]["low"] is None) == ((False, False) if seeds == 4 else (True, True))
    assert ("[" in table.split("## Aggregates")[1].split("\n\n")[1]) == (seeds == 4)


def test_a_score_of_sampled_play_without_a_policy_says_how_it_was_played(tmp_path):
    study = make_study(environments=("KLTree",), algorithms=("dqn",), seeds=1)
    spec = study.runs()[0]
    folder = write_run(tmp_path, spec)
    done = folder.verify()
    done["sampled"]["play"] = "sampled (Boltzmann over Q, temperature 1)"
    folder.finish({key: done[key] for key in ("score", "tokens", "references", "greedy", "sampled")})
    note = tables.score_table(collect(study, tmp_path)).note
    assert "dqn has no policy" in note and "sampled (Boltzmann over Q, temperature 1)" in note


def test_a_policy_that_is_weighed_by_values_is_not_said_to_be_none(tmp_path):
    study = make_study(environments=("KLTree",), algorithms=("dqn",), seeds=1)
    folder = write_run(tmp_path, study.runs()[0])
    done = folder.verify()
    done["sampled"]["play"] = "sampled (AdvantageWeighted)"
    folder.finish({key: done[key] for key in ("score", "tokens", "references", "greedy", "sampled")})
    note = tables.score_table(collect(study, tmp_path)).note
    assert "has no policy" not in note and "does not say its policy alone" in note


def test_the_page_has_unique_ids_contents_that_lead_to_them_and_every_run_with_its_folder(small):
    study, out = small
    html = write_report(collect(study, out), out, command="x").html.read_text()
    ids = re.findall(r'id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) == set(ids)
    links = re.findall(r'href="(runs/[^"]+)"', html)
    assert len(links) == 17 and all((out / link).is_dir() for link in links)
    shown = tables.run_table(collect(study, out))
    assert [cell.text for cell in shown.rows[0]][:3] == ["Copy", "ppo", "0"]
    assert {"failed", "not run"} <= {row[3].text for row in shown.rows}
    assert shown.rows[0][5].text == "10.0"


def test_all_hyperparameters_are_told_and_what_differs_from_the_defaults_stands_out(small):
    shown = tables.hyperparameter_table(collect(*small))
    row = {cells[0].text: cells for cells in shown.rows}
    ppo, reference = shown.header.index("ppo"), shown.header.index("sb3-ppo")
    assert row["clip"][ppo].kind == "plain" and row["gamma"][ppo].text == "1.0"
    assert row["num_envs"][ppo].text == "–" and row["num_envs"][reference].text != "–"
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1)
    changed = replace(study, algorithms=(replace(study.algorithms[0], config={"clip": 0.3}),))
    cells = {one[0].text: one[1] for one in tables.hyperparameter_table(StudyResults(changed, ())).rows}
    assert cells["clip"] == tables.Cell("0.3 (not 0.2)", "best")


def test_the_machine_of_each_run_is_told_as_it_was_noted_there(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=2)
    for spec in study.runs():
        folder = write_run(tmp_path, spec)
        folder.append("timings.jsonl", {"kind": "machine", "processor": f"chip {spec.seed}", "torch": "9.9"})
    shown = tables.machine_table(collect(study, tmp_path))
    assert shown.header == ["made with", "1 runs", "1 runs"]
    assert [[cell.text for cell in row] for row in shown.rows] == [
        ["processor", "chip 0", "chip 1"],
        ["torch", "9.9", "9.9"],
    ]
    assert set(machine()) >= {"processor", "cores", "python", "torch", "tokengym"}


def test_what_was_reported_beside_the_reward_has_a_table_and_a_picture_with_gold_first(tmp_path):
    study = make_study(environments=("Copy", "Lattice"), algorithms=("ppo", "sac"), seeds=2)
    write_study(tmp_path, study, columns=("Copy",))
    results = collect(study, tmp_path)
    assert column_names(results, "Copy") == ["gold", "format"] and not column_names(results, "Lattice")
    table = column_table(results)
    assert table.header == ["environment", "algorithm", "gold", "format"]
    assert [[cell.text for cell in row[:2]] for row in table.rows] == [["Copy", "ppo"], ["Copy", "sac"]]
    gold = [run.summary["greedy"]["columns"]["gold"] for run in results.cell("Copy", "ppo")]
    assert table.rows[0][2].text == summarise(np.array(gold)).text()
    figure = column_curves(results)
    labels = [axis.get_ylabel() for axis in figure.axes if axis.get_visible()]
    assert labels == ["gold (lines), proxy (dots)", "format"]
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":" or line.is_dashed()]
    assert [line.get_ydata()[-1] for line in dotted] == [
        pytest.approx(np.mean([run.curve[-1]["expected_return"] for run in results.cell("Copy", name)]))
        for name in ("ppo", "sac")
    ]
    files = write_report(results, tmp_path, command="x")
    assert "## Columns" in files.table.read_text() and 'id="columns"' in files.html.read_text()
    assert list(files.plots).index("columns") == list(files.plots).index("metrics") - 1


def test_a_study_without_columns_has_neither_table_nor_picture(small):
    study, out = small
    results = collect(study, out)
    assert column_table(results) is None and column_curves(results) is None


def test_intervals_are_computed_once_for_page_pictures_and_console(small, monkeypatch):
    from tokengym.experiments.report import results as module

    study, out = small
    counted = []
    for name in ("stratified_bootstrap", "probability_of_improvement", "summarise"):
        original = getattr(module, name)

        def counting(*given, original=original, name=name, **named):
            counted.append(name)
            return original(*given, **named)

        monkeypatch.setattr(module, name, counting)
    results = collect(study, out)
    files = write_report(results, out, command="x")
    once = list(counted)
    assert once.count("stratified_bootstrap") == 9 and once.count("summarise") == 6
    summary(results), aggregates(results), files.tables.shown()
    assert counted == once
