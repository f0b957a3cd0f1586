"""A draw cut in any way has the gradient of the whole, a step never holds all distributions, losses are pure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from off_policy_cases import QUICK
from torch.utils._python_dispatch import TorchDispatchMode

from tokengym.agents import chunks
from tokengym.algorithms.data.replay import ReplaySample
from tokengym.algorithms.off_policy.dqn import DQN
from tokengym.algorithms.off_policy.replayed import Replayed
from tokengym.algorithms.off_policy.sac import SAC
from tokengym.algorithms.parts import DivergedError
from tokengym.envs.registration import make_task
from tokengym.envs.transforms import TimeLimit

AGENT = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
CASES = {
    "double": (DQN, {}),
    "n-step": (DQN, {"double": False, "returns": "n_step"}),
    "dueling": (DQN, {"dueling": True, "action_masks": True}),
    "prioritised": (DQN, {"prioritised": "token"}),
    "soft": (DQN, {"kl_coef": 0.1, "action_masks": True}),
    "soft, n-step": (DQN, {"kl_coef": 0.1, "returns": "n_step", "kl_reference": "uniform"}),
    "sac": (SAC, {}),
    "sac, KL": (SAC, {"kl_coef": 0.1, "action_masks": True, "returns": "trace", "separate_critic": True}),
    "sac, forward": (SAC, {"actor": "forward_kl", "kl_coef": 0.1, "kl_reference": "uniform", "q_clip": 0.1}),
    "sac, mean": (SAC, {"critics": "mean", "prioritised": "episode", "entropy_target": 0.5}),
}
MADE: dict[tuple, tuple] = {}


def made(case, dtype=torch.float64):
    """An algorithm whose networks all differ, and a draw of episodes of many lengths, some of them truncated."""
    if (case, dtype) not in MADE:
        kind, config = CASES[case]
        task = TimeLimit(make_task("WordleMini"), 5)
        algorithm = kind(task, AGENT, reward_scaling=False, seed=1, **{**QUICK, **config})
        networks = [algorithm.agent, algorithm.target]
        if algorithm.reference is not None and hasattr(algorithm.reference, "agent"):
            networks.append(algorithm.reference.agent)
        generator = torch.Generator().manual_seed(0)
        for network in networks:
            network.to(dtype)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        algorithm.replay.add(algorithm.collect())
        algorithm.replay.add(algorithm.collect())
        MADE[case, dtype] = algorithm, algorithm.draw()
    return MADE[case, dtype]


def gradient(algorithm, replayed, limit=None):
    """The gradient of the loss of a draw cut into micro-batches of so many tokens, and how many parts that were."""
    whole = algorithm.config
    algorithm.config = whole.replace(micro_batch_tokens=limit)
    try:
        algorithm.agent.zero_grad()
        prepared = algorithm.prepare(replayed)
        for part in prepared.parts:
            algorithm.loss(part, prepared).total.backward()
    finally:
        algorithm.config = whole
    gradients = [p.grad.flatten() for p in algorithm.agent.parameters() if p.grad is not None]
    return torch.cat(gradients), len(prepared.parts)


def reordered(algorithm, replayed, order):
    """The same draw with its episodes in another order."""
    sample = replayed.sample
    offsets = sample.episodes.flat.episode_offsets
    weights = np.concatenate([sample.weights[offsets[e] : offsets[e + 1]] for e in order])
    sample = ReplaySample(sample.episodes.select(order), weights, sample.positions[order])
    return Replayed.of(sample, algorithm.learning_rewards(sample.episodes), algorithm.device)


@pytest.mark.parametrize("case", CASES)
@settings(deadline=None, max_examples=4)
@given(data=st.data())
def test_however_a_draw_is_cut_its_gradient_is_that_of_the_whole(case, data):
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    algorithm, replayed = made(case, dtype)
    episodes = replayed.sample.episodes
    expected, one = gradient(algorithm, replayed)
    assert one == 1
    order = np.array(data.draw(st.permutations(range(len(episodes)))))
    limit = data.draw(st.one_of(st.none(), st.integers(episodes.tokens.shape[1], 4 * episodes.tokens.shape[1])))
    rows = data.draw(st.integers(1, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", rows * 4 * algorithm.task.vocabulary.num_actions)
        cut, parts = gradient(algorithm, reordered(algorithm, replayed, order), limit)
    assert limit is None or parts > 1
    tolerance = 1e-6 if dtype == torch.float64 else 1e-4
    assert expected.norm() > 0
    assert (cut - expected).norm() / expected.norm() <= tolerance


class Widest(TorchDispatchMode):
    """Notes the most states of which a tensor as wide as the vocabulary was made."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim > 1 and tensor.shape[-1] == self.width:
                self.rows = max(self.rows, tensor.numel() // self.width)
        return result


@pytest.mark.parametrize("case", ["double", "dueling", "soft", "sac", "sac, KL"])
def test_a_step_holds_distributions_of_a_chunk_of_states_only(case, monkeypatch):
    algorithm, replayed = made(case)
    width = algorithm.task.vocabulary.num_actions
    # More states than features, as the heads' own weights are as wide when turned round.
    most = AGENT["hidden_size"] + 4
    assert len(replayed.actions) > 2 * most
    monkeypatch.setattr(chunks, "CHUNK_BYTES", most * 4 * width)
    with Widest(width) as seen:
        gradient(algorithm, replayed)
    assert 0 < seen.rows <= most
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1 << 30)
    with Widest(width) as seen:
        gradient(algorithm, replayed)
    assert seen.rows >= len(replayed.actions)


@pytest.mark.parametrize("case", ["soft", "sac, KL", "sac, mean"])
def test_a_loss_called_twice_gives_the_same_and_moves_nothing(case):
    algorithm, replayed = made(case)
    before = (algorithm.kl_controller.coef, getattr(algorithm, "log_alpha", None))
    prepared = algorithm.prepare(replayed)
    first, second = (algorithm.loss(prepared.parts[0], prepared) for _ in range(2))
    assert torch.equal(first.total, second.total)
    first.total.backward()
    second.total.backward()
    assert (algorithm.kl_controller.coef, getattr(algorithm, "log_alpha", None)) == before


@pytest.mark.parametrize(
    ("case", "network", "head", "name"),
    [
        ("double", "target", "q", "target_q"),
        ("n-step", "agent", "q", "q"),
        ("soft", "target", "policy", "target_q"),
        ("sac", "target", "q2", "target_q"),
        ("sac", "agent", "policy", "entropy"),
        ("sac", "agent", "q", "q"),
    ],
)
def test_divergence_names_what_was_not_finite_first(case, network, head, name):
    kind, config = CASES[case]
    algorithm = kind("Copy", AGENT, **{**QUICK, **config, "action_masks": False})
    algorithm.replay.add(algorithm.collect())
    with torch.no_grad():
        next(getattr(algorithm, network).readouts[head].parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError) as error:
        algorithm.gradient_step()
    assert error.value.name == name


def test_the_reference_is_read_once_a_step(monkeypatch):
    algorithm, replayed = made("soft")
    calls = []
    trunk = algorithm.reference.agent.trunk
    monkeypatch.setattr(trunk, "forward", lambda *inputs, read=trunk.forward: calls.append(1) or read(*inputs))
    gradient(algorithm, replayed)
    assert len(calls) == 1


def test_huber_delta_bounds_the_pull_of_far_errors():
    for kind in (DQN, SAC):
        wide, narrow = (kind("Copy", "table", huber_delta=delta, **QUICK) for delta in (1e6, 0.25))
        q, targets = torch.tensor([0.0, 0.0]), torch.tensor([0.1, 8.0])
        assert wide.huber(q, targets).tolist() == pytest.approx([0.005, 32.0])
        assert narrow.huber(q, targets).tolist() == pytest.approx([0.005, 0.25 * (8.0 - 0.125)])
