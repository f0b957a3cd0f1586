"""Columns: what tasks report beside the reward comes out of every face as it was reported, under every transform."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sample_tasks import Echo

from tokengym.envs import (
    Engine,
    FiniteTask,
    Initial,
    TextReply,
    TextTask,
    TokenEnv,
    TokenGymError,
    TokenTask,
    TokenVectorEnv,
    Transition,
    TurnResult,
    Vocabulary,
    make_task,
)
from tokengym.envs.columns import ColumnTotals, reported, row_columns
from tokengym.envs.transforms import apply_transforms


class Parity(FiniteTask):
    """Three bits; every second one reports what it was worth, by chance one of two amounts."""

    name = "Parity"
    vocabulary = Vocabulary.of(["zero", "one"])
    columns = {"gold": "sum"}  # noqa: RUF012

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        following = state + 1 if state < 2 else None
        if state == 1:
            return [Transition(1.0, following, float(action))]
        return [
            Transition(0.5, following, 1.0, columns={"gold": 2.0 * action, "even": float(action == 0)}),
            Transition(0.5, following, 0.0, columns={"gold": 4.0 * action}),
        ]


class Sum(TokenTask):
    """Turns of two digits; reports their sum, as a text too, in the second turn alone."""

    name = "Sum"
    vocabulary = Vocabulary.of([*"0123"])
    max_turns, max_turn_tokens, max_length = 2, 2, 6

    def begin(self, state, rows, random):
        return np.zeros((len(rows), 0), np.int32)

    def respond(self, state, rows, turn_tokens, counts, random):
        total = turn_tokens.sum(axis=1)
        late = state["turns_taken"][rows] == 1
        columns = {"total": np.where(late, total, np.nan), "odd": total % 2 == 1}
        columns["said"] = np.array(
            [f"{a}{b}" if is_late else None for (a, b), is_late in zip(turn_tokens, late, strict=True)]
        )
        return TurnResult(None, 1.0 * total, columns=columns)


class Words(TextTask):
    """One word a turn, whose length is reported where it is not "no"."""

    def __init__(self):
        super().__init__({"kind": "words", "corpus": ["no yes maybe"]}, max_turn_tokens=1, max_length=8, max_turns=3)

    def begin(self, random):
        return [], "yes"

    def respond(self, episode, completion):
        columns = {"letters": len(completion), "word": str(completion)} if completion != "no" else None
        return TextReply(None, 1.0, False, columns=columns)


TASKS = {
    "finite": Parity,
    "tokens": Sum,
    "text": Words,
    "generation": lambda: make_task("TextGeneration", max_new_tokens=3),
    "scaled": lambda: apply_transforms(Parity(), [{"name": "reward_scale", "scale": 2.0}]),
    "delayed": lambda: apply_transforms(Parity(), [{"name": "reward_delay"}]),
    "limited": lambda: apply_transforms(Sum(), [{"name": "time_limit", "max_tokens": 4}]),
    "penalised": lambda: apply_transforms(
        Sum(), [{"name": "allowed_words", "forbidden": ["3"], "effect": "end", "penalty": 1.0}]
    ),
}


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]()


def as_told(columns):
    """Columns as lists of what is reported, to compare with ==."""
    return {
        name: [value if there else None for value, there in zip(values, reported(values), strict=True)]
        for name, values in (columns or {}).items()
    }


def test_rows_report_what_they_report_alone_in_any_order(task):
    together, order = Engine(task, 5), np.array([3, 0, 4, 1, 2])
    together.reset(None, np.arange(5))
    alone = [Engine(task, 1) for _ in range(5)]
    for row, engine in enumerate(alone):
        engine.reset(None, row)
    random, reports = np.random.default_rng(0), 0
    while len(live := order[~together.over[order]]):
        actions = random.integers(task.vocabulary.num_actions, size=len(live))
        result = together.step(live, actions)
        for place, row in enumerate(live.tolist()):
            single = alone[row].step(None, actions[place : place + 1])
            assert single.rewards[0] == result.rewards[place]
            told = row_columns(single.columns or {}, 0)
            assert told == row_columns(result.columns or {}, place)
            reports += len(told)
    assert reports


def test_appending_reports_what_stepping_reports(task):
    stepped, appended = Engine(task, 4), Engine(task, 4)
    for engine in (stepped, appended):
        engine.reset(None, np.arange(4))
    random, width = np.random.default_rng(1), task.max_turn_tokens
    while len(live := np.flatnonzero(~stepped.over)[::-1]):
        actions = random.integers(task.vocabulary.num_actions, size=(len(live), width))
        result = appended.append(live, actions)
        for place, row in enumerate(live.tolist()):
            for column in range(int(result.said[place])):
                told = stepped.step([row], actions[place, column : column + 1]).columns
                given = {name: values[:, column] for name, values in (result.columns or {}).items()}
                assert row_columns(told or {}, 0) == row_columns(given, place)


def test_the_vector_face_has_the_columns_of_gymnasiums_own(task):
    own = TokenVectorEnv(3, task)
    other = SyncVectorEnv([lambda: TokenEnv(task)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    own.reset(seed=5), other.reset(seed=5)
    own.action_space.seed(0)
    seen = set()
    for _ in range(30):
        actions = own.action_space.sample()
        infos = own.step(actions)[-1], other.step(actions)[-1]
        for ours, theirs in (infos, tuple(info.get("final_info", {}) for info in infos)):
            keys = ours.keys() - {"final_obs", "_final_obs", "final_info", "_final_info"}
            assert keys == theirs.keys() - {"final_obs", "_final_obs", "final_info", "_final_info"}
            for key in keys:
                assert ours[key].dtype == theirs[key].dtype and ours[key].tolist() == theirs[key].tolist()
            seen |= keys
    assert {name for name in seen if not name.startswith("_")}


def test_a_saved_state_goes_on_reporting(task):
    first, second = Engine(task, 1), Engine(task, 1)
    first.reset(None, 3)
    first.step(None, [0])
    if not first.over[0]:
        second.set_state(0, first.get_state(0))
        assert as_told(first.step(None, [1]).columns) == as_told(second.step(None, [1]).columns)


def test_a_task_without_columns_reports_nothing():
    env, engine = TokenEnv(Echo()), Engine(Echo(), 2)
    env.reset(seed=0), engine.reset(None, 0)
    assert engine.step(None, [0, 1]).columns is None and "columns" not in env.step(0)[-1]
    assert engine.append(None, [[0], [1]]).columns is None


def test_declared_sums_are_sums_of_episodes_and_the_rest_means_of_reports():
    totals = ColumnTotals()
    totals.add({"gold": np.array([1.0, np.nan, 2.0]), "rate": np.array([1.0, 0.0, np.nan])})
    totals.add(None)
    totals.add({"gold": np.array([3.0]), "word": np.array(["a"], object), "none": np.array([np.nan])})
    assert totals.summary({"gold": "sum"}, 4) == {"gold": 1.5, "rate": 0.5}


def test_a_sum_of_rewards_reports_its_terms():
    def short(completions, log_metric, **kwargs):
        log_metric("length", np.mean([len(text) for text in completions]))
        return [None if "sea" in text else 1.0 for text in completions]

    terms = [{"weight": 2.0, "reward": {"name": "keyword", "words": ["sea"]}}, {"reward": short}, {"reward": short}]
    task = make_task("TextGeneration", reward={"name": "weighted_sum", "terms": terms})
    engine = Engine(task, 2)
    engine.reset(None, [0, 0])
    told = engine.append(None, [[*task.encode(text), task.vocabulary.eos] for text in ("sea", "sky sky")]).columns
    assert {name: values[reported(values)].tolist() for name, values in told.items()} == {
        "reward/keyword": [1.0, 0.0],
        "reward/short": [1.0],
        "reward/short_2": [1.0],
        "length": [6.0, 14.0],  # two terms of one name: their sum
    }


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action_mask": np.zeros(2)}, "reports a column 'action_mask': expected a name of its own"),
        ({"_gold": np.zeros(2)}, "begins with no underscore"),
        ({"gold": np.zeros(3)}, r"'gold' with shape \(3,\) for 2 rows"),
        ({"gold": np.array([1.0, np.inf])}, "reports infinity in the column 'gold'"),
    ],
)
def test_wrong_columns_of_a_task_are_refused(columns, message):
    class Wrong(Sum):
        def respond(self, state, rows, turn_tokens, counts, random):
            return TurnResult(None, np.zeros(len(rows)), columns=columns)

    engine = Engine(Wrong(), 2)
    engine.reset(None, 0)
    with pytest.raises(TokenGymError, match=message):
        engine.append(None, [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [({"gold": "max"}, "'mean' or 'sum'"), ({"episode": "sum"}, "column 'episode'"), ("gold", "a mapping of names")],
)
def test_a_wrong_declaration_is_refused(columns, message):
    class Wrong(Sum):
        pass

    Wrong.columns = columns
    with pytest.raises(TokenGymError, match=message):
        Engine(Wrong(), 1)


def test_what_a_finite_task_reports_must_be_finite():
    class Wrong(Parity):
        def transitions(self, state, action):
            return [Transition(1.0, None, columns={"gold": float("nan")})]

    with pytest.raises(TokenGymError, match="'gold' must hold finite numbers"):
        Wrong().arrays  # noqa: B018


def test_what_a_reward_function_logs_has_one_value_a_completion():
    def wrong(completions, log_extra, **kwargs):
        log_extra("gold", [1.0])
        return [0.0] * len(completions)

    engine = Engine(make_task("TextGeneration", reward=wrong, max_new_tokens=1), 2)
    engine.reset(None, 0)
    with pytest.raises(TokenGymError, match="'wrong' logged 1 values as 'gold' for 2 completions"):
        engine.step(None, [5, 5])
