"""Learning with low-rank adapters: what moves, what stays, what is saved, and that the gradient is the chain rule's."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from tokengym.agents import build_agent, stands_on_same
from tokengym.agents.models import adapted
from tokengym.agents.specs import LoRA
from tokengym.algorithms import A2C, ALGORITHMS, DQN, PPO, SAC, load_algorithm
from tokengym.algorithms.data import Batch
from tokengym.algorithms.parts import AgentReference
from tokengym.algorithms.runs import StopAfter
from tokengym.envs import TokenGymError, make_task

pytest.importorskip("peft")

ON = {"rollout_tokens": 60, "num_rows": 8, "kl_coef": 0.05}
OFF = {"learning_starts": 32, "batch_episodes": 8, "rollout_tokens": 32, "num_rows": 8, "kl_coef": 0.05}
KINDS = {"ppo": (PPO, ON), "a2c": (A2C, ON), "dqn": (DQN, OFF), "sac": (SAC, OFF)}
TASK = "tokengym/Copy-v0"


def tiny_llama():
    torch.manual_seed(0)
    vocabulary = make_task(TASK).vocabulary
    sizes = transformers.LlamaConfig(
        vocab_size=vocabulary.size,
        max_position_embeddings=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return transformers.LlamaForCausalLM(sizes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "llama"
    tiny_llama().save_pretrained(place)
    return str(place)


AGENTS = {
    "folder": lambda folder: folder,
    "seed": lambda folder: {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2},
    "given": lambda folder: tiny_llama(),
}


def make(kind: str, agent, **options):
    built, usual = KINDS[kind]
    return built(TASK, agent, seed=5, **{"lora_rank": 2, "learning_rate": 1e-2, **usual, **options})


def said_by(agent) -> torch.Tensor:
    tokens = np.random.default_rng(0).integers(0, agent.vocabulary.num_actions, (4, 6)).astype(np.int32)
    return torch.from_numpy(agent.probabilities(tokens, np.array([1, 3, 5, 6])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", AGENTS)
def test_after_learning_the_reference_is_the_original_bit_for_bit_and_only_adapters_and_heads_moved(
    kind, source, folder
):
    algorithm = make(kind, AGENTS[source](folder))
    agent, reference = algorithm.agent, algorithm.reference.agent
    before = {name: parameter.detach().clone() for name, parameter in agent.named_parameters()}
    original = said_by(agent) if "policy" in agent.heads else None
    algorithm.learn(240)
    assert stands_on_same(reference, agent) and adapted(reference) == {}
    if original is not None:
        assert torch.equal(said_by(reference), original)
        assert not torch.equal(said_by(agent), original)
    base = {name for name, parameter in agent.named_parameters() if not parameter.requires_grad}
    assert base == set(agent.base)
    learnt = {name for name in before if name not in base}
    assert all(torch.equal(agent.base[name], before[name]) for name in base)
    moved = {name for name, parameter in agent.named_parameters() if not torch.equal(parameter, before[name])}
    assert any("lora_" in name for name in moved) and moved <= learnt
    assert {id(one) for one in algorithm.parameters} == {id(p) for p in agent.parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", AGENTS)
def test_n_tokens_resumed_for_n_more_equal_2n_bit_for_bit_and_there_is_no_second_model(kind, source, folder, tmp_path):
    through = make(kind, AGENTS[source](folder)).learn(240)
    make(kind, AGENTS[source](folder)).learn(240, callback=StopAfter(120)).save(tmp_path / "half")
    resumed = load_algorithm(tmp_path / "half")
    assert stands_on_same(resumed.reference.agent, resumed.agent) and resumed.config == through.config
    resumed.learn(240)
    for (name, one), other in zip(through.agent.named_parameters(), resumed.agent.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(through.generator.get_state(), resumed.generator.get_state())
    held = load_file(tmp_path / "half" / "state.safetensors")
    assert any(name.startswith("base/") for name in held) == (source == "given")
    learnt = {name for name, parameter in resumed.agent.named_parameters() if parameter.requires_grad}
    kept = {name.partition("/")[2] for name in held if name.startswith("agent/")}
    assert kept == learnt and not any("base_layer" in name for name in held if not name.startswith("base/"))
    assert len({name.split("/")[1] for name in held if name.startswith("optimizer/")}) <= len(learnt)


QUICK = {"rollout_tokens": 32, "learning_starts": 16, "demonstrations": 16, "labels": 16, "learning_rate": 1e-2}
EVERY = [name for name in ALGORITHMS.built_in if hasattr(ALGORITHMS.config(name), "lora")]


@pytest.mark.parametrize("name", EVERY)
def test_every_algorithm_learns_adapters_and_comes_back_with_them(name, folder, tmp_path):
    known = {field.name for field in dataclasses.fields(ALGORITHMS.config(name))}
    options = {field: value for field, value in QUICK.items() if field in known}
    algorithm = ALGORITHMS[name](TASK, folder, seed=1, lora_rank=2, **options)
    before = {key: parameter.detach().clone() for key, parameter in algorithm.agent.named_parameters()}
    algorithm.learn(2 if ALGORITHMS.config(name).budget == "updates" else 96)
    moved = {key for key, parameter in algorithm.agent.named_parameters() if not torch.equal(parameter, before[key])}
    assert any("lora_B" in key for key in moved) and not moved & set(algorithm.agent.base)
    algorithm.save(tmp_path / "saved")
    again = load_algorithm(tmp_path / "saved")
    for key, tensor in algorithm.agent.state_dict().items():
        assert torch.equal(again.agent.state_dict()[key], tensor), key
    if isinstance(getattr(algorithm, "reference", None), AgentReference):
        assert stands_on_same(again.reference.agent, again.agent) and adapted(again.reference.agent) == {}


def test_gradients_of_adapters_are_those_of_the_chain_rule_from_full_learning(folder):
    """W x + s B A x: the gradient of A is s Bᵀ G and that of B is s G Aᵀ, with G the gradient of the whole weight."""
    task = make_task(TASK)
    options = {"heads": ("policy", "value"), "dtype": "float64"}
    agent = build_agent(folder, task.vocabulary, task.max_length, lora=LoRA(rank=2), **options)
    whole = build_agent(folder, task.vocabulary, task.max_length, **options)
    generator = torch.Generator().manual_seed(0)
    merged = dict(whole.named_modules())
    with torch.no_grad():
        for name, layer in adapted(agent).items():
            layer.lora_B["default"].weight.normal_(std=0.1, generator=generator)
            scale = layer.scaling["default"]
            merged[name].weight += scale * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    settings = {"rollout_tokens": 60, "num_rows": 8}
    ours, theirs = (PPO(task, one, seed=0, **settings) for one in (agent, whole))
    episodes = ours.collect()
    for algorithm in (ours, theirs):
        prepared = algorithm.prepare(episodes)
        algorithm.loss(prepared.batch, prepared).total.backward()
    assert len(adapted(agent)) == 7
    for name, layer in adapted(agent).items():
        gradient, scale = merged[name].weight.grad, layer.scaling["default"]
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.testing.assert_close(down.grad, scale * up.T @ gradient, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(up.grad, scale * gradient @ down.T, rtol=1e-9, atol=1e-12)
        assert float(gradient.abs().max()) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_and_checkpointed_layers_change_no_gradient(kind, folder):
    reports = []
    for options in ({}, {"micro_batch_tokens": 40}, {"micro_batch_tokens": 40, "gradient_checkpointing": True}):
        algorithm = make(kind, folder, **options)
        algorithm.learn(120)
        reports.append({name: parameter.detach() for name, parameter in algorithm.agent.named_parameters()})
    for other in reports[1:]:
        for name, parameter in reports[0].items():
            torch.testing.assert_close(parameter, other[name], rtol=1e-3, atol=2e-5, msg=name)


def test_what_learning_holds_beside_the_model_is_a_small_part_of_full_learnings(folder):
    def held(algorithm) -> int:
        states = algorithm.optimizer.state_dict()["state"].values()
        kept = [*algorithm.parameters, *(value for state in states for value in state.values() if value.dim())]
        second = {id(p): p for p in algorithm.reference.agent.parameters()}
        for parameter in algorithm.agent.parameters():
            second.pop(id(parameter), None)
        return sum(tensor.nbytes for tensor in [*kept, *second.values()])

    algorithms = [make("ppo", folder, lora_rank=rank).learn(60) for rank in (None, 1)]
    whole, adapters = map(held, algorithms)
    assert adapters < 0.2 * whole


def test_a_whole_rank_learns_what_its_config_says_and_the_rest_is_refused(folder):
    task = make_task(TASK)
    agent = build_agent(folder, task.vocabulary, task.max_length, heads=("policy", "value"), lora=LoRA(rank=2))
    assert PPO(task, agent).agent.lora == LoRA(rank=2) == PPO(task, agent, lora_rank=2).agent.lora
    with pytest.raises(TokenGymError, match=r"lora_rank is 3 in the config .* say it in one place"):
        PPO(task, agent, lora_rank=3)
    with pytest.raises(TokenGymError, match="the agent, built already, has none"):
        PPO(task, build_agent(folder, task.vocabulary, task.max_length, heads=("policy", "value")), lora_rank=2)
    with pytest.raises(TokenGymError, match="lora_rank is 2 and the agent a mlp"):
        PPO(task, lora_rank=2)
    with pytest.raises(TokenGymError, match=r"lora_alpha is 8.0; expected 32.0, since it does nothing while lora_rank"):
        PPO(task, folder, lora_alpha=8.0)


RANKS = {"run with all learnt": (None, 2), "the same adapters": (2, 2), "others": (2, 3), "none any more": (2, None)}


@pytest.mark.parametrize("source", ["folder", "seed"])
@pytest.mark.parametrize("case", RANKS)
def test_a_run_begins_where_another_ended_whichever_of_them_has_adapters(case, source, folder, tmp_path):
    before, after = RANKS[case]
    first = make("ppo", AGENTS[source](folder), lora_rank=before).learn(120)
    first.save(tmp_path / "first")
    second = make("ppo", str(tmp_path / "first"), lora_rank=after)
    torch.testing.assert_close(said_by(second.agent), said_by(first.agent), rtol=1e-5, atol=1e-6)
    assert torch.equal(said_by(second.reference.agent), said_by(second.agent))
    assert (second.agent.lora is None) == (after is None)
    second.learn(120).save(tmp_path / "second")
    again = load_algorithm(tmp_path / "second")
    assert torch.equal(said_by(again.agent), said_by(second.agent))
    assert torch.equal(said_by(again.reference.agent), said_by(second.reference.agent))
    torch.testing.assert_close(said_by(again.reference.agent), said_by(first.agent), rtol=1e-5, atol=1e-6)


def test_a_pretrained_models_adapters_take_larger_steps_than_the_whole_of_it(folder):
    whole, adapters = (make("ppo", folder, lora_rank=rank, learning_rate=None) for rank in (None, 2))
    assert adapters.peak_learning_rate == pytest.approx(10 * whole.peak_learning_rate)


def test_a_loaded_agent_with_adapters_evaluates_as_it_did(folder, tmp_path):
    algorithm = make("ppo", folder).learn(120)
    algorithm.save(tmp_path / "saved")
    assert torch.equal(said_by(load_algorithm(tmp_path / "saved").agent), said_by(algorithm.agent))
    assert json.loads((tmp_path / "saved" / "state.json").read_text())["agent"]["base"]["folder"] == folder
    assert len(Batch.from_episodes(algorithm.collect(), algorithm.device)) > 0
