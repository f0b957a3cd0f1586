"""Potentials named in the configuration: the best policies stay the best, and what is no potential is refused."""

import numpy as np
import pytest

from tokengym.algorithms import A2C, DQN, PPO, SAC, check_config, load_algorithm, register_potential
from tokengym.algorithms.parts import derive_seed
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.exact import evaluate_policy, solve
from tokengym.experiments.audit import all_episodes

STILL = {"reward_scaling": False}


def odd(task):
    """A potential of every observation, before each token and in the final states."""

    def of(tokens, lengths):
        shown = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens + 1, 0)
        return np.sin((shown * 7 ** np.arange(tokens.shape[1])).sum(axis=1))

    def potential(episodes):
        last = episodes.sequence_offsets[1:] - 1
        flat = episodes.flat
        return of(episodes.tokens[flat.row], flat.column), of(episodes.tokens[last], episodes.lengths[last])

    return potential


register_potential("odd", odd)


def discounted(episodes, rewards, gamma):
    """The return of each episode from such rewards."""
    return np.bincount(episodes.flat.episode, gamma**episodes.flat.step * rewards, len(episodes))


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("kind", [A2C, PPO, DQN, SAC])
def test_every_way_through_a_tree_gains_the_same_so_that_the_best_one_stays_the_best(kind, gamma):
    task = make_task("KLTree", num_tokens=3, depth=3)
    episodes, _ = all_episodes(task)
    plain, shaped = (
        kind(task, "table", gamma=gamma, potentials=name, dtype="float64", **STILL).learning_rewards(episodes)
        for name in (None, "odd")
    )
    gained = discounted(episodes, shaped, gamma) - discounted(episodes, plain, gamma)
    first = odd(task)(episodes)[0][episodes.flat.step == 0]
    np.testing.assert_allclose(gained, -first, atol=1e-6)
    assert np.ptp(shaped - plain) > 0.5, "and yet every token is paid something else"


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_an_episode_that_was_cut_keeps_the_potential_of_where_it_was_cut(gamma):
    task = make_task("Lattice", transforms=[{"name": "time_limit", "max_tokens": 3}])
    ppo = PPO(task, "table", gamma=gamma, potentials="odd", dtype="float64", num_rows=16, **STILL)
    episodes = ppo.collect()
    cut = ~episodes.flat.terminated
    assert cut.sum() > 3
    before, final = odd(task)(episodes)
    added = ppo.learning_rewards(episodes) - episodes.flat.reward
    telescoped = discounted(episodes, added, gamma) + before[episodes.flat.step == 0]
    lengths = episodes.episode_lengths
    np.testing.assert_allclose(telescoped, np.where(cut, gamma**lengths * final, 0), atol=1e-6)


@pytest.mark.parametrize("env", ["KLTree", "Copy"])
def test_the_best_value_as_potential_pays_each_token_what_it_loses(env):
    task = make_task(env)
    ppo = PPO(task, "mlp-tiny", potentials="optimal", dtype="float64", **STILL)
    episodes, solution = ppo.collect(), solve(task)
    flat = episodes.flat
    tokens, lengths = episodes.tokens[flat.row], flat.column.astype(np.int32)
    lost = solution.q_values(tokens, lengths)[np.arange(len(flat)), flat.action] - solution.values(tokens, lengths)
    paid = ppo.learning_rewards(episodes)
    assert lost.max() < 1e-6 and lost.min() < -0.05
    np.testing.assert_allclose(paid, lost, atol=1e-5)


def test_what_is_learnt_under_a_potential_is_the_same_best_policy():
    task = make_task("KLTree", num_tokens=3, depth=2)
    learnt = A2C(task, "table", seed=derive_seed(0, "potential"), potentials="odd", learning_rate=0.05).learn(6000)
    found = evaluate_policy(task, learnt.agent.probabilities).expected_return
    solution = solve(task)
    assert found > solution.optimal_return - 0.1 * (solution.optimal_return - solution.random_return)


def no_function(task):
    return 3


def too_few(task):
    return lambda episodes: np.zeros(2)


def not_numbers(task):
    return lambda episodes: np.full(episodes.num_tokens, np.nan)


def fails(task):
    raise ValueError("no such level")


def fails_later(task):
    return lambda episodes: 1 / 0


def test_what_is_no_potential_is_refused():
    with pytest.raises(TokenGymError, match=r"potential.*'optimum'.*optimal"):
        check_config("ppo", {"potentials": "optimum"})
    with pytest.raises(TokenGymError, match=r"there is no module|cannot be loaded"):
        PPO("KLTree", "table", potentials="nowhere_at_all:potential")
    with pytest.raises(TokenGymError, match="is not finite"):
        PPO("TextGeneration", potentials="optimal")
    with pytest.raises(TokenGymError, match="which made 3 of the task; expected a function"):
        PPO("KLTree", "table", potentials=f"{__name__}:no_function")
    for name, says in (("too_few", r"shape \(2,\); expected"), ("not_numbers", "finite numbers")):
        with pytest.raises(TokenGymError, match=says):
            PPO("KLTree", "table", potentials=f"{__name__}:{name}", rollout_tokens=16).learn(16)
    with pytest.raises(TokenGymError, match=r"fails', given the task, raised ValueError: no such level.*mend it"):
        PPO("KLTree", "table", potentials=f"{__name__}:fails")
    with pytest.raises(TokenGymError, match=r"fails_later', given episodes, raised ZeroDivisionError"):
        PPO("KLTree", "table", potentials=f"{__name__}:fails_later", rollout_tokens=16).learn(16)
    for name in ("optimal", "Bad Name"):
        with pytest.raises(TokenGymError, match="give small letters and digits"):
            register_potential(name, odd)
    with pytest.raises(TokenGymError, match="cannot be called"):
        register_potential("mine", 3)


def test_a_checkpoint_imports_no_potential_that_it_may_not(tmp_path):
    PPO("KLTree", "table", potentials="odd", rollout_tokens=16).learn(16).save(tmp_path / "mine")
    assert load_algorithm(tmp_path / "mine").config.potentials == "odd"
    strange = PPO("KLTree", "table", rollout_tokens=16)
    object.__setattr__(strange.config, "potentials", "shutil:rmtree")
    strange.save(tmp_path / "strange")
    with pytest.raises(TokenGymError, match="import"):
        load_algorithm(tmp_path / "strange")
