import math
from types import SimpleNamespace

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.rewards.functions import REWARDS, RewardFunction, build_reward
from tokengym.envs.rewards.scorer import Scorer

IDS = [[5, 6, 2], [5, 2]]


def score(spec, completions, ids=None, **columns):
    ids = ids or [list(range(len(text.split()))) for text in completions]
    return list(
        build_reward(spec)(prompts=["p"] * len(completions), completions=completions, completion_ids=ids, **columns)
    )


def test_keyword_counts_whole_words_once():
    spec = {"name": "keyword", "words": ["sea", "moon"]}
    assert score(spec, ["The SEA, the sea", "season moon", "moon over the sea", ""]) == [0.5, 0.5, 1.0, 0.0]
    assert score(spec | {"ignore_case": False}, ["The SEA"]) == [0.0]


def test_keyword_reads_each_prompts_own_words_from_a_column():
    spec = {"name": "keyword", "column": "words"}
    assert score(spec, ["a b", "a b"], words=["a c", ["a", "b"]]) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("unit", "text", "ids", "expected"),
    [
        ("tokens", "ab", [1, 2, 3, 4], 1.0),
        ("words", "a b", [1], 0.5),
        ("characters", "abcdef", [1], 0.5),
        ("words", "a b c d e f g h i", [1], 0.0),
    ],
)
def test_length_is_one_at_the_target_and_falls_to_zero(unit, text, ids, expected):
    assert score({"name": "length", "target": 4, "unit": unit}, [text], [ids]) == [expected]


def test_regex_searches_or_matches_the_whole():
    assert score({"name": "regex", "pattern": r"\d+"}, ["x 12", "x"]) == [1.0, 0.0]
    assert score({"name": "regex", "pattern": r"\d+", "full": True}, ["x 12", "12"]) == [0.0, 1.0]


def test_exact_match_compares_with_an_answer_or_a_column():
    assert score({"name": "exact_match", "answer": "Yes"}, [" Yes ", "yes"]) == [1.0, 0.0]
    assert score({"name": "exact_match", "answer": "Yes", "ignore_case": True}, ["yes"]) == [1.0]
    assert score({"name": "exact_match", "column": "answer"}, ["4", "4"], answer=[4, "5"]) == [1.0, 0.0]


def test_lexicon_counts_different_words_of_both_sides_and_is_cut_off():
    spec = {"name": "lexicon", "positive": ["good", "kind", "warm"], "negative": ["bad"], "most": 2}
    texts = ["good", "Good, kind and warm", "good good good", "bad", "good, but bad", "goods", "bad bad"]
    assert score(spec, texts) == [0.5, 1.0, 0.5, -0.5, 0.0, 0.0, -0.5]
    assert score(spec | {"ignore_case": False}, ["Good"]) == [0.0]
    assert build_reward(spec).reward_range == (-1.0, 1.0)
    assert build_reward({"name": "lexicon", "positive": ["good"]}).reward_range == (0.0, 1.0)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"positive": []}, "needs positive words"),
        ({"positive": ["good"], "negative": ["good"]}, "'good' among positive and negative"),
        ({"positive": "good"}, "list of non-empty strings"),
        ({"positive": ["good"], "most": 0}, "at least 1"),
    ],
)
def test_a_lexicon_that_says_nothing_is_refused(parameters, says):
    with pytest.raises(TokenGymError, match=says):
        build_reward({"name": "lexicon", **parameters})


def test_repetition_penalty_is_the_share_of_repeated_ngrams():
    spec = {"name": "repetition_penalty", "ngram": 1}
    assert score(spec, ["a a a a", "a b c d", ""]) == [-0.75, 0.0, 0.0]
    # bigrams of "a b a b": ab, ba, ab
    assert score(spec | {"ngram": 2}, ["a b a b"]) == [pytest.approx(-1 / 3)]
    assert score(spec | {"unit": "tokens"}, ["x"], [[7, 7]]) == [-0.5]


def test_weighted_sum_adds_weighted_terms_and_their_ranges():
    spec = {
        "name": "weighted_sum",
        "terms": [
            {"weight": 2.0, "reward": {"name": "keyword", "words": ["a", "z"]}},
            {"weight": -1.0, "reward": {"name": "length", "target": 2, "unit": "words"}},
        ],
    }
    assert score(spec, ["a b", "b"]) == [0.0, -0.5]
    assert build_reward(spec).reward_range == (-1.0, 2.0)


def test_weighted_sum_skips_terms_that_abstain_and_abstains_when_all_do():
    def never(completions, **kwargs):
        return [None] * len(completions)

    def first_only(completions, **kwargs):
        return [3.0, None]

    scores = Scorer(build_reward([never, first_only]))(["p", "p"], ["x", "y"], IDS)
    assert scores.rewards.tolist() == [3.0, 0.0]
    assert scores.abstained.tolist() == [False, True]


def test_weighted_sum_of_per_token_and_whole_rewards_pays_the_whole_at_the_last_token():
    def each(completion_ids, **kwargs):
        return [[1.0] * len(ids) for ids in completion_ids]

    def whole(completions, **kwargs):
        return [10.0] * len(completions)

    function = build_reward({"name": "weighted_sum", "terms": [{"weight": 0.5, "reward": each}, {"reward": whole}]})
    scores = Scorer(function)(["p", "p"], ["x", "y"], IDS)
    assert [part.tolist() for part in scores.token_rewards] == [[0.5, 0.5, 10.5], [0.5, 10.5]]
    assert scores.rewards.tolist() == [11.5, 11.0]


def test_every_rule_is_a_reward_function_that_stays_in_its_range():
    specs = {
        "keyword": {"words": ["a"]},
        "lexicon": {"positive": ["a"], "negative": ["b"]},
        "length": {"target": 3},
        "regex": {"pattern": "a"},
        "exact_match": {"answer": "a"},
        "repetition_penalty": {},
        "weighted_sum": {"terms": [{"reward": {"name": "length", "target": 1}}]},
    }
    assert specs.keys() == REWARDS.keys() - {"guarded", "reward_model"}  # test_guard.py, test_learned_rewards.py
    for name, parameters in specs.items():
        function = build_reward({"name": name, **parameters})
        assert isinstance(function, RewardFunction)
        low, high = function.reward_range
        scores = Scorer(function)(["p"] * 3, ["", "a", "a a b a a"], [[2], [4, 2], [4, 4, 5, 4, 4]])
        assert (scores.rewards >= low).all() and (scores.rewards <= high).all()


def test_functions_written_for_another_trainer_work_unchanged():
    seen = {}

    def reward(prompts, completions, completion_ids, answer, trainer_state, log_metric, log_extra, **kwargs):
        seen.update(step=trainer_state.global_step, others=sorted(kwargs))
        log_metric("accuracy", 0.5)
        log_extra("guess", completions)
        return [1.0 if text == right else None for text, right in zip(completions, answer, strict=True)]

    scorer = Scorer(reward)
    columns = {"answer": ["x", "z"], "level": [1, 2]}
    scores = scorer(["p", "q"], ["x", "y"], IDS, columns)
    assert scores.rewards.tolist() == [1.0, 0.0]
    assert {name: values.tolist() for name, values in scores.columns.items()} == {
        "accuracy": [0.5, 0.5],
        "guess": ["x", "y"],
    }
    assert seen == {"step": 0, "others": ["level"]}
    scorer(["p", "q"], ["x", "y"], IDS, columns)
    assert seen["step"] == 1


def test_a_function_gets_only_the_arguments_that_it_names():
    assert Scorer(lambda completions: [float(len(text)) for text in completions])(
        ["p", "q"], ["ab", "c"], IDS, {"answer": [1, 2]}
    ).rewards.tolist() == [2.0, 1.0]


def test_a_callable_object_and_an_array_are_fine():
    class Learned:
        def __call__(self, prompts, completions, **kwargs):
            return np.array([0.5, 2], np.float32)

    scores = Scorer(Learned())(["p", "q"], ["x", "y"], IDS)
    assert scores.rewards.tolist() == [0.5, 2.0] and scores.token_rewards is None


def giving(value):
    def broken_reward(completions, **kwargs):
        return value

    return broken_reward


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, math.nan], r"broken_reward.*nan for row 1.*'y'"),
        ([math.inf, 1.0], r"broken_reward.*inf for row 0.*'x'"),
        ([1.0], r"broken_reward.*1 rewards for 2 completions"),
        ([1.0, "good"], r"broken_reward.*'good' for row 1"),
        (1.0, r"broken_reward.*must give a list of 2 rewards.*float"),
        (None, r"broken_reward.*must give a list of 2 rewards.*NoneType"),
        (np.ones((2, 1)), r"broken_reward.*1 values for row 0, whose completion has 3 tokens"),
        ([[1.0, math.nan, 0.0], 1.0], r"broken_reward.*nan for row 0"),
        ([1.0, 10**400], r"broken_reward.*1000.* for row 1"),
        (np.float64(1.0), r"must give a list of 2 rewards"),
    ],
)
def test_a_wrong_result_names_the_function_the_row_and_the_value(value, message):
    with pytest.raises(TokenGymError, match=message):
        Scorer(giving(value))(["p", "q"], ["x", "y"], IDS)


def test_a_function_that_raises_is_never_a_zero():
    def faulty(completions, **kwargs):
        raise KeyError("label")

    for function in (faulty, build_reward([faulty])):
        with pytest.raises(TokenGymError, match=r"faulty.*KeyError.*label.*2 completions") as caught:
            Scorer(function)(["p", "q"], ["x", "y"], IDS)
        assert isinstance(caught.value.__cause__, KeyError)


def test_a_missing_column_is_named():
    with pytest.raises(TokenGymError, match=r"needs answer.*\['level'\]"):
        Scorer(lambda completions, answer: [0.0])(["p"], ["x"], [[1]], {"level": [1]})
    with pytest.raises(TokenGymError, match=r"column 'answer'"):
        Scorer(build_reward({"name": "exact_match", "column": "answer"}))(["p"], ["x"], [[1]])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "keywrod", "words": ["a"]}, "did you mean 'keyword'"),
        ({"name": "keyword", "word": ["a"]}, "did you mean 'words'"),
        ({"name": "keyword"}, "exactly one of words and column"),
        ({"name": "keyword", "words": "sea"}, "list of non-empty strings"),
        ({"name": "length"}, "cannot be built"),
        ({"name": "length", "target": 0}, "at least 1"),
        ({"name": "length", "target": 2, "unit": "word"}, "did you mean 'words'"),
        ({"name": "regex", "pattern": "("}, "not a regular expression"),
        ({"name": "exact_match", "answer": "a", "column": "b"}, "exactly one"),
        ({"name": "weighted_sum", "terms": []}, "at least one term"),
        ({"name": "weighted_sum", "terms": [{"wieght": 1, "reward": "regex"}]}, "did you mean 'weight'"),
        ({"name": "weighted_sum", "terms": [{"weight": math.nan, "reward": "repetition_penalty"}]}, "finite"),
        ("nowhere_at_all:reward", "cannot be loaded"),
        ("math:nope", "cannot be loaded"),
        ("math:pi", "not a callable"),
        ({"entry_point": "math:sqrt", "kwargs": {"x": 4}}, "'math:sqrt' called with .* raised TypeError"),
        ({"entry_point": "math:sqrt", "kwargs": 4}, "'math:sqrt' called with 4 raised TypeError"),
        (3, "Expected a reward specification"),
    ],
)
def test_a_wrong_specification_stops_at_the_door(spec, message):
    with pytest.raises(TokenGymError, match=message):
        build_reward(spec)


def test_an_entry_point_is_loaded_and_called_with_its_arguments(monkeypatch, tmp_path):
    (tmp_path / "my_reward_model.py").write_text(
        "def plain(completions, **kwargs):\n    return [1.0 for _ in completions]\n"
        "def scaled(scale):\n    return lambda completions, **kwargs: [scale for _ in completions]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert Scorer(build_reward("my_reward_model:plain"))(["p"], ["x"], [[1]]).rewards.tolist() == [1.0]
    spec = {"entry_point": "my_reward_model:scaled", "kwargs": {"scale": 4.0}}
    assert Scorer(build_reward(spec))(["p"], ["x"], [[1]]).rewards.tolist() == [4.0]


def test_scalar_like_values_of_other_libraries_are_numbers():
    tensor = SimpleNamespace(tolist=lambda: 0.25)
    assert Scorer(giving([tensor, True]))(["p", "q"], ["x", "y"], IDS).rewards.tolist() == [0.25, 1.0]
