import json

import numpy as np
import pytest
import torch
import transformers
from agent_cases import LENGTH, VOCABULARY, final_states, make_agent, padded, random_tokens, tiny_neox
from safetensors.torch import load_file, save_file

from tokengym.agents import build_agent, rebuild_agent
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.vocabulary import Vocabulary

SPECS = ["gpt2-tiny", "llama-tiny", "gru-tiny", "mlp-tiny", "table"]
PLAIN = Vocabulary(tuple("abcdefgh"), num_actions=8, bos=0, pad=1, eos=2)


def tiny_gpt2(**changes):
    torch.manual_seed(0)
    config = {"vocab_size": 8, "n_positions": LENGTH, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**{**config, "bos_token_id": None, "eos_token_id": None, **changes})
    )


@pytest.mark.parametrize("spec", ["gpt2-tiny", "llama-tiny"])
def test_the_lean_pass_equals_the_models_own_forward_and_gradient(spec):
    trunk = make_agent(spec).trunk
    tokens = torch.from_numpy(random_tokens(4)).long()
    ours = trunk(tokens, torch.full((4,), LENGTH))
    theirs = trunk.body(input_ids=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    parameters = list(trunk.parameters())
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), parameters),
        torch.autograd.grad((theirs * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_a_state_is_the_prefix_before_its_column_and_padding_cannot_matter(spec):
    agent = make_agent(spec, heads=("policy", "value", "twin_q"))
    tokens, lengths = random_tokens(3), np.array([LENGTH, 10, 4])
    rows, columns = torch.tensor([0, 1, 2, 2, 0]), torch.tensor([5, 9, 1, 3, 23])
    with torch.no_grad():
        out = agent.evaluate(
            torch.from_numpy(tokens), torch.from_numpy(lengths), rows, columns, final_rows=torch.tensor([2, 0])
        )
        padding = agent.evaluate(
            torch.from_numpy(padded(tokens, lengths)), torch.from_numpy(lengths), rows, columns, torch.tensor([2, 0])
        )
    assert out.final is not None and padding.final is not None
    for name in ("logits", "values", "q", "q2"):
        assert torch.equal(getattr(out, name), getattr(padding, name))
        assert torch.equal(getattr(out.final, name), getattr(padding.final, name))
        for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            alone = final_states(agent, tokens[row : row + 1, :column].copy(), np.array([column]))
            torch.testing.assert_close(getattr(out, name)[i], getattr(alone, name)[0], atol=1e-5, rtol=1e-5)
        last = final_states(agent, tokens[[2, 0]], lengths[[2, 0]])
        torch.testing.assert_close(getattr(out.final, name), getattr(last, name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_heads_have_width_a_and_start_where_they_should(spec):
    agent = build_agent(spec, VOCABULARY, LENGTH, heads=("policy", "value", "twin_q"))
    out = final_states(agent, random_tokens(3), np.array([1, 5, 9]))
    assert out.logits.shape == out.q.shape == out.q2.shape == (3, VOCABULARY.num_actions)
    assert out.values.shape == (3,) and not out.values.any() and not out.q.any() and not out.q2.any()
    assert out.logits.abs().max() < 0.5
    assert final_states(agent, random_tokens(3), np.array([1, 5, 9]), heads=("value",)).logits is None


def test_twin_heads_learn_apart():
    agent = build_agent("gpt2-tiny", VOCABULARY, LENGTH, heads=("twin_q",))
    optimizer = torch.optim.SGD(agent.parameters(), lr=0.1)
    for _ in range(3):
        out = agent.evaluate(
            torch.from_numpy(random_tokens(4)), torch.full((4,), 5), torch.arange(4), torch.full((4,), 5)
        )
        loss = (out.q - 1).square().mean() + (out.q2 - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not torch.allclose(out.q, out.q2)


def test_separate_critics_share_no_gradient_with_the_policy():
    agent = make_agent("gpt2-tiny", separate_critic=True)
    out = agent.evaluate(torch.from_numpy(random_tokens(2)), torch.full((2,), 9), torch.arange(2), torch.full((2,), 9))
    out.values.sum().backward()
    assert all(p.grad is None for p in agent.trunk.parameters())
    assert agent.critic_trunk is not None
    assert any(p.grad is not None and p.grad.any() for p in agent.critic_trunk.parameters())


def test_the_temperature_divides_the_policys_logits_everywhere():
    warm, cold = make_agent("gpt2-tiny"), make_agent("gpt2-tiny", temperature=0.5)
    tokens, lengths = random_tokens(3), np.array([4, 5, 6])
    expected = 2 * final_states(warm, tokens, lengths).logits
    torch.testing.assert_close(final_states(cold, tokens, lengths).logits, expected)
    torch.testing.assert_close(cold.session(3).step(tokens, lengths).logits, expected, atol=1e-4, rtol=1e-4)
    probabilities = torch.softmax(expected.double(), -1).numpy()
    np.testing.assert_allclose(cold.probabilities(tokens, lengths), probabilities, atol=1e-5)


def test_an_agent_without_a_policy_acts_on_its_q_values():
    agent = make_agent("gpt2-tiny", heads=("twin_q",), temperature=0.5)
    tokens, lengths = random_tokens(3), np.array([4, 5, 6])
    out = final_states(agent, tokens, lengths)
    q = torch.minimum(out.q, out.q2)
    np.testing.assert_allclose(agent.probabilities(tokens, lengths), torch.softmax(2 * q.double(), -1), atol=1e-5)
    actions, _ = agent.predict({"tokens": tokens, "length": lengths[:, None]}, deterministic=True)
    assert actions.tolist() == q.argmax(-1).tolist()


def test_predict_trusts_the_observation_and_not_the_episode_start():
    agent = make_agent("gpt2-tiny")
    tokens, lengths = random_tokens(4), np.array([3, 4, 5, 6])
    fresh, _ = agent.predict({"tokens": tokens, "length": lengths[:, None]}, deterministic=True)
    state = None
    for step in range(3):
        agent.predict({"tokens": random_tokens(4, seed=step), "length": lengths[:, None] + step}, state)
        actions, state = agent.predict(
            {"tokens": tokens.astype(np.float32), "length": lengths[:, None]}, state, np.ones(4, bool), True
        )
        assert actions.tolist() == fresh.tolist()
    single, _ = agent.predict({"tokens": tokens[2], "length": lengths[2:3]}, deterministic=True)
    assert isinstance(single, np.int64) and single == fresh[2]


def test_predict_honours_masks():
    agent, tokens = make_agent("gpt2-tiny"), random_tokens(50)
    masks = np.random.default_rng(0).random((50, VOCABULARY.num_actions)) < 0.3
    masks[:, 2] = True
    for deterministic in (False, True):
        observation = {"tokens": tokens, "length": np.full((50, 1), 4)}
        actions, _ = agent.predict(observation, deterministic=deterministic, action_masks=masks)
        assert masks[np.arange(50), actions].all()
    assert not agent.probabilities(tokens, np.full(50, 4), masks)[~masks].any()


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(spec):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    twins = [build_agent(spec, VOCABULARY, LENGTH, heads=("policy", "value"), seed=5) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(twins[0].state_dict().values(), twins[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    observation = {"tokens": random_tokens(64), "length": np.full((64, 1), 3)}
    said = [twin.predict(observation)[0].tolist() for twin in twins]
    assert said[0] == said[1] and len(set(said[0])) > 1
    if spec != "table":
        other = build_agent(spec, VOCABULARY, LENGTH, seed=6)
        assert not torch.equal(next(other.parameters()), next(twins[0].parameters()))


@pytest.mark.parametrize("spec", [*SPECS, "neox", "checkpoint"])
@pytest.mark.parametrize("separate", [False, True])
def test_an_agent_is_rebuilt_from_its_config_and_weights(spec, separate, tmp_path):
    given = {"neox": tiny_neox(8), "checkpoint": tiny_gpt2()}.get(spec, spec)
    agent = make_agent(given, heads=("policy", "value"), vocabulary=PLAIN, separate_critic=separate)
    tokens, lengths = random_tokens(5) % 8, np.array([3, 4, 5, 6, 7])
    expected = agent.probabilities(tokens, lengths)
    save_file(agent.state_dict(), tmp_path / "agent.safetensors")
    again = rebuild_agent(json.loads(json.dumps(agent.config())))
    again.load_state_dict(load_file(tmp_path / "agent.safetensors"))
    assert np.array_equal(again.probabilities(tokens, lengths), expected)


def test_a_checkpoint_folder_keeps_its_own_head_cut_to_the_vocabulary(tmp_path):
    model = tiny_gpt2(vocab_size=12)
    model.save_pretrained(tmp_path)
    agent = build_agent(tmp_path, PLAIN, 10, heads=("policy", "value"))
    tokens = random_tokens(3)[:, :10] % 8
    with torch.no_grad():
        theirs = model.eval()(torch.from_numpy(tokens).long()).logits[:, -1, :8]
    torch.testing.assert_close(final_states(agent, tokens, np.full(3, 10)).logits, theirs, atol=1e-5, rtol=1e-5)
    untied = build_agent(tiny_neox(8), PLAIN, 10)
    assert "readouts.policy.projection.weight" in untied.state_dict()


def test_dropout_is_off_in_every_mode():
    agent = make_agent(tiny_gpt2(resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5), vocabulary=PLAIN)
    tokens = random_tokens(2) % 8
    agent.train()
    first, second = (final_states(agent, tokens, np.array([9, 9])).logits for _ in range(2))
    assert torch.equal(first, second)
    with torch.no_grad():
        own = [agent.trunk.body(input_ids=torch.from_numpy(tokens).long()).last_hidden_state for _ in range(2)]
    assert torch.equal(*own)


def test_a_frozen_clone_stays_behind():
    agent = make_agent("gpt2-tiny")
    clone = agent.clone_frozen()
    tokens, lengths = random_tokens(2), np.array([5, 6])
    before = agent.probabilities(tokens, lengths)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.1)
    assert np.array_equal(clone.probabilities(tokens, lengths), before)
    assert not any(p.requires_grad for p in clone.parameters()) and all(p.requires_grad for p in agent.parameters())


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("gpt2-tny", {}, "gpt2-tiny"),
        ({"kind": "gpt3"}, {}, "gpt2"),
        ({"kind": "gpt2", "hiden_size": 8}, {}, "hidden_size"),
        ({"kind": "gpt2", "hidden_size": 0}, {}, "hidden_size is 0; expected a whole number within 1"),
        ({"kind": "gru", "hidden_size": "wide"}, {}, "a gru agent: hidden_size is 'wide'; expected a whole number"),
        ({"kind": "gpt2", "hidden_size": 10}, {}, "multiple"),
        ({"kind": "table", "capacity": -1}, {}, "capacity is -1; expected a whole number of at least 1"),
        ({"kind": "transformers"}, {}, "'model_type'"),
        ({"kind": "transformers", "config": {"model_type": "gpt2", "n_layer": 2**31}}, {}, "num_hidden_layers"),
        ({"kind": "transformers", "config": {"model_type": "gpt2", "n_head": "many"}}, {}, "can be built"),
        (7, {}, "cannot build an agent from int"),
        ("gpt2-tiny", {"heads": ("polcy",)}, "policy"),
        ("gpt2-tiny", {"heads": ("q", "twin_q")}, "one of them"),
        ("gpt2-tiny", {"heads": ()}, "at least one"),
        ("gpt2-tiny", {"max_length": 0}, "at least 1"),
        ("gpt2-tiny", {"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ("gpt2-tiny", {"temperature": float("nan")}, "temperature is nan; expected a number"),
        ("gpt2-tiny", {"head_dim": 0}, "head_dim is 0; expected None or a whole number"),
        ("gpt2-tiny", {"heads": "policy"}, "heads is 'policy'; expected a list"),
        ("gpt2-tiny", {"seed": 1.5}, "seed is 1.5"),
        ("gpt2-tiny", {"separate_critic": "no"}, "separate_critic is 'no'"),
        (tiny_gpt2(), {"max_length": LENGTH + 1}, "positions"),
        (tiny_gpt2(vocab_size=7), {}, "8 tokens and the model embeds 7"),
        (transformers.GPT2Model(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1)), {}, "head"),
    ],
)
def test_bad_specifications_stop_at_the_door(spec, options, message):
    with pytest.raises(TokenGymError, match=message):
        build_agent(spec, PLAIN, **{"max_length": LENGTH, **options})


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TokenGymError, match=r"config\.json"):
        build_agent(tmp_path, PLAIN, 8)


def test_bad_states_stop_at_the_door():
    agent = make_agent("gpt2-tiny")
    tokens = torch.from_numpy(random_tokens(2))
    for columns, message in (([0, 3], "column 0"), ([3, LENGTH + 1], "does not fit")):
        with pytest.raises(TokenGymError, match=message):
            agent.evaluate(tokens, torch.full((2,), LENGTH), torch.arange(2), torch.tensor(columns))
    tokens[0, 0] = VOCABULARY.size
    with pytest.raises(TokenGymError, match="outside the vocabulary"):
        agent.evaluate(tokens, torch.full((2,), LENGTH), torch.arange(2), torch.tensor([3, 3]))
    with pytest.raises(TokenGymError, match="no head 'q'"):
        agent.session(2, heads=("q",))
