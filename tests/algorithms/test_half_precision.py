"""Learning in bfloat16: float32 copies of the weights, the ratio check, checkpoints, and that it learns."""

import numpy as np
import pytest
import torch

from tokengym.agents import build_agent
from tokengym.algorithms import A2C, DQN, PPO, SAC, Callback, load_algorithm
from tokengym.algorithms.configs import PPOConfig
from tokengym.algorithms.parts import MasterWeights
from tokengym.envs import TokenGymError, make_task

LLAMA = {"kind": "llama", "hidden_size": 32, "num_layers": 1, "num_heads": 2}
COPY = {"k": 2, "num_tokens": 3}


def ppo(agent=LLAMA, **options):
    return PPO(make_task("tokengym/Copy-v0", **COPY), agent, dtype="bfloat16", seed=0, **options)


def test_a_tiny_llama_learns_copy_in_bfloat16_and_the_ratio_check_holds():
    learner = ppo(learning_rate=4e-3)
    errors = []
    before = learner.collect().returns.mean()
    update = learner.update

    def noted(batch):
        metrics = update(batch)
        errors.append(metrics["policy/initial_ratio_error"])
        return metrics

    learner.update = noted
    learner.learn(6000)
    assert before < 0.5
    assert learner.collect().returns.mean() > 0.9
    assert 0 < max(errors) < 0.1, "far within the tolerance of bfloat16"


@pytest.mark.parametrize("kind", [A2C, DQN, SAC])
def test_every_algorithm_learns_in_bfloat16_with_finite_float32_copies(kind):
    options = {"learning_starts": 32} if kind in (DQN, SAC) else {}
    learner = kind(make_task("tokengym/Copy-v0", **COPY), "gpt2-tiny", dtype="bfloat16", seed=0, **options)
    start = [p.detach().clone() for p in learner.parameters]
    learner.learn(300)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in learner.parameters)
    assert any(not torch.equal(a, b) for a, b in zip(start, learner.parameters, strict=True))
    for weight, master in zip(learner.agent.parameters(), learner.parameters, strict=True):
        assert torch.equal(weight, master.to(weight.dtype))


def test_steps_too_small_for_bfloat16_add_up_in_the_copies():
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterWeights([weight], lambda tensors: torch.optim.SGD(tensors, lr=1.0))
    for _ in range(100):
        optimizer.zero_grad()
        weight.grad = torch.full_like(weight, 2.0**-10)
        optimizer.gather()
        optimizer.step()
    torch.testing.assert_close(optimizer.masters[0], torch.full((4,), 1 - 100 * 2.0**-10), rtol=0, atol=1e-6)
    assert torch.equal(weight.float(), torch.full((4,), 1 - 100 * 2.0**-10).bfloat16().float())


def test_gradients_of_parts_are_added_up_in_float32():
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = MasterWeights([weight], lambda tensors: torch.optim.SGD(tensors, lr=1.0))
    for value in (1.0, *[2.0**-9] * 8):  # each of the small ones would be rounded away beside 1
        weight.grad = torch.full_like(weight, value)
        optimizer.gather()
    assert optimizer.masters[0].grad.item() == 1 + 8 * 2.0**-9


def test_weights_that_someone_else_wrote_are_taken_up():
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = MasterWeights([weight], lambda tensors: torch.optim.SGD(tensors, lr=1.0))
    with torch.no_grad():
        weight[0] = 3.0
    weight.grad = torch.full_like(weight, 0.5)
    optimizer.gather()
    optimizer.step()
    assert weight.tolist() == [2.5, 0.5]


def test_a_checkpoint_in_bfloat16_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, half = ppo(rollout_tokens=64), ppo(rollout_tokens=64)
    whole.learn(512)

    class Halfway(Callback):
        def on_update(self, algorithm, metrics):
            return algorithm.num_timesteps < 256

    half.learn(512, callback=Halfway())
    half.save(tmp_path / "half")
    again = load_algorithm(tmp_path / "half")
    assert again.agent.dtype == torch.bfloat16
    again.learn(512)
    for mine, theirs in zip(again.parameters, whole.parameters, strict=True):
        assert torch.equal(mine, theirs)


def test_the_tolerance_of_the_ratio_follows_the_dtype():
    for dtype, tolerance in (("float32", 2e-4), ("bfloat16", 0.5), ("float64", 1e-9)):
        learner = PPO("tokengym/Copy-v0", LLAMA, dtype=dtype)
        learner.check_ratio(torch.tensor([tolerance * 0.9], dtype=torch.float64).log1p())
        with pytest.raises(TokenGymError, match=f"expected 1 within {tolerance:g}"):
            learner.check_ratio(torch.tensor([tolerance * 1.1], dtype=torch.float64).log1p())
    learner = PPO("tokengym/Copy-v0", LLAMA, ratio_tolerance=0.5)
    assert learner.check_ratio(torch.tensor([0.4]).log1p()) == pytest.approx(0.4)


def test_the_tolerance_that_earlier_files_hold_is_that_of_float32():
    assert PPOConfig.restored({"ratio_tolerance": 2e-4}) == PPOConfig()
    assert PPOConfig.restored({"ratio_tolerance": 1e-3}).ratio_tolerance == 1e-3


def test_an_agent_and_a_dtype_that_differ_are_refused():
    task = make_task("tokengym/Copy-v0")
    agent = build_agent("gpt2-tiny", task.vocabulary, task.max_length, ("policy", "value"))
    assert PPO(task, agent, dtype="float32").agent is agent
    with pytest.raises(TokenGymError, match=r"dtype is 'bfloat16' and the agent's is 'float32'"):
        PPO(task, agent, dtype="bfloat16")


def test_checkpointing_layers_learns_the_same_and_is_refused_without_layers():
    again = PPO("tokengym/Copy-v0", LLAMA, seed=0, gradient_checkpointing=True, rollout_tokens=64)
    plain = PPO("tokengym/Copy-v0", LLAMA, seed=0, rollout_tokens=64)
    assert again.agent.trunk.checkpointing
    for learner in (again, plain):
        learner.learn(128)
    for mine, theirs in zip(again.agent.parameters(), plain.agent.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), atol=1e-5)
    with pytest.raises(TokenGymError, match=r"gradient_checkpointing is True, and a MLPTrunk has no layers"):
        PPO("tokengym/Copy-v0", "mlp-tiny", gradient_checkpointing=True)
