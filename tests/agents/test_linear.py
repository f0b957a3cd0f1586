"""The product of linear layers through oneDNN: the same numbers and gradients, and where it is taken."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel

from tokengym.agents import build_agent
from tokengym.agents.linear import has_onednn, multiply, pays
from tokengym.agents.specs import LoRA
from tokengym.algorithms import GRPO, PPO, load_algorithm
from tokengym.algorithms.configs import GRPOConfig
from tokengym.algorithms.making import set_passes
from tokengym.envs import TokenGymError, Vocabulary

VOCABULARY = Vocabulary((*(f"t{i}" for i in range(30)), "<bos>", "<pad>"), num_actions=30, bos=30, pad=31)
GPT2 = {"kind": "gpt2", "hidden_size": 64, "num_layers": 2, "num_heads": 4}
LLAMA = {"kind": "llama", "hidden_size": 64, "num_layers": 2, "num_heads": 4}

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this build of PyTorch has no oneDNN")


def operators(work):
    """How often PyTorch ran what, by name."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    return {event.key: event.count for event in seen.key_averages()}


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("count", [640, 1021, 1024, 4160])  # 1021 is a prime: no images of equal size
@pytest.mark.parametrize(("width", "out"), [(64, 256), (256, 64), (64, 62), (65, 67)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_numbers_and_gradients_are_those_of_the_product(count, width, out, bias, turned):
    given = [drawn(count, width), drawn(width, out, seed=1).T if turned else drawn(out, width, seed=1), None]
    if bias:
        given[2] = drawn(out, seed=2)
    upstream = drawn(count, out, seed=3)

    def results(dtype, product):
        leaves = [None if t is None else t.to(dtype, copy=True).requires_grad_() for t in given]
        found = product(*leaves)
        (found * upstream.to(dtype)).sum().backward()
        return [found.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]

    exact = results(torch.float64, F.linear)
    ours = results(torch.float32, lambda *leaves: multiply(*leaves, kernel="onednn"))
    for mine, right in zip(ours, exact, strict=True):
        assert mine.shape == right.shape
        assert (mine - right).abs().max() <= 1e-5 * right.abs().max()  # a bias sums 4,160 gradients


def test_it_is_a_convolution_of_onednn_where_that_pays_and_the_product_itself_elsewhere():
    x, weight = drawn(1024, 64), drawn(128, 64, seed=1)
    assert "aten::mkldnn_convolution" in operators(lambda: multiply(x, weight, None, "onednn"))
    apart = {
        "blas": (x, weight, "blas"),
        "few tokens": (x[:40], weight, "onednn"),
        "float64": (x.double(), weight.double(), "onednn"),
        "three dimensions": (x[None], weight, "onednn"),
        "bfloat16": (x.bfloat16(), weight.bfloat16(), "onednn"),
    }
    for name, (a, w, kernel) in apart.items():
        found = []
        assert not any("conv" in key for key in operators(lambda: found.append(multiply(a, w, None, kernel)))), name  # noqa: B023
        assert torch.equal(found[0], F.linear(a, w)), name


def test_what_pays_grows_with_the_tokens_and_shrinks_with_the_size_of_the_weights():
    assert pays(512, 256, 64) and not pays(511, 256, 64) and pays(512, 64, 256)
    assert pays(128, 576, 576) and not pays(40, 576, 576)
    assert not pays(320, 50_257, 576) and pays(4096, 50_257, 576)


@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["whole", "lora"])
@pytest.mark.parametrize("spec", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("groups", [False, True])
def test_features_and_gradients_of_a_model_stay_the_same(spec, lora, groups):
    agent = build_agent(spec, VOCABULARY, 24, heads=("policy", "value"), lora=lora, seed=0)
    for parameter in agent.parameters():  # adapters and value heads begin at 0, behind which nothing has a gradient
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(1))
    draws = np.random.default_rng(0)
    tokens = torch.from_numpy(draws.integers(0, 30, (64, 24)))
    tokens[:, :8] = tokens[::8, :8].repeat_interleave(8, 0)
    rows, columns = (torch.from_numpy(part.ravel()) for part in np.nonzero(np.ones((64, 24))))
    columns = columns + 1
    asked = (tokens, torch.full((64,), 24), rows, columns)
    shared = torch.arange(8).repeat_interleave(8) if groups else None

    def results(kernel, checkpointing=False):
        agent.trunk.choose_kernel(kernel)
        agent.trunk.checkpointing = checkpointing
        agent.zero_grad()
        features = agent.features(*asked, None, agent.heads, shared)
        out = agent.apply_heads(features, agent.heads)
        (torch.log_softmax(out.logits, -1)[:, 0].sum() + out.values.square().sum()).backward()
        return out.logits.detach(), {n: p.grad.clone() for n, p in agent.named_parameters() if p.grad is not None}

    logits, gradients = results("blas")
    products = 2 * (4 if spec is GPT2 else 7)
    for checkpointing in (False, True):
        found = []
        ran = operators(lambda: found.append(results("onednn", checkpointing)))  # noqa: B023
        convolutions = ran["aten::mkldnn_convolution"]
        assert convolutions > products if checkpointing else convolutions == products
        others, theirs = found[0]
        torch.testing.assert_close(others, logits, rtol=1e-4, atol=1e-5)
        assert theirs.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(theirs[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_a_models_own_head_multiplies_with_it_too():
    config = GPT2Config(vocab_size=VOCABULARY.size, n_embd=64, n_layer=1, n_head=2, n_positions=16, bos_token_id=30)
    agent = build_agent(GPT2LMHeadModel(config), VOCABULARY, 16)
    set_passes(agent, GRPOConfig(linear_kernel="onednn"))
    agent.trunk.choose_kernel("blas")
    features = drawn(1200, 64)
    found = []
    assert "aten::mkldnn_convolution" in operators(lambda: found.append(agent.policy_logits(features)))
    weight = agent.trunk.body.wte.weight[: VOCABULARY.num_actions]
    torch.testing.assert_close(found[0], F.linear(features, weight), rtol=1e-5, atol=1e-5)


def test_a_run_learns_the_same_twice_and_nearly_the_same_as_with_blas(tmp_path):
    def learnt(**options):
        whole = {"rollout_tokens": 1024, "minibatches": 1, "num_rows": 256}
        learner = GRPO("tokengym/Copy-v0", GPT2, seed=0, group_size=4, **whole, **options)
        return learner.learn(2048)

    mine, again, blas = learnt(linear_kernel="onednn"), learnt(linear_kernel="onednn"), learnt()
    weights = [dict(run.agent.named_parameters()) for run in (mine, again, blas)]
    for name, parameter in weights[0].items():
        assert torch.equal(parameter, weights[1][name])
        # Adam makes a whole step of a gradient that is nothing but rounding, so some weights may be apart.
        assert float((parameter - weights[2][name]).abs().mean().detach()) < 1e-4, name
    assert any(not torch.equal(parameter, weights[2][name]) for name, parameter in weights[0].items())
    mine.save(tmp_path / "saved")
    back = load_algorithm(tmp_path / "saved")
    assert back.agent.trunk.linear_kernel == "onednn"
    mine.learn(4096), back.learn(4096)
    assert all(torch.equal(a, b) for a, b in zip(mine.agent.parameters(), back.agent.parameters(), strict=True))


def test_it_is_refused_where_nothing_would_heed_it(monkeypatch):
    with pytest.raises(TokenGymError, match=r"linear_kernel is 'onednn', and a MLPTrunk has none but 'blas': leave"):
        PPO("tokengym/Copy-v0", "mlp-tiny", linear_kernel="onednn")
    sizes = {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "opt", "vocab_size": 40, "word_embed_proj_dim": 16, **sizes}
    with pytest.raises(TokenGymError, match=r"a OPTModel in this form runs through the code of transformers"):
        PPO("tokengym/Copy-v0", {"kind": "transformers", "config": config}, linear_kernel="onednn")
    with pytest.raises(TokenGymError, match=r"linear_kernel is 'mkl'.*blas.*onednn"):
        PPO("tokengym/Copy-v0", GPT2, linear_kernel="mkl")
    monkeypatch.setattr("tokengym.agents.models.build.has_onednn", lambda: False)
    with pytest.raises(TokenGymError, match=r"this build of PyTorch has no oneDNN"):
        PPO("tokengym/Copy-v0", GPT2, linear_kernel="onednn")
