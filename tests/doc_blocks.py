"""Runs the code blocks of the documentation's pages: `python tests/doc_blocks.py FOLDER PAGE…`.

Each page is run in a fork of this process, in a folder of its own: Python blocks one after the other as one module
(but one that begins with `# name.py` is written down as that module), `yaml` blocks are written down as the studies
that they are, and commands are run with the command line's own `main`.
The only change is to budgets, which `docs/README.md` tells the reader: learning is cut short, evaluation plays few
episodes, studies run one seed.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN_MODEL = ROOT / "docs" / "guides" / "your-model.md"
OWN_TASKS = ROOT / "docs" / "concepts" / "your-own-task.md"
TOKENS, EPISODES = 300, 10
LIMITS = {"--total-tokens": TOKENS, "--total-updates": TOKENS, "--save-every": TOKENS}
LIMITS |= {"--episodes": EPISODES, "--budget": 60}
PYTHON, CONSOLE, DATA, TEXT = {"python"}, {"bash", "console"}, {"yaml", "json"}, {"", "text", "ini", "bibtex"}


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, code and first line of every fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [(one[1].strip(), one[2], text.count("\n", 0, one.start()) + 2) for one in found]


def commands(code: str) -> list[list[str]]:
    """The command lines of a block, as words; comments and prompts are left out."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [line for line in words if line]


def is_command(words: list[str]) -> bool:
    """Whether a line of a block without a language is a command and not output."""
    return words[0] in ("tokengym", "make", "pip") or words[:2] == ["python", "-m"]


def shortened(words: list[str]) -> list[str]:
    """A command of tokengym with budgets that take seconds."""
    words = list(words)
    for flag, most in LIMITS.items():
        for place in (i for i, word in enumerate(words) if word == flag):
            words[place + 1] = str(min(int(words[place + 1]), most))
    trains = words[0] == "train" and len(words) > 2 and "--help" not in words
    if trains and not {"--total-tokens", "--total-updates"} & set(words):
        words += ["--total-tokens", str(TOKENS)]
    if (trains or words[0] == "evaluate") and "--episodes" not in words:
        words += ["--episodes", str(EPISODES)]
    if words[0] == "rlhf" and not {"--help", "--list"} & set(words):
        words[1] = _shortened_pipeline(words[1])
    if words[0] == "compare" and not {"--help", "--list"} & set(words):
        for flag, value in (("--budget", "60"), ("--seeds", "0"), ("--workers", "1")):
            words += [] if flag in words else [flag, value]
    return words


def _shortened_pipeline(name: str) -> str:
    """Write down a pipeline of the same name with budgets that take seconds, and return its file."""
    from tokengym.experiments.rlhf import find_pipeline
    from tokengym.experiments.study import read_yaml, write_yaml

    content = read_yaml(find_pipeline(name).read_text(encoding="utf-8"), name)
    content["judgement"] = {**content.get("judgement", {}), "episodes": EPISODES, "points": 1, "samples": 1}
    if content.get("sft"):
        content["sft"] |= {"updates": 2, "episodes": 20}
    if "labels" in (content.get("comparisons") or {}):
        content["comparisons"]["labels"] = 20
    for method in content["methods"].values():
        method |= {unit: most for unit, most in (("tokens", TOKENS), ("updates", 2)) if unit in method}
    path = Path(f"short-{content['name']}.yaml")
    path.write_text(write_yaml(content), encoding="utf-8")
    return str(path)


def run_page(page: Path) -> list[str]:
    """Run a page's blocks in the present folder, and return what failed."""
    failures = []
    sys.path.insert(0, os.getcwd())
    name = "my_tasks" if page == OWN_TASKS else "my_page"
    module = sys.modules[name] = types.ModuleType(name)
    if page != OWN_TASKS:
        own = (code for language, code, _ in blocks(OWN_TASKS) if language == "python" and not code.startswith(">>>"))
        Path("my_tasks.py").write_text("\n\n".join(own), encoding="utf-8")
    if page == ROOT / "README.md":  # its command is the guide's, which begins by making what the command names
        for _, code, _ in blocks(OWN_MODEL)[:3]:
            _run_python(code, OWN_MODEL, 1, types.ModuleType("guide"))
    for language, code, line in blocks(page):
        try:
            file = re.match(r"# (\w+\.py)\n", code)
            if language in PYTHON and file is not None:  # a module, which is written down for whoever imports it
                Path(file[1]).write_text(code, encoding="utf-8")
            elif language in PYTHON and not code.startswith(">>>"):
                _run_python(code, page, line, module)
            elif language == "yaml":
                _write_study(code)
            elif language == "json":
                json.loads(code)
            elif language in CONSOLE or language in TEXT:
                for words in commands(code) if language in CONSOLE else _commands_in_text(code):
                    _run(words)
            elif language not in PYTHON:
                raise ValueError(f"nothing runs blocks of the language {language!r}")
        except BaseException:
            failures.append(f"{page.relative_to(ROOT)}, line {line}:\n{traceback.format_exc(limit=-3)}")
    return failures


def _run_python(code: str, page: Path, line: int, module: types.ModuleType) -> None:
    """Run a block as a part of a module; one that begins with a comment `# name.py` is that file, too."""
    name = re.match(r"# (\w+\.py)\n", code)
    if name:
        Path(name[1]).write_text(code, encoding="utf-8")
    exec(compile("\n" * (line - 1) + code, str(page), "exec"), module.__dict__)


def _commands_in_text(code: str) -> list[list[str]]:
    first = code.split(maxsplit=2)
    return [words for words in commands(code) if is_command(words)] if first and is_command(first) else []


def _write_study(code: str) -> None:
    import yaml

    from tokengym.experiments import load_study

    content = yaml.safe_load(code)
    if isinstance(content, dict) and "methods" in content:
        Path(f"{content['name']}.yaml").write_text(code, encoding="utf-8")
    if isinstance(content, dict) and "environments" in content and "algorithms" in content:
        path = Path(f"{content['name']}.yaml")
        path.write_text(code, encoding="utf-8")
        load_study(path)


def _run(words: list[str]) -> None:
    from importlib.util import find_spec

    from tokengym.experiments.commands.main import main

    if words[:1] == ["tokengym"] or words[:3] == ["python", "-m", "tokengym"]:
        words = shortened(words[1:] if words[0] == "tokengym" else words[3:])
        sys.stdin = io.StringIO("")
        code = main(words)
        if code != 0:
            raise RuntimeError(f"`tokengym {shlex.join(words)}` left with the exit code {code}")
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        wanted = [word for word in words[1:] if "=" not in word]
        if not set(wanted) <= set(targets):
            raise ValueError(f"the Makefile has no target among {wanted}")
    elif "-m" in words and words[words.index("-m") + 1] != "pip":
        if find_spec(words[words.index("-m") + 1]) is None:
            raise ValueError(f"there is no module {words[words.index('-m') + 1]!r}")
    elif "pip" in words:
        extras = re.findall(r"\[([\w,-]+)\]", " ".join(words))
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        missing = [extra for group in extras for extra in group.split(",") if f"\n{extra} = [" not in text]
        if missing:
            raise ValueError(f"there are no extras {missing}")
    elif words[0] not in ("cd", "export", "git"):
        raise ValueError(f"nothing runs the command {shlex.join(words)!r}")


def _cut_learning() -> None:
    from tokengym.algorithms import base
    from tokengym.algorithms.sb3 import algorithm as sb3

    for kind in (base.Algorithm, sb3.SB3Algorithm):
        learn = kind.learn

        def cut(self, total_timesteps, *rest, _learn=learn, **settings):
            return _learn(self, min(total_timesteps, max(TOKENS, self.spent)), *rest, **settings)

        kind.learn = cut


def main(folder: Path, pages: list[Path]) -> None:
    """Run pages below a folder, each in a fork of its own, and print one JSON object: failures by page."""
    import warnings

    import torch

    import tokengym.algorithms.sb3.algorithm  # imported once, before the forks
    import tokengym.experiments.commands.main  # noqa: F401

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _cut_learning()
    for number, page in enumerate(pages):
        place = folder / f"page-{number}"
        place.mkdir(parents=True)
        if os.fork() == 0:
            os.chdir(place)
            with open("output.txt", "w", encoding="utf-8") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                try:
                    failures = run_page(page)
                except BaseException:
                    failures = [traceback.format_exc()]
                sys.stdout.flush()
            Path("failures.json").write_text(json.dumps(failures), encoding="utf-8")
            os._exit(0)
        os.wait()
    found = {}
    for number, page in enumerate(pages):
        told = folder / f"page-{number}" / "failures.json"
        failures = json.loads(told.read_text(encoding="utf-8")) if told.exists() else ["the process ended"]
        output = (folder / f"page-{number}" / "output.txt").read_text(encoding="utf-8")
        found[str(page)] = failures and [*failures, output[-2000:]]
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(page) for page in sys.argv[2:]])
