"""Columns and the KL in evaluations: exact where it can be, equal to play, and on their way into episodes and logs."""

import json

import numpy as np
import pytest

from tokengym.agents import build_agent
from tokengym.algorithms import PPO
from tokengym.algorithms.data import Episodes, episode_metrics
from tokengym.envs import (
    FiniteTask,
    Initial,
    TextReply,
    TextTask,
    TokenGymError,
    Transition,
    Vocabulary,
    evaluate_policy,
    make_task,
)
from tokengym.experiments import kl_reference
from tokengym.experiments.evaluation import evaluate_agent
from tokengym.experiments.kl_reference import reference_of


class Flattery(FiniteTask):
    """Praise is paid, truth is what is meant; now and then a token reports whether it was praise."""

    name = "Flattery"
    vocabulary = Vocabulary.of(["truth", "praise", "silence"])
    columns = {"gold": "sum"}  # noqa: RUF012

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        following = state + 1 if state < 3 else None
        told = {"gold": float(action == 0)}
        if action == 2:
            return [Transition(1.0, following, 0.0)]
        return [
            Transition(0.25, following, float(action), columns={**told, "praised": float(action)}),
            Transition(0.75, following, float(action), columns=told),
        ]

    def legal(self, state):
        return [0, 1] if state == 1 else None


class Said(TextTask):
    """Three words; each reports its length and itself."""

    def __init__(self):
        super().__init__({"kind": "words", "corpus": ["no yes maybe"]}, max_turn_tokens=1, max_length=8, max_turns=3)

    def begin(self, random):
        return None, "yes"

    def respond(self, episode, completion):
        return TextReply(None, 1.0, False, columns={"letters": len(completion), "word": str(completion)})


def agent_for(task, seed=0, model="table"):
    return build_agent(model, task.vocabulary, task.max_length, heads=("policy",), seed=seed)


def stirred(agent, seed):
    """The agent with other weights, so that it is not uniform."""
    generator = np.random.default_rng(seed)
    for parameter in agent.parameters():
        parameter.data += parameter.data.new_tensor(0.1 * generator.normal(size=tuple(parameter.shape)))
    return agent


@pytest.fixture(scope="module")
def task():
    return Flattery()


@pytest.fixture(scope="module")
def players(task):
    return stirred(agent_for(task, 0, "mlp-tiny"), 1), stirred(agent_for(task, 1, "mlp-tiny"), 2)


def test_exact_columns_are_those_of_the_policy_by_hand(task):
    chances = np.array([0.5, 0.3, 0.2])
    found = evaluate_policy(task, lambda tokens, lengths: np.tile(chances, (len(tokens), 1))).columns
    assert found["gold"] == pytest.approx(4 * 0.5)  # a sum over the four tokens
    assert found["praised"] == pytest.approx(0.3 / 0.8)  # a mean over the reports


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("masks", [True, False])
def test_exact_and_played_evaluations_agree_on_columns_and_on_the_kl_to_a_reference(
    task, players, deterministic, masks
):
    player, other = players
    given = {"deterministic": deterministic, "action_masks": masks, "reference": other}
    exact = evaluate_agent(player, task, **given)
    played = evaluate_agent(player, task, exact_limit=0, episodes=4000, **given)
    assert exact.exact and not played.exact
    assert played.kl == pytest.approx(exact.kl, rel=0.05) and exact.kl > 0.01
    assert played.columns.keys() <= exact.columns.keys() and "gold" in played.columns
    for name, value in played.columns.items():
        assert value == pytest.approx(exact.columns[name], abs=0.05)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_kl_is_the_same_in_parts_as_where_the_vocabulary_is_wide(task, players, deterministic, monkeypatch):
    given = {"deterministic": deterministic, "reference": players[1], "exact_limit": 0, "episodes": 30}
    whole = evaluate_agent(players[0], task, **given)
    monkeypatch.setattr(kl_reference, "NUMBERS", 4 * task.vocabulary.num_actions)
    parts = evaluate_agent(players[0], task, **given)
    assert parts.kl == pytest.approx(whole.kl, rel=1e-6) and whole.kl > 0.01
    assert parts.value == whole.value


def test_the_kl_to_oneself_is_zero_and_to_the_uniform_policy_the_default(task, players):
    player, _ = players
    uniform = agent_for(task)
    for limit in (20_000, 0):
        given = {"deterministic": False, "exact_limit": limit, "episodes": 50}
        assert evaluate_agent(player, task, reference=player, **given).kl == pytest.approx(0, abs=1e-6)
        found = evaluate_agent(player, task, reference=uniform, beta=0.5, **given)
        plain = evaluate_agent(player, task, beta=0.5, **given)
        assert found.kl == pytest.approx(plain.kl, rel=1e-5) and found.value == pytest.approx(plain.value, rel=1e-5)


def test_a_reference_without_probabilities_or_of_another_vocabulary_is_refused(task, players):
    class Mute:
        def predict(self, observation, **_):
            return np.zeros(len(observation["length"]), int), None

    with pytest.raises(TokenGymError, match="the reference, Mute, has none"):
        evaluate_agent(players[0], task, reference=Mute())
    with pytest.raises(TokenGymError, match="the player, Mute, has none"):
        evaluate_agent(Mute(), task, reference=players[0])
    with pytest.raises(TokenGymError, match=r"the reference says 8 of .* tokens, and Flattery has 3"):
        evaluate_agent(players[0], task, reference=agent_for(make_task("Copy")))


def test_an_evaluation_without_columns_has_no_such_key():
    assert "columns" not in evaluate_agent(agent_for(make_task("Copy")), "Copy", episodes=10).to_dict()


def test_what_tasks_report_is_in_the_episodes_token_by_token_and_in_the_metrics(task):
    episodes = PPO(task, agent="mlp-tiny", rollout_tokens=200, num_rows=7).next_batch()
    gold, praised = episodes.extras["gold"], episodes.extras["praised"]
    action = episodes.flat.action
    assert gold.dtype == np.float32 and np.array_equal(np.isnan(gold), action == 2)
    assert np.array_equal(gold[action != 2], (action[action != 2] == 0).astype(np.float32))
    assert np.array_equal(praised[~np.isnan(praised)], (action == 1)[~np.isnan(praised)])
    sums = np.bincount(episodes.flat.episode, weights=action == 0, minlength=len(episodes))
    assert np.array_equal(episodes.column("gold", "sum"), sums)
    metrics = episode_metrics(episodes, task.columns)
    assert metrics["task/gold"] == pytest.approx(sums.mean())
    assert metrics["task/praised"] == pytest.approx(np.nanmean(praised))
    with pytest.raises(TokenGymError, match="did you mean 'gold'"):
        episodes.column("golds")


def test_extras_follow_selected_and_joined_episodes(task):
    episodes = PPO(task, agent="mlp-tiny", rollout_tokens=60, num_rows=3).next_batch()
    chosen = episodes.select([3, 0, 3])
    parts = [episodes.select([number]) for number in (3, 0, 3)]
    joined = Episodes.concat(parts)
    for name in episodes.extras:
        np.testing.assert_array_equal(chosen.extras[name], np.concatenate([part.extras[name] for part in parts]))
        np.testing.assert_array_equal(chosen.extras[name], joined.extras[name])
    plain = PPO("Copy", agent="mlp-tiny", rollout_tokens=20, num_rows=2).next_batch()
    assert plain.extras == {} and not [name for name in episode_metrics(plain) if name.startswith("task/")]


def test_texts_stay_out_of_episodes_and_sums():
    task = Said()
    assert set(PPO(task, agent="mlp-tiny", rollout_tokens=30, num_rows=2).next_batch().extras) == {"letters"}
    found = evaluate_agent(agent_for(task, model="mlp-tiny"), task, episodes=20, deterministic=False)
    assert set(found.columns) == {"letters"} and 0 <= found.columns["letters"] <= 5


def test_a_run_logs_its_columns_and_its_reference_is_its_first_policy(tmp_path):
    algorithm = PPO("TextGeneration", agent="mlp-tiny", rollout_tokens=64, num_rows=4, kl_coef=0.1)
    algorithm.learn(64, log_dir=tmp_path)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert {"task/reward/keyword", "task/reward/repetition_penalty"} <= row.keys()
    own = reference_of(algorithm)
    assert own is algorithm.reference.agent and reference_of(PPO("Copy", agent="mlp-tiny")) is None
    found = evaluate_agent(algorithm, "TextGeneration", episodes=8, deterministic=False, reference=own)
    assert found.kl >= -1e-6 and "reward/keyword" in found.columns
