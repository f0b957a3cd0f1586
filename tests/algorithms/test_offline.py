"""Learning from a dataset: what is learnt is what the data say, budgets count updates, bad data stop at the door."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from tokengym.agents import RandomPlayer, build_agent
from tokengym.agents.masks import PackedMasks
from tokengym.algorithms import (
    BC,
    CQL,
    ILQL,
    PPO,
    SFT,
    EpisodeDataset,
    FilteredBC,
    SaveEvery,
    StopAfter,
    load_algorithm,
)
from tokengym.algorithms.data import Batch
from tokengym.algorithms.offline.playing import named_player, record
from tokengym.algorithms.runs.loggers import read_json_lines
from tokengym.envs import TokenGymError, make_task

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
KINDS = [SFT, BC, FilteredBC]


def bits(algorithm):
    return torch.cat([p.detach().flatten() for p in algorithm.parameters])


def recorded(env, episodes=32, player="random", **options):
    task = make_task(env)
    played, _ = record(task, named_player(player, task), episodes, 0, **options)
    return EpisodeDataset(played, task.vocabulary)


# --- what is learnt


def test_a_table_learns_the_frequencies_of_the_data():
    dataset = recorded("KLTree", 200)
    learner = BC("KLTree", "table", dataset=dataset, batch_episodes=200, learning_rate=0.3)
    learner.learn(300)
    tokens = dataset.episodes.tokens
    for depth in (0, 1):
        prefixes = tokens[:, : 1 + depth]
        for prefix in np.unique(prefixes, axis=0):
            here = (prefixes == prefix).all(axis=1)
            counts = np.bincount(tokens[here, 1 + depth], minlength=4)
            said = learner.agent.probabilities(prefix[None].astype(np.int32), np.array([1 + depth]))[0]
            np.testing.assert_allclose(said, counts / counts.sum(), atol=0.01)


@pytest.mark.parametrize("kind", ["token", "sequence"])
@pytest.mark.parametrize("env", ["WordleMini", "Lattice"])
def test_the_loss_is_the_enumerated_likelihood_of_the_agents_tokens_alone(env, kind):
    dataset = recorded(env, 3)
    learner = BC(env, SMALL, dataset=dataset, loss_aggregation=kind, dtype="float64")
    prepared = learner.prepare(dataset.episodes)
    found = learner.loss(prepared.batch, prepared).total.item()
    episodes, by_hand = dataset.episodes, 0.0
    for row, column in itertools.product(range(episodes.num_sequences), range(episodes.tokens.shape[1])):
        if episodes.agent_mask[row, column]:
            said = learner.agent.probabilities(episodes.tokens[row : row + 1, :column], np.array([column]))[0]
            length = episodes.episode_lengths[episodes.episode_id[row]]
            weight = 1 / episodes.num_tokens if kind == "token" else 1 / (len(episodes) * length)
            by_hand -= weight * np.log(said[episodes.tokens[row, column]])
    assert found == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_same_however_a_batch_is_cut(kind):
    dataset = recorded("KeywordCover", 12)
    found = []
    for limit in (None, make_task("KeywordCover").max_length):
        learner = kind("KeywordCover", SMALL, dataset=dataset, micro_batch_tokens=limit, dtype="float64", seed=1)
        learner.update(dataset.episodes)
        found.append(torch.cat([p.grad.flatten() for p in learner.parameters]))
    assert (found[0] - found[1]).norm() <= 1e-9 * found[0].norm()


def test_filtered_cloning_knows_no_best_of_returns_that_are_not_finite():
    task = make_task("KLTree")
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 8, 0)
    episodes.rewards[0] = np.nan
    with pytest.raises(TokenGymError, match=r"a reward that is nan \(token 0 of 32\)"):
        FilteredBC(task, "table", dataset=EpisodeDataset(episodes, task.vocabulary)).learn(1)


def test_filtered_cloning_says_when_all_returns_are_equal_and_it_learns_from_the_first():
    task = make_task("KLTree")
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 20, 0)
    episodes.rewards[:] = 0
    dataset = EpisodeDataset(episodes, task.vocabulary)
    with pytest.warns(RuntimeWarning, match=r"all 20 episodes have the return 0, .* the first 0.1 of them"):
        FilteredBC(task, "table", dataset=dataset)
    FilteredBC(task, "table", dataset=dataset, best_share=1.0)
    FilteredBC(task, "table", dataset=dataset, least_return=0.0)


def test_filtered_cloning_learns_from_the_best_alone():
    dataset = recorded("KLTree", 100)
    learner = FilteredBC("KLTree", "table", dataset=dataset, best_share=0.1)
    kept = dataset.episodes.returns[learner.data.learnt]
    assert len(kept) == 10 and kept.min() >= np.sort(dataset.episodes.returns)[-10]
    edge = float(np.sort(dataset.episodes.returns)[-25])
    by_return = FilteredBC("KLTree", "table", dataset=dataset, least_return=edge)
    assert dataset.episodes.returns[by_return.data.learnt].min() == edge
    with pytest.raises(TokenGymError, match=r"least_return is 5, and the best of 100 episodes"):
        FilteredBC("KLTree", "table", dataset=dataset, least_return=5.0)


def test_cloning_the_expert_plays_like_it():
    learner = BC("Copy", seed=0).learn(150)
    from tokengym.experiments import evaluate_agent

    assert evaluate_agent(learner, learner.task, deterministic=True).expected_return > 0.95


def test_masks_of_the_data_are_kept_to():
    learner = BC("WordleMini", SMALL, player="random", demonstrations=8, action_masks=True)
    masks = Batch.from_episodes(learner.take(np.arange(4))).masks
    assert masks is not None
    without = recorded("WordleMini", 4)
    with pytest.raises(TokenGymError, match="action_masks is True, and the episodes hold no masks"):
        BC("WordleMini", SMALL, dataset=without, action_masks=True)
    assert (
        BC("WordleMini", SMALL, dataset=recorded("WordleMini", 4, action_masks=True)).take(np.arange(2)).action_masks
        is None
    )


# --- budgets


@pytest.mark.parametrize("kind", KINDS)
def test_budgets_and_schedules_are_in_updates(kind, tmp_path):
    learner = kind("Copy", "mlp-tiny", demonstrations=40, batch_episodes=10, learning_rate="linear(1e-2, 1e-3)")
    played = learner.num_timesteps
    assert learner.spent == 0 and played == 40 * learner.task.max_episode_tokens
    learner.learn(20, callback=SaveEvery(tmp_path / "saved", 10), log_dir=tmp_path)
    assert learner.spent == learner.num_updates == 20 and learner.num_timesteps == played
    assert [path.name for path in sorted((tmp_path / "saved").iterdir())] == ["step-000000000010", "step-000000000020"]
    rows = read_json_lines(tmp_path / "metrics.jsonl")
    assert [row["updates"] for row in rows] == list(range(1, 21))
    assert rows[-1]["data/passes"] == 200 / len(learner.data.learnt)
    assert rows[-1]["data/tokens"] == 200 * learner.task.max_episode_tokens
    assert rows[10]["optim/learning_rate"] == pytest.approx(1e-2 - 0.5 * 9e-3)


# --- saving


@pytest.mark.parametrize("source", ["made", "given", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_n_updates_and_resume_and_n_updates_equal_2n_updates_bit_for_bit(kind, source, tmp_path):
    options = {"made": {"demonstrations": 50}, "given": {"dataset": recorded("Copy", 50)}, "file": {"data": None}}[
        source
    ]
    if source == "file":
        recorded("Copy", 50).save(tmp_path / "copy.safetensors")
        options = {"config": kind.Config(data=str(tmp_path / "copy.safetensors"), held_out=0.2, held_out_every=4)}
    through = kind("Copy", SMALL, seed=3, **options).learn(14, log_dir=tmp_path / "through")
    kind("Copy", SMALL, seed=3, **options).learn(14, callback=StopAfter(7), log_dir=tmp_path / "halves").save(
        tmp_path / "half"
    )
    resumed = load_algorithm(tmp_path / "half")
    assert resumed.spent == 7
    resumed.save(tmp_path / "again")  # before the data were looked at
    resumed = load_algorithm(tmp_path / "again").learn(14, log_dir=tmp_path / "halves")
    assert torch.equal(bits(through), bits(resumed)) and resumed.num_timesteps == through.num_timesteps
    one, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("through", "halves"))
    assert one == other


def test_data_that_changed_since_are_refused_when_learning_goes_on_and_an_agent_needs_none(tmp_path):
    path = tmp_path / "copy.safetensors"
    recorded("Copy", 50).save(path)
    BC("Copy", SMALL, BC.Config(data=str(path))).learn(3).save(tmp_path / "saved")
    recorded("Copy", 40).save(path)
    with pytest.raises(TokenGymError, match="are not those that learning began with"):
        load_algorithm(tmp_path / "saved").learn(6)
    path.unlink()
    loaded = load_algorithm(tmp_path / "saved")
    assert loaded.agent.probabilities(np.zeros((1, 1), np.int32), np.array([1])).shape == (1, 8)
    with pytest.raises(TokenGymError, match="There is no dataset at"):
        loaded.learn(6)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_bits_and_others_others(kind):
    first, second, other = (kind("Copy", SMALL, seed=seed, demonstrations=40).learn(5) for seed in (1, 1, 2))
    assert torch.equal(bits(first), bits(second)) and not torch.equal(bits(first), bits(other))


# --- what is held out


def test_equal_prompts_are_on_one_side_and_what_is_held_out_is_never_learnt(tmp_path):
    dataset = recorded("Copy", 300, group_size=3)
    learner = BC("Copy", SMALL, dataset=dataset, held_out=0.25, held_out_every=3)
    prompts = dataset.episodes.tokens[:, :9]
    sides = [{tuple(prompts[e]) for e in indices.tolist()} for indices in (learner.data.learnt, learner.data.held_out)]
    assert not sides[0] & sides[1] and len(sides[1]) == round(0.25 * len(sides[0] | sides[1]))
    learner.learn(6, log_dir=tmp_path)
    held = [row.get("held_out/loss") for row in read_json_lines(tmp_path / "metrics.jsonl")]
    assert [value is not None for value in held] == [False, False, True, False, False, True]
    mixed = BC("Copy", SMALL, dataset=dataset.select(np.random.default_rng(0).permutation(300)), held_out=0.25)
    again = mixed.data.dataset.episodes.tokens[mixed.data.held_out][:, :9]
    assert {tuple(row) for row in again} == sides[1]


# --- bad input


BAD = [
    ({"config": BC.Config(data="nowhere.safetensors")}, "There is no dataset at nowhere.safetensors"),
    ({"dataset": recorded("KLTree", 2)}, "another vocabulary"),
    ({"dataset": [1, 2]}, r"dataset is \[1, 2\]; bc learns from an EpisodeDataset"),
    ({"dataset": recorded("Copy", 2), "player": "random"}, "beside which player does nothing"),
    ({"dataset": recorded("Copy", 2), "config": BC.Config(data="x")}, "dataset is given, and config.data names 'x'"),
    ({"player": "nobody"}, "player is 'nobody'; expected 'expert', 'optimal', 'random', or the folder"),
    (
        {"reference": build_agent("mlp-tiny", make_task("Copy").vocabulary, 20)},
        "reference is given, and bc measures no KL",
    ),
    ({"config": BC.Config(), "batch_episodes": 0}, "batch_episodes is 0"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=[says[:24] for _, says in BAD])
def test_bad_data_stop_at_the_door(arguments, says):
    with pytest.raises(TokenGymError, match=says):
        BC("Copy", **arguments)


def test_fields_that_do_nothing_beside_others_are_refused():
    for values in ({"data": "x", "player": "random"}, {"data": "x", "demonstrations": 3}, {"held_out_every": 3}):
        with pytest.raises(TokenGymError, match="since it does nothing while"):
            BC.Config(**values)
    with pytest.raises(TokenGymError, match=r"held_out is 1\.0; expected below 1"):
        BC.Config(held_out=1.0)


def test_one_prompt_cannot_be_split():
    with pytest.raises(TokenGymError, match="begin alike: with one prompt none can be held out"):
        BC("KLTree", "table", held_out=0.5)


def test_what_is_too_long_is_refused_or_left_out_with_a_count():
    task = make_task("KLTree")
    short, _ = record(make_task("KLTree", depth=2), RandomPlayer(task.vocabulary), 6, 0)
    dataset = EpisodeDataset.concat([recorded("KLTree", 4), EpisodeDataset(short, task.vocabulary)])
    agent = build_agent("mlp-tiny", task.vocabulary, 4)
    with pytest.raises(TokenGymError, match=r"4 of 10 episodes .* longer than 4 tokens \(the longest has 5\)"):
        BC(task, agent, dataset=dataset)
    learner = BC(task, agent, dataset=dataset, overlong="drop")
    assert learner.data.dataset.about["dropped"] == 4 and len(learner.data.learnt) == 6


def test_a_run_of_another_agent_can_be_cloned(tmp_path):
    PPO("Copy", SMALL, seed=0).learn(100).save(tmp_path / "ppo")
    learner = BC("Copy", SMALL, player=str(tmp_path / "ppo"), demonstrations=10)
    assert len(learner.data.dataset) == 10
    with pytest.raises(TokenGymError, match="name its folder as `player`"):
        BC("Copy", SMALL, BC.Config(data=str(tmp_path / "ppo")))


def test_episodes_in_which_the_agent_says_nothing_are_left_out():
    dataset = recorded("Copy", 4)
    silent = dataclasses.replace(dataset.episodes, agent_mask=dataset.episodes.agent_mask.copy())
    silent.agent_mask[0] = False
    learner = BC("Copy", SMALL, dataset=EpisodeDataset(silent, dataset.vocabulary))
    assert learner.data.learnt.tolist() == [1, 2, 3]


OPTIONS = [
    (SFT, {"loss_aggregation": "sequence", "player": "optimal", "demonstrations": 9, "batch_episodes": 4}),
    (BC, {"overlong": "drop", "temperature": 0.7, "weight_decay": 0.1, "micro_batch_tokens": 40}),
    (FilteredBC, {"best_share": 0.5, "demonstrations": 40, "learning_rate": "cosine(1e-2, 1e-3)"}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_every_option_runs(kind, options):
    learner = kind("Copy", SMALL, seed=0, **options)
    before = bits(learner)
    learner.learn(4)
    assert torch.isfinite(bits(learner)).all() and not torch.equal(before, bits(learner))


def test_adapters_learn_from_data_and_go_on_bit_for_bit(tmp_path):
    pytest.importorskip("peft")
    options = {"seed": 1, "demonstrations": 20, "lora_rank": 2}
    through = BC("Copy", SMALL, **options).learn(6)
    BC("Copy", SMALL, **options).learn(6, callback=StopAfter(3)).save(tmp_path / "half")
    assert torch.equal(bits(through), bits(load_algorithm(tmp_path / "half").learn(6)))


@pytest.mark.parametrize("kind", [BC, ILQL, CQL])
def test_masks_that_forbid_what_was_said_are_refused(kind):
    """The loss of such a token is as large as numbers go, and its gradient is 0: nothing would have said so."""
    task = make_task("Nim")
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 8, 0, action_masks=True)
    legal = np.asarray(episodes.action_masks).copy()
    legal[5, episodes.flat.action[5]] = False
    broken = EpisodeDataset(dataclasses.replace(episodes, action_masks=PackedMasks.pack(legal)), task.vocabulary)
    with pytest.raises(TokenGymError, match="their own action masks forbid"):
        kind(task, dataset=broken, action_masks=True)
    kind(task, dataset=broken, batch_episodes=8).learn(1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"num_episodes": 0}, "num_episodes is 0; expected a whole number of at least 1"),
        ({"num_episodes": "8"}, "num_episodes is '8'; expected a whole number"),
        ({"group_size": 3}, "num_episodes is 8; expected a multiple of group_size 3"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_recorded_is_named_as_it_was_given(given, says):
    task = make_task("KLTree")
    with pytest.raises(TokenGymError, match=says):
        record(task, RandomPlayer(task.vocabulary), **{"num_episodes": 8, "seed": 0, **given})
