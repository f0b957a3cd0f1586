"""Low-rank adapters: what they change, what they share, how they decode, and what of them is kept."""

import copy
import json

import numpy as np
import pytest
import torch
import transformers
from agent_cases import LENGTH, VOCABULARY, final_states, make_agent, padded, random_tokens, tiny_llama, tiny_neox

from tokengym.agents import adapt_agent, build_agent, rebuild_agent, stands_on_same
from tokengym.agents.models import adapted, generic_decoder, gpt2_decoder, llama_decoder, parameters_of
from tokengym.agents.specs import LoRA
from tokengym.envs import TokenGymError

peft = pytest.importorskip("peft")

LORA = LoRA(rank=3, alpha=6.0)


MODELS = {
    "gpt2": (lambda: "gpt2-tiny", gpt2_decoder.GPT2Decoder),
    "llama": (lambda: "llama-tiny", llama_decoder.LlamaDecoder),
    "llama instance, grouped": (lambda: tiny_llama(tie_word_embeddings=True), llama_decoder.LlamaDecoder),
    "neox": (tiny_neox, generic_decoder.CacheDecoder),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "llama"
    tiny_llama(tie_word_embeddings=True).save_pretrained(place)
    return str(place)


def stirred(agent, std: float = 0.3):
    """The agent with adapters that change what it says."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in adapted(agent).values():
            for up in layer.lora_B.values():
                up.weight.normal_(std=std, generator=generator)
    return agent


def logits_of(agent, tokens):
    rows, columns = (torch.from_numpy(index.ravel()) for index in np.indices(tokens.shape))
    lengths = torch.full((len(tokens),), tokens.shape[1])
    with torch.no_grad():
        out = agent.evaluate(torch.from_numpy(tokens), lengths, rows, columns + 1, heads=("policy",))
    return out.logits.view(*tokens.shape, -1)


@pytest.mark.parametrize("targets", ["all", "attention"])
@pytest.mark.parametrize("name", MODELS)
def test_new_adapters_change_nothing_and_what_they_learn_changes_what_is_said(name, targets):
    tokens, spec = random_tokens(3), MODELS[name][0]
    plain = make_agent(spec())
    agent = make_agent(spec(), lora=LoRA(rank=3, targets=targets))
    assert torch.equal(logits_of(agent, tokens), logits_of(plain, tokens))
    assert not torch.allclose(logits_of(stirred(agent), tokens), logits_of(plain, tokens), atol=0.1)
    layers = len(adapted(agent))
    assert layers == {"gpt2": 8, "neox": 8}.get(name, 14) if targets == "all" else layers < 14


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_cached_decoding_with_adapters_equals_the_teacher_forced_pass_to_1e_4(name, separate):
    spec, decoder = MODELS[name]
    agent = stirred(make_agent(spec(), lora=LORA, separate_critic=separate))
    rows, generator = 6, np.random.default_rng(1)
    session = agent.session(rows, heads=("policy", "value"))
    assert all(type(one) is decoder for one in session._decoders)
    tokens, lengths = random_tokens(rows), np.array([1, 5, 2, 1, 9, 3])
    for step in range(20):
        out, expected = session.step(padded(tokens, lengths), lengths), final_states(agent, tokens, lengths)
        apart = torch.log_softmax(out.logits, -1) - torch.log_softmax(expected.logits, -1)
        assert float(apart.abs().max()) < 1e-4
        torch.testing.assert_close(out.values, expected.values, atol=1e-4, rtol=1e-4)
        lengths = lengths + np.where(generator.random(rows) < 0.2, generator.integers(2, 6, rows), 1)
        over = (lengths > LENGTH) | (generator.random(rows) < 0.1)
        tokens[over] = random_tokens(rows, seed=100 + step)[over]
        lengths = np.where(over, generator.integers(1, 5, rows), lengths)


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama instance, grouped"])
def test_the_lean_pass_is_that_of_the_layers_own_code(name):
    agent, tokens = stirred(make_agent(MODELS[name][0](), lora=LORA)), torch.from_numpy(random_tokens(3)).long()
    assert agent.trunk.family is not None
    with torch.no_grad():
        ours = agent.trunk(tokens, torch.full((3,), LENGTH))
        theirs = agent.trunk.body(input_ids=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama instance, grouped"])
def test_in_half_precision_adapters_have_more_digits_and_are_not_rounded_away(name):
    spec = MODELS[name][0]()
    instance = isinstance(spec, torch.nn.Module)
    agent = make_agent(spec.to(torch.bfloat16) if instance else spec, lora=LORA, dtype="bfloat16")
    kinds = {one.dtype for layer in adapted(agent).values() for one in parameters_of(layer)}
    assert kinds == {torch.float32} and agent.dtype == torch.bfloat16
    stirred(agent, 1e-3)
    tokens, lengths = random_tokens(4), np.full(4, LENGTH)
    session = agent.session(4, heads=("policy",))
    for length in (3, 4, 9, LENGTH):
        out = session.step(padded(tokens, np.full(4, length)), np.full(4, length))
    expected = final_states(agent, tokens, lengths, heads=("policy",))
    ours, theirs = (torch.log_softmax(seen.logits.float(), -1) for seen in (out, expected))
    assert float((ours - theirs).abs().max()) < 0.2


def test_switching_an_adapter_off_empties_the_cache_and_gives_the_model_back_bit_for_bit():
    tokens, lengths = random_tokens(3), np.full(3, 8)
    plain, agent = make_agent("gpt2-tiny"), stirred(make_agent("gpt2-tiny", lora=LORA))
    session = agent.session(3, heads=("policy",))
    with_adapters = session.step(tokens[:, :8], lengths).logits
    for layer in adapted(agent).values():
        layer.enable_adapters(False)
    assert torch.equal(logits_of(agent, tokens), logits_of(plain, tokens))
    without = session.step(tokens[:, :8], lengths).logits
    assert not torch.allclose(with_adapters, without, atol=0.1)
    torch.testing.assert_close(without, logits_of(plain, tokens)[:, 7], atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*lora_bias")
@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_other_kinds_of_adapters_are_left_to_their_own_code(settings):
    model = tiny_llama(tie_word_embeddings=True)
    chosen = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **settings)
    peft.inject_adapter_in_model(chosen, model)
    agent = build_agent(model, VOCABULARY, LENGTH)
    lean = agent.trunk.family
    # Dropout is taken out of every agent, which leaves a plain adapter.
    assert lean == ("llama" if "lora_dropout" in settings else None)
    tokens, lengths = random_tokens(2), np.full(2, 6)
    stepped = agent.session(2).step(tokens[:, :6], lengths).logits
    torch.testing.assert_close(stepped, final_states(agent, tokens, lengths).logits, atol=1e-4, rtol=1e-4)


def test_clones_stand_on_the_same_weights_and_a_reference_has_the_adapters_off(folder):
    plain, agent = build_agent(folder, VOCABULARY, LENGTH), build_agent(folder, VOCABULARY, LENGTH, lora=LORA)
    tokens = random_tokens(3)
    reference, target = agent.as_reference(), agent.clone_frozen()
    assert adapted(reference) == {} and adapted(target) != {}
    for clone in (reference, target):
        assert stands_on_same(clone, agent)
        ours = {id(parameter) for parameter in agent.base.values()}
        assert {id(parameter) for parameter in clone.base.values()} == ours
        assert not any(parameter.requires_grad for parameter in clone.parameters())
    stirred(agent)
    assert torch.equal(logits_of(reference, tokens), logits_of(plain, tokens))
    assert torch.equal(logits_of(target, tokens), logits_of(plain, tokens))
    later = agent.as_reference()
    assert torch.equal(logits_of(later, tokens), logits_of(agent, tokens))
    assert not stands_on_same(copy.deepcopy(agent), agent)


def test_a_critic_of_its_own_stands_on_the_same_pretrained_weights(folder):
    agent = build_agent(folder, VOCABULARY, LENGTH, heads=("policy", "value"), lora=LORA, separate_critic=True)
    alone = build_agent(folder, VOCABULARY, LENGTH, lora=LORA)
    assert sum(one.numel() for one in agent.base.values()) == sum(one.numel() for one in alone.base.values())
    own, critic = (adapted(trunk) for trunk in (agent.trunk, agent.critic_trunk))
    assert own.keys() == critic.keys()
    for name, layer in own.items():
        assert layer.base_layer.weight is critic[name].base_layer.weight
        assert layer.lora_A["default"].weight is not critic[name].lora_A["default"].weight


def test_only_what_is_learnt_is_in_the_state_and_comes_back_from_it(folder):
    agent = stirred(build_agent(folder, VOCABULARY, LENGTH, heads=("policy", "value"), lora=LORA))
    state = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    learnt = {name for name, parameter in agent.named_parameters() if parameter.requires_grad}
    assert set(state) == learnt and all("lora_" in name or "readouts.value" in name for name in learnt)
    config = json.loads(json.dumps(agent.config()))
    again = rebuild_agent(config)
    again.load_state_dict(state)
    tokens = random_tokens(3)
    assert torch.equal(logits_of(again, tokens), logits_of(agent, tokens))
    with pytest.raises(RuntimeError, match="Missing key"):
        again.load_state_dict({name: tensor for name, tensor in state.items() if "lora_A" not in name})


@pytest.mark.parametrize("name", ["llama instance, grouped", "neox"])
def test_an_agent_on_an_instance_is_rebuilt_from_weights_that_were_kept(name):
    agent = stirred(make_agent(MODELS[name][0](), lora=LORA, separate_critic=True))
    config, tokens = json.loads(json.dumps(agent.config())), random_tokens(2)
    assert agent.base_is_given
    again = rebuild_agent(config, base=dict(agent.base))
    again.load_state_dict(agent.state_dict())
    assert torch.equal(logits_of(again, tokens), logits_of(agent, tokens))
    with pytest.raises(TokenGymError, match="the weights given are not those"):
        rebuild_agent(config)


def test_an_agent_from_scratch_is_rebuilt_by_its_seed_and_another_base_is_found_out():
    agent = stirred(build_agent("gpt2-tiny", VOCABULARY, LENGTH, heads=("policy", "value"), lora=LORA, seed=5))
    config, tokens = json.loads(json.dumps(agent.config())), random_tokens(2)
    assert not agent.base_is_given
    again = rebuild_agent(config)
    again.load_state_dict(agent.state_dict())
    assert torch.equal(logits_of(again, tokens), logits_of(agent, tokens))
    with pytest.raises(TokenGymError, match="the weights that its seed draws are not those"):
        rebuild_agent({**config, "seed": 6})


def test_the_folder_under_the_adapters_has_to_be_there_and_to_be_the_same(tmp_path):
    tiny_llama(tie_word_embeddings=True).save_pretrained(tmp_path / "model")
    config = build_agent(str(tmp_path / "model"), VOCABULARY, LENGTH, lora=LORA).config()
    changed = tiny_llama(tie_word_embeddings=True)
    with torch.no_grad():
        changed.model.norm.weight[0] += 1e-3
    changed.save_pretrained(tmp_path / "model")
    with pytest.raises(TokenGymError, match="are not those that the agent's adapters were trained on"):
        rebuild_agent(config)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(TokenGymError, match="which is not there"):
        rebuild_agent(config)


def places(agent):
    return {name: parameter.data_ptr() for name, parameter in agent.base.items()}


def test_agents_on_one_folder_hold_its_weights_once_and_part_where_one_changes_them(folder):
    first, second = (build_agent(folder, VOCABULARY, LENGTH, seed=seed, lora=LORA) for seed in (1, 2))
    critic = build_agent(folder, VOCABULARY, LENGTH, heads=("value",), lora=LoRA(rank=2))
    again = rebuild_agent(json.loads(json.dumps(second.config())))
    assert places(first) == places(second) == places(again)
    assert set(places(critic).values()) == set(places(first).values())
    kept = {name: parameter.clone() for name, parameter in first.base.items()}
    second.merge_adapters()
    given = {name: parameter + 1 for name, parameter in again.base.items()}
    again.load_base(given)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1)
    assert all(torch.equal(parameter, kept[name]) for name, parameter in first.base.items())
    assert all(torch.equal(parameter, given[name]) for name, parameter in again.base.items())
    del first, second, critic
    third, fourth = (build_agent(folder, VOCABULARY, LENGTH, lora=LORA) for _ in range(2))
    assert places(third) == places(fourth) != places(again)
    assert all(torch.equal(parameter, kept[name]) for name, parameter in third.base.items())


def test_weights_in_another_precision_are_other_weights(folder):
    wide, half = (build_agent(folder, VOCABULARY, LENGTH, dtype=dtype, lora=LORA) for dtype in ("float32", "bfloat16"))
    assert not set(places(wide).values()) & set(places(half).values())


@pytest.mark.parametrize("name", [*MODELS, "folder"])
def test_the_merged_export_gives_equal_logits_in_plain_transformers(name, folder, tmp_path):
    agent = stirred(make_agent(folder if name == "folder" else MODELS[name][0](), lora=LORA))
    before = {key: value.clone() for key, value in [*agent.state_dict().items(), *agent.base.items()]}
    agent.save_pretrained(tmp_path / "out")
    model, tokens = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out"), random_tokens(3)
    assert not any("lora" in key for key in model.state_dict())
    assert model.config.tie_word_embeddings == (name in ("folder", "llama instance, grouped"))
    with torch.no_grad():
        theirs = model(input_ids=torch.from_numpy(tokens).long()).logits[..., : VOCABULARY.num_actions]
    torch.testing.assert_close(theirs, logits_of(agent, tokens), rtol=1e-4, atol=1e-4)
    after = {**agent.state_dict(), **agent.base}
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("kind", ["mlp-tiny", "gru-tiny", "table", {"kind": "gru"}])
def test_adapters_go_around_transformers_alone(kind):
    with pytest.raises(TokenGymError, match=r"lora_rank is 3 and the agent a .*take a checkpoint folder, gpt2-tiny"):
        build_agent(kind, VOCABULARY, LENGTH, lora=LORA)
    with pytest.raises(TokenGymError, match="adapters go around the layers of transformers"):
        adapt_agent(build_agent(kind, VOCABULARY, LENGTH), LORA)


def test_what_makes_no_sense_is_refused_with_a_way_to_mend_it(monkeypatch):
    with pytest.raises(TokenGymError, match=r"lora_rank is 65; .* is 64 wide"):
        build_agent("gpt2-tiny", VOCABULARY, LENGTH, lora=LoRA(rank=65))
    with pytest.raises(TokenGymError, match="has adapters of rank 3"):
        adapt_agent(build_agent("gpt2-tiny", VOCABULARY, LENGTH, lora=LORA), LoRA(rank=2))
    for wrong in ({"rank": 0}, {"rank": 2, "alpha": 0.0}, {"rank": 2, "targets": "mlp"}, {"rank": 1.5}):
        with pytest.raises(TokenGymError, match="expected"):
            LoRA(**wrong)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TokenGymError, match=r"adapters need peft: pip install 'tokengym\[peft\]'"):
        build_agent("gpt2-tiny", VOCABULARY, LENGTH, lora=LORA)
