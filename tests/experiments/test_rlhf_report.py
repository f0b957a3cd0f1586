"""The report of a pipeline, over results that were made up: what is known of them must stand on the page."""

import json
import re
from pathlib import Path

import pytest

from tokengym.experiments.rlhf import gather, load_pipeline, plan, write_report
from tokengym.experiments.rlhf.plots import against_kl

TEXT = """
name: made-up
description: Nothing was run.
seeds: [0, 1]
environment: {id: Sentiment}
sft: {}
comparisons: {labels: 100, flips: 0.25}
reward_model: {}
methods:
  ppo: {tokens: 1000}
  dpo: {updates: 10}
  best-of-n: {n: [2, 4]}
judgement: {episodes: 50, points: 2, samples: 2}
"""


def judged(gold: float, proxy: float, kl: float | None, **more: object) -> dict[str, object]:
    return {
        "gold": gold,
        "gold_error": 0.01,
        "proxy": proxy,
        "proxy_error": 0.05,
        "kl": kl,
        "kl_is_bound": False,
        "length": 16.0,
        "episodes": 50,
        "play": "sampled",
        **more,
    }


def said(words: str, gold: float, proxy: float) -> dict[str, object]:
    return {"start": 1, "segments": [("task", "go on:"), ("agent", words)], "gold": gold, "proxy": proxy}


def facts(stage: str, seed: int) -> dict[str, object]:
    if stage == "sft":
        return {"texts": 2000, "tokens": 0, "updates": 300, "seconds": 1.0}
    if stage == "comparisons":
        pair = {
            "prompt": "go on:",
            "better": {"text": "<b>dull</b>", "gold": 0.25},
            "worse": {"text": "good", "gold": 0.75},
        }
        told = {"source": "labelled", "flips": 0.25, "train": 80, "held_out": 20, "agreement": 0.7}
        return {**told, "allowed_accuracy": 0.8125, "examples": [pair]}
    if stage == "reward-model":
        bins = [{"confidence": 0.6, "accuracy": 0.5, "count": 12}, {"confidence": 0.9, "accuracy": 0.875, "count": 8}]
        told = {"train_accuracy": 0.9, "accuracy": 0.775, "calibration_error": 0.07}
        return {**told, "calibration": bins}
    if stage == "before":
        return {"final": judged(0.5, 0.0, 0.0), "samples": [said("so so", 0.5, 0.0), said("bad", 0.0, -1.0)]}
    ends = {
        "ppo": judged(0.75 + 0.05 * seed, 2.0, 4.0),
        "dpo": judged(0.625, 1.0, 1.0),
        "best-of-n": judged(0.6, 0.8, 0.6363, kl_is_bound=True),
    }
    end = {"point": 2, "tokens": 1000, "updates": 10, **ends[stage]}
    middle = {**end, "point": 1, "gold": 0.55, "kl": 0.25}
    more = {} if stage == "best-of-n" else {"tokens": 1000, "updates": 10, "seconds": 12.5}
    if stage == "ppo":
        more |= {"ratio_error": 3e-5 * (1 + seed), "ratio_tolerance": 2e-4}
    return {
        **more,
        "points": [middle, end],
        "final": end,
        "samples": [said("great", 1.0, 2.5), said("worse", 0.0, -2.0)],
    }


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("made-up")
    path = folder / "made-up.yaml"
    path.write_text(TEXT)
    pipeline, out = load_pipeline(path), folder / "results"
    for seed in pipeline.seeds:
        for stage in plan(pipeline, out, seed):
            stage.path.mkdir(parents=True)
            stage.finish(facts(stage.name, seed), 2.5, {"cpu_seconds": 12.4, "peak_gb": 1.25 + seed})
    write_report(gather(pipeline, out), out, command="tokengym rlhf made-up.yaml")
    return out, (out / "report.html").read_text(encoding="utf-8")


def test_the_page_is_self_contained_and_escapes_what_was_said(made_up: tuple[Path, str]):
    _, html = made_up
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "<b>dull</b>" not in html and "&lt;b&gt;dull&lt;/b&gt;" in html


def test_completions_stand_beside_their_gold_and_proxy_before_and_after(made_up: tuple[Path, str]):
    _, html = made_up
    first = html[html.index('<div class="prompt">') :]
    rows = re.findall(r'<div class="said.*?</div>', first, flags=re.DOTALL)
    assert [re.sub(r"<[^>]+>", " ", row).split() for row in rows[:2]] == [
        ["before", "so", "so", "0.5", "0.00"],
        ["ppo", "great", "1", "2.50"],
    ]
    assert 'class="number gold up">1<' in rows[1]


def test_a_label_against_the_gold_is_marked(made_up: tuple[Path, str]):
    assert re.search(r'class="number against">0\.25<', made_up[1])


def test_the_table_has_the_mean_and_range_of_the_seeds_and_calls_a_bound_one(made_up: tuple[Path, str]):
    table = (made_up[0] / "table.md").read_text()
    (ppo,) = (line for line in table.splitlines() if line.startswith("| ppo") and "tokens" in line)
    assert "0.775 (0.750 to 0.800)" in ppo and "1,000 tokens" in ppo
    assert re.search(r"\| best-of-n .*≤ 0\.636", table)
    assert "77.5%" in table and "81.2%" in table


def test_the_peak_and_the_ratio_error_are_the_largest_of_the_seeds(made_up: tuple[Path, str]):
    table = (made_up[0] / "table.md").read_text()
    found = {line.split("|")[1].strip(): line.split("|")[2:7] for line in table.splitlines() if "2.25" in line}
    assert [cell.strip() for cell in found["ppo"]] == ["12", "2.25", "–", "6.0e-05", "2.0e-04"]
    assert [cell.strip() for cell in found["dpo"]] == ["12", "2.25", "–", "–", "–"]
    assert "Cost and precision" in made_up[1]


def test_the_summary_says_what_each_seed_ended_with(made_up: tuple[Path, str]):
    summary = json.loads((made_up[0] / "summary.json").read_text())
    assert [one["gold"] for one in summary["methods"]["ppo"]] == [0.75, 0.8]
    assert summary["reward-model"][0]["accuracy"] == 0.775


def test_every_picture_is_there_and_wide_and_narrow(made_up: tuple[Path, str]):
    wide = {path.stem for path in (made_up[0] / "plots").glob("*.png")}
    assert wide == {"against_kl", "along_the_way", "calibration"}
    assert wide == {path.stem for path in (made_up[0] / "plots" / "narrow").glob("*.png")}


def test_a_bar_shows_what_the_seeds_say_of_the_end(made_up: tuple[Path, str], tmp_path: Path):
    def bars(text: str) -> list[list[float]]:
        path = tmp_path / "made-up.yaml"
        path.write_text(text)
        figure = against_kl(gather(load_pipeline(path), made_up[0]))
        assert figure is not None
        return [[float(end) for end in line.get_ydata()] for line in figure.axes[0].lines]  # type: ignore[union-attr]

    assert [0.75, 0.8] in bars(TEXT)
    assert [0.75, 0.8] not in bars(TEXT.replace("seeds: [0, 1]", "seeds: [0]"))


def test_what_is_not_done_is_said(made_up: tuple[Path, str], tmp_path: Path):
    path = tmp_path / "made-up.yaml"
    path.write_text(TEXT.replace("seeds: [0, 1]", "seeds: [0, 2]"))
    results = gather(load_pipeline(path), made_up[0])
    write_report(results, tmp_path / "out", command="tokengym rlhf made-up.yaml")
    assert "seed 2: sft, comparisons" in (tmp_path / "out" / "report.html").read_text()


def test_settings_that_changed_are_named(made_up: tuple[Path, str], tmp_path: Path):
    path = tmp_path / "made-up.yaml"
    path.write_text(TEXT.replace("flips: 0.25", "flips: 0.125"))
    stages = {stage.name: stage for stage in plan(load_pipeline(path), made_up[0], 0)}
    assert stages["sft"].state() == "done"
    assert stages["comparisons"].state() == stages["ppo"].state() == "changed"
    assert stages["comparisons"].changes() == "flips is 0.125 (the folder's is 0.25)"
    assert "comparisons is another" in stages["reward-model"].changes()
