"""Whether this package works on a GPU, in at most five minutes: `make gpu-check`, or `python -m benchmarks.gpu_check`.

It checks that decoding agrees with the teacher-forced pass (and both with the CPU) in float32 and bfloat16, that every
algorithm learns on the device and its checkpoint comes back to the CPU, that PPO with adapters does and what it exports
answers alike in plain transformers, that a reward model fitted there scores alike on the CPU, that a decoding step
waits for the device once, and how fast a PPO iteration is beside the CPU. Any check that fails makes the command fail.
Without CUDA it says so and ends with 2; ``--device cpu --quick`` runs the same checks on a CPU, as a test does.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from tokengym.agents import Agent, AgentPolicy, Sampler, build_agent, sampling
from tokengym.algorithms import ALGORITHMS, PPO, load_algorithm
from tokengym.algorithms.configs.on_policy import RATIO_TOLERANCES
from tokengym.algorithms.labelling import SimulatedLabeller, label_episodes
from tokengym.algorithms.offline.playing import record
from tokengym.algorithms.reward_models import RewardModel, fit_reward_model
from tokengym.envs import Engine, TokenGymError, make_task

from .workload import PROMPT, Completion

MODELS = ("gpt2", "llama")
DTYPES = ("float32", "bfloat16")
AGREEMENT = {"float32": 1e-4, "bfloat16": 2**-5}
"""How far log-probabilities may differ, as a share of the largest of them: some roundings (2^-24 and 2^-9) a layer.

A GPU adds up in another order than a CPU, and may multiply in TF32.
"""

SMALL = {"learning_starts": 0, "demonstrations": 64, "labels": 64}
"""What keeps an iteration short, for the algorithms that have such a field."""


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
            far[name] = _apart(torch.log_softmax(seen.logits.float().cpu(), -1), logs)
        told = ", ".join(f"{name} {value:.1g}" for name, value in far.items())
        if not max(far.values()) <= AGREEMENT[dtype]:
            raise ValueError(
                f"log-probabilities are apart by {told} of the largest; expected at most {AGREEMENT[dtype]:g}"
            )
        return f"log-probabilities agree, as a share of the largest: {told}"

    def iteration(self, name: str, dtype: Any) -> str:
        """Learn for an iteration on the device, save, and load on the CPU."""
        tokens = 64 if self.quick else 512
        config = ALGORITHMS.config(name)
        known = {field.name for field in dataclasses.fields(config)}
        options: dict[str, Any] = {
            key: value for key, value in {"rollout_tokens": tokens, **SMALL}.items() if key in known
        }
        if name in ("ppo", "a2c"):
            options.update(kl_coef=0.05, gradient_checkpointing=True)
        task = make_task("tokengym/Copy-v0")
        given = {} if name.startswith("sb3-") else {"agent": self.model("llama"), "dtype": dtype}
        learner: Any = ALGORITHMS[name](task, device=self.device, **given, **options)
        learner.learn(2 if config.budget == "updates" else tokens)
        with tempfile.TemporaryDirectory() as folder:
            learner.save(Path(folder) / "saved")
            back: Any = load_algorithm(Path(folder) / "saved", device="cpu")
        mine, theirs = _parameters(learner), _parameters(back)
        assert mine and mine.keys() == theirs.keys()
        for key, parameter in mine.items():
            assert bool(torch.isfinite(parameter).all()), key
            assert parameter.device.type == torch.device(self.device).type, key
            assert torch.equal(parameter.cpu(), theirs[key]), key
        told = f"{learner.num_updates} updates, finite"
        if not hasattr(learner, "check_ratio"):
            return told
        error = learner.update(learner.collect())["policy/initial_ratio_error"]
        return f"{told}; ratio off by {error:.1g}, at most {RATIO_TOLERANCES[dtype]:g}"

    def adapters(self, dtype: Any) -> str:
        """Learn adapters of a checkpoint folder, and ask what is exported the same as what was learnt."""
        task = make_task("tokengym/Copy-v0")
        base = build_agent(self.model("llama"), task.vocabulary, task.max_length, seed=1)
        with tempfile.TemporaryDirectory() as folder:
            base.save_pretrained(Path(folder) / "base")
            options = {"rollout_tokens": 64 if self.quick else 512, "kl_coef": 0.05, "learning_rate": 1e-2}
            learner = PPO(task, str(Path(folder) / "base"), device=self.device, dtype=dtype, lora_rank=4, **options)
            learner.learn(2 * options["rollout_tokens"])
            error = learner.update(learner.collect())["policy/initial_ratio_error"]
            learner.agent.save_pretrained(Path(folder) / "merged")
            merged = AutoModelForCausalLM.from_pretrained(Path(folder) / "merged", dtype=torch.float32)
        asked = torch.randint(
            0, task.vocabulary.num_actions, (4, task.max_length), generator=torch.Generator().manual_seed(0)
        )
        row, column = (index.reshape(-1) for index in torch.meshgrid(*map(torch.arange, asked.shape), indexing="ij"))
        places = (asked.int(), torch.full((4,), task.max_length), row, column + 1)
        with torch.no_grad():
            ours = learner.agent.evaluate(*(place.to(self.device) for place in places), heads=("policy",)).logits
            theirs = merged(asked).logits.reshape(len(row), -1)
        assert ours is not None
        width = ours.shape[-1]
        far = _apart(torch.log_softmax(ours.float().cpu(), -1), torch.log_softmax(theirs[:, :width], -1))
        if not far <= AGREEMENT[dtype]:
            raise ValueError(
                f"the export is apart by {far:.2g} of the largest log-probability; at most {AGREEMENT[dtype]:g}"
            )
        return f"ratio off by {error:.1g}; the export agrees to {far:.1g}"

    def reward_model(self) -> str:
        """Fit an ensemble of two on the device, and score the same episodes there and on the CPU."""
        task = make_task("tokengym/KLTree-v0")
        writer = build_agent(self.model("gpt2"), task.vocabulary, task.max_length, device=self.device)
        episodes, _ = record(task, writer, 64 if self.quick else 512, seed=1)
        data = label_episodes(episodes, task.vocabulary, SimulatedLabeller(seed=1), 64 if self.quick else 256, seed=1)
        model = fit_reward_model(data, self.model("gpt2"), seed=1, device=self.device, members=2, epochs=2)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "saved")
            back = RewardModel.load(Path(folder) / "saved", "cpu")
        far = _apart(*(torch.from_numpy(scorer.score_episodes(episodes)) for scorer in (model, back)))
        if not far <= AGREEMENT["float32"]:
            raise ValueError(f"scores are apart by {far:.2g} of the largest; expected at most {AGREEMENT['float32']}")
        return f"scores agree with the CPU's to {far:.1g}"

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


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference, as a share of the largest number."""
    return float((one - other).abs().max() / other.abs().max())


def _parameters(learner: Any) -> dict[str, torch.Tensor]:
    """Return what an algorithm learns, by name."""
    agent = learner.agent
    module = agent if isinstance(agent, torch.nn.Module) else agent.model.policy
    return dict(module.named_parameters())


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


def lacking(name: str) -> str:
    """Return what an algorithm of an extra needs that is not installed here, or an empty text."""
    choose = getattr(ALGORITHMS[name], "model_class", None)
    try:
        _ = choose and choose()
    except TokenGymError as error:
        return str(error)
    return ""


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
        for kind in (name for name in ALGORITHMS.built_in if dtype == "float32" or not name.startswith("sb3-")):
            what = f"{kind}, {dtype}: one iteration"
            if needs := lacking(kind):
                print(f"{what:<44} left out: {needs}", flush=True)
                continue
            check.run(what, lambda kind=kind, dtype=dtype: check.iteration(kind, dtype))
        check.run(f"ppo, {dtype}: adapters", lambda dtype=dtype: check.adapters(dtype))
    check.run("reward model, float32", check.reward_model)
    for masked in (False, True):
        check.run(f"decoding{', masks' * masked}", lambda masked=masked: check.waits(masked))
    for dtype in DTYPES:
        check.run(f"ppo, {dtype}: speed", lambda dtype=dtype: check.speed(dtype))
    print("all checks hold" if not check.failed else f"failed: {', '.join(check.failed)}")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
