"""A study: environments × algorithms × seeds with equal token budgets, as frozen dataclasses.

Every algorithm has one configuration for all environments; what differs on an environment stands under `overrides` and
is printed in the report. Budgets belong to environments, so that all algorithms have the same; only an algorithm that
plays nothing has its own, in updates.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ...agents.specs import Dtype
from ...algorithms import ALGORITHMS
from ...envs import TokenGymError
from ...envs.checking import Count, Positive, Range, Seed, check_fields, checked, from_mapping, shown, unknown_name
from .mappings import plain_value

MOST_SEEDS = 10_000
"""The most seeds of a study, beyond which a slip is likelier than a wish."""

Episodes = Annotated[int, Range(least=1, most=100_000_000)]
"""How many are played."""
Budget = Annotated[int, Range(least=0, most=10**15)]
"""Agent tokens of a run; 0 stands for those of the study."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """How agents are evaluated, the same for every run of a study."""

    episodes: Episodes = 1000
    """Episodes of the final evaluation where the exact value is out of reach; more narrow its standard error."""
    training_episodes: Episodes = 200
    """Episodes of each evaluation during training where the exact value is out of reach."""
    points: Annotated[int, Range(least=0, most=1_000_000)] = 10
    """Evaluations during training, evenly spaced over the tokens; one more is made before the first token. 0 leaves
    the final one alone."""
    seed: Seed = 1_000_003
    """Seed of the evaluation starts; it may not be a training seed."""
    exact_limit: Annotated[int, Range(least=0, most=10**15)] = 20_000
    """Exact evaluation is used where it needs at most so many prefixes; beyond it Monte-Carlo is."""
    samples: Annotated[int, Range(least=0, most=10_000)] = 4
    """Episodes kept as text after training, shown in the report."""

    def __post_init__(self) -> None:
        check_fields(self, "evaluation")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """One environment of a study."""

    name: str
    """Name in tables and folders."""
    id: str = ""
    """Registered id; by default ``tokengym/<name>-v0``."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the task."""
    agent: Any = "mlp-tiny"
    """Agent specification, as `agents.build_agent` takes it."""
    total_tokens: Budget = 0
    """Agent tokens of each run; 0 stands for the study's budget."""
    beta: Positive | None = None
    """Coefficient of the KL to the uniform policy; where given, the score is the exact regularised value."""
    score: Literal["greedy", "sampled"] | None = None
    """Which final evaluation gives the score; greedy by default, sampled where `beta` is given."""
    random_return: float | None = None
    """Return of uniform random play, where the task neither declares it nor can be solved exactly."""
    optimal_return: float | None = None
    """Optimal return, where the task neither declares it nor can be solved exactly."""

    def __post_init__(self) -> None:
        _make_plain(self, f"environment {shown(self.name)}", "kwargs", "agent")
        check_fields(self, f"environment {shown(self.name)}")
        _safe("environment", self.name)

    @property
    def task_id(self) -> str:
        """Registered id."""
        return self.id or f"tokengym/{self.name}-v0"

    @property
    def score_by(self) -> Literal["greedy", "sampled"]:
        """Which final evaluation gives the score."""
        return self.score or ("greedy" if self.beta is None else "sampled")


@dataclass(frozen=True, kw_only=True)
class AlgorithmSpec:
    """One algorithm of a study with its one configuration."""

    name: str
    """Name in tables and folders."""
    algorithm: str = ""
    """Registered name; by default `name`."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration on all environments."""
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What differs on an environment, by the environment's name; the report lists it."""
    agent: Any = None
    """Agent specification on all environments, instead of each environment's own."""
    environments: tuple[str, ...] | None = None
    """Environments that it runs on; all by default. A cell left out is shown as not run."""
    total_updates: Budget = 0
    """Updates of each run of an algorithm that plays nothing, such as SFT, and whose budget is therefore no tokens."""
    dtype: Dtype | None = None
    """What its agents compute with, instead of the study's dtype."""
    reference: bool = False
    """True for an outside implementation, drawn with dashed lines."""

    def __post_init__(self) -> None:
        _make_plain(self, f"algorithm {shown(self.name)}", "config", "overrides", "agent")
        check_fields(self, f"algorithm {shown(self.name)}")
        _safe("algorithm", self.name)
        for name in self.environments or ():
            if self.environments.count(name) > 1:  # type: ignore[union-attr]
                raise TokenGymError(f"algorithm {self.name!r} names the environment {name!r} twice; name it once")

    @property
    def registered_name(self) -> str:
        """Name under which the algorithm is registered."""
        return self.algorithm or self.name


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides one run; its hash tells whether a finished run is still the one asked for."""

    environment: str
    """Name of the environment in the study."""
    env_id: str
    """Registered id."""
    env_kwargs: dict[str, Any]
    """Keyword arguments of the task."""
    label: str
    """Name of the algorithm in the study."""
    algorithm: str
    """Registered name of the algorithm."""
    config: dict[str, Any]
    """Configuration with the overrides for this environment applied."""
    agent: Any
    """Agent specification."""
    seed: Seed
    """Training seed."""
    total_tokens: Count
    """Budget of the run: agent tokens, or updates of an algorithm that plays nothing (see `budget`)."""
    beta: float | None
    """Coefficient of the KL in the score, if any."""
    score_by: Literal["greedy", "sampled"]
    """Which final evaluation gives the score."""
    random_return: float | None
    """Declared return of random play, if any."""
    optimal_return: float | None
    """Declared optimal return, if any."""
    evaluation: EvaluationSpec
    """Evaluation protocol."""
    dtype: Dtype = "float32"
    """What the agent computes with, which changes results; the device, which is the machine's, is no part of a run."""

    def __post_init__(self) -> None:
        _make_plain(self, f"run {self.name!r}", "env_kwargs", "config", "agent")
        check_fields(self, f"run {self.name!r}")

    @property
    def budget(self) -> Literal["tokens", "updates"]:
        """What the budget is in."""
        return budget_of(self.algorithm)

    @property
    def name(self) -> str:
        """``"Copy/ppo/seed-0"``: its folder below the study's runs, and its name in messages."""
        return f"{self.environment}/{self.label}/seed-{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary from which `from_dict` rebuilds it.

        float32 is left out, as in the files of versions that knew no other, whose hashes stay what they were.
        """
        values = dataclasses.asdict(self)
        if self.dtype == "float32":
            del values["dtype"]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSpec:
        """Rebuild a run from `to_dict`.

        Raises:
            TokenGymError: If a key is unknown or missing.
        """
        values = dict(data)
        values["evaluation"] = from_mapping(EvaluationSpec, "evaluation", values.get("evaluation", {}))
        return from_mapping(cls, "run", values)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, first 16 hex digits."""
        return run_hash(self.to_dict())

    def completed(self) -> RunSpec:
        """Return the run with every hyperparameter of its algorithm, defaults too, which may change with a version.

        What cannot be completed, as of a hyperparameter that is not known here, is returned as it is, and so is the run
        of an algorithm from elsewhere: a run's folder may be a stranger's, and nothing that it names is imported.
        """
        if self.algorithm not in ALGORITHMS.built_in:
            return self
        try:
            config = ALGORITHMS.config(self.algorithm).restored(self.config).to_dict()
        except TokenGymError:
            return self
        return dataclasses.replace(self, config=config)

    def same_as(self, other: RunSpec) -> bool:
        """Return whether it is the same run: one that says of a hyperparameter only that it has its default is."""
        return self.completed() == other.completed()


def budget_of(algorithm: str) -> Literal["tokens", "updates"]:
    """Return what the budget of an algorithm is in; of one from elsewhere, which nothing here imports, tokens."""
    return ALGORITHMS.config(algorithm).budget if algorithm in ALGORITHMS.built_in else "tokens"


def run_hash(values: Mapping[str, Any]) -> str:
    """Return the hash of what `RunSpec.to_dict` returned, by this or an earlier version."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def reference_key(spec: RunSpec) -> str:
    """Return what random and optimal return of a run depend on, as one text: what has the same is solved once."""
    parts = [spec.env_id, spec.env_kwargs, spec.beta, spec.random_return, spec.optimal_return]
    return json.dumps(parts, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Environments × algorithms × seeds with equal budgets: of tokens, and of updates for those that play nothing."""

    name: str
    """Name of the study and of its folder below ``results/``."""
    description: str = ""
    """What the study asks, one paragraph for the report."""
    total_tokens: Budget = 0
    """Agent tokens of each run; an environment may set its own, for all algorithms alike."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Training seeds, the same for every cell."""
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    """Evaluation protocol."""
    environments: tuple[EnvironmentSpec, ...] = ()
    """Environments, in the order of the tables."""
    algorithms: tuple[AlgorithmSpec, ...] = ()
    """Algorithms, in the order of the tables."""
    device: str = "cpu"
    """Where all agents live and learn; a study goes on on another."""
    dtype: Dtype = "float32"
    """What agents compute with: float32, bfloat16 or float64."""
    save_every: Count | None = None
    """Agent tokens between two checkpoints of a run, from the newest of which an interrupted run goes on; by default a
    tenth of its tokens and one every five minutes, but none within five seconds of the one before."""
    stall_timeout: Annotated[float, Range(above=0, infinite=True)] = 900.0
    """Seconds without a sign of life after which a run's process is ended and the run recorded as failed."""

    def __post_init__(self) -> None:
        check_fields(self, f"study {shown(self.name)}")
        _safe("study", self.name)
        if not self.environments or not self.algorithms or not self.seeds:
            raise TokenGymError(f"study {self.name!r} needs at least one environment, one algorithm and one seed")
        if len(self.seeds) > MOST_SEEDS:
            raise TokenGymError(f"study {self.name!r} has {len(self.seeds):,} seeds; give at most {MOST_SEEDS:,}")
        if len(set(self.seeds)) != len(self.seeds):
            raise TokenGymError(f"study {self.name!r} repeats a seed: {list(self.seeds)}")
        if self.evaluation.seed in self.seeds:
            raise TokenGymError(
                f"study {self.name!r}: {self.evaluation.seed} is a training seed and the evaluation seed; "
                "evaluation starts must be apart from training, choose another evaluation seed"
            )
        names = [environment.name for environment in self.environments]
        for environment in self.environments:
            playing = [one for one in self.algorithms if self.covers(one, environment) and not one.total_updates]
            if playing and self.budget(environment) <= 0:
                raise TokenGymError(
                    f"environment {environment.name!r} has no budget; set total_tokens of the study or of it"
                )
        for algorithm in self.algorithms:
            if algorithm.environments is not None and not algorithm.environments:
                raise TokenGymError(
                    f"algorithm {algorithm.name!r} has no environment to run on; name some, or leave `environments` out"
                )
            for wanted in (*algorithm.overrides, *(algorithm.environments or ())):
                if wanted not in names:
                    raise unknown_name(f"environment of algorithm {algorithm.name!r}", wanted, names)
        for environment in self.environments:
            if not any(self.covers(algorithm, environment) for algorithm in self.algorithms):
                raise TokenGymError(f"no algorithm runs on environment {environment.name!r}; leave it out, or add one")

    def budget(self, environment: EnvironmentSpec) -> int:
        """Return the agent tokens of each run on an environment."""
        return environment.total_tokens or self.total_tokens

    def covers(self, algorithm: AlgorithmSpec, environment: EnvironmentSpec) -> bool:
        """Return whether the study runs the algorithm on the environment."""
        return algorithm.environments is None or environment.name in algorithm.environments

    def runs(self) -> list[RunSpec]:
        """Return every run, all cells of the first seed first, so that an interrupted study has whole seeds."""
        return [
            RunSpec(
                environment=environment.name,
                env_id=environment.task_id,
                env_kwargs=environment.kwargs,
                label=algorithm.name,
                algorithm=algorithm.registered_name,
                config={**algorithm.config, **algorithm.overrides.get(environment.name, {})},
                agent=environment.agent if algorithm.agent is None else algorithm.agent,
                seed=seed,
                total_tokens=algorithm.total_updates or self.budget(environment),
                beta=environment.beta,
                score_by=environment.score_by,
                random_return=environment.random_return,
                optimal_return=environment.optimal_return,
                evaluation=self.evaluation,
                dtype=algorithm.dtype or self.dtype,
            )
            for seed in self.seeds
            for environment in self.environments
            for algorithm in self.algorithms
            if self.covers(algorithm, environment)
        ]

    @checked
    def with_changes(self, *, seeds: Sequence[Seed] | None = None, total_tokens: Count | None = None) -> Study:
        """Return the study with other seeds, or with one budget for every environment."""
        study = self
        if seeds is not None:
            study = dataclasses.replace(study, seeds=tuple(seeds))
        if total_tokens is not None:
            same = tuple(dataclasses.replace(environment, total_tokens=0) for environment in study.environments)
            study = dataclasses.replace(study, total_tokens=total_tokens, environments=same)
        return study


def _make_plain(spec: Any, noun: str, *names: str) -> None:
    """Bring what decides a run into the types that survive its file, so that its hash does."""
    for name in names:
        object.__setattr__(spec, name, plain_value(f"{noun}: {name}", getattr(spec, name)))


def _safe(noun: str, name: str) -> None:
    if not _SAFE_NAME.fullmatch(name):
        raise TokenGymError(
            f"the {noun} name {name!r} becomes a folder: use letters, digits, '.', '_', '+' and '-', "
            "beginning with a letter or digit"
        )
