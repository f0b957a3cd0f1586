"""Sessions follow the weights, however these change, and copies of agents and sessions are apart from the original."""

import copy
import pickle

import numpy as np
import pytest
import torch
from agent_cases import VOCABULARY, make_agent, padded, random_tokens, tiny_neox
from torch import nn

from tokengym.agents import weights
from tokengym.agents.policies import RandomPlayer
from tokengym.agents.session import Session
from tokengym.envs.checking.errors import TokenGymError

SPECS = {
    "gpt2": lambda: "gpt2-tiny",
    "llama": lambda: "llama-tiny",
    "gru": lambda: "gru-tiny",
    "neox": tiny_neox,
}
HEADS = ("policy", "value")
WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda agent: pickle.loads(pickle.dumps(agent))}


class Adapter(nn.Module):
    """A low-rank addition to a layer, with a switch and a scale, as LoRA has them."""

    def __init__(self, base, features):
        super().__init__()
        self.base = base
        self.delta = nn.Parameter(torch.full((features,), 0.3))
        self.scale, self.enabled = 1.0, True

    def forward(self, x):
        out = self.base(x)
        return out + self.scale * self.delta * out.roll(1, -1) if self.enabled else out


def last_layer(agent):
    """A layer of the model whose output matters, as (holder, name)."""
    body = getattr(agent.trunk, "body", None)
    if body is None:
        return agent.trunk, "embedding"
    for name in ("h", "layers"):
        if hasattr(body, name):
            block = getattr(body, name)[-1]
    return block.mlp, next(name for name in ("c_proj", "down_proj", "dense_4h_to_h") if hasattr(block.mlp, name))


def scale_data(agent):
    for parameter in agent.parameters():
        parameter.data.mul_(1.3)


def replace_data(agent):
    for parameter in agent.parameters():
        parameter.data = parameter.data * 1.3


def replace_data_twice(agent):
    replace_data(agent)
    replace_data(agent)


def write_through_numpy(agent):
    next(agent.trunk.parameters()).detach().numpy()[...] *= 1.3


def swap_two_rows(agent):
    """A change that no sum over the numbers sees."""
    weight = next(agent.trunk.parameters()).data
    weight.copy_(weight.flip(0))


def load(agent):
    agent.load_state_dict({name: value * 1.3 for name, value in agent.state_dict().items()})


def load_assigned(agent):
    agent.load_state_dict({name: value * 1.3 for name, value in agent.state_dict().items()}, assign=True)


def step_optimiser(agent, fused=False):
    optimiser = torch.optim.Adam(agent.parameters(), lr=0.05, fused=fused)
    rows = torch.arange(2)
    agent.evaluate(
        torch.from_numpy(random_tokens(2)), torch.full((2,), 5), rows, torch.full((2,), 5)
    ).logits.sum().backward()
    optimiser.step()


def from_vector(agent):
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(agent.parameters()) * 1.3, agent.parameters())


def new_parameter(agent):
    holder, name = last_layer(agent)
    layer = getattr(holder, name)
    layer.weight = nn.Parameter(layer.weight.detach() * 1.3)


def new_trunk(agent):
    other = copy.deepcopy(agent.trunk)
    for parameter in other.parameters():
        parameter.data.mul_(1.3)
    agent.trunk = other


def change_buffer(agent):
    for buffer in agent.trunk.buffers():
        if buffer.is_floating_point():
            buffer.data.mul_(1.3)


def double(agent):
    agent.to(torch.float64)


def half(agent):
    agent.to(torch.bfloat16)


def adapt(agent):
    holder, name = last_layer(agent)
    layer = getattr(holder, name)
    setattr(holder, name, Adapter(layer, agent.trunk.feature_size))


def hook(agent):
    holder, name = last_layer(agent)
    getattr(holder, name).register_forward_hook(lambda module, given, out: out * 1.3)


def parametrise(agent):
    class Scaled(nn.Module):
        def forward(self, weight):
            return weight * 1.3

    holder, name = last_layer(agent)
    nn.utils.parametrize.register_parametrization(getattr(holder, name), "weight", Scaled())


def warm(agent):
    agent.temperature = 3.0


CHANGES = [
    scale_data, replace_data, replace_data_twice, write_through_numpy, swap_two_rows, load, load_assigned,
    step_optimiser, lambda agent: step_optimiser(agent, fused=True), from_vector, new_parameter, new_trunk,
    change_buffer, double, half, adapt, hook, parametrise, warm,
]  # fmt: skip
NAMES = [getattr(change, "__name__", "").replace("<lambda>", "step_fused_optimiser") for change in CHANGES]


def outputs(session, tokens, lengths):
    out = session.step(padded(tokens, lengths), lengths)
    return torch.cat([out.logits, out.values[:, None]], dim=1)


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("separate", [False, True])
def test_a_session_is_never_older_than_the_weights(name, change, separate):
    agent = make_agent(SPECS[name](), separate_critic=separate)
    tokens, lengths = random_tokens(5), np.array([5, 7, 6, 6, 9])
    session = agent.session(5, heads=HEADS)
    before = outputs(session, tokens, lengths)
    change(agent)
    after = outputs(session, tokens, lengths)
    fresh = outputs(agent.session(5, heads=HEADS), tokens, lengths)
    assert torch.equal(after, fresh)
    if change is not change_buffer or name in ("llama", "neox"):
        assert not torch.equal(after.double(), before.double()), "the change changed nothing"
    # The way on, token by token, as well.
    assert torch.equal(
        outputs(session, tokens, lengths + 1), outputs_after(agent.session(5, heads=HEADS), tokens, lengths)
    )


def outputs_after(session, tokens, lengths):
    outputs(session, tokens, lengths)
    return outputs(session, tokens, lengths + 1)


@pytest.mark.parametrize("name", ["gpt2", "neox"])
def test_switches_and_scales_of_an_adapter_count_as_weights(name):
    agent = make_agent(SPECS[name]())
    adapt(agent)
    holder, layer = last_layer(agent)
    adapter = getattr(holder, layer)
    tokens, lengths = random_tokens(3), np.array([5, 7, 6])
    session = agent.session(3, heads=HEADS)
    seen = [outputs(session, tokens, lengths)]
    for change in ({"scale": 2.0}, {"enabled": False}):
        vars(adapter).update(change)
        seen.append(outputs(session, tokens, lengths))
        assert torch.equal(seen[-1], outputs(agent.session(3, heads=HEADS), tokens, lengths))
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("limit", [0, weights.COPIED_BYTES], ids=["checksums", "copies"])
def test_one_bit_of_one_number_is_a_change(monkeypatch, limit):
    monkeypatch.setattr(weights, "COPIED_BYTES", limit)
    layer = nn.Linear(7, 5)
    layer.register_buffer("turned", torch.randn(3, 4).T)
    record = weights.WeightsRecord([layer])
    assert record.still_holds([layer])
    for tensor in (layer.weight.data, layer.bias.data, layer.turned):
        place = tuple(size - 1 for size in tensor.shape)
        kept = tensor[place].clone()
        tensor[place] = torch.nextafter(kept, torch.tensor(9.0))
        assert not record.still_holds([layer])
        tensor[place] = kept
        assert record.still_holds([layer])
    assert not record.still_holds([nn.Linear(7, 5)])
    assert not record.still_holds([layer, layer]) and not record.still_holds([])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_the_checksum_for_other_devices_tells_places_and_values_apart(dtype):
    tensor = (torch.arange(15) % 2).to(dtype)
    changed = [tensor.flip(0).roll(1), tensor.clone(), tensor * 0, torch.cat([tensor[2:], tensor[:2]])]
    changed[1][4] = 1
    sums = [int(weights._checksum(one)) for one in (tensor, *changed)]
    assert len(set(sums)) == len(sums) and int(weights._checksum(tensor.clone())) == sums[0]


def test_a_session_with_fixed_weights_looks_once_and_again_afterwards():
    agent = make_agent("gpt2-tiny")
    tokens, lengths = random_tokens(2), np.array([5, 6])
    session = agent.session(2, heads=HEADS)
    first = outputs(session, tokens, lengths)
    scale_data(agent)
    with session.fixed_weights():
        second = outputs(session, tokens, lengths)
    assert not torch.equal(first, second)
    scale_data(agent)
    assert torch.equal(outputs(session, tokens, lengths), outputs(agent.session(2, heads=HEADS), tokens, lengths))


def observed(tokens, lengths):
    return {"tokens": padded(tokens, lengths), "length": lengths[:, None]}


def test_a_state_of_another_is_refused():
    first, second = make_agent("gpt2-tiny"), make_agent("gpt2-tiny")
    given = observed(random_tokens(2), np.array([4, 5]))
    state = first.predict(given)[1]
    assert first.predict(given, state)[1] is state
    for agent in (second, copy.deepcopy(first)):
        with pytest.raises(TokenGymError, match="a session of another agent"):
            agent.predict(given, state)
    for wrong in ("state", 1, (None,), {}):
        with pytest.raises(TokenGymError, match=f"state is a {type(wrong).__name__}"):
            first.predict(given, wrong)
    with pytest.raises(TokenGymError, match="keeps no state"):
        RandomPlayer(VOCABULARY).predict(given, state)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*SPECS, "table"])
def test_a_copied_agent_and_its_session_go_on_as_the_original_and_apart_from_it(name, way):
    agent = make_agent("table" if name == "table" else SPECS[name]())
    tokens, lengths = random_tokens(4), np.array([3, 5, 4, 4])
    _, session = agent.predict(observed(tokens, lengths))
    other, copied = WAYS[way]((agent, session))
    assert isinstance(copied, Session) and copied.agent is other
    for step in range(1, 4):
        given = observed(tokens, lengths + step)
        actions, session = agent.predict(given, session)
        again, copied = other.predict(given, copied)
        np.testing.assert_array_equal(actions, again)
    assert torch.equal(
        session.step(given["tokens"], lengths + 3).logits, copied.step(given["tokens"], lengths + 3).logits
    )
    kept = session.step(given["tokens"], lengths + 3).logits.clone()
    for parameter in other.parameters():
        parameter.data.zero_()
    assert torch.equal(session.step(given["tokens"], lengths + 3).logits, kept)


def test_a_copied_table_numbers_its_prefixes_apart_and_a_frozen_clone_together():
    agent = make_agent("table")
    copied, clone = copy.deepcopy(agent), agent.clone_frozen()
    rows = torch.arange(2)
    agent.evaluate(torch.from_numpy(random_tokens(2)), torch.full((2,), 5), rows, torch.full((2,), 5))
    assert agent.trunk.version() > 0 and copied.trunk.version() == 0
    assert clone.trunk.index is agent.trunk.index
