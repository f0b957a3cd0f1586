"""Whether this package works on a GPU, in at most five minutes: `make gpu-check`, or `python -m benchmarks.gpu_check`.

It checks that decoding agrees with the teacher-forced pass (and both with the CPU) in float32 and bfloat16, that one
iteration of each algorithm learns on the device and a checkpoint comes back to the CPU, that a decoding step waits for
the device once, and how fast a PPO iteration is beside the CPU. Any check that fails makes the command fail. Without
CUDA it says so and ends with 2; ``--device cpu --quick`` runs the same checks on a CPU, as a test does.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tokengym.agents import Agent, AgentPolicy, Sampler, build_agent, sampling
from tokengym.algorithms import A2C, DQN, PPO, SAC, load_algorithm
from tokengym.algorithms.configs.on_policy import RATIO_TOLERANCES
from tokengym.envs import Engine, make_task

from .workload import PROMPT, Completion

MODELS = ("gpt2", "llama")
DTYPES = ("float32", "bfloat16")
AGREEMENT = {"float32": 1e-3, "bfloat16": 0.3}
"""How far log-probabilities may differ. A GPU adds up in another order than a CPU, and may multiply in TF32."""


class Check:
    """Runs checks one after the other and says what came of each."""

    def __init__(self, device: str, quick: bool) -> None:
        self.device = device
        self.quick = quick
        self.failed: list[str] = []

    def run(self, name: str, check: Callable[[], str]) -> None:
        """Run one check: it returns what was seen, or raises."""
        started = time.perf_counter()
        try:
            told = check()
        except Exception as error:  # whatever it is, the other checks tell more
            traceback.print_exc(file=sys.stderr)
            self.failed.append(name)
            told = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name:<44} {told}  ({time.perf_counter() - started:.1f} s)", flush=True)

    def model(self, kind: str) -> dict[str, Any]:
        """Return a specification, large enough that a GPU has something to do."""
        width, layers = (32, 1) if self.quick else (256, 4)
        return {"kind": kind, "hidden_size": width, "num_layers": layers, "num_heads": 4}

    def agreement(self, kind: str, dtype: Any) -> str:
        """Compare decoding on the device with the teacher-forced pass there and with the one on the CPU."""
        rows, length = (4, 12) if self.quick else (32, 64)
        task = Completion(prompt=PROMPT, new=length)
        heads = ("policy", "value")
        agent = build_agent(self.model(kind), task.vocabulary, task.max_length, heads, device=self.device, dtype=dtype)
        with torch.no_grad():
            agent.readouts["policy"].weight.mul_(20)
        draws = np.random.default_rng(0)
        tokens = draws.integers(0, task.vocabulary.num_actions, (rows, length)).astype(np.int32)
        tokens[:, 0] = task.vocabulary.bos
        lengths = draws.integers(2, length + 1, rows)
        session = agent.session(rows, heads)
        decoded = [session.step(tokens, np.minimum(end, lengths)).logits for end in range(1, length + 1)]
        row, column = np.nonzero(np.arange(length) < lengths[:, None])
        logs = torch.log_softmax(torch.stack([step.float() for step in decoded], 1)[row, column].cpu(), -1)
        far: dict[str, float] = {}
        for name, other in (("teacher-forced", agent), ("CPU", copy.deepcopy(agent).cpu())):
            with torch.no_grad():
                seen = other.evaluate(*map(torch.as_tensor, (tokens, lengths, row, column + 1)), heads=("policy",))
            assert seen.logits is not None
            far[name] = float((torch.log_softmax(seen.logits.float().cpu(), -1) - logs).abs().max())
        told = ", ".join(f"{name} {value:.1g}" for name, value in far.items())
        if not max(far.values()) <= AGREEMENT[dtype]:
            raise ValueError(f"log-probabilities differ: {told}; expected at most {AGREEMENT[dtype]}")
        return f"log-probabilities agree: {told}"

    def iteration(self, kind: Any, dtype: Any) -> str:
        """Learn for an iteration on the device, save, and load on the CPU."""
        tokens = 64 if self.quick else 512
        options = {"learning_starts": 1} if kind in (DQN, SAC) else {"kl_coef": 0.05, "gradient_checkpointing": True}
        task = make_task("tokengym/Copy-v0")
        learner = kind(task, self.model("llama"), device=self.device, dtype=dtype, rollout_tokens=tokens, **options)
        learner.learn(tokens)
        assert all(bool(torch.isfinite(parameter).all()) for parameter in learner.agent.parameters())
        with tempfile.TemporaryDirectory() as folder:
            learner.save(Path(folder) / "saved")
            back: Any = load_algorithm(Path(folder) / "saved", device="cpu")
        for mine, theirs in zip(learner.agent.parameters(), back.agent.parameters(), strict=True):
            assert torch.equal(mine.cpu(), theirs)
        if not hasattr(learner, "check_ratio"):
            return f"{learner.num_updates} updates, finite"
        error = learner.update(learner.collect())["policy/initial_ratio_error"]
        return f"{learner.num_updates} updates, finite; ratio off by {error:.1g}, at most {RATIO_TOLERANCES[dtype]:g}"

    def waits(self, masked: bool) -> str:
        """Count what waits for the device in a step of decoding: where CUDA can tell, it raises at the second."""
        task = make_task("tokengym/TicTacToe-v0") if masked else make_task("tokengym/Copy-v0")
        agent: Agent = build_agent(self.model("llama"), task.vocabulary, task.max_length, device=self.device)
        engine = Engine(task, 4)
        engine.reset(None, np.arange(4, dtype=np.uint64))
        policy = AgentPolicy(agent, Sampler(0))
        masks = engine.action_mask(None) if masked else None
        must_wait_for, sampling.must_wait_for = sampling.must_wait_for, lambda tensor: True  # on a CPU, too
        with policy.playing(engine):
            policy.act(None, engine.tokens, engine.lengths, masks)
            waited = _counted(lambda: policy.act(None, engine.tokens, engine.lengths, masks))
        sampling.must_wait_for = must_wait_for
        if waited != 1:
            raise ValueError(f"a step waited {waited} times; expected once")
        return "a step waits once"

    def speed(self, dtype: Any) -> str:
        """Time a PPO iteration beside one on the CPU."""
        rows, new = (4, 8) if self.quick else (128, 64)
        took = {}
        for device, how in ((self.device, dtype), ("cpu", "float32")):
            options = {"num_rows": rows, "rollout_tokens": rows * new, "minibatches": 2}
            learner = PPO(Completion(new=new), self.model("gpt2"), device=device, dtype=how, **options)
            learner.learn(1)
            started, before = time.perf_counter(), learner.num_timesteps
            learner.learn(before + 1)
            took[device if device != self.device or device == "cpu" else "device"] = (
                learner.num_timesteps - before
            ) / (time.perf_counter() - started)
        here = took.get("device", took["cpu"])
        return f"{here:,.0f} tokens/s, {here / took['cpu']:.1f} times the CPU's {took['cpu']:,.0f} in float32"


def _counted(step: Callable[[], Any]) -> int:
    """Return how often a step asks for numbers of a tensor on the device: its copies to the host."""
    waited = [0]
    to_host = torch.Tensor.cpu
    asks = {name: getattr(torch.Tensor, name) for name in ("item", "tolist", "__bool__", "__int__", "__float__")}

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            waited[0] += 1
            return original(tensor, *arguments, **options)

        return call

    try:
        for name, original in {**asks, "cpu": to_host}.items():
            setattr(torch.Tensor, name, noted(original))
        step()
    finally:
        for name, original in {**asks, "cpu": to_host}.items():
            setattr(torch.Tensor, name, original)
    return waited[0]


def main(arguments: list[str] | None = None) -> int:
    """Run all checks; 0 where all hold, 1 where one failed, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="what is checked, cuda by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for a test of this command")
    given = parser.parse_args(arguments)
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("there is no CUDA device here: nothing was checked (--device cpu --quick tries the checks themselves)")
        return 2
    name = torch.cuda.get_device_name(given.device) if given.device.startswith("cuda") else given.device
    print(f"device: {name}; torch {torch.__version__}", flush=True)
    check = Check(given.device, given.quick)
    for dtype in DTYPES:
        for kind in MODELS:
            check.run(f"{kind}, {dtype}: agreement", lambda kind=kind, dtype=dtype: check.agreement(kind, dtype))
    for dtype in DTYPES:
        for kind in (PPO, A2C, DQN, SAC):
            what = f"{kind.name}, {dtype}: one iteration"
            check.run(what, lambda kind=kind, dtype=dtype: check.iteration(kind, dtype))
    for masked in (False, True):
        check.run(f"decoding{', masks' * masked}", lambda masked=masked: check.waits(masked))
    for dtype in DTYPES:
        check.run(f"ppo, {dtype}: speed", lambda dtype=dtype: check.speed(dtype))
    print("all checks hold" if not check.failed else f"failed: {', '.join(check.failed)}")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
