"""Micro-batches bound memory and change nothing: gradients are those of whole batches, however these are cut."""

import dataclasses

import numpy as np
import pytest
import torch

from tokengym.agents import scoring
from tokengym.agents.chunks import chunks
from tokengym.algorithms import A2C, DQN, GRPO, PPO, TOPR, Episodes
from tokengym.algorithms.data import Batch, cut_by_tokens
from tokengym.envs import TokenGymError, make_task

# A step this small changes no float32 weight, so the gradient can be read off after an update.
STILL = {"learning_rate": 1e-30, "max_grad_norm": float("inf"), "reward_scaling": False, "ratio_tolerance": 1e-2}
WHOLE = {"epochs": 1, "minibatches": 1}
TASKS = {
    "words of several lengths": "KeywordCover",
    "a game of turns": "WordleMini",
    "turns that are sequences": "Lattice",
}


def gradient(kind, task, episodes, dtype, agent="gpt2-tiny", **settings):
    """The gradient of one update on the episodes, by parameter, of an agent that is not at its start."""
    algorithm = kind(make_task(task), agent=agent, seed=3, **STILL, **settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in algorithm.agent.readouts.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    algorithm.agent.to(dtype)
    batch = Batch.from_episodes(episodes)
    with torch.no_grad():
        said = batch.score(algorithm.agent).log_probs.float().numpy()
    log_probs = np.zeros_like(episodes.log_probs)
    log_probs[episodes.agent_mask] = said
    algorithm.update(dataclasses.replace(episodes, log_probs=log_probs))
    return {name: p.grad.double() for name, p in algorithm.agent.named_parameters() if p.grad is not None}


def distance(found, wanted):
    assert found.keys() == wanted.keys()
    flat = [torch.cat([gradients[name].flatten() for name in sorted(gradients)]) for gradients in (found, wanted)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def reordered(episodes: Episodes, seed: int, padding: int) -> Episodes:
    """The same episodes in another order, with more padding."""
    mixed = episodes.select(np.random.default_rng(seed).permutation(len(episodes)))
    wider = {
        name: np.pad(getattr(mixed, name), ((0, 0), (0, padding)), constant_values=fill)
        for name, fill in (("tokens", mixed.pad), ("agent_mask", False), ("rewards", 0), ("log_probs", 0))
    }
    return dataclasses.replace(mixed, **wider)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("kind", "settings"), [(PPO, WHOLE), (A2C, {})])
def test_the_gradient_is_the_same_however_a_batch_is_cut(kind, settings, task, dtype, bound, monkeypatch):
    shared = {**settings, "kl_coef": 0.1, "kl_reference": "uniform", "loss_aggregation": "sequence"}
    shared["action_masks"] = task == "Lattice"
    episodes = kind(
        make_task(task), seed=0, rollout_tokens=48, num_rows=8, action_masks=shared["action_masks"]
    ).collect()
    wanted = gradient(kind, task, episodes, dtype, **shared)
    longest = make_task(task).max_length
    random = np.random.default_rng(0)
    for seed in range(3):
        limit = int(random.integers(longest, 4 * longest))
        chunk = int(random.integers(1, 3000))
        monkeypatch.setattr(scoring, "chunks", lambda count, width, limit, most=chunk: chunks(count, width, limit=most))
        mixed = reordered(episodes, seed, padding=seed)
        assert distance(gradient(kind, task, mixed, dtype, micro_batch_tokens=limit, **shared), wanted) <= bound


@pytest.mark.parametrize("task", ["KeywordCover", "Lattice"])
def test_a_kl_of_whole_episodes_keeps_them_whole(task):
    shared = {"kl_coef": 0.1, "kl_reference": "uniform", "kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"}
    episodes = A2C(make_task(task), seed=0, rollout_tokens=48, num_rows=8).collect()
    wanted = gradient(A2C, task, episodes, torch.float64, **shared)
    sizes = np.bincount(episodes.episode_id) * episodes.tokens.shape[1]
    limit = int(max(sizes.max(), sizes.sum() // 3))
    found = gradient(A2C, task, reordered(episodes, 0, padding=1), torch.float64, micro_batch_tokens=limit, **shared)
    assert distance(found, wanted) <= 1e-6
    tokens = gradient(A2C, task, episodes, torch.float64, **{**shared, "kl_level": "token"})
    assert distance(tokens, wanted) > 1e-3
    # More minibatches than there are episodes: with a loss of tokens their turns would be cut apart.
    ppo = PPO(make_task(task), seed=0, rollout_tokens=4, num_rows=1, epochs=1, minibatches=4, **shared)
    assert ppo.update(ppo.collector.collect(ppo.behaviour, num_episodes=1))["optim/steps"] == 1


def test_the_metrics_of_an_update_do_not_depend_on_how_it_was_cut():
    seen = []
    for limit in (None, 48):
        algorithm = PPO("KeywordCover", seed=0, rollout_tokens=64, micro_batch_tokens=limit, kl_coef=0.1)
        seen.append(algorithm.update(algorithm.collect()))
    assert seen[0].keys() == seen[1].keys()
    for name, value in seen[0].items():
        assert seen[1][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_sequences_are_cut_into_runs_of_whole_units():
    numbers, lengths = np.array([0, 0, 1, 2, 2, 2, 3]), np.array([3, 5, 2, 4, 4, 4, 9])
    assert cut_by_tokens(numbers, lengths, 15, "episode") == [0, 3, 6, 7]
    assert cut_by_tokens(np.arange(7), lengths, 12, "sequence") == [0, 2, 5, 6, 7]
    with pytest.raises(TokenGymError, match=r"micro_batch_tokens is 11, and one episode takes 12 tokens"):
        cut_by_tokens(numbers, lengths, 11, "episode")


def test_minibatches_keep_episodes_whole_where_there_are_enough_of_them():
    episodes = PPO("Lattice", seed=0, rollout_tokens=200, num_rows=8).collect()
    batch = Batch.from_episodes(episodes)
    assert len(episodes) >= 4 and episodes.num_sequences > len(episodes)
    parts = list(batch.minibatches(4, torch.Generator().manual_seed(0)))
    held = [set(part.episodes.tolist()) for part in parts]
    assert sum(len(one) for one in held) == len(episodes) and set.union(*held) == set(range(len(episodes)))
    assert all(part.scale == 4 for part in parts)
    assert len(list(batch.minibatches(len(episodes) + 3, torch.Generator().manual_seed(0)))) == len(episodes) + 3


def test_a_micro_batch_smaller_than_an_episode_may_be_is_refused_before_anything_is_played():
    with pytest.raises(TokenGymError, match=r"micro_batch_tokens is 5; one sequence of 'KeywordCover' may take"):
        PPO("KeywordCover", micro_batch_tokens=5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (DQN, {}),
        (TOPR, {}),
        (GRPO, {"preset": "gspo"}),
        (A2C, {"kl_coef": 0.1, "kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"}),
    ],
)
def test_where_episodes_stay_whole_all_of_their_turns_have_to_fit(kind, settings):
    # Twenty turns of one token, each a sequence of four.
    with pytest.raises(TokenGymError, match=r"79; one episode with 20 sequences of 'Lattice' may take 80 tokens"):
        kind("Lattice", micro_batch_tokens=79, **settings)
    algorithm = kind("Lattice", micro_batch_tokens=80, rollout_tokens=40, **settings)
    algorithm.learn(640)
    PPO("Lattice", micro_batch_tokens=8, rollout_tokens=40).learn(40)


def test_every_agent_token_is_counted_whoever_asked_for_it():
    class Curious(PPO):
        name = "curious"

        def update(self, batch):
            self.collector.collect(self.behaviour, num_episodes=2)
            return super().update(batch)

    algorithm = Curious("Copy", rollout_tokens=30)
    algorithm.learn(1)
    assert algorithm.num_timesteps == algorithm.collector.num_tokens
    assert algorithm.num_episodes == algorithm.collector.num_episodes > 2
