"""Two checkouts measured side by side, with fake rows: what is asked, what is judged, what is listed."""

import io
import json
from types import SimpleNamespace

import pytest

from benchmarks import against, checkout
from benchmarks.against import AGAIN, Checkout, Pairs, Row, RowFailed, cells, compare, judge

RATE, TIME = Row("p", "speed", "s", "steps/s"), Row("p", "cost", "s", "ms")


class FakeSide:
    """Answers from a list, and over and over with the last number of it."""

    def __init__(self, numbers, calls=None, name="", failed=None):
        self.rows, self.failed = list(numbers), failed or {}
        self._numbers = {row: list(values) for row, values in numbers.items()}
        self._calls, self._name = calls if calls is not None else [], name
        self.closed = False

    def measure(self, row):
        self._calls.append(self._name)
        values = self._numbers[row]
        value = values.pop(0) if len(values) > 1 else values[0]
        if isinstance(value, str):
            raise RowFailed(value)
        return value

    def close(self):
        self.closed = True


def test_a_rate_is_better_when_higher_and_a_duration_when_lower():
    assert Pairs(RATE, [80.0, 90.0, 100.0], [100.0, 100.0, 100.0]).ratio == 0.9
    assert not Pairs(RATE, [90.0], [100.0]).slower and Pairs(RATE, [89.0], [100.0]).slower
    assert Pairs(TIME, [2.0], [1.0]).slower and not Pairs(TIME, [1.0], [2.0]).slower


def test_pairs_are_judged_by_the_median_of_their_ratios():
    # The machine was busy in the second pair, for both, and for ours alone in the third.
    assert Pairs(RATE, [100.0, 10.0, 1.0], [100.0, 10.0, 100.0]).ratio == 1.0


def test_both_sides_measure_by_turns_and_each_goes_first_as_often():
    calls = []
    ours, theirs = (FakeSide({RATE: [1.0]}, calls, name) for name in ("o", "t"))
    report = compare(lambda: (ours, theirs), rounds=1, times=2)
    assert calls == ["t", "o", "o", "t"]
    assert report.pairs[RATE].ours == [1.0, 1.0] and ours.closed and theirs.closed


def test_every_round_starts_both_anew():
    started = []

    def start():
        started.append(len(started))
        return FakeSide({RATE: [started[-1] + 1.0]}), FakeSide({RATE: [1.0]})

    assert compare(start, rounds=3, times=1).pairs[RATE].ratios == [1.0, 2.0, 3.0]


def test_rows_of_one_checkout_are_listed_and_not_judged():
    ours = FakeSide({RATE: [1.0], TIME: [1.0]}, failed={"broken": "ImportError: no such thing"})
    theirs = FakeSide({RATE: [1.0], Row("p", "old", "s", "ms"): [1.0]})
    report = judge(lambda: (ours, theirs), rounds=1, times=1)
    assert list(report.pairs) == [RATE] and not report.slower
    assert report.missing == {
        "broken": "this checkout: ImportError: no such thing",
        "p: old, s": "this checkout has no such row",
        "p: cost, s": "the other checkout has no such row",
    }


@pytest.mark.parametrize(("ours", "theirs", "broken"), [("oh", 1.0, ["p: speed, s"]), (1.0, "oh", [])])
def test_a_row_that_fails_is_listed_and_counts_when_only_the_other_can_measure_it(ours, theirs, broken):
    report = compare(lambda: (FakeSide({RATE: [ours]}), FakeSide({RATE: [theirs]})), rounds=2, times=1)
    assert not report.pairs and set(report.broken) == set(broken)
    assert report.missing["p: speed, s"].endswith("checkout: oh")


def test_a_row_that_seems_slower_is_measured_anew_and_judged_by_that_alone():
    rounds = iter([(50.0, 50.0), (100.0, 50.0)])
    calls = []

    def start():
        unlucky, slow = next(rounds)
        return FakeSide({RATE: [unlucky], TIME: [100.0 / slow]}, calls), FakeSide({RATE: [100.0], TIME: [1.0]})

    report = judge(start, rounds=1, times=2)
    assert [pairs.row for pairs in report.slower] == [TIME]
    assert report.pairs[RATE].ratios == [1.0] * 2 * AGAIN and len(calls) == 2 * 2 * (1 + AGAIN)


def test_the_table_states_both_medians_and_the_range():
    assert cells(Pairs(RATE, [1500.0, 500.0], [2000.0, 2000.0])) == (
        *("p", "speed", "s", "2,000", "1,000 steps/s"),
        "0.50× (0.25 … 0.75)",
        "SLOWER",
    )


def test_a_checkout_lists_each_row_once_and_the_parts_that_fail():
    def module(name):
        if name == "benchmarks.bad":
            raise ImportError("no\nsuch thing")
        row = {"name": "n", "setting": "s", "unit": "ms"}
        return SimpleNamespace(
            comparisons=lambda quick: [
                SimpleNamespace(**row, ours=lambda: 1.0, peer="a"),
                SimpleNamespace(**row, ours=lambda: 2.0, peer="b"),
            ]
        )

    rows, failed = checkout.find(["good", "bad"], True, module)
    assert [row for row, _ in rows] == [{"part": "good", "name": "n", "setting": "s", "unit": "ms"}]
    assert rows[0][1]() == 1.0 and "such thing" in failed["bad"]


def test_a_row_runs_once_uncounted_before_it_is_measured():
    values, answers = iter([1.0, 2.0, 3.0]), io.StringIO()

    def fails():
        raise ValueError("wrong")

    checkout.serve([lambda: next(values), fails], ["0\n", "0\n", "1\n"], answers)
    assert [json.loads(line) for line in answers.getvalue().splitlines()] == [
        {"value": 2.0},
        {"value": 3.0},
        {"error": "ValueError: wrong"},
    ]


PART = """
from types import SimpleNamespace

def comparisons(quick):
    print("noise")
    return [SimpleNamespace(name="n", setting=f"quick {quick}", unit="ms", ours=lambda: print("noise") or SPEED)]
"""


def made(folder, speed, package=None):
    """Write the least that counts as a checkout; its `tokengym` lies in another folder if one is named."""
    files = {
        "benchmarks/part.py": PART.replace("SPEED", str(speed)),
        "envs/__init__.py": "",
        "tokengym.py": f"__path__ = [{str(package or folder)!r}]",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def started(folder):
    side = Checkout(folder, ["part"], quick=True)
    side.start()
    return side


def test_each_checkout_measures_its_own_code_in_a_process_of_its_own(tmp_path):
    folders = made(tmp_path / "new", 4.0), made(tmp_path / "old", 1.0)
    report = compare(lambda: (started(folders[0]), started(folders[1])), rounds=1, times=1)
    (pairs,) = report.pairs.values()
    assert pairs.row == Row("part", "n", "quick True", "ms")
    assert (pairs.ours, pairs.theirs, pairs.ratio) == ([4.0], [1.0], 0.25)


def test_a_checkout_without_an_environment_of_its_own_is_refused(tmp_path):
    elsewhere = made(tmp_path / "elsewhere", 1.0)
    with pytest.raises(SystemExit, match="make install"):
        started(made(tmp_path / "bare", 1.0, package=elsewhere))


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        against.main([str(tmp_path)])
    assert "it has no folder 'benchmarks'" in capsys.readouterr().err
