"""The page on whether the suite can be learned: one picture and one table a family, from a finished study.

`python -m tokengym.experiments.suite.learning experiments/studies/suite.yaml` reads the study's run folders and writes
`docs/environments/learning.md` with its pictures. An algorithm of the study stands for a family: it has one
configuration and runs on that family's environments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...envs import make_task
from ...envs.scores import SuiteScores, suite_scores
from ..console import told_in_a_line
from ..report import RunResult, StudyResults, cell_interval, collect, learning_curves, style, subset
from ..statistics import Interval, described, summarise
from ..study import EnvironmentSpec, load_study

PAGE = Path("docs") / "environments" / "learning.md"
NOTES = PAGE.parent / "intro" / "learning.md"
"""What is added by hand."""
IMAGES = Path("docs") / "images" / "learning"
CLEAR = 0.1
"""A cell clearly beats random play where the whole interval or range of its normalised score lies this much above the
better of random play and the policy before training: legal tokens alone beat random play without learning."""
SOLVED = 0.9
"""A cell is solved where its score is at least this."""


@dataclass(frozen=True)
class Row:
    """One environment of the page.

    Attributes:
        environment: Its name in the study.
        isolates: The ability that it asks for.
        tokens: Agent tokens of a run.
        random_return: Expected return of random play.
        optimal_return: Highest expected return, or what stands for it.
        is_expert: Whether that is what the task's expert gets, because the optimum is not known.
        greedy: Final return of greedy play, mean over seeds.
        sampled: The same of play that samples from the policy, which is what PPO improves.
        untrained: Normalised score of sampled play before training, mean over seeds.
        score: What the normalised scores of sampled play say together.
        scores: The same scores, one a seed.
        greedy_score: The same of greedy play, the estimate alone.
        value_loss: The critic's loss in the last update, mean over seeds, where every policy earns the same and only
            the critic has something to learn; else None.
    """

    environment: str
    isolates: str
    tokens: int
    random_return: float
    optimal_return: float
    is_expert: bool
    greedy: float
    sampled: float
    untrained: float
    score: Interval
    scores: tuple[float, ...]
    greedy_score: float
    value_loss: float | None = None

    @property
    def verdict(self) -> str:
        """What the scores say: solved, better than random, or which ability was not learned."""
        if self.value_loss is not None:
            return f"every policy earns the same; the critic's loss fell to {self.value_loss:.1g}"
        if self.score.estimate >= SOLVED:
            return "solved"
        if self.greedy_score >= SOLVED:
            return "solved by greedy play"
        least = max(self.untrained, 0.0) + CLEAR
        if self.score.low is not None and self.score.low > least:
            return "better than random"
        above = sum(score > least for score in self.scores)
        when = f"was learned on {above} of {len(self.scores)} seeds only" if above else "was not learned"
        return f"**does not clearly beat random**: {self.isolates} {when}"


def rows(results: StudyResults, family: str) -> list[Row]:
    """Return the table of one family, in the study's order; environments without a finished run are left out."""
    table = []
    for environment in results.study.environments:
        score = cell_interval(results, environment.name, family)
        between = results.references(environment.name)
        if score is None or between is None:
            continue
        runs = [run for run in results.cell(environment.name, family) if run.status == "done"]
        task = make_task(environment.id or environment.name, **environment.kwargs)
        known = _listed(environment)
        table.append(
            Row(
                environment=environment.name,
                isolates=task.isolates,
                tokens=results.study.budget(environment),
                random_return=between["random"],
                optimal_return=between["optimal"],
                is_expert=known is not None and known.optimal is None,
                greedy=_mean_of(run.summary["greedy"]["value"] for run in runs),
                sampled=_mean_of(run.summary["sampled"]["value"] for run in runs),
                untrained=_mean_of(run.curve[0]["score"] for run in runs if run.curve),
                score=score,
                scores=tuple(results.scores(environment.name, family).tolist()),
                greedy_score=summarise(np.array([run.summary["greedy"]["score"] for run in runs])).estimate,
                value_loss=_mean_of(_last_value_loss(run) for run in runs) if _all_earn_the_same(known) else None,
            )
        )
    return table


def with_true_lines(results: StudyResults) -> StudyResults:
    """Return the results with the suite's returns where every policy earns the same.

    Such a score cannot be normalised, so a study has to name another pair of returns for it.
    """
    listed = {environment.name: _listed(environment) for environment in results.study.environments}
    runs = []
    for run in results.runs:
        known = listed[run.spec.environment]
        if known is not None and _all_earn_the_same(known) and run.status == "done":
            true = {"random": known.random, "optimal": known.optimal}
            run = replace(run, summary={**run.summary, "references": true})
        runs.append(run)
    return replace(results, runs=tuple(runs))


def page(results: StudyResults, command: str, notes: str = "") -> str:
    """Return the page as Markdown; its pictures are those that `save_pictures` draws.

    Args:
        results: The study's.
        command: What writes the page.
        notes: What was added by hand, below the introduction.
    """
    study = results.study
    lines = [
        "# Can it be learned?",
        "",
        " ".join(study.description.split()),
        "",
        f"Written by `{command}` from the runs of `tokengym compare experiments/studies/{study.name}.yaml`: "
        f"{len(study.seeds)} seeds ({study.seeds[0]} to {study.seeds[-1]}), on which nothing was tuned. Scores are "
        "normalised (0 is random play, 1 the optimum), of play that samples from the policy, as PPO trains it. "
        f"{described(results.counts())} Where the optimum is not known, what the task's own expert gets stands for it "
        "(≥).",
        "",
        f"An environment counts as solved from a score of {SOLVED} on, of sampled or of greedy play, and as clearly "
        f"better than random where the whole interval or range lies more than {CLEAR} above random play and above the "
        "policy before training, which beats random play where it keeps to legal tokens. In the pictures the dotted "
        "line is random play and the solid one the optimum, or what stands for it.",
        *(["", notes.strip()] if notes.strip() else []),
    ]
    for family in results.algorithms:
        table = rows(results, family)
        if not table:
            continue
        name = family.removeprefix("ppo-")
        lines += [
            "",
            f"## {name.capitalize()}",
            "",
            f"![Learning curves of PPO on the {name} environments, with random and optimal return as lines]"
            f"(../images/learning/{name}.png)",
            "",
            f"Configuration: {_told(results, family)}.",
            "",
            "| environment | agent tokens | random | optimal | PPO samples | PPO greedy | score | verdict |",
            "|---|--:|--:|--:|--:|--:|--:|---|",
            *(_line(row) for row in table),
        ]
    failed = [run.spec.name for run in results.failures()]
    if failed:
        lines += ["", f"Failed runs: {', '.join(failed)}."]
    return "\n".join(lines) + "\n"


def save_pictures(results: StudyResults, folder: Path) -> list[Path]:
    """Draw one PNG a family and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for family in results.algorithms:
        names = [row.environment for row in rows(results, family)]
        if not names:
            continue
        path = folder / f"{family.removeprefix('ppo-')}.png"
        with style():
            figure = learning_curves(subset(results, names, [family]))
            if figure is not None:
                figure.savefig(path, metadata={"Software": None}, dpi=90)
                written.append(path)
    return written


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Write the page and its pictures; 1 where runs are missing or failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="the study's file")
    parser.add_argument("--out", type=Path, help="its results; by default results/<study>")
    options = parser.parse_args(arguments)
    study = load_study(options.study)
    results = with_true_lines(collect(study, options.out or Path("results") / study.name))
    written = save_pictures(results, IMAGES)
    notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else ""
    command = f"python -m tokengym.experiments.suite.learning {options.study}"
    PAGE.write_text(page(results, command, notes), encoding="utf-8")
    print(f"written {PAGE} and {len(written)} pictures in {IMAGES}")
    return 1 if results.failures() or results.missing() else 0


def _listed(environment: EnvironmentSpec) -> SuiteScores | None:
    """Return what the suite lists for an environment of the study, None with arguments of its own."""
    name = (environment.id or environment.name).removeprefix("tokengym/").removesuffix("-v0")
    return None if environment.kwargs else suite_scores().get(name)


def _all_earn_the_same(known: SuiteScores | None) -> bool:
    return known is not None and known.random is not None and known.random == known.optimal


def _last_value_loss(run: RunResult) -> float:
    return next((record["value/loss"] for record in reversed(run.metrics) if "value/loss" in record), float("nan"))


def _line(row: Row) -> str:
    score = row.score.text().replace("-", "−")
    if row.value_loss is not None:
        score = "–"
    random, optimal, sampled, greedy = (
        f"{value + 0.0:.4g}".replace("-", "−")
        for value in (row.random_return, row.optimal_return, row.sampled, row.greedy)
    )
    bound = "≥ " if row.is_expert else ""
    numbers = f"{random} | {bound}{optimal} | {sampled} | {greedy}"
    return f"| {row.environment} | {row.tokens:,} | {numbers} | {score} | {row.verdict} |"


def _told(results: StudyResults, family: str) -> str:
    """Return the settings of a family that are not PPO's defaults."""
    (spec,) = (spec for spec in results.study.algorithms if spec.name == family)
    return ", ".join(f"`{name}: {json.dumps(value)}`" for name, value in spec.config.items()) or "PPO's defaults"


def _mean_of(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    sys.exit(main())
