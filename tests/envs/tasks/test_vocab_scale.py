"""VocabScale: the same task at every size of the vocabulary."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.diagnostics.vocab_scale import VocabScale

EXACT = {"rel": 0, "abs": 1e-9}


@pytest.mark.parametrize(
    ("num_tokens", "length", "num_good"), [(8, 4, 1), (256, 4, 4), (8192, 4, 4), (5, 7, 5), (3, 1, 2)]
)
def test_scores_are_the_share_of_good_tokens_and_one(num_tokens, length, num_good):
    task = VocabScale(num_tokens, length, num_good)
    solution = solve(task)
    share = num_good / num_tokens
    assert solution.random_return == pytest.approx(share, **EXACT)
    assert solution.random_variance == pytest.approx(share * (1 - share) / length, **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)
    assert task.random_return == pytest.approx(share, **EXACT)


def test_the_solved_player_of_a_large_vocabulary_says_good_tokens():
    task = VocabScale(8192)
    bos = task.vocabulary.bos
    said = []
    policy = solve(task).policy()
    for place in range(4):
        said.append(int(policy(np.array([[bos, *said]]), np.array([1 + place]))[0].argmax()))
        assert said[-1] in task.good_tokens[place]


def test_the_fraction_is_paid_with_the_last_token():
    task = VocabScale(num_tokens=20, num_good=3, instance_seed=2)
    good = [sorted(tokens) for tokens in task.good_tokens]
    bad = [min(set(range(20)) - tokens) for tokens in task.good_tokens]
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], dtype=np.uint64))
    rewards = [
        engine.step(None, np.array([token])).rewards[0] for token in (good[0][2], bad[1], good[2][0], good[3][1])
    ]
    assert rewards == [0, 0, 0, 0.75]


def test_good_tokens_differ_by_position_and_hang_on_the_instance_seed():
    assert VocabScale(instance_seed=1).good_tokens == VocabScale(instance_seed=1).good_tokens
    assert VocabScale(instance_seed=1).good_tokens != VocabScale(instance_seed=2).good_tokens
    assert len(set(VocabScale().good_tokens)) == 4 and {len(good) for good in VocabScale().good_tokens} == {4}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"num_good": 0}, "num_good=0"),
        ({"num_tokens": 3}, "num_good=4: expected at most num_tokens=3"),
        ({"num_tokens": 10**7}, "num_tokens=10000000"),
        ({"length": 0}, "length=0"),
    ],
)
def test_impossible_sizes_are_refused(wrong, says):
    with pytest.raises(TokenGymError, match=says):
        VocabScale(**wrong)
