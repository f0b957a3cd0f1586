"""Fitting a reward model to comparisons."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, adapt_agent, build_agent, rebuild_agent
from ...agents.models import TableTrunk
from ...agents.seeding import seeded_initialisation
from ...agents.specs import Dtype, LoRA
from ...envs import TokenGymError, Vocabulary
from ...envs.checking import Count, Seed, checked
from ..configs import RewardModelConfig
from ..data import PreferenceDataset, PreferencePairs
from ..making import make_optimizer, set_passes
from ..parts import Loss, MasterWeights, accumulate, derive_seed
from ..runs import complete, load_agent
from ..runs import read as read_checkpoint
from ..starting import holds_run
from .losses import bradley_terry
from .model import RewardModel, start_head, values_after
from .reading import Sequences, sequences_of

Progress = Callable[[int, int, dict[str, float]], None]
"""Told of passes done, passes at most, and the numbers of the last one."""

_MANY_PROMPTS = 10


@checked
def fit_reward_model(
    data: PreferenceDataset,
    backbone: Any = "gpt2-tiny",
    config: RewardModelConfig | None = None,
    seed: Seed = 0,
    *,
    held_out: PreferenceDataset | None = None,
    max_length: Count | None = None,
    progress: Any = None,
    device: str | torch.device = "cpu",
    dtype: Dtype | None = None,
    **overrides: Any,
) -> RewardModel:
    """Fit a Bradley–Terry model to comparisons: the better of a pair is to score higher.

        model = fit_reward_model(comparisons, "gpt2-tiny", seed=1, members=3, combine="worst")
        model.save("reward")

    Args:
        data: the comparisons.
        backbone: a specification that `build_agent` takes ("gpt2-tiny", a dict, a checkpoint folder, …); or an `Agent`
            or the folder of a run, from a copy of whose weights fitting starts, as from a tuned model.
        config: how; None takes the defaults.
        seed: of weights, orders and of which pairs are kept apart.
        held_out: comparisons to choose when to stop, in place of the share ``config.validation`` of the data.
        max_length: the longest sequence that it is to read; None is the longest of the data, or the agent's own.
        progress: called after every pass with the number of passes done, of passes at most, and what it measured.
        device: where it is fitted.
        dtype: what it computes with; None is float32.
        **overrides: fields of the config to change.

    Returns:
        The model; ``about["fitted"]`` tells of each member the passes, the losses and the accuracies.

    Raises:
        TokenGymError: too few pairs, a bad setting, or a backbone that does not fit the data.
    """
    config = (RewardModelConfig() if config is None else config).replace(**overrides)
    read = sequences_of(data.episodes)
    apart = None
    if held_out is not None:
        held_out.require(data.vocabulary, "the comparisons held out")
        apart = _Pairs.of(sequences_of(held_out.episodes), held_out.pairs)
    groups = data.prompts[data.pairs.better] if len(np.unique(data.prompts)) >= _MANY_PROMPTS else None
    return _fit(
        _Pairs.of(read, data.pairs), groups, apart, data.vocabulary, backbone, config, seed, max_length, progress,
        device, dtype,
    )  # fmt: skip


@checked
def fit_from_tokens(
    tokens: Any,
    lengths: Any,
    better: Any,
    worse: Any,
    *,
    vocabulary: Vocabulary,
    weight: Any = None,
    said: Any = None,
    backbone: Any = "mlp-tiny",
    seed: Seed = 0,
    config: Mapping[str, Any] | None = None,
) -> RewardModel:
    """Fit a reward model to comparisons in plain arrays; see `fit_reward_model`.

    Args:
        tokens: int (M, L), the sequences from `bos` on, right-padded.
        lengths: int (M,).
        better: int (P,), the index of each pair's better one.
        worse: int (P,), that of the worse.
        vocabulary: the ids' own.
        weight: how much each pair counts, (P,), or None for 1 each.
        said: bool (M, L), the agent's tokens; needed for a model of steps alone.
        backbone: a specification that `build_agent` takes, or an `Agent`.
        seed: of weights, orders and of which pairs are kept apart.
        config: fields of `RewardModelConfig`.
    """
    pairs = PreferencePairs(better, worse, weight)
    counts = np.asarray(lengths).reshape(-1).astype(np.int64)
    ids = np.asarray(tokens)
    spoken = np.zeros(ids.shape, bool) if said is None else np.asarray(said, bool)
    settings = RewardModelConfig().replace(**dict(config or {}))
    if settings.process and said is None:
        raise TokenGymError("a model of steps needs to know the agent's tokens: give said.")
    read = Sequences(ids, counts, spoken)
    return _fit(_Pairs.of(read, pairs), None, None, vocabulary, backbone, settings, seed, None, None, "cpu", None)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs over sequences."""

    read: Sequences
    better: np.ndarray
    worse: np.ndarray
    weight: np.ndarray
    margin: np.ndarray

    @classmethod
    def of(cls, read: Sequences, pairs: PreferencePairs) -> _Pairs:
        """Take the pairs of a dataset."""
        margin = np.ones(len(pairs), np.float32) if pairs.margin is None else pairs.margin
        return cls(read, pairs.better, pairs.worse, pairs.weight, margin)

    def __len__(self) -> int:
        return len(self.better)

    def take(self, index: np.ndarray) -> _Pairs:
        """Return some of the pairs over the same sequences."""
        return _Pairs(self.read, self.better[index], self.worse[index], self.weight[index], self.margin[index])

    @property
    def used(self) -> np.ndarray:
        """The sequences that stand in a pair, each once."""
        return np.unique(np.concatenate([self.better, self.worse]))


def _fit(
    pairs: _Pairs,
    groups: np.ndarray | None,
    apart: _Pairs | None,
    vocabulary: Vocabulary,
    backbone: Any,
    config: RewardModelConfig,
    seed: int,
    max_length: int | None,
    progress: Progress | None,
    device: str | torch.device,
    dtype: Dtype | None,
) -> RewardModel:
    if not len(pairs):
        raise TokenGymError("there are no comparisons to fit to; expected at least one pair.")
    fitted_to = pairs
    if apart is None and config.validation:
        pairs, apart = _set_apart(pairs, groups, config.validation, seed)
    longest = int(pairs.read.lengths[fitted_to.used].max())
    if apart is not None:
        longest = max(longest, int(apart.read.lengths[apart.used].max()))
    if holds_run(backbone):
        tensors, saved = read_checkpoint(backbone)
        with complete(saved):
            backbone = load_agent(tensors, saved)
    length = _length(backbone, longest, max_length)
    members, told = [], []
    for number in range(config.members):
        member = _build(backbone, vocabulary, length, derive_seed(seed, f"member {number}"), config.lora, device, dtype)
        set_passes(member, config)
        if config.members > 1 and not config.bootstrap and isinstance(member.trunk, TableTrunk):
            raise TokenGymError(
                "the members of an ensemble of tables all start alike and would stay so: give bootstrap=True, or "
                "another backbone."
            )
        about = _Fit(member, pairs, apart, config, derive_seed(seed, f"order {number}"), number).run(progress)
        members.append(member)
        told.append(about)
    model = RewardModel(members, config, {"pairs": len(fitted_to), "seed": seed, "fitted": told})
    if config.normalise != "none" and not config.process:
        used = fitted_to.read.select(fitted_to.used)
        model.normalise(used.tokens, used.lengths, variance=config.normalise == "both")
    return model


class _Fit:
    """One member's way through the pairs."""

    def __init__(
        self, member: Agent, pairs: _Pairs, apart: _Pairs | None, config: RewardModelConfig, seed: int, number: int
    ) -> None:
        self.member, self.pairs, self.apart, self.config, self.number = member, pairs, apart, config, number
        self.random = np.random.default_rng(seed)
        rate = config.learning_rate_at(0.0, member.learning_rate)
        self.optimizer, self.parameters = make_optimizer(member, config, rate)
        self.gather = self.optimizer.gather if isinstance(self.optimizer, MasterWeights) else None
        self.steps = 0
        if config.bootstrap:
            self.pairs = pairs.take(self.random.integers(len(pairs), size=len(pairs)))

    def run(self, progress: Progress | None) -> dict[str, float]:
        """Fit, and leave the member with the weights that were best on the pairs kept apart."""
        config, best, kept, waited = self.config, np.inf, None, 0
        told: dict[str, float] = {}
        for epoch in range(config.epochs):
            self._set_rate(epoch / config.epochs)
            now = {"epochs": float(epoch + 1), "loss": self._pass()}
            if self.apart is not None:
                now |= dict(zip(("validation_loss", "validation_accuracy"), self._judged(self.apart), strict=True))
            if progress is not None:
                done, most = self.number * config.epochs + epoch + 1, config.members * config.epochs
                progress(done, most, {"member": float(self.number), **now})
            if self.apart is None:
                told = now
                continue
            if now["validation_loss"] < best:
                best, told, waited = now["validation_loss"], now, 0
                kept = copy.deepcopy(self.member.state_dict())
            else:
                waited += 1
                if waited >= config.patience:
                    break
        if kept is not None:
            self.member.load_state_dict(kept)
        return told

    def _set_rate(self, progress: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(progress, self.member.learning_rate)

    def _pass(self) -> float:
        order, total = self.random.permutation(len(self.pairs)), 0.0
        for first in range(0, len(order), self.config.batch_pairs):
            batch = self.pairs.take(order[first : first + self.config.batch_pairs])
            weights = batch.weight / batch.weight.sum()
            self.optimizer.zero_grad()
            parts = (Loss(loss.sum(), {"loss": loss.sum()}) for loss in self._losses(batch, weights))
            terms, _ = accumulate(parts, self.steps, self.gather)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
            self.optimizer.step()
            self.steps += 1
            total += terms["loss"] * len(batch)
        return total / len(order)

    def _losses(self, batch: _Pairs, weights: np.ndarray) -> Any:
        """Yield the weighted losses of the micro-batches of a batch."""
        config = self.config
        for part in self._parts(batch):
            better, worse = self._scores(part, batch)
            margin = config.margin * torch.from_numpy(batch.margin[part]).to(better)
            losses = bradley_terry(better, worse, margin, config.label_smoothing, config.centring)
            yield losses * torch.from_numpy(weights[part]).to(better)

    def _parts(self, batch: _Pairs) -> list[np.ndarray]:
        """Cut a batch into runs of pairs of at most `micro_batch_tokens` with their padding, or one pair."""
        places, limit = np.arange(len(batch)), self.config.micro_batch_tokens
        if limit is None:
            return [places]
        lengths = np.maximum(batch.read.lengths[batch.better], batch.read.lengths[batch.worse])
        order, parts, first = np.argsort(lengths, kind="stable"), [], 0
        for last in range(1, len(order) + 1):
            if last == len(order) or (last + 1 - first) * 2 * int(lengths[order[last]]) > limit:
                parts.append(order[first:last])
                first = last
        return parts

    def _scores(self, part: np.ndarray, batch: _Pairs) -> tuple[Tensor, Tensor]:
        """Return the scores of the better and the worse of some pairs, each sequence read once."""
        both = np.concatenate([batch.better[part], batch.worse[part]])
        used, places = np.unique(both, return_inverse=True)
        scores = _scored(self.member, batch.read.select(used), self.config.process)[torch.from_numpy(places)]
        return scores[: len(part)], scores[len(part) :]

    @torch.no_grad()
    def _judged(self, pairs: _Pairs) -> tuple[float, float]:
        """Return the loss without margin and centring, and the accuracy."""
        scores = np.zeros(len(pairs.read))
        used = pairs.used
        for first in range(0, len(used), 512):
            rows = used[first : first + 512]
            scores[rows] = _scored(self.member, pairs.read.select(rows), self.config.process).double().cpu().numpy()
        ahead = scores[pairs.better] - scores[pairs.worse]
        weight = pairs.weight / pairs.weight.sum()
        losses = bradley_terry(torch.from_numpy(ahead), torch.zeros(len(ahead)), 0.0, self.config.label_smoothing)
        return float(weight @ losses.numpy()), float(weight @ ((ahead > 0) + 0.5 * (ahead == 0)))


def _scored(member: Agent, read: Sequences, process: bool) -> Tensor:
    """Return a member's scores of sequences, (B,), with a graph where gradients are on."""
    device = member.device
    tokens = torch.from_numpy(_readable(read)).to(device)
    lengths = torch.from_numpy(read.lengths).to(device)
    if not process:
        return values_after(member, tokens, lengths, torch.arange(len(lengths), device=device), lengths - 1)
    rows, columns = (torch.from_numpy(array).to(device) for array in np.nonzero(read.said))
    steps = values_after(member, tokens, lengths, rows, columns)
    return torch.zeros(len(lengths), dtype=steps.dtype, device=device).index_add(0, rows, steps)


def _readable(read: Sequences) -> np.ndarray:
    """Return the tokens, int64, with an id that every model has in the padding."""
    return np.where(np.arange(read.tokens.shape[1]) < read.lengths[:, None], read.tokens, 0).astype(np.int64)


def _set_apart(pairs: _Pairs, groups: np.ndarray | None, share: float, seed: int) -> tuple[_Pairs, _Pairs | None]:
    """Cut pairs into those that are fitted to and those that tell when to stop; few are all fitted to."""
    if groups is None:  # both orders of a pair, as soft labels have them, stay together
        ends = np.sort(np.stack([pairs.better, pairs.worse], axis=1), axis=1)
        groups = np.unique(ends, axis=0, return_inverse=True)[1].reshape(-1)
    units = groups
    names = np.unique(units)
    count = round(share * len(names))
    if not 0 < count < len(names):
        if count:
            raise TokenGymError(f"validation is {share}, which keeps all {len(names)} pairs apart; expected less.")
        return pairs, None
    chosen = np.random.default_rng(derive_seed(seed, "validation")).permutation(names)[:count]
    away = np.isin(units, chosen)
    return pairs.take(np.flatnonzero(~away)), pairs.take(np.flatnonzero(away))


def _length(backbone: Any, longest: int, wanted: int | None) -> int:
    """Return the context that a member is built with."""
    if isinstance(backbone, Agent):
        if max(longest, wanted or 0) > backbone.max_length:
            raise TokenGymError(
                f"the comparisons have sequences of {longest} tokens"
                + (f" and max_length is {wanted}" if wanted else "")
                + f"; the agent reads {backbone.max_length}: give one with a longer context."
            )
        return backbone.max_length
    if wanted is not None and wanted < longest:
        raise TokenGymError(f"max_length is {wanted}, and the longest sequence of the comparisons has {longest}.")
    return longest if wanted is None else wanted


def _build(
    backbone: Any,
    vocabulary: Vocabulary,
    length: int,
    seed: int,
    lora: LoRA | None,
    device: str | torch.device,
    dtype: Dtype | None,
) -> Agent:
    """Build a member: a value head, whose weights are drawn, on a trunk from scratch or from pretrained weights."""
    if not isinstance(backbone, Agent):
        member = build_agent(
            backbone, vocabulary, length, heads=("value",), seed=seed, device=device, dtype=dtype, lora=lora
        )
    else:
        if backbone.vocabulary.tokens != vocabulary.tokens:
            raise TokenGymError(
                f"the backbone reads {backbone.vocabulary!r}, and the comparisons are of {vocabulary!r}: take an agent "
                "of the same tokenizer."
            )
        if backbone.lora is not None:
            backbone = copy.deepcopy(backbone)
            backbone.merge_adapters()
        told = {**backbone.config(), "heads": ["value"], "separate_critic": False, "head_dim": None, "seed": seed}
        member = rebuild_agent(told, device=device)
        member.trunk.load_state_dict(backbone.trunk.state_dict())
        if lora is not None:
            with seeded_initialisation(seed):
                adapt_agent(member, lora)
    with seeded_initialisation(seed):
        return start_head(member)
