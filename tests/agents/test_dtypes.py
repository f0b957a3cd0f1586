"""Devices and dtypes of agents: refused where they are not there, and right where they are."""

import numpy as np
import pytest
import torch
from agent_cases import VOCABULARY, make_agent
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaModel

from tokengym.agents import build_agent, rebuild_agent
from tokengym.agents.devices import usable_device
from tokengym.agents.models import llama_decoder
from tokengym.envs import TokenGymError

LEAN = ("gpt2-tiny", "llama-tiny")
TOLERANCES = {"bfloat16": 0.25, "float32": 1e-4, "float64": 1e-9}
"""Of log-probabilities, where logits reach about ten."""


def agent_of(spec, dtype=None, **options):
    return build_agent(spec, VOCABULARY, 24, heads=("policy", "value"), seed=3, dtype=dtype, **options)


def sequences(rows=5, length=20):
    draws = np.random.default_rng(0)
    tokens = draws.integers(0, VOCABULARY.num_actions, (rows, length)).astype(np.int32)
    tokens[:, 0] = VOCABULARY.bos
    return tokens


def decoded(agent, tokens, lengths):
    """Log-probabilities (B, L, A) and values (B, L) of every prefix, by decoding with rows of different lengths."""
    session = agent.session(len(tokens), ("policy", "value"))
    outputs = []
    for end in range(1, tokens.shape[1] + 1):
        out = session.step(tokens, np.minimum(end, lengths))
        outputs.append((torch.log_softmax(out.logits.double(), -1), out.values.double()))
    return torch.stack([o[0] for o in outputs], 1), torch.stack([o[1] for o in outputs], 1)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("spec", [*LEAN, {"kind": "llama", "hidden_size": 48, "num_layers": 3, "num_heads": 3}])
def test_decoding_agrees_with_the_teacher_forced_pass_in_every_dtype(spec, dtype):
    agent = make_agent(spec, dtype=dtype)
    tokens, lengths = sequences(), np.array([20, 20, 13, 7, 20])
    logs, values = decoded(agent, tokens, lengths)
    rows, columns = np.nonzero(np.arange(1, 21) <= lengths[:, None])
    whole = agent.evaluate(*(torch.from_numpy(a) for a in (tokens, lengths, rows, columns + 1)))
    assert agent.trunk(torch.from_numpy(tokens).long(), torch.from_numpy(lengths)).dtype == agent.dtype
    apart = torch.log_softmax(whole.logits.double(), -1) - logs[rows, columns]
    assert apart.abs().max() < TOLERANCES[dtype]
    assert (whole.values.double() - values[rows, columns]).abs().max() < TOLERANCES[dtype]


@pytest.mark.parametrize("spec", LEAN)
def test_bfloat16_says_nearly_what_float32_says(spec):
    full, half = agent_of(spec), agent_of(spec, "bfloat16")
    tokens = sequences()
    lengths = np.full(len(tokens), 20)
    assert {p.dtype for p in half.trunk.parameters()} == {torch.bfloat16}
    np.testing.assert_allclose(half.probabilities(tokens, lengths), full.probabilities(tokens, lengths), atol=5e-3)


def test_rotations_and_norms_of_bfloat16_are_those_of_float32_rounded_once():
    config = LlamaConfig(
        vocab_size=32, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2
    )
    body = LlamaModel(config)
    cos, sin = llama_decoder.rotations(body, 4000)
    x = torch.randn(3, 4000, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    turned = llama_decoder.rotate(x.float(), cos, sin).bfloat16()
    for parameter in body.parameters():
        parameter.data = parameter.data.bfloat16()
    half = llama_decoder.rotations(body, 4000)
    assert half[0].dtype == torch.float32
    assert torch.equal(llama_decoder.rotate(x, *half), turned)
    assert torch.equal(llama_decoder.rms_norm(x.repeat(1, 1, 2), body.norm), body.norm(x.repeat(1, 1, 2)))


def test_the_frequencies_of_rotations_stay_in_float32():
    agent = agent_of("llama-tiny", "bfloat16")
    assert agent.trunk.body.rotary_emb.inv_freq.dtype == torch.float32


def test_heads_of_its_own_stay_in_float32_and_a_models_own_head_is_the_models():
    agent = agent_of("llama-tiny", "bfloat16", separate_critic=True)
    assert {p.dtype for p in agent.readouts.parameters()} == {torch.float32}
    assert {p.dtype for p in agent.critic_trunk.parameters()} == {torch.bfloat16}
    config = LlamaConfig(
        vocab_size=VOCABULARY.size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    agent = build_agent(LlamaForCausalLM(config), VOCABULARY, 24, dtype="bfloat16")
    assert {p.dtype for p in agent.parameters()} == {torch.bfloat16}
    tokens = sequences()
    out = agent.session(5).step(tokens, np.full(5, 20))
    assert torch.isfinite(out.logits).all()


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_rebuilt_agent_has_its_dtype(dtype):
    agent = agent_of("gpt2-tiny", dtype)
    again = rebuild_agent(agent.config())
    again.load_state_dict(agent.state_dict())
    assert again.dtype == agent.dtype
    assert agent.config()["dtype"] == dtype


def test_a_config_of_an_earlier_version_is_float32():
    config = agent_of("gpt2-tiny").config()
    del config["dtype"]
    assert rebuild_agent(config).dtype == torch.float32


def test_what_is_not_there_is_refused_with_what_is():
    with pytest.raises(TokenGymError, match=r"float16.*'float32', 'bfloat16'"):
        agent_of("gpt2-tiny", "float16")
    for spec in ("mlp-tiny", "gru-tiny", "table", {"kind": "mlp"}):
        with pytest.raises(TokenGymError, match=r"bfloat16.*take float32, or a transformer"):
            agent_of(spec, "bfloat16")
    for device in ("cuda:63", "meta", "abacus"):
        with pytest.raises(TokenGymError, match=rf"device is '{device}'.*this machine \(it has cpu"):
            usable_device(device)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(TokenGymError, match=r"the model is in float16.*model.float"):
        build_agent(model.half(), VOCABULARY, 24)


@pytest.mark.parametrize("spec", [*LEAN, "opt"])
def test_checkpointing_layers_changes_no_gradient(spec):
    if spec == "opt":
        sizes = {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = {"model_type": "opt", "vocab_size": 40, "word_embed_proj_dim": 16, **sizes}
        spec = {"kind": "transformers", "config": config}
    agent = agent_of(spec, "float64")
    assert agent.trunk.can_checkpoint
    tokens, lengths = torch.from_numpy(sequences()).long(), torch.full((5,), 20)
    saved = {}

    def gradients(checkpointing):
        agent.trunk.checkpointing = checkpointing
        agent.zero_grad()
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            agent.trunk(tokens, lengths).square().sum().backward()
        saved[checkpointing] = sum(kept)
        return {name: p.grad.clone() for name, p in agent.trunk.named_parameters() if p.grad is not None}

    plain, again = gradients(False), gradients(True)
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-12, atol=1e-12)
    assert saved[True] < saved[False], "nothing was computed again"
    assert not any(module.training for module in agent.modules())


@pytest.mark.parametrize("tied", [False, True])
def test_an_export_in_bfloat16_comes_back_with_its_own_head(tied, tmp_path):
    if tied:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY.size, tie_word_embeddings=True, **sizes))
        agent = build_agent(model, VOCABULARY, 24, dtype="bfloat16")
    else:
        agent = agent_of("gpt2-tiny", "bfloat16")
    agent.save_pretrained(tmp_path / "model")
    back = build_agent(tmp_path / "model", VOCABULARY, 24, dtype="bfloat16")
    tokens, lengths = sequences(), np.full(5, 20)
    np.testing.assert_allclose(back.probabilities(tokens, lengths), agent.probabilities(tokens, lengths), atol=5e-3)
    assert build_agent(tmp_path / "model", VOCABULARY, 24).dtype == torch.float32
