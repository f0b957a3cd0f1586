"""Writes what is generated of the suite's documentation: `python -m tokengym.experiments.suite.pages`.

It solves every installed environment and writes, into a checkout, the scores, the example episodes, the pictures, one
page a family and the table of the suite. What was not computed (an optional dependency is missing) stays as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...envs import TASKS, Picture, TokenGymError, make_task
from ...envs.checking import unknown_name
from ...envs.scores import SCORES_FILE, SuiteScores
from .markdown import Pages
from .scores import Example, example_of, frames_of, scores_of, solved, with_measured

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "environments"
PICTURES = ROOT / "docs" / "images" / "environments"
EXAMPLES = PAGES / "examples.json"
_HEIGHT, _SMALLEST, _LARGEST, _GAP = 180, 14, 40, 12
"""Sizes in pixels: about the height of a grid, bounds for the side of a field, space between frames."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tokengym.experiments.suite.pages", description=__doc__)
    parser.add_argument("names", nargs="*", help="compute these environments only; all by default")
    parser.add_argument("--missing", action="store_true", help="compute only what has no scores yet")
    parser.add_argument("--pages", action="store_true", help="compute nothing, write the pages only")
    options = parser.parse_args(arguments)
    if not PAGES.is_dir():
        print(f"error: there is no {PAGES}: run this in a checkout of tokengym", file=sys.stderr)
        return 2
    scores, examples = read_scores(), read_examples()
    names = [] if options.pages else options.names or list(TASKS)
    for name in names:
        if name not in TASKS:
            print(f"error: {unknown_name('environment', name, TASKS)}", file=sys.stderr)
            return 2
        if TASKS[name].missing or (options.missing and name in scores):
            continue
        print(name, flush=True)
        scores[name], examples[name] = compute(name)
    write_json(SCORES_FILE, {name: compact(asdict(scores[name])) for name in TASKS if name in scores})
    write_json(EXAMPLES, {name: asdict(examples[name]) for name in TASKS if name in examples})
    for name, text in Pages(PAGES / "intro", PICTURES, scores, examples).all().items():
        (PAGES / name).write_text(text, encoding="utf-8")
    return 0


def compute(name: str) -> tuple[SuiteScores, Example]:
    """Solve an environment and play its example; write its picture, or remove one that it has no more."""
    task = make_task(name)
    solution = solved(task)
    example = example_of(task, solution)
    path = PICTURES / f"{name}.png"
    frames = frames_of(task, example.actions) if TASKS[name].variant_of is None else []
    if frames:
        save_picture(strip(frames), path)
    else:
        path.unlink(missing_ok=True)
    return with_measured(scores_of(task, solution), task), example


def read_scores() -> dict[str, SuiteScores]:
    """Return the scores as they were last written; {} where they never were."""
    return {name: SuiteScores(**entry) for name, entry in _read_json(SCORES_FILE).items() if name in TASKS}


def read_examples() -> dict[str, Example]:
    """Return the examples as they were last written; {} where they never were."""
    found = {}
    for name, entry in _read_json(EXAMPLES).items():
        segments = tuple((speaker, text) for speaker, text in entry["segments"])
        found[name] = Example(**entry | {"actions": tuple(entry["actions"]), "segments": segments})
    return found


def compact(entry: Mapping[str, object]) -> dict[str, object]:
    """Return an entry without what is None, and numbers with nine digits."""
    return {
        key: float(f"{value:.9g}") + 0.0 if isinstance(value, float) else value
        for key, value in entry.items()
        if value is not None
    }


def write_json(path: Path, entries: Mapping[str, Mapping[str, object]]) -> None:
    """Write one entry a line, so that a change of one environment is a change of one line."""
    lines = (f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in entries.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def strip(frames: Iterable[Picture]) -> np.ndarray:
    """Return frames side by side, or below one another where they are wide: uint8 of shape (height, width, 3)."""
    frames = list(frames)
    rows, columns = (max(frame.shape[axis] for frame in frames) for axis in (0, 1))
    size = min(max(_HEIGHT // rows, _SMALLEST), _LARGEST)
    drawn = [frame.to_rgb(size) for frame in frames]
    height, width = (max(image.shape[axis] for image in drawn) for axis in (0, 1))
    axis = 0 if columns > 3 * rows else 1
    space = np.full((_GAP, width, 3) if axis == 0 else (height, _GAP, 3), 255, np.uint8)
    parts = []
    for image in drawn:
        frame = np.full((height, width, 3), 255, np.uint8)
        frame[: image.shape[0], : image.shape[1]] = image
        parts += [frame, space]
    return np.concatenate(parts[:-1], axis=axis)


def save_picture(pixels: np.ndarray, path: Path) -> None:
    """Write pixels, uint8 (height, width, 3), as a small PNG with a palette."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    image.save(path, optimize=True)


def _read_json(path: Path) -> dict[str, dict]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise TokenGymError(f"{path} is not valid JSON: {error}; remove it and write it anew") from error


if __name__ == "__main__":
    sys.exit(main())
