"""One whole GRPO iteration, generating and learning, against TRL's `GRPOTrainer` on the CPU.

Both begin with the same weights of a GPT-2 without dropout, continue prompts of the same task in groups by as many
tokens, pay them alike, and take one step of the same fused Adam on all of them, in float32 with PyTorch's own attention
kernel: one epoch, β 0, and no second pass for old log-probabilities, which TRL leaves out there, too. Neither logs or
saves anything. Ours is measured through the public `learn`, with all that a call of it takes; of TRL's `train` the time
from the end of one step to the end of a later one, without what it sets up before the first. Time is the processor's:
both run on one thread and wait for nothing, so on a quiet machine it is the clock's, and a busy one does not add to it.
Alone: `python -m benchmarks.run grpo`, with the extra ``trl``.

Ours is measured as it comes, and with ``linear_kernel="onednn"``, which TRL has nothing like; what it brings depends on
the processor.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from tokengym.agents import build_agent
from tokengym.agents.specs import LinearKernel
from tokengym.algorithms.on_policy.grpo import GRPO
from tokengym.envs import Engine, derive_start

from .decoding import SIZES, language_model
from .measure import Comparison, rate
from .workload import NEW, PROMPT, ROWS, VOCABULARY, Completion

GROUP = 8
STEPS = 3
"""Iterations in one run."""
TARGETS: dict[tuple[str, LinearKernel], float | None] = {
    ("d 64, 2 layers", "blas"): None,  # about 2, on either side of it from run to run
    ("d 64, 2 layers", "onednn"): 2.0,
    ("d 128, 4 layers", "blas"): 1.2,
    ("d 128, 4 layers", "onednn"): 1.2,
}
"""By the size of the model, and what ours multiplies with."""
ADAM = {"learning_rate": 1e-5, "adam_eps": 1e-5}
"""Set in both. As small a step leaves the policy nearly uniform, however often it is measured."""
PROMPTS = 512
"""That TRL is given to go through; ours draws new ones from the same task."""


def comparisons(quick: bool) -> list[Comparison]:
    """Return the comparison for each size, or say that there is none to compare with."""
    if not available():
        print("grpo: left out, as TRL is not installed: pip install -c constraints.txt -e '.[trl]'", file=sys.stderr)
        return []
    return [contest(size, kernel, quick) for size, kernel in TARGETS]


def available() -> bool:
    """Whether TRL and what it needs are installed."""
    return all(importlib.util.find_spec(name) for name in ("trl", "datasets", "accelerate"))


def contest(size: str, kernel: LinearKernel, quick: bool) -> Comparison:
    """Return the comparison at one size of the model, multiplying with a kernel."""
    new, rows, group, steps = (8, 8, 4, 1) if quick else (NEW, ROWS, GROUP, STEPS)
    ours, theirs = Ours(size, new, rows, group, kernel), Theirs(size, new, rows, group)
    return Comparison(
        name="GRPO, one iteration" + (", oneDNN" if kernel == "onednn" else ""),
        setting=f"GPT-2 {size}; {rows // group} groups of {group}, {PROMPT}+{new} tokens",
        peer="TRL's GRPOTrainer",
        unit="tokens/s",
        target=TARGETS[size, kernel],
        ours=rate(lambda: ours.iterate(steps), time.process_time),
        theirs=lambda: theirs.speed(steps),
        warm_up=[lambda: ours.iterate(1), lambda: theirs.speed(1)],
    )


class Ours:
    """This library's.

    Attributes:
        algorithm: what learns.
    """

    def __init__(self, size: str, new: int, rows: int, group: int, kernel: LinearKernel = "blas") -> None:
        task = Completion(new=new)
        agent = build_agent(language_model(*SIZES[size], positions=task.max_length), task.vocabulary, task.max_length)
        self.algorithm = GRPO(
            task,
            agent,
            num_rows=rows,
            group_size=group,
            rollout_tokens=rows * new,
            epochs=1,
            minibatches=1,
            max_grad_norm=1.0,
            final_learning_rate_fraction=1.0,
            linear_kernel=kernel,
            **ADAM,
        )

    def iterate(self, steps: int) -> int:
        """Take some steps, each on what was generated for it; return how many tokens that were."""
        before = self.algorithm.num_timesteps
        for _ in range(steps):
            self.algorithm.learn(self.algorithm.num_timesteps + 1)
        return self.algorithm.num_timesteps - before


class Theirs:
    """TRL's, made when it is first run.

    Attributes:
        tokens: generated and paid so far.
        steps: of the optimiser, so far.
    """

    def __init__(self, size: str, new: int, rows: int, group: int) -> None:
        self.size, self.new, self.rows, self.group = size, new, rows, group
        self.tokens = self.steps = 0
        self._ends: list[tuple[float, int]] = []

    def speed(self, steps: int) -> float:
        """Take one step that does not count and then some that do; return the tokens per second of those."""
        self._ends.clear()
        with quiet():
            self.trainer.args.max_steps = steps + 1
            self.trainer.train()
        (begun, before), (ended, after) = self._ends[0], self._ends[-1]
        return (after - before) / (ended - begun)

    def pay(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        """Pay the share of the token 0, as the task does."""
        self.tokens += sum(map(len, completion_ids))
        return [ids.count(0) / len(ids) for ids in completion_ids]

    @cached_property
    def trainer(self) -> Any:
        """The trainer, with what it may leave out left out."""
        from transformers import PrinterCallback, TrainerCallback

        trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")
        ends = self._ends
        their = self

        class Clock(TrainerCallback):
            """Notes when each step ends."""

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                their.steps += 1
                ends.append((time.process_time(), their.tokens))

        model = language_model(*SIZES[self.size], positions=PROMPT + self.new)
        # It asks for a folder, in which nothing is written where nothing is saved.
        with tempfile.TemporaryDirectory() as folder:
            args = trl.GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=self.rows,
                gradient_accumulation_steps=1,
                num_generations=self.group,
                num_iterations=1,
                max_steps=1,
                max_completion_length=self.new,
                beta=0.0,
                loss_type="grpo",
                learning_rate=ADAM["learning_rate"],
                lr_scheduler_type="constant",
                adam_epsilon=ADAM["adam_eps"],
                weight_decay=0.0,
                max_grad_norm=1.0,
                optim="adamw_torch_fused",
                activation_checkpointing=False,
                bf16=False,
                use_cpu=True,
                dataloader_pin_memory=False,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            trainer = trl.GRPOTrainer(
                model=model,
                reward_funcs=self.pay,
                args=args,
                train_dataset=datasets.Dataset.from_dict({"prompt": prompts()}),
                processing_class=tokenizer(),
                callbacks=[Clock()],
            )
        trainer.remove_callback(PrinterCallback)
        return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Without what TRL and transformers tell about each other's coming versions, and about tokens of the tokenizer."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def tokenizer() -> Any:
    """Return a tokenizer of words with the task's vocabulary, and an end that no model of it can say."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*Completion().vocabulary.tokens, "<end>"]
    assert names.index("<end>") == VOCABULARY
    words = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def prompts() -> list[str]:
    """Return prompts of the task, as words."""
    task = Completion()
    engine = Engine(task, PROMPTS)
    engine.reset(None, derive_start(0, np.arange(PROMPTS)))
    names = task.vocabulary.tokens
    return [" ".join(names[token] for token in row[:PROMPT]) for row in engine.tokens.tolist()]
