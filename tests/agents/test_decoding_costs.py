"""What a decoding step costs besides its arithmetic: one wait for the device, and nothing as wide as the vocabulary."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tokengym.agents import AgentPolicy, Sampler, build_agent, sampling
from tokengym.agents.sampling import masks_on
from tokengym.algorithms import PPO
from tokengym.envs import Engine, TokenGymError, Vocabulary, make_task

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")
"""Operations whose results the host needs before it can go on."""


class Waits(TorchDispatchMode):
    """Counts what would wait for the device if tensors were on one, and the numbers that cross."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.waits, self.numbers_up, self.numbers_down = [], 0, 0
        from_numpy, to_host = torch.from_numpy, torch.Tensor.cpu

        def up(array):
            self.numbers_up += array.size
            return from_numpy(array)

        def down(tensor):
            self.waits.append("cpu")
            self.numbers_down += tensor.numel()
            return to_host(tensor)

        # The processor asks its own memory for nothing that it would have to wait for: act as if it were another's.
        monkeypatch.setattr(sampling, "must_wait_for", lambda tensor: True)
        monkeypatch.setattr(torch, "from_numpy", up)
        monkeypatch.setattr(torch.Tensor, "cpu", down)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        if name in WAITING:
            self.waits.append(name)
        return function(*arguments, **(options or {}))


def words(count):
    return Vocabulary((*(f"w{i}" for i in range(count)), "<bos>", "<pad>"), num_actions=count, bos=count, pad=count + 1)


def play(spec, count, waits, masked=False):
    """Two rows grow by a token each, apart in length; then one of them alone; then all anew."""
    vocabulary = words(count)
    agent = build_agent(spec, vocabulary, 8, heads=("policy",))
    policy = AgentPolicy(agent, Sampler(0))
    tokens = np.full((3, 8), vocabulary.pad, np.int32)
    tokens[:, :4] = [[count, 1, 2, 3]] * 3
    masks = np.ones((3, count), bool) if masked else None
    steps = [(None, [1, 2, 1]), (None, [2, 3, 2]), ([1], [4]), (None, [2, 2, 2]), (None, [3, 3, 3])]
    policy.session(3)
    waits.waits, waits.numbers_up, waits.numbers_down = [], 0, 0
    with policy.session(3).fixed_weights(), waits:
        for rows, lengths in steps:
            rows = None if rows is None else np.array(rows)
            given = tokens if rows is None else tokens[rows]
            policy.act(rows, given, np.array(lengths), None if masks is None else masks[: len(lengths)])
    return len(steps)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("spec", ["mlp-tiny", "gpt2-tiny", "llama-tiny"])
def test_a_step_waits_for_the_device_once(monkeypatch, spec, masked):
    waits = Waits(monkeypatch)
    steps = play(spec, 20, waits, masked)
    assert waits.waits == ["cpu"] * steps


@pytest.mark.parametrize("spec", ["gpt2-tiny", "llama-tiny"])
def test_what_crosses_in_a_step_does_not_grow_with_the_vocabulary(monkeypatch, spec):
    crossed = []
    for count in (20, 2000):
        with monkeypatch.context() as patches:
            waits = Waits(patches)
            play(spec, count, waits)
            crossed.append((waits.numbers_up, waits.numbers_down))
    assert crossed[0] == crossed[1]
    assert crossed[0][1] == 13, "one number a token that was drawn"


def test_masks_travel_at_one_bit_an_action(monkeypatch):
    masks = np.random.default_rng(0).random((5, 100)) < 0.5
    moved = []
    moves = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: moved.append(self.nbytes) or moves(self, *a, **k))
    assert masks_on(torch.device("meta"), masks).shape == (5, 100)
    assert moved == [5 * 13]
    assert np.array_equal(masks_on(torch.device("cpu"), masks), masks)
    with pytest.raises(TokenGymError, match="mask of row 2 allows no action"):
        masks_on(torch.device("cpu"), np.array([[True], [True], [False]]))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_draw_chooses_as_sample_does_and_tells_what_diverged(monkeypatch, deterministic, waits):
    monkeypatch.setattr(sampling, "must_wait_for", lambda tensor: waits)
    logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(50, 9, generator=torch.Generator().manual_seed(1)) < 0.6
    masks[:, 0] = True
    said, log_probs = Sampler(4).draw(logits, masks, deterministic)
    expected = Sampler(4).sample(logits, masks, deterministic)
    assert np.array_equal(said, expected[0])
    assert torch.equal(log_probs, expected[1])
    logits[17, 3] = float("nan")
    with pytest.raises(TokenGymError, match="not finite"):
        Sampler(4).draw(logits, None, deterministic)


@pytest.mark.parametrize("spec", ["mlp-tiny", "gpt2-tiny", "llama-tiny", "gru-tiny"])
def test_what_decoding_holds_is_gone_before_the_update(spec):
    learner = PPO(make_task("tokengym/Copy-v0"), spec, seed=0, rollout_tokens=64)
    session = learner.behaviour.session(learner.config.num_rows)
    held = [weakref.ref(part) for part in (*session._decoders, session._weights)]
    assert all(part() is not None for part in held)
    episodes = learner.collect()
    gc.collect()
    assert not any(part() is not None for part in held)
    assert session._decoders == []
    assert session._features == [None]
    learner.update(episodes)
    assert learner.update(learner.collect())["policy/initial_ratio_error"] < 1e-4


def test_an_inner_block_takes_nothing_from_the_outer_one():
    task = make_task("tokengym/Copy-v0")
    policy = AgentPolicy(build_agent("gpt2-tiny", task.vocabulary, task.max_length), Sampler(0))
    engine = Engine(task, 2)
    engine.reset(None, np.arange(2, dtype=np.uint64))
    with policy.playing(engine):
        first = policy.act(None, engine.tokens, engine.lengths, deterministic=True)
        with policy.playing(engine):
            policy.act(None, engine.tokens, engine.lengths, deterministic=True)
        again = policy.act(None, engine.tokens, engine.lengths, deterministic=True)
    assert np.array_equal(first.tokens, again.tokens)
