"""Self-play: the opponent is the learner's frozen copy, learning comes nearer to an equilibrium, resuming is exact."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from tokengym.agents import AgentPolicy, BestOfN, RandomPlayer
from tokengym.algorithms import A2C, DQN, PPO, SAC, FrozenPolicy, SaveEvery, SelfPlay, StopAfter
from tokengym.algorithms.runs.callbacks import Callback
from tokengym.envs import TokenGymError, exploitability, make_task, solve
from tokengym.envs.tasks.games.nim import Nim

TINY = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
OFF = {"rollout_tokens": 60, "learning_starts": 59, "batch_episodes": 8, "returns": "n_step"}


def game(heaps=(1, 2)):
    return make_task("Nim-both", heaps=list(heaps))


def make(kind, agent=TINY, heaps=(1, 2), **overrides):
    options = {"rollout_tokens": 60} if kind in (PPO, A2C) else OFF
    return kind(game(heaps), agent, seed=3, **{**options, **overrides})


@pytest.mark.parametrize("kind", [PPO, A2C, DQN, SAC])
def test_the_opponent_is_the_learner_as_it_was_when_it_was_last_frozen(kind):
    algorithm, play = make(kind), SelfPlay(every=100)
    before = algorithm.agent.clone_frozen()
    algorithm.learn(60, callback=play)
    first = play.opponent
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, first.agent.state_dict()[name])
    algorithm.learn(250, callback=play)
    assert [snapshot.timesteps // 100 for snapshot in play.snapshots] == [2] and play.num_taken == 3
    frozen = algorithm.task.against(play.opponent)
    np.testing.assert_array_equal(algorithm.task.arrays.probability, frozen.arrays.probability)
    uniform = Nim((1, 2), side="both").arrays.probability
    assert not np.allclose(frozen.arrays.probability, uniform)
    assert not any(parameter.requires_grad for parameter in play.opponent.agent.parameters())


def test_a_policy_that_learns_against_itself_comes_near_to_perfect_play():
    """Nobody shows it a good move: all that it knows of the game it found against its own copies."""
    algorithm = PPO(game((2, 2)), "table", seed=1, rollout_tokens=256, learning_rate=0.05, entropy_coef=0.02)
    untrained = exploitability(algorithm.task, algorithm.agent.probabilities)
    assert untrained == pytest.approx(exploitability(algorithm.task, "random"), abs=1e-12)
    worth = []

    class Track(Callback):
        def on_update(self, algorithm, metrics):
            worth.append(exploitability(algorithm.task, algorithm.agent.probabilities))

    play = SelfPlay(every=512, pool=3)
    algorithm.learn(5000, callback=[play, Track()])
    assert play.num_taken >= 8 and len(play.snapshots) == 3
    assert worth[-1] < 0.1 < 0.5 < untrained
    assert exploitability(algorithm.task, FrozenPolicy(algorithm.agent, greedy=True)) == 0


@pytest.mark.parametrize(("kind", "pool"), [(PPO, 1), (DQN, 3)])
@pytest.mark.parametrize("agent", [TINY, "table"], ids=["gpt2", "table"])
def test_n_tokens_and_resume_and_n_tokens_equal_2n_tokens_bit_for_bit(kind, pool, agent, tmp_path):
    def play():
        return SelfPlay(every=50, pool=pool, seed=2)

    through, whole = make(kind, agent), play()
    through.learn(300, callback=whole)
    make(kind, agent).learn(300, callback=[play(), StopAfter(150)]).save(tmp_path / "half")
    resumed, rest = kind.load(tmp_path / "half", game()), play()
    assert 150 <= resumed.num_timesteps < 250
    resumed.save(tmp_path / "again")
    kind.load(tmp_path / "again", game())
    resumed.learn(300, callback=rest)
    for (name, one), other in zip(through.agent.state_dict().items(), resumed.agent.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert (whole.num_taken, whole.playing) == (rest.num_taken, rest.playing)
    assert [one.timesteps for one in whole.snapshots] == [one.timesteps for one in rest.snapshots]
    np.testing.assert_array_equal(through.task.arrays.probability, resumed.task.arrays.probability)


def test_a_pool_keeps_the_newest_copies_and_draws_from_all_of_them():
    algorithm, play, played = make(A2C), SelfPlay(every=30, pool=3, seed=1), set()

    class Watch(Callback):
        def on_update(self, algorithm, metrics):
            played.add(len(play.snapshots) - play.playing)

    algorithm.learn(900, callback=[play, Watch()])
    assert len(play.snapshots) == 3 and played == {1, 2, 3}
    steps = [snapshot.timesteps for snapshot in play.snapshots]
    assert steps == sorted(steps) and steps[-1] > 800


def test_a_checkpoint_is_an_opponent_that_json_can_name(tmp_path):
    algorithm = make(PPO).learn(120, callback=SaveEvery(tmp_path, 60))
    expected = algorithm.task.against(FrozenPolicy(algorithm.agent)).arrays.probability
    opponent = {"checkpoint": str(tmp_path)}
    task = make_task("Nim-both", heaps=[1, 2], opponent=opponent)
    np.testing.assert_array_equal(task.arrays.probability, expected)
    env = gymnasium.make("tokengym/Nim-both-v0", heaps=[1, 2], opponent={**opponent, "greedy": True})
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    np.testing.assert_array_equal(again.unwrapped.task.arrays.probability, env.unwrapped.task.arrays.probability)
    assert set(again.unwrapped.task.arrays.probability.ravel()) == {0, 1}
    with pytest.raises(TokenGymError, match="no checkpoint at"):
        make_task("Nim", opponent={"checkpoint": str(tmp_path / "nowhere")})
    with pytest.raises(TokenGymError, match=r"was it made for this game|outside the vocabulary"):
        solve(make_task("Nim", opponent=opponent))


@pytest.mark.parametrize(
    "transform", [{"name": "potential_shaping", "weights": {"a1": 0.5}}, {"name": "time_limit", "max_tokens": 2}]
)
def test_a_new_opponent_is_met_through_transforms(transform):
    task = make_task("Nim-both", heaps=[1, 2], transforms=[transform])
    PPO(task, TINY, seed=3, rollout_tokens=60).learn(120, callback=SelfPlay(every=60, greedy=True))
    assert task.unwrapped.opponent.greedy
    if task.finite:
        assert set(task.arrays.probability[task.arrays.probability > 0]) == {1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SelfPlay(every=0), "every is 0; expected a whole number of at least 1"),
        (lambda: SelfPlay(every=10, pool=0), "pool is 0"),
        (lambda: SelfPlay(every=1.5), "every is 1.5"),
        (lambda: PPO("tokengym/Copy-v0", TINY).learn(10, SelfPlay(10)), "game of two players"),
        (lambda: PPO("tokengym/Nim-v0", TINY).learn(10, SelfPlay(10)), "'Nim-both'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(TokenGymError, match=message):
        call()


def test_whoever_knows_the_probabilities_of_its_moves_can_be_the_opponent():
    task = game()
    random = task.against(FrozenPolicy(RandomPlayer(task.vocabulary)))
    np.testing.assert_allclose(random.arrays.probability, Nim((1, 2), side="both").arrays.probability)
    agent = make(PPO).agent
    as_policy, as_agent = (task.against(FrozenPolicy(one)).arrays for one in (AgentPolicy(agent), agent))
    np.testing.assert_array_equal(as_policy.probability, as_agent.probability)
    with pytest.raises(TokenGymError, match="is a BestOfN; expected who knows the probabilities"):
        FrozenPolicy(BestOfN(AgentPolicy(agent), 2, lambda prompts, turns: [0.0] * len(turns)))
    with pytest.raises(TokenGymError, match="expected an Agent"):
        FrozenPolicy(3)
