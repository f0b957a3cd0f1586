"""The losses of the installed TRL, run by TRL's own code, as callables for the audit.

A trainer is made without its constructor, so that it needs no model, tokenizer or data set: it has its own methods and
its own configuration, one process in place of accelerate, and for a model a stand-in that answers with the audited
log-probabilities. What such a model answers where TRL's labels say −100 is 0, as TRL's own forward pass has it. Nothing
of TRL is copied: advantages come from ``_generate_and_score_completions``, losses from ``_compute_loss`` and
``get_batch_loss_metrics``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from tempfile import gettempdir
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ....envs import TokenGymError

available = find_spec("trl") is not None
"""Whether TRL is installed: `pip install tokengym[trl]`."""


class _OneProcess:
    """What TRL asks of accelerate, where there is one process and no device but the CPU."""

    device = torch.device("cpu")
    num_processes = 1
    process_index = 0
    is_main_process = True
    sync_gradients = True

    def gather(self, values: Any) -> Any:
        return values

    gather_for_metrics = gather
    unwrap_model = gather

    def reduce(self, values: Any, reduction: str = "sum") -> Any:
        return values

    def pad_across_processes(self, values: Any, **_: Any) -> Any:
        return values

    def autocast(self) -> Any:
        return nullcontext()


class _Table(torch.nn.Module):
    """A model that answers with given log-probabilities (B, T) of the tokens after the first."""

    is_gradient_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.said = self.entropies = torch.zeros(0)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **_: Any) -> Any:
        columns = input_ids.shape[1] - 1
        said, entropies = self.said[:, :columns], self.entropies[:, :columns]
        if labels is None:  # whole logits, of two tokens: 1 is what was said, 0 is anything else
            other = torch.log(-torch.expm1(said.clamp(max=-1e-300)))
            return SimpleNamespace(logits=torch.nn.functional.pad(torch.stack([other, said], -1), (0, 0, 0, 1)))
        counts = labels[:, 1:] != -100
        return SimpleNamespace(
            log_probs=torch.where(counts, said, 0.0),
            entropy=torch.where(counts, entropies, 0.0),
            mean_logits=torch.zeros_like(said),
            is_top1=counts,
            log_sum_sq_probs=torch.zeros_like(said),
        )


class _Shared:
    """A trainer without its constructor: what it was not given it finds in its configuration."""

    def __getattr__(self, name: str) -> Any:
        args = self.__dict__.get("args")
        if args is None or name.startswith("__"):
            raise AttributeError(name)
        return getattr(args, name)


def _trainer(module: str, name: str, config: str, given: dict[str, Any], **fields: Any) -> Any:
    """An instance of a trainer of TRL's with its configuration, whose defaults are TRL's own."""
    if not available:
        raise TokenGymError("TRL is not installed: pip install tokengym[trl].")
    # TRL says with a warning that these are experimental, on import.
    with _quiet():
        room = _room(module)
        args = getattr(room, config)(
            output_dir=os.path.join(gettempdir(), "tokengym-audit"), report_to="none", bf16=False, use_cpu=True, **given
        )
    made = object.__new__(type(f"Driven{name}", (_Shared, getattr(room, name)), {}))
    made.__dict__.update(
        args=args,
        model=_Table(),
        ref_model=_Table(),
        accelerator=_OneProcess(),
        aux_loss_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _logs={"rewards": defaultdict(list), "extra": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **fields,
    )
    return made


def _room(module: str) -> Any:
    """One of TRL's rooms."""
    if module == "cpo":
        from trl.experimental import cpo  # pyright: ignore[reportMissingImports]

        return cpo
    if module == "gmpo":
        from trl.experimental import gmpo  # pyright: ignore[reportMissingImports]

        return gmpo
    if module == "orpo":
        from trl.experimental import orpo  # pyright: ignore[reportMissingImports]

        return orpo
    from trl import trainer  # pyright: ignore[reportMissingImports]

    return trainer


@contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    before = os.environ.get("TRL_EXPERIMENTAL_SILENCE")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["TRL_EXPERIMENTAL_SILENCE"]


@contextmanager
def _in_float64() -> Iterator[None]:
    """What TRL makes of numbers of Python's."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _together(mask: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """Mask and values (B, T) with the agent's tokens moved to the left: a completion has no gaps."""
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
    return tuple(part.gather(1, order) for part in (mask, *values))


# --- groups --------------------------------------------------------------------------------------------------------


def group_loss(trainer: str = "GRPO", group_size: int = 4, longest: int = 4, **options: Any) -> Callable[..., Tensor]:
    """Return the loss of ``GRPOTrainer``, ``RLOOTrainer`` or ``GMPOTrainer``, advantages included.

    Args:
        trainer: "GRPO", "RLOO" or "GMPO".
        group_size: TRL's ``num_generations``.
        longest: TRL's ``max_completion_length``, by which ``dr_grpo`` divides.
        options: fields of the trainer's configuration, such as ``loss_type``, ``beta``, ``scale_rewards``.
    """
    module = "gmpo" if trainer == "GMPO" else "trainer"
    given = {
        "num_generations": group_size,
        "per_device_train_batch_size": group_size,
        "max_completion_length": longest,
        # More than one pass, so that the old policy's log-probabilities are kept.
        "num_iterations": 2,
        **options,
    }
    driven = _trainer(
        module,
        f"{trainer}Trainer",
        f"{trainer}Config",
        given,
        tools=None,
        environments=None,
        environment_factories=None,
        reward_weights=torch.ones(1, dtype=torch.float64),
        reward_funcs=[None],
        reward_func_names=["reward"],
        _tokenizer=SimpleNamespace(pad_token_id=0),
        eos_token_ids=[2],
        current_gradient_accumulation_steps=1,
        _pending_extra_logs={},
        _pending_metrics={},
        _entropy_bonus_enabled=bool(options.get("entropy_coef")),
        use_adaptive_entropy=False,
    )
    args = driven.args
    driven.epsilon_low = args.epsilon
    driven.epsilon_high = args.epsilon if args.epsilon_high is None else args.epsilon_high
    samples = bool(options.get("use_vllm"))

    def loss(
        log_probs: Tensor,
        entropies: Tensor,
        old_log_probs: Tensor,
        sampling_log_probs: Tensor,
        reference_log_probs: Tensor,
        rewards: Tensor,
        mask: Tensor,
        groups: Tensor,
    ) -> Tensor:
        shown, now, spread, old, drew, reference = _together(
            mask, log_probs, entropies, old_log_probs, sampling_log_probs, reference_log_probs
        )
        if not options.get("entropy_coef"):
            # TRL compares entropies with a quantile that it takes in float32: equal ones are to stay equal.
            spread = spread.detach().float().double()
        lengths = shown.sum(1).tolist()
        ids = [[1] * length for length in lengths]
        logged = [row[:length] for row, length in zip(drew.tolist(), lengths, strict=True)] if samples else None
        prompts = [[0]] * len(ids)
        generated = (prompts, ids, None, ids, logged, {}, None, None) if trainer != "RLOO" else (prompts, ids, ids)
        driven.num_generations = int((groups == groups[0]).sum())
        driven.args.per_device_train_batch_size = len(ids)  # the table answers for all rows at once
        driven._generate = lambda _: generated
        driven._calculate_rewards = lambda *_: rewards.detach()[:, None].clone()
        driven.ref_model.said, driven.ref_model.entropies = reference, spread.detach()
        driven.model.said, driven.model.entropies = old, spread.detach()
        driven._metrics.clear()
        driven._logs = {name: [] for name in ("prompt", "completion", "advantages")}
        driven._logs |= {"rewards": defaultdict(list), "extra": defaultdict(list)}
        with _in_float64():
            batch = driven._generate_and_score_completions([{"prompt": ""} for _ in ids])
            driven.model.said, driven.model.entropies = now, spread
            return driven._compute_loss(driven.model, batch)

    return loss


# --- pairs ---------------------------------------------------------------------------------------------------------


def _batch(mask: Tensor) -> dict[str, Tensor]:
    """Token ids and masks of a prompt of one token and completions."""
    said = torch.nn.functional.pad(mask, (1, 0)).long()
    begun = said.clone()
    begun[:, 0] = 1
    return {"input_ids": said, "attention_mask": begun, "completion_mask": said}


def dpo_loss(loss_type: str = "sigmoid", **options: Any) -> Callable[..., Tensor]:
    """Return the loss of ``DPOTrainer`` on a pair, labelled as rewards have it under Bradley and Terry."""
    driven = _trainer(
        "trainer",
        "DPOTrainer",
        "DPOConfig",
        {"loss_type": [loss_type], **options},
        precompute_ref_logps=False,
        loss_types=[loss_type],
        loss_weights=[1.0],
    )

    def loss(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        shown, now, reference = _together(mask, log_probs, reference_log_probs)

        def of(order: list[int]) -> Tensor:
            driven.model.said = driven.model.entropies = now[order]
            driven.ref_model.said = driven.ref_model.entropies = reference[order]
            driven._metrics.clear()
            return driven._compute_loss(driven.model, _batch(shown[order]), False)

        return _labelled(rewards, of)

    return loss


def _labelled(rewards: Tensor, loss: Callable[[list[int]], Tensor]) -> Tensor:
    """The mean of a pair's loss, (better, worse) rows, over who is said to be better."""
    first = float(torch.sigmoid(rewards[0] - rewards[1]))
    with _in_float64():
        return first * loss([0, 1]) + (1 - first) * loss([1, 0])


def kto_loss(loss_type: str = "kto", **options: Any) -> Callable[..., Tensor]:
    """Return the loss of ``KTOTrainer`` on two completions, each of which is liked with chance σ(R)."""
    driven = _trainer(
        "trainer",
        "KTOTrainer",
        "KTOConfig",
        {"loss_type": loss_type, "per_device_train_batch_size": 2, **options},
        precompute_ref_logps=False,
        calculate_KL=loss_type == "kto",
    )

    def loss(log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        shown, now, reference = _together(mask, log_probs, reference_log_probs)
        batch = _batch(shown)
        # The completions of one prompt are one another's mismatches: the mean of the KL's estimate is the same.
        batch |= {f"KL_{name}": values for name, values in batch.items()}
        driven.model.said = driven.model.entropies = now
        driven.ref_model.said = driven.ref_model.entropies = reference
        total = torch.zeros((), dtype=torch.float64)
        liked = torch.sigmoid(rewards.detach())
        with _in_float64():
            for number in range(2 ** len(rewards)):
                labels = torch.tensor([bool(number >> row & 1) for row in range(len(rewards))])
                driven._metrics.clear()
                chance = float(torch.where(labels, liked, 1 - liked).prod())
                total = total + chance * driven._compute_loss(driven.model, {**batch, "label": labels}, False)
        return total

    return loss


def reference_free_loss(trainer: str = "CPO", **options: Any) -> Callable[..., Tensor]:
    """Return the loss of ``CPOTrainer`` (SimPO is one of its types) or ``ORPOTrainer`` on a pair."""
    driven = _trainer(
        trainer.lower(),
        f"{trainer}Trainer",
        f"{trainer}Config",
        options,
        is_encoder_decoder=False,
        pad_token_id=0,
    )

    def loss(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        shown, now = _together(mask, log_probs)

        def of(order: list[int]) -> Tensor:
            driven.model.said = driven.model.entropies = torch.where(shown, now, -1.0)[order]
            batch = {}
            for name, row in zip(("chosen", "rejected"), order, strict=True):
                made = _batch(shown[row : row + 1])
                batch[f"{name}_input_ids"] = made["input_ids"]
                batch[f"{name}_attention_mask"] = made["attention_mask"]
                batch[f"{name}_labels"] = made["input_ids"].masked_fill(made["completion_mask"] == 0, -100)
            return driven.get_batch_loss_metrics(driven.model, batch)[0]

        return _labelled(rewards, of)

    return loss
