"""A pipeline: everything that decides its result, as frozen dataclasses that check themselves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ...agents.specs import Dtype
from ...envs import TokenGymError
from ...envs.checking import Range, Seed, check_fields, shown

Count = Annotated[int, Range(least=1, most=10**9)]
"""How many there are to be."""
Amount = Annotated[float, Range(least=0, most=1_000_000)]
"""A weight or a noise, which 0 turns off."""
Part = Annotated[float, Range(least=0, below=1)]
"""A part of a whole that never is all of it."""

BEST_OF_N = "best-of-n"
"""The method that learns nothing: it draws several completions and says the one that the reward model prefers."""

RESERVED = ("sft", "comparisons", "reward-model", "before")
"""The names of the stages that are no methods."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, kw_only=True)
class EnvironmentPart:
    """The task. Its own reward is the gold: what is meant, by which labels are drawn and everything is judged."""

    id: str = "TextGeneration"
    """Registered id or name; with `TextGeneration`, prompts, tokenizer and reward functions stand in `kwargs`."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the task."""

    def __post_init__(self) -> None:
        check_fields(self, "environment")


@dataclass(frozen=True, kw_only=True)
class TuningPart:
    """Supervised fine-tuning: what the model is before anything is preferred, and what the KL is measured to."""

    data: str = "corpus"
    """What is imitated: `corpus` (the texts that the task itself draws), a player of the task (`expert`, `random`), or
    a file: JSONL of `prompt`/`completion` or `messages`, or a saved dataset of episodes."""
    episodes: Count = 1000
    """How many texts are drawn where the data are no file."""
    updates: Count = 300
    """Steps of the optimiser."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the algorithm `sft`."""

    def __post_init__(self) -> None:
        check_fields(self, "sft")


@dataclass(frozen=True, kw_only=True)
class ComparisonsPart:
    """Which of two completions is better: out of a file, or said by a labeller who sees the gold with noise."""

    file: str | None = None
    """A preference file, JSONL with `prompt`, `chosen` and `rejected`; None samples the tuned model and labels."""
    labels: Count = 1000
    """Comparisons that are bought, those that are held out among them."""
    held_out: Part = 0.2
    """The part of all comparisons that nothing learns from, by which the reward model is judged."""
    temperature: Amount = 0.1
    """Noise of the labeller, in units of the gold: the first of two is called better with probability
    σ((gold₁ − gold₂)/temperature); 0 never errs."""
    flips: Annotated[float, Range(least=0, most=0.5)] = 0.0
    """Probability that a label is turned round after that."""
    length_preference: Annotated[float, Range(least=-1000, most=1000)] = 0.0
    """What a token more is worth to the labeller, in units of the gold."""

    def __post_init__(self) -> None:
        check_fields(self, "comparisons")
        if self.file is not None:
            for name in ("labels", "temperature", "flips", "length_preference"):
                if getattr(self, name) != _default(type(self), name):
                    raise TokenGymError(
                        f"comparisons: {name} is {getattr(self, name)!r} and file is {self.file!r}: a file has its "
                        "labels already; leave one of the two out"
                    )


@dataclass(frozen=True, kw_only=True)
class RewardModelPart:
    """What predicts the comparisons, and is paid for in the place of the gold: the proxy."""

    path: str | None = None
    """A saved reward model, or a sequence-classification folder of transformers; None fits one."""
    backbone: Any = None
    """Specification of the model under the score, or `sft` to begin from the tuned one; None takes the pipeline's
    model, with weights of its own."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the fit: `RewardModelConfig`."""

    def __post_init__(self) -> None:
        check_fields(self, "reward_model")
        if self.path is not None and (self.backbone is not None or self.config):
            raise TokenGymError(
                f"reward_model: path is {self.path!r}, and backbone or config say how to fit one; leave one of them out"
            )


@dataclass(frozen=True, kw_only=True)
class MethodPart:
    """One way to use the comparisons."""

    name: str
    """Name in tables, pictures and folders."""
    algorithm: str = ""
    """Registered name of the algorithm, or `best-of-n`; by default `name`."""
    tokens: Count | None = None
    """Agent tokens of a method that plays."""
    updates: Count | None = None
    """Updates of a method that learns from data alone."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the algorithm."""
    reward: Literal["proxy", "gold"] = "proxy"
    """What a method that plays is paid; gold shows what the labels cost. Without a reward model it is the gold."""
    n: tuple[Annotated[int, Range(least=1, most=4096)], ...] = ()
    """Of best-of-n: how many completions it draws, one value or several."""

    def __post_init__(self) -> None:
        noun = f"method {shown(self.name)}"
        check_fields(self, noun)
        if not _SAFE_NAME.fullmatch(self.name):
            raise TokenGymError(f"{noun} becomes a folder: use letters, digits, '.', '_', '+' and '-'")
        if self.name in RESERVED:
            raise TokenGymError(f"{noun} has the name of a stage ({', '.join(RESERVED)}); take another")
        if (self.registered_name == BEST_OF_N) != bool(self.n):
            what = "best-of-n needs n, such as [4, 16]" if not self.n else f"n={list(self.n)} is best-of-n's alone"
            raise TokenGymError(f"{noun}: {what}")
        if self.n:
            if self.tokens or self.updates or self.config:
                raise TokenGymError(f"{noun} learns nothing: it has n, and neither tokens, updates nor config")
            if sorted(set(self.n)) != list(self.n):
                raise TokenGymError(f"{noun}: n is {list(self.n)}; expected numbers that grow")
        elif (self.tokens is None) == (self.updates is None):
            raise TokenGymError(f"{noun} needs one budget: tokens where it plays, updates where it learns from data")

    @property
    def registered_name(self) -> str:
        """Name under which the algorithm is registered."""
        return self.algorithm or self.name

    @property
    def budget(self) -> int:
        """What may be spent: tokens or updates; 0 for a method that learns nothing."""
        return self.tokens or self.updates or 0


@dataclass(frozen=True, kw_only=True)
class JudgementPart:
    """How the gold is looked at, the same for every method."""

    episodes: Annotated[int, Range(least=2, most=10_000_000)] = 500
    """Completions of a judgement; more narrow its standard error."""
    points: Annotated[int, Range(least=1, most=1000)] = 8
    """Judgements while a method learns, evenly spaced over its budget, the last one at its end."""
    samples: Annotated[int, Range(least=0, most=100)] = 8
    """Completions of each method that the report shows."""
    seed: Seed = 1_000_003
    """Seed of the prompts and draws by which all are judged; it may not be one of the pipeline's."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the task that are others where it is judged, such as ``split: held_out``."""

    def __post_init__(self) -> None:
        check_fields(self, "judgement")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """From a model and a task to what each method made of the comparisons."""

    name: str
    """Name of the pipeline and of its folder below ``results/rlhf/``."""
    description: str = ""
    """What it asks, one paragraph for the report."""
    seeds: tuple[Seed, ...] = (0,)
    """Each seed goes through the whole pipeline, labels and all."""
    environment: EnvironmentPart = field(default_factory=EnvironmentPart)
    """The task."""
    model: Any = "gpt2-tiny"
    """The model that all begins from: a specification as `build_agent` takes it, such as a checkpoint folder."""
    dtype: Dtype = "float32"
    """What models compute with."""
    device: str = "cpu"
    """Where models live and learn."""
    sft: TuningPart | None = None
    """Supervised fine-tuning; None begins with the model as it is."""
    comparisons: ComparisonsPart | None = None
    """The comparisons; None has none, and methods then learn from the gold itself."""
    reward_model: RewardModelPart | None = None
    """The reward model; None has none."""
    methods: tuple[MethodPart, ...] = ()
    """The methods, in the order of tables."""
    judgement: JudgementPart = field(default_factory=JudgementPart)
    """How results are judged."""

    def __post_init__(self) -> None:
        check_fields(self, f"pipeline {shown(self.name)}")
        if not _SAFE_NAME.fullmatch(self.name):
            raise TokenGymError(
                f"the pipeline's name {self.name!r} becomes a folder: use letters, digits, '.', '_', '+' and '-'"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise TokenGymError(f"seeds is {list(self.seeds)}; expected at least one, each once")
        if self.judgement.seed in self.seeds:
            raise TokenGymError(
                f"{self.judgement.seed} is a seed of the pipeline and that of its judgement: choose another, so that "
                "what is judged was not trained on"
            )
        if not self.methods:
            raise TokenGymError("methods is empty; name at least one, such as `ppo: {tokens: 20000}`")
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise TokenGymError(f"two methods have one name: {names}")
        model = self.reward_model
        if model is not None and model.path is None and self.comparisons is None:
            raise TokenGymError(
                "reward_model is to be fitted, and there are no comparisons: add them, or give its path"
            )
        if model is not None and model.backbone == "sft" and self.sft is None:
            raise TokenGymError("reward_model: backbone is 'sft', and nothing is tuned: add sft, or name a model")

    def with_model(self, model: str | None) -> Pipeline:
        """Return the pipeline with another model, and its tokenizer where the task had the model's, or as it is."""
        if model is None:
            return self
        environment = self.environment
        if self.model is not None and environment.kwargs.get("tokenizer") == self.model:
            environment = dataclasses.replace(environment, kwargs={**environment.kwargs, "tokenizer": model})
        return dataclasses.replace(self, model=model, environment=environment)

    def with_device(self, device: str | None) -> Pipeline:
        """Return the pipeline on another device, or as it is."""
        return self if device is None else dataclasses.replace(self, device=device)

    def with_seeds(self, seeds: Sequence[int] | None) -> Pipeline:
        """Return the pipeline with other seeds, or as it is."""
        return self if seeds is None else dataclasses.replace(self, seeds=tuple(seeds))


def _default(kind: type[Any], name: str) -> Any:
    return next(item.default for item in dataclasses.fields(kind) if item.name == name)
