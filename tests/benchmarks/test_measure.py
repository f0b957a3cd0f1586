"""What the benchmarks make of their measurements."""

import pytest

from benchmarks.measure import Comparison, markdown, number, rate, run


def comparison(ours, theirs=None, **changes):
    first, second = iter(ours), iter(theirs or [])
    described = {"name": "n", "setting": "s", "peer": "p", "unit": "tokens/s", "target": 2.0, **changes}
    second_or_none = (lambda: next(second)) if theirs else None
    return Comparison(**described, ours=lambda: next(first), theirs=second_or_none)


def test_the_ratio_is_the_median_of_the_pairs():
    result = run(comparison([10.0, 30.0, 8.0], [5.0, 10.0, 1.0]), 3)
    assert result.ratios == [2.0, 3.0, 8.0]
    assert result.ratio == 3.0 and result.met
    assert result.to_dict()["lowest"] == 2.0 and result.to_dict()["highest"] == 8.0


def test_ours_and_theirs_alternate_after_the_warm_up():
    calls = []

    def call(name):
        return lambda: calls.append(name) or 1.0

    given = Comparison(
        name="", setting="", peer="", unit="", target=1, ours=call("o"), theirs=call("t"), warm_up=[call("w")]
    )
    run(given, 2)
    assert calls == ["w", "o", "t", "o", "t"]


@pytest.mark.parametrize(("value", "at_most", "met"), [(3.0, False, True), (3.0, True, False), (1.0, True, True)])
def test_a_number_without_a_peer_is_judged_by_itself(value, at_most, met):
    assert run(comparison([value], at_most=at_most), 1).met is met


def test_the_table_states_range_target_and_verdict():
    table = markdown([run(comparison([1000.0, 3000.0], [2000.0, 2000.0], target=0.9), 2)])
    assert table.splitlines()[-1] == "| n | s | p | 2,000 tokens/s | 2,000 | 1× (0.5 … 1.5) | ≥ 0.9× | yes |"


def test_numbers_have_three_digits_and_no_exponents():
    assert [number(v) for v in (0.02231, 1.5, 99.94, 123.4, 5_678_901.2)] == [
        "0.0223",
        "1.5",
        "99.9",
        "123",
        "5,678,901",
    ]


def test_a_rate_divides_what_was_done_by_the_time():
    assert rate(lambda: 0)() == 0.0
    assert rate(lambda: 10)() > 0.0
