"""The rows of whole iterations: GRPO beside TRL's, and every algorithm alone."""

import numpy as np
import pytest
import torch

from benchmarks import algorithms, grpo, measure
from tokengym.algorithms.base import Algorithm
from tokengym.algorithms.registry import ALGORITHMS

with_trl = pytest.mark.skipif(not grpo.available(), reason="needs TRL")
TINY = {"size": "tiny", "new": 6, "rows": 8, "group": 4}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(grpo.SIZES, "tiny", (16, 1, 2))


@with_trl
@pytest.mark.filterwarnings("ignore:.*within every one of the collected groups")
def test_grpo_and_trl_generate_and_learn_the_same_amount_from_the_same_weights(tiny):
    ours, theirs = grpo.Ours(**TINY), grpo.Theirs(**TINY)
    with grpo.quiet():
        model = theirs.trainer.model
    own = dict(ours.algorithm.agent.named_parameters())
    for name, weight in model.transformer.named_parameters():
        assert weight.dtype == own[f"trunk.body.{name}"].dtype == torch.float32
        assert torch.equal(weight, own[f"trunk.body.{name}"]), name
    assert sum(weight.numel() for weight in own.values()) == sum(weight.numel() for weight in model.parameters())
    begun = model.transformer.wte.weight.detach().clone()

    assert ours.iterate(3) == 3 * 8 * 6
    assert theirs.speed(2) > 0
    assert theirs.tokens == 3 * 8 * 6  # no text ended early
    assert ours.algorithm.num_updates == theirs.steps == 3
    steps = [int(state["step"]) for state in ours.algorithm.optimizer.state.values()]
    their_steps = [int(state["step"]) for state in theirs.trainer.optimizer.state.values()]
    assert set(steps) == set(their_steps) == {3} and len(steps) == len(their_steps)
    assert not torch.equal(begun, model.transformer.wte.weight)


@with_trl
def test_trl_takes_one_step_on_one_pass_with_the_settings_of_ours(tiny, monkeypatch):
    ours, theirs = grpo.Ours(**TINY), grpo.Theirs(**TINY)
    with grpo.quiet():
        trainer = theirs.trainer
    passes = []
    scored = trainer._get_per_token_logps_and_entropies
    monkeypatch.setattr(
        trainer, "_get_per_token_logps_and_entropies", lambda *a, **k: passes.append(1) or scored(*a, **k)
    )
    theirs.speed(1)
    assert passes == [True, True] and theirs.steps == 2  # no pass but the one that learns
    assert trainer.model.config._attn_implementation == "sdpa"
    assert trainer.accelerator.mixed_precision == "no" and not trainer.args.activation_checkpointing
    our_adam, their_adam = ours.algorithm.optimizer.param_groups[0], trainer.optimizer.param_groups[0]
    for setting in ("lr", "betas", "eps", "weight_decay", "fused", "amsgrad"):
        assert our_adam[setting] == their_adam[setting], setting
    config = ours.algorithm.config
    assert (config.epochs, config.minibatches, config.kl_coef, config.group_size) == (
        1,
        1,
        0.0,
        trainer.num_generations,
    )
    assert trainer.beta == 0.0 and trainer.args.max_grad_norm == config.max_grad_norm


@with_trl
def test_prompts_are_read_as_the_task_has_them():
    read = grpo.tokenizer()(text=grpo.prompts()[:4])["input_ids"]
    assert np.shape(read) == (4, grpo.PROMPT)
    task = grpo.Completion()
    assert {row[0] for row in read} == {task.vocabulary.bos}
    assert all(token < task.vocabulary.num_actions for row in read for token in row[1:])


def test_without_trl_the_rows_are_left_out_with_a_line(monkeypatch, capsys):
    monkeypatch.setattr(grpo.importlib.util, "find_spec", lambda name: None)
    assert grpo.comparisons(quick=True) == []
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "TRL is not installed" in line


def test_every_algorithm_of_the_package_has_a_row():
    own = [name for name in ALGORITHMS.built_in if not name.startswith("sb3-")]
    assert algorithms.names() == own
    assert [row.name for row in algorithms.comparisons(quick=True)] == [f"{name}, one iteration" for name in own]


@pytest.mark.filterwarnings("ignore:.*within every one of the collected groups")
@pytest.mark.parametrize("name", algorithms.names())
def test_an_iteration_learns_and_says_from_how_many_tokens(name):
    runner = algorithms.Runner(name, algorithms.SMALL_MODEL, 6, 8)
    tokens = [runner.iterate() for _ in range(2)]
    algorithm = runner._algorithm
    assert isinstance(algorithm, Algorithm) and algorithm.num_updates == 2
    assert min(tokens) > 0 and sum(tokens) == algorithm.num_tokens
    if hasattr(algorithm, "num_gradient_steps"):
        assert algorithm.num_gradient_steps == 2 * algorithm.config.updates_per_collection
    moments = algorithm.optimizer.state
    assert moments and all(int(state["step"]) > 0 for state in moments.values())


def test_a_row_is_measured_in_tokens_per_second():
    result = measure.run(algorithms.alone("reinforce", quick=True), 2)
    assert result.comparison.unit == "tokens/s" and min(result.ours) > 0 and result.met
