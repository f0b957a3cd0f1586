"""QRPO from a dataset: where it rests, by enumeration, what it learns, that it is QRPO, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tokengym.agents import RandomPlayer
from tokengym.algorithms import QRPO, EpisodeDataset, OfflineQRPO
from tokengym.algorithms.data import Batch
from tokengym.algorithms.offline import record
from tokengym.algorithms.parts import log_partitions, quantiles_among
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.audit import LeafTree, all_episodes, expected_gradient, table_agent
from tokengym.experiments.audit.methods.setting import drawn_policy
from tokengym.experiments.audit.tables import log_reference

BETA = 0.3
SKEWED = {"": (0.5, 0.25, 0.25), "0": (0.25, 0.5, 0.25), "1": (0.5, 0.25, 0.25), "2": (0.25, 0.25, 0.5)}
"""A reference on texts of up to two tokens, of which whole numbers say each as often as it is likely."""
TREES = {
    "no two alike": {"00": 0.4, "01": -2.0, "02": 7.0, "1": 0.1, "20": 3.0, "21": 0.2, "22": 0.5},
    "one that pays": {"00": 0.0, "01": 0.0, "02": 1.0, "1": 0.0, "20": 0.0, "21": 0.0, "22": 0.0},
    "ties": {"00": 0.5, "01": 0.5, "02": 1.0, "1": 0.0, "20": 0.0, "21": 1.0, "22": 0.5},
}


def skewed(tokens, lengths):
    """The policy of SKEWED: what was said stands behind the first token of every observation."""
    texts = ["".join(str(token) for token in row[1:length]) for row, length in zip(tokens, lengths, strict=True)]
    return np.array([SKEWED[text] for text in texts])


REFERENCES = {"uniform": None, "skewed": skewed}


def told(task, reference):
    """Every text as often as a reference says it, and the probabilities of all."""
    episodes, chances = all_episodes(task, reference)
    times = np.rint(chances / chances.min()).astype(int)
    np.testing.assert_allclose(times / times.sum(), chances, atol=1e-12)
    return episodes.select(np.repeat(np.arange(len(episodes)), times)), episodes, chances


def best(episodes, chances):
    """The texts' probabilities under π_ref·e^(q/β), normalised."""
    among = np.array([chances[episodes.returns <= one + 1e-12].sum() for one in episodes.returns])
    tilted = chances * np.exp(among / BETA)
    return tilted / tilted.sum()


def saying(task, episodes, probabilities):
    """The table policy that says texts with given probabilities."""
    flat = episodes.flat
    texts = ["".join(map(str, flat.action[flat.episode == number].tolist())) for number in range(len(episodes))]

    def policy(tokens, lengths):
        found = np.zeros((len(tokens), task.vocabulary.num_actions))
        for row, (shown, length) in enumerate(zip(tokens, lengths, strict=True)):
            before = "".join(str(token) for token in shown[1:length])
            for text, chance in zip(texts, probabilities, strict=True):
                if text.startswith(before) and len(text) > len(before):
                    found[row, int(text[len(before)])] += chance
        return found / found.sum(axis=1, keepdims=True)

    return policy


def learner(task, policy, data, reference=None, **config):
    given = {"kl_reference": "uniform"} if reference is None else {"reference": table_agent(task, reference)}
    data = EpisodeDataset(data, task.vocabulary)
    return OfflineQRPO(task, table_agent(task, policy), dataset=data, seed=0, **{"kl_coef": BETA, **given, **config})


def log_chances(table, task, episodes, policy):
    """The log-probability of each text, (E,), of an agent with a graph, and of a policy."""
    batch = Batch.from_episodes(episodes)
    said = batch.score(table).log_probs
    flat = episodes.flat
    each = log_reference(policy, episodes, np.arange(len(flat)), task.vocabulary.num_actions)
    other = np.bincount(flat.episode, each[np.arange(len(flat)), flat.action], len(episodes))
    return said.new_zeros(len(episodes)).index_add(0, batch.episodes[batch.rows], said), torch.from_numpy(other)


@pytest.mark.parametrize("partition", ["sampled", "continuous"])
@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_on_what_the_reference_says_the_gradient_is_that_of_the_expected_square(tree, reference, partition):
    task = LeafTree(tree)
    data, episodes, chances = told(task, reference)
    algorithm = learner(task, drawn_policy(task, 3), data, reference, partition=partition)
    found = expected_gradient(algorithm, [(1.0, data)]).of["readouts.policy.weight"]

    table = table_agent(task, drawn_policy(task, 3))
    said, other = log_chances(table, task, episodes, reference)
    among = np.array([chances[episodes.returns <= one].sum() for one in episodes.returns])
    z = BETA * (np.exp(1 / BETA) - 1) if partition == "continuous" else (chances * np.exp(among / BETA)).sum()
    residuals = torch.from_numpy(among - BETA * np.log(z)) - BETA * (said - other)
    half = (torch.from_numpy(chances) * residuals**2).sum() / 2
    expected = torch.autograd.grad(half, table.readouts["policy"].weight)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert float(expected.abs().max()) > 1e-4


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_it_rests_at_the_reference_weighed_by_the_quantile_and_nowhere_near_it(tree, reference):
    task = LeafTree(tree)
    data, episodes, chances = told(task, reference)
    optimum = saying(task, episodes, best(episodes, chances))
    algorithm = learner(task, optimum, data, reference)
    assert expected_gradient(algorithm, [(1.0, data)]).largest < 1e-9
    prepared = algorithm.prepare(data)
    assert float(algorithm.loss(prepared.batch, prepared).total.detach()) < 1e-18, "episode by episode"
    some = data.select([0, len(data) - 1])  # so that whoever says them, it rests there
    assert expected_gradient(algorithm, [(1.0, some)]).largest < 1e-9
    elsewhere = learner(task, drawn_policy(task, 1, 0.1, optimum), data, reference)
    assert expected_gradient(elsewhere, [(1.0, data)]).largest > 1e-4


@pytest.mark.parametrize("player", ["reference", "random"])
def test_a_table_learns_that_from_recorded_episodes(player):
    task = LeafTree(TREES["no two alike"])
    learnt = OfflineQRPO(
        task,
        table_agent(task, skewed),  # which is the reference, and begins there
        kl_coef=BETA,
        player=player,
        demonstrations=20_000,
        reference_samples=20_000,
        batch_episodes=500,
        learning_rate=0.1,
        seed=0,
    ).learn(400)
    episodes, _ = all_episodes(task)
    said, ours = (np.exp(found.detach().numpy()) for found in log_chances(learnt.agent, task, episodes, skewed))
    recorded, _ = all_episodes(task, skewed if player == "reference" else None)
    _, among = all_episodes(task, skewed if player == "reference" else None)
    q = np.array([among[recorded.returns <= one].sum() for one in episodes.returns])
    if player == "reference":  # else Z is of another's episodes: the page says so
        tilted = ours * np.exp(q / BETA)
        np.testing.assert_allclose(said, tilted / tilted.sum(), atol=0.02)
    else:
        assert np.abs(said - best(episodes, ours)).max() > 0.02
    assert learnt.num_episodes == 20_000 and learnt.num_updates == 400


@pytest.mark.filterwarnings("ignore:.*within every one of the")  # random play of Countdown earns nothing
@pytest.mark.parametrize("partition", ["sampled", "continuous"])
@pytest.mark.parametrize("masks", [False, True])
def test_its_loss_is_that_of_qrpo_on_the_same_episodes_and_samples(partition, masks):
    task = make_task("Countdown") if masks else make_task("Copy")
    config = {"kl_coef": BETA, "action_masks": masks, "partition": partition, "gamma": 0.9}
    for reference in ("uniform", "initial"):
        online = QRPO(task, "mlp-tiny", kl_reference=reference, seed=0, dtype="float64", **config)
        data = online.collector.collect_from(online.reference_policy, np.arange(3, dtype=np.uint64), 6)
        returns = online.returns_of(data)
        online.start_returns = {start: returns[data.starts == start] for start in range(3)}
        dataset = EpisodeDataset(data, task.vocabulary)
        learns = OfflineQRPO(
            task, "mlp-tiny", dataset=dataset, kl_reference=reference, seed=0, dtype="float64", **config
        )
        learns.agent.load_state_dict(online.agent.state_dict())
        if reference == "initial":
            learns.reference = online.reference
        for algorithm in (online, learns):
            with torch.no_grad():
                for parameter in algorithm.agent.parameters():
                    parameter.mul_(1.5)
        batch = data.select([0, 4, 7, 7, 12, 17])
        losses = []
        for algorithm in (online, learns):
            prepared = algorithm.prepare(batch)
            algorithm.loss(prepared.batch, prepared).total.backward()
            losses.append(algorithm.loss(prepared.batch, algorithm.prepare(batch)).total.detach())
        torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-12)
        assert float(losses[0]) > 1e-3
        for one, other in zip(online.agent.parameters(), learns.agent.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


def test_an_episode_is_ranked_among_those_of_its_own_start_and_alone_not_at_all():
    task = LeafTree(TREES["no two alike"])
    episodes, _ = all_episodes(task)
    episodes.starts[:] = [9, 5, 5, 5, 7, 7, 7]
    algorithm = learner(task, None, episodes, partition="continuous")
    assert algorithm.data.learnt.tolist() == [1, 2, 3, 4, 5, 6]
    aims = algorithm.prepare(episodes.select([6, 1, 2, 5])).aims.numpy() + BETA * log_partitions(BETA)
    np.testing.assert_allclose(aims, [2 / 3, 2 / 3, 1 / 3, 1 / 3], atol=1e-6)
    sampled = learner(task, None, episodes).prepare(episodes.select([6])).aims
    three = quantiles_among(np.arange(3.0), np.arange(3.0))
    np.testing.assert_allclose(sampled, 2 / 3 - BETA * np.log(np.exp(three / BETA).mean()), atol=1e-6)


def test_only_ranks_count():
    task = LeafTree(TREES["no two alike"])
    bits = []
    for change in (lambda paid: paid, lambda paid: float(np.exp(paid) - 5)):
        other = LeafTree({text: change(paid) for text, paid in TREES["no two alike"].items()})
        data, _, _ = told(other, None)
        learnt = learner(other, drawn_policy(task, 1), data, batch_episodes=8).learn(20)
        bits.append(learnt.agent.readouts["policy"].weight.detach())
    assert torch.equal(*bits)


def test_beta_may_follow_a_schedule():
    data, _, _ = told(LeafTree(TREES["ties"]), None)
    seen = []
    algorithm = learner(LeafTree(TREES["ties"]), None, data, kl_coef="linear(1.0, 0.5)", batch_episodes=4)
    while algorithm.num_updates < 4:
        algorithm.total_timesteps = 4
        seen.append(algorithm.update(algorithm.next_batch())["objective/kl_coef"])
        algorithm.num_updates += 1
    assert seen == [1.0, 0.875, 0.75, 0.625]


def test_what_is_recorded_without_data_is_what_the_reference_says():
    task = make_task("KLTree")
    algorithm = OfflineQRPO(task, "table", demonstrations=50, reference_samples=8, kl_reference="uniform", seed=0)
    starts, counts = np.unique(algorithm.data.dataset.episodes.starts, return_counts=True)
    assert len(starts) == 7 and set(counts.tolist()) == {8}, "rounded up to whole starts"
    assert algorithm.data.dataset.about["player"] == "reference"
    sure = table_agent(task, lambda tokens, lengths: np.eye(4)[np.ones(len(tokens), int)])
    with pytest.warns(RuntimeWarning, match=r"within every one of the 4 recorded groups all returns are equal"):
        OfflineQRPO(task, "table", reference=sure, demonstrations=32, reference_samples=8)


def test_starts_that_stand_for_several_prompts_are_refused():
    """Two files whose starts were each counted from 0: a start is then a prompt of the one and another of the other."""
    task = make_task("Copy")
    starts = np.repeat(np.arange(4, dtype=np.uint64), 8)
    played, _ = record(task, RandomPlayer(task.vocabulary), 32, 0, group_size=8)
    counted = replace(played, starts=starts)
    others = replace(played.select(np.roll(np.arange(32), 8)), starts=starts)
    OfflineQRPO(task, "mlp-tiny", dataset=EpisodeDataset(counted, task.vocabulary))
    joined = EpisodeDataset.concat([EpisodeDataset(one, task.vocabulary) for one in (counted, others)])
    with pytest.raises(TokenGymError, match="answer different prompts by one start"):
        OfflineQRPO(task, "mlp-tiny", dataset=joined)


def test_what_cannot_be_ranked_is_refused():
    task = make_task("Copy")
    singles = EpisodeDataset(record(task, OfflineQRPO(task, seed=0).agent, 12, 3)[0], task.vocabulary)
    with pytest.raises(
        TokenGymError, match=r"12 episodes from 12 different starts: none was said twice.*--group-size 16"
    ):
        OfflineQRPO(task, dataset=singles)
    grouped = record(task, OfflineQRPO(task, seed=0).agent, 12, 3, group_size=4)[0]
    rewards = grouped.rewards.copy()
    rewards[grouped.flat.row[5], grouped.flat.column[5]] = np.nan
    with pytest.raises(TokenGymError, match=r"holds a reward that is nan \(token 5 of"):
        OfflineQRPO(task, dataset=EpisodeDataset(replace(grouped, rewards=rewards), task.vocabulary))


@pytest.mark.parametrize(
    ("env", "given", "told"),
    [
        ("Copy", {"kl_coef": 0.0}, "kl_coef is 0.0; expected above 0"),
        ("Copy", {"kl_coef": "linear(0.1, 0)"}, "kl_coef is .*; expected above 0"),
        ("Copy", {"reference_samples": 1}, "reference_samples is 1; expected"),
        ("Copy", {"data": "x", "reference_samples": 4}, "reference_samples is 4; expected 16, since it does nothing"),
        ("Copy", {"player": "refrence"}, "player is 'refrence'; expected 'reference', 'expert', "),
        ("SlipLock", {}, "offline-qrpo requires deterministic transitions"),
    ],
)
def test_what_contradicts_is_refused(env, given, told):
    with pytest.raises(TokenGymError, match=told):
        OfflineQRPO(env, "table", **given)
