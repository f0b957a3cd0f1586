import numpy as np
import pytest
import torch
from agent_cases import LENGTH, VOCABULARY, final_states, make_agent, padded, random_tokens, tiny_llama, tiny_neox

from tokengym.agents.models import generic_decoder, gpt2_decoder, llama_decoder
from tokengym.agents.models.build import TransformerTrunk
from tokengym.agents.models.gru import GRUDecoder
from tokengym.agents.models.mlp import MLPDecoder
from tokengym.agents.models.trunk import ReencodeDecoder
from tokengym.agents.session import common_prefix
from tokengym.envs.checking.errors import TokenGymError

GROUPED = {"kind": "llama", "num_heads": 4, "num_layers": 1}
MODELS = {
    "gpt2": (lambda: "gpt2-tiny", gpt2_decoder.GPT2Decoder),
    "llama": (lambda: "llama-tiny", llama_decoder.LlamaDecoder),
    "neox": (tiny_neox, generic_decoder.CacheDecoder),
    "gru": (lambda: "gru-tiny", GRUDecoder),
    "mlp": (lambda: "mlp-tiny", MLPDecoder),
    "table": (lambda: "table", ReencodeDecoder),
}


def assert_same_outputs(got, expected, heads=("policy", "value")):
    if "policy" in heads:
        torch.testing.assert_close(
            torch.log_softmax(got.logits, -1), torch.log_softmax(expected.logits, -1), atol=1e-4, rtol=0
        )
    if "value" in heads:
        torch.testing.assert_close(got.values, expected.values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("separate", [False, True])
def test_cached_decoding_equals_the_teacher_forced_pass(name, separate):
    spec, decoder = MODELS[name]
    agent = make_agent(spec(), separate_critic=separate)
    rows, generator = 6, np.random.default_rng(1)
    session = agent.session(rows, heads=("policy", "value"))
    assert all(type(d) is decoder for d in session._decoders)
    tokens, lengths = random_tokens(rows), np.array([1, 5, 2, 1, 9, 3])
    for step in range(40):
        out = session.step(padded(tokens, lengths), lengths)
        assert_same_outputs(out, final_states(agent, tokens, lengths))
        # Most rows say one token, some get a reply of several, some start over with another prompt.
        lengths = lengths + np.where(generator.random(rows) < 0.2, generator.integers(2, 6, rows), 1)
        over = (lengths > LENGTH) | (generator.random(rows) < 0.1)
        tokens[over] = random_tokens(rows, seed=100 + step)[over]
        lengths = np.where(over, generator.integers(1, 5, rows), lengths)


@pytest.mark.parametrize("name", MODELS)
def test_rows_can_be_stepped_apart_and_may_repeat_or_shrink(name):
    agent = make_agent(MODELS[name][0]())
    session, rows = agent.session(8, heads=("policy", "value")), 8
    tokens, lengths = random_tokens(rows), np.ones(rows, dtype=np.int64)
    generator = np.random.default_rng(2)
    for step in range(30):
        chosen = np.sort(generator.choice(rows, generator.integers(1, rows + 1), replace=False))
        kind = generator.integers(0, 5, len(chosen))
        lengths[chosen] = np.select(
            [kind == 0, kind == 1],
            [lengths[chosen], np.maximum(lengths[chosen] - 2, 1)],
            np.minimum(lengths[chosen] + generator.integers(1, 3, len(chosen)), LENGTH),
        )
        if step % 7 == 3:
            changed = chosen[0]
            tokens[changed, lengths[changed] // 2 + 1 :] = random_tokens(1, seed=step)[0, lengths[changed] // 2 + 1 :]
        out = session.step(padded(tokens, lengths)[chosen], lengths[chosen], rows=chosen)
        assert_same_outputs(out, final_states(agent, tokens[chosen], lengths[chosen]))


def test_grouped_query_attention_decodes_exactly():
    agent = make_agent(tiny_llama(attention_bias=True, mlp_bias=True))
    assert isinstance(agent.trunk, TransformerTrunk) and agent.trunk.family == "llama"
    session, tokens = agent.session(4, heads=("policy", "value")), random_tokens(4)
    for lengths in ([3, 1, 4, 2], [4, 2, 9, 3], [5, 3, 10, 4], [6, 3, 11, 5]):
        lengths = np.array(lengths)
        out = session.step(padded(tokens, lengths), lengths)
        assert_same_outputs(out, final_states(agent, tokens, lengths))


def test_a_cache_grows_past_its_first_chunk(monkeypatch):
    monkeypatch.setattr("tokengym.agents.models.lean_decoder.BLOCK", 4)
    agent = make_agent("gpt2-tiny", max_length=150)
    session, tokens = agent.session(3), random_tokens(3, length=150)
    for lengths in ([7, 6, 1], [8, 7, 2], [9, 8, 3], [17, 16, 4], [66, 130, 150], [67, 131, 150]):
        lengths = np.array(lengths)
        out = session.step(padded(tokens, lengths), lengths)
        assert_same_outputs(out, final_states(agent, tokens, lengths), heads=("policy",))


def test_long_prompts_are_read_in_groups(monkeypatch):
    monkeypatch.setattr("tokengym.agents.models.lean_decoder.MAX_SCORES", 500)
    agent = make_agent("gpt2-tiny")
    tokens, lengths = random_tokens(5), np.array([20, 3, 11, 24, 2])
    out = agent.session(5).step(padded(tokens, lengths), lengths)
    assert_same_outputs(out, final_states(agent, tokens, lengths), heads=("policy",))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_what_a_group_begins_with_is_read_once(monkeypatch, name):
    agent = make_agent(MODELS[name][0]())
    session, tokens = agent.session(7, heads=("policy", "value")), random_tokens(7)
    lengths, embedded = np.array([9, 9, 9, 5, 5, 5, 9]), []
    (decoder,) = session._decoders
    embed = decoder._embed
    monkeypatch.setattr(decoder, "_embed", lambda ids, positions: embedded.append(len(ids)) or embed(ids, positions))
    tokens[:3, :9], tokens[3:6, :9] = tokens[0, :9], tokens[3, :9]
    tokens[6, :8] = tokens[5, :8]  # as its neighbour begins, but longer
    for _ in range(3):
        assert_same_outputs(session.step(padded(tokens, lengths), lengths), final_states(agent, tokens, lengths))
        lengths = lengths + 1
    assert embedded == [9 + 5 + 9, 7, 7]


def test_only_new_tokens_are_computed(monkeypatch):
    agent = make_agent("gpt2-tiny")
    session, tokens = agent.session(2), random_tokens(2)
    computed = []
    monkeypatch.setattr(
        session._decoders[0],
        "extend",
        lambda rows, ids, starts, ends, original=session._decoders[0].extend: (
            computed.append(int((ends - starts).sum())) or original(rows, ids, starts, ends)
        ),
    )
    for lengths in ([3, 4], [4, 5], [4, 5], [5, 8]):
        lengths = np.array(lengths)
        session.step(padded(tokens, lengths), lengths)
    assert computed == [7, 2, 4]


@pytest.mark.parametrize("change", ["step", "load"])
def test_changed_weights_empty_the_cache(change):
    agent, other = make_agent("gpt2-tiny"), make_agent("gpt2-tiny")
    session, tokens = agent.session(2, heads=("policy", "value")), random_tokens(2)
    session.step(tokens, np.array([5, 7]))
    if change == "step":
        optimizer = torch.optim.Adam(agent.parameters(), lr=0.1)
        final_states_loss = agent.evaluate(
            torch.from_numpy(tokens), torch.full((2,), LENGTH), torch.arange(2), torch.tensor([5, 7])
        )
        final_states_loss.logits.square().sum().backward()
        optimizer.step()
    else:
        with torch.no_grad():
            other.trunk.body.wte.weight.mul_(2)
        agent.load_state_dict(other.state_dict())
    lengths = np.array([6, 8])
    assert_same_outputs(session.step(padded(tokens, lengths), lengths), final_states(agent, tokens, lengths))


def test_sliding_windows_and_state_space_models_are_not_cached():
    import transformers

    config = transformers.MistralConfig(
        vocab_size=VOCABULARY.size,
        max_position_embeddings=LENGTH,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        sliding_window=4,
        initializer_range=0.2,
        pad_token_id=None,
    )
    narrow = make_agent(transformers.MistralForCausalLM(config))
    assert isinstance(narrow.session(2)._decoders[0], ReencodeDecoder)
    config.sliding_window = None
    wide = make_agent(transformers.MistralForCausalLM(config))
    assert isinstance(wide.session(2)._decoders[0], generic_decoder.CacheDecoder)


def test_common_prefix_stops_at_the_first_difference():
    tokens = np.array([[1, 2, 3], [1, 9, 3], [9, 2, 3], [1, 2, 9]], dtype=np.int32)
    assert common_prefix(tokens, np.array([[1, 2, 3]] * 4, dtype=np.int32)).tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("tokens", "lengths", "message"),
    [
        (random_tokens(2), [0, 1], "length 0"),
        (random_tokens(2), [1, LENGTH + 1], "max_length"),
        (random_tokens(2), [1], "do not fit"),
        (np.full((2, LENGTH), 10, dtype=np.int32), [1, 1], "token 10 is outside the vocabulary"),
        (np.full((2, LENGTH), -1, dtype=np.int32), [1, 1], "token -1 is outside the vocabulary"),
    ],
)
def test_bad_input_stops_before_it_is_cached(tokens, lengths, message):
    session = make_agent("gpt2-tiny").session(2)
    with pytest.raises(TokenGymError, match=message):
        session.step(tokens, np.array(lengths))


def test_a_session_needs_rows():
    with pytest.raises(TokenGymError, match="num_rows is 0"):
        make_agent("table").session(0)


@pytest.mark.parametrize("forkable", [True, False], ids=["copied", "read anew"])
@pytest.mark.parametrize("name", MODELS)
def test_forked_rows_go_on_as_if_they_had_been_read(name, forkable):
    agent = make_agent(MODELS[name][0](), separate_critic=name == "gpt2")
    session, rows = agent.session(6, heads=("policy", "value")), 6
    session.fork([0], [1])  # of nothing
    tokens, lengths = random_tokens(rows), np.array([5, 2, 9, 4, 1, 7])
    before = session.step(padded(tokens, lengths), lengths)
    kept = before.values.clone()
    for decoder in session._decoders:
        decoder.can_fork = forkable
    read = []
    for decoder in session._decoders:
        extend = decoder.extend
        decoder.extend = lambda *call, extend=extend: read.append(int((call[3] - call[2]).sum())) or extend(*call)
    for _ in range(3):
        # Two branches of row 2, one of row 0; row 5 stays itself.
        session.fork(np.array([2, 0, 2, 5]), np.array([4, 1, 3, 5]))
        tokens[[4, 1, 3]], lengths[[4, 1, 3]] = tokens[[2, 0, 2]], lengths[[2, 0, 2]]
        assert_same_outputs(session.step(padded(tokens, lengths), lengths), final_states(agent, tokens, lengths))
        if forkable:
            assert not read
        tokens[[4, 3], lengths[[4, 3]]] = [1, 2]  # the branches part
        lengths[:5] += 1
        assert_same_outputs(session.step(padded(tokens, lengths), lengths), final_states(agent, tokens, lengths))
        read.clear()
    torch.testing.assert_close(before.values, kept, rtol=0, atol=0)  # what was handed out is not written to


@pytest.mark.parametrize(
    "call", [([0], [9]), ([-1], [1]), ([0, 1], [1, 2]), ([0, 1], [2]), ([0], [1.5]), ([0, 0], [1, 1])]
)
def test_wrong_forks_of_a_session_are_refused(call):
    with pytest.raises(TokenGymError, match=r"row|source|target"):
        make_agent("mlp-tiny").session(4).fork(*call)
