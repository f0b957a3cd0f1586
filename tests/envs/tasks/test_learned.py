"""Learned rewards: compiled as declared, frontiers as the solver has them, what is right and wrong with the proxies."""

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, evaluate_policy, make_task, solve
from tokengym.envs.finite import compile_task
from tokengym.envs.tasks.learned import GoldProxy, LengthBias, NoisyPref
from tokengym.envs.tasks.learned.gold import random_network
from tokengym.envs.tasks.learned.texts import Texts
from tokengym.envs.tasks.proxies import combined
from tokengym.envs.tasks.text import Sentiment
from tokengym.experiments.suite.frontiers import tilted_frontier

QUICK = {"num_labels": 50, "updates": 50, "hidden": 8}
SMALL = [
    GoldProxy(num_tokens=3, length=3, **QUICK),
    NoisyPref(num_tokens=2, length=4, members=3, combine="worst", **QUICK),
    LengthBias(num_tokens=2, length=4, **QUICK),
]


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_the_arrays_are_those_of_the_declaration(task):
    compiled, arrays = compile_task(task), task.arrays
    assert compiled.states == arrays.states and compiled.columns.keys() == arrays.columns.keys() == task.columns.keys()
    for name, values in vars(compiled).items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(values, getattr(arrays, name), err_msg=name)
            assert values.dtype == getattr(arrays, name).dtype, name
    for name, values in compiled.columns.items():
        np.testing.assert_array_equal(values, arrays.columns[name])


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_every_text_is_paid_and_reported_by_its_number(task):
    texts = task.texts
    assert len(texts.tokens) == len(texts.lengths) == texts.count == len(task.gold)
    engine = Engine(task, 1)
    for number in range(texts.count):
        said = texts.tokens[number, : texts.lengths[number]].tolist()
        if len(said) < texts.length:
            said.append(task.vocabulary.eos)
        engine.reset(None, [0])
        for token in said:
            assert not engine.over[0]
            result = engine.step(None, np.array([token]))
        assert engine.over[0] and result.rewards[0] == task.proxy[number]
        assert {name: values[0] for name, values in result.columns.items()} == {
            name: values[number] for name, values in task.reported.items()
        }


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_the_tilted_frontier_is_the_solver_s(task):
    solution = solve(task, beta=0.3)
    found, evaluated = task.tilted(0.3), evaluate_policy(task, solution.policy("kl_optimal"))
    assert (found.proxy, found.kl) == pytest.approx((solution.kl_optimal_reward, solution.kl_optimal_kl), abs=1e-12)
    assert (found.gold, found.proxy) == pytest.approx((evaluated.columns["gold"], evaluated.columns["proxy"]))
    assert task.random_return == pytest.approx(solution.random_return, abs=1e-12)
    assert task.optimal_return == solution.optimal_return
    assert task.best_of(1).kl == pytest.approx(0, abs=1e-12)
    assert task.best_of(10**9).proxy == pytest.approx(task.optimal_return)


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_the_expert_writes_the_best_paid_text(task):
    engine = Engine(task, 1)
    engine.reset(None, [0])
    paid = 0.0
    while not engine.over[0]:
        paid += engine.step(None, engine.expert()).rewards[0]
    assert paid == task.optimal_return


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_gold_and_models_are_standardised_under_random_play(task):
    chance = np.exp(task.texts.log_random)
    assert chance.sum() == pytest.approx(1)
    for scores in (task.gold, *task.members):
        assert (chance @ scores, chance @ scores**2) == pytest.approx((0, 1), abs=1e-12)


def test_random_texts_are_drawn_as_random_play_writes_them():
    texts = SMALL[2].texts
    drawn = texts.draw(50_000, np.random.default_rng(0))
    chance = np.exp(texts.log_random)
    found = np.bincount(drawn, minlength=texts.count) / len(drawn)
    assert (abs(found - chance) < 5 * np.sqrt(chance / len(drawn))).all()
    first, second = texts.pairs(2_000, np.random.default_rng(0))
    assert first.shape == (2_000,) and (first != second).all()


def test_a_seed_gives_an_instance_and_more_labels_the_same_gold():
    def make(**other):
        return GoldProxy(num_tokens=2, length=3, **QUICK | other)

    np.testing.assert_array_equal(make().proxy, make().proxy)
    assert (make().gold != make(instance_seed=1).gold).all()
    np.testing.assert_array_equal(make().gold, make(num_labels=70).gold)
    assert (make().proxy != make(num_labels=70).proxy).any()


def test_one_model_of_repeats_is_gold_proxy_s_and_bootstrapped_ones_see_the_same_gold():
    """What an ensemble is held against differs from it in nothing else."""
    texts = {"num_tokens": 4, "length": 3, "repeats_count": False, "reads": "repeats", **QUICK}
    single, one = GoldProxy(**texts, flips=0.25), NoisyPref(**texts, members=1)
    np.testing.assert_array_equal(single.proxy, one.proxy)
    many = NoisyPref(**texts, members=3, combine="worst", bootstrap=True)
    np.testing.assert_array_equal(single.gold, many.gold)
    np.testing.assert_array_equal(np.stack(single.compared), np.stack(many.compared))
    assert (many.members != NoisyPref(**texts, members=3).members).any()


def test_scores_are_combined():
    scores = np.array([[1.0, 4.0], [3.0, 0.0]])
    assert combined(scores, "mean").tolist() == [2, 2]
    assert combined(scores, "worst").tolist() == [1, 0]
    assert combined(scores, "variance", 0.5).tolist() == [1.5, 0]


def test_a_labeller_who_likes_long_texts_teaches_it():
    biased, fair = LengthBias(), LengthBias(length_preference=0.0)
    np.testing.assert_array_equal(biased.gold, fair.gold)
    lengths = biased.texts.lengths
    for length in range(9):
        these = biased.gold[lengths == length]
        assert these.mean() == pytest.approx(0, abs=1e-12)
        assert length == 0 or these.std() == pytest.approx(biased.gold[lengths == 8].std())
    # Per word more, over the lengths that random play often writes.
    slopes = [np.polyfit(np.arange(6), task.length_reward[:6], 1)[0] for task in (biased, fair)]
    assert slopes[0] > 0.25 > 0.1 > abs(slopes[1])
    written = [task.tilted(1.0).probabilities @ lengths for task in (biased, fair)]
    assert written[0] > written[1] + 1 > np.exp(fair.texts.log_random) @ lengths + 1


def test_words_beside_their_like_add_nothing_where_repeats_do_not_count():
    texts = Texts(num_words=3, length=4, can_stop=False)
    gold = random_network(texts, 1.0, np.random.default_rng(0), repeats_count=False).reshape(3, 3, 3, 3)
    alike = [gold[word, word, word, word] for word in range(3)]
    assert alike == pytest.approx(alike[:1] * 3)
    assert gold[0, 0, 1, 2] == pytest.approx(gold[2, 2, 1, 2]) != pytest.approx(gold[0, 1, 1, 2])


@pytest.mark.parametrize("seed", range(10))
def test_gold_turns_over_while_the_proxy_climbs_where_rare_repeats_were_labelled_wrongly(seed):
    """Seeds on which nothing was tuned."""
    task = make_task("GoldProxy-repeats", instance_seed=seed)
    frontier = tilted_frontier(task)
    assert frontier.turned and frontier.kl[-1] > 8


@pytest.mark.parametrize("seed", range(3))
def test_gold_hardly_falls_with_many_clean_labels(seed):
    assert tilted_frontier(GoldProxy(num_labels=5_000, instance_seed=seed)).fall <= 0.1


def test_the_learned_sentiment_pays_words_and_reports_the_gold_reward():
    task, plain = make_task("Sentiment-learned"), Sentiment()
    assert plain.columns == {} and plain.word_rewards is None
    reviews = plain.corpus(2_000, seed=5)
    scores = task.word_rewards[reviews.tokens].sum(axis=1)
    assert (scores.mean(), scores.std()) == pytest.approx((0, 1), abs=0.1)
    assert np.corrcoef(scores, reviews.scores)[0, 1] > 0.9
    engine = Engine(task, 1)
    engine.reset(None, [0])
    results = [engine.step(None, np.array([word])) for word in reviews.tokens[0]]
    assert sum(result.rewards[0] for result in results) == pytest.approx(scores[0])
    assert (
        results[-1].columns["gold"][0] == reviews.scores[0] and "gold" not in (results[0].columns or {})
    ) or np.isnan(results[0].columns["gold"][0])
    solution = solve(task)
    assert (solution.random_return, solution.optimal_return) == pytest.approx((task.random_return, task.optimal_return))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: GoldProxy(num_labels=0), "num_labels=0 is too small"),
        (lambda: GoldProxy(length=10), "more than 300000 texts"),
        (lambda: GoldProxy(num_tokens=1), "at least 2 words"),
        (lambda: GoldProxy(roughness=0.0), "roughness=0.0: give a number above 0"),
        (lambda: GoldProxy(flips=1.5, **QUICK), "flips"),
        (lambda: GoldProxy(temperature=-1.0, **QUICK), "temperature"),
        (lambda: NoisyPref(combine="best"), "unknown combination of reward models 'best'"),
        (lambda: NoisyPref(members=1, combine="worst"), "does nothing with members=1"),
        (lambda: NoisyPref(coefficient=2.0), "does nothing with combine='mean'"),
        (lambda: Sentiment(flips=0.1), "do nothing without"),
        (lambda: Sentiment(num_labels=0), "num_labels=0 is too small"),
    ],
)
def test_bad_input_is_told(call, told):
    with pytest.raises(TokenGymError, match=told):
        call()


def test_the_proxy_predicts_held_out_labels_nearly_as_well_as_their_noise_allows():
    task = GoldProxy(num_labels=5_000)
    first, second = task.texts.pairs(20_000, np.random.default_rng(99))
    preferred = 1 / (1 + np.exp((task.gold[second] - task.gold[first]) / 0.5))
    allowed = np.maximum(preferred, 1 - preferred).mean()
    accuracy = np.where(task.proxy[first] > task.proxy[second], preferred, 1 - preferred).mean()
    assert 0.8 < allowed - 0.02 < accuracy <= allowed
