"""`docs/audit.md`: what every loss optimises, a row each, from `docs/audit.json`, both made by one command.

``python -m tokengym.experiments.audit.pages`` audits everything anew; with names, or parts of names, only those, and
keeps what was found of the others.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..broken import BROKEN, RIGHT
from ..trl import available
from .our_rows import OURS, label, our_row
from .rows import audited_row
from .trl_rows import TRL

Row = dict[str, Any]
Maker = Callable[[], Row]
PARTS = {
    "TRL": "TRL 1.16, its own code",
    "tokengym": "Ours",
    "right": "As people write them: right",
    "broken": "As people write them: broken in one place",
}
"""The page's tables, by the origin of their rows."""


_COLUMNS = (
    *("loss", "G, level", "held against", "is it?", "cosine", "scale", "bias", "stale cosine", "stale bias"),
    *("scale at B = 1, 2, 4", "where it ends", "counterexample"),
)


def makers() -> dict[tuple[str, str], Maker]:
    """What audits each row, by (origin, name), in the order of the page."""
    found: dict[tuple[str, str], Maker] = {}
    for entry in TRL:
        found["TRL", entry.name] = lambda entry=entry: audited_row(entry.name, "TRL", entry.make, entry.claim)
    for name, options in OURS:
        found["tokengym", label(name, options)] = lambda name=name, options=options: our_row(name, options)
    for origin, specimens in (("right", RIGHT), ("broken", BROKEN)):
        for one in specimens:
            found[origin, one.name] = lambda one=one, origin=origin: {
                **audited_row(one.name, origin, lambda: one.loss, one.claim),
                "about": one.about,
            }
    return found


def written(rows: Iterable[Row]) -> str:
    """The page."""
    rows = list(rows)
    parts = [_INTRODUCTION.format(count=len(rows))]
    for origin, title in PARTS.items():
        own = [row for row in rows if row["origin"] == origin]
        if own:
            parts += [f"## {title}\n", *_NOTES.get(origin, ()), *_table(own), ""]
    parts += [_FINDINGS]
    parts += ["## Counterexamples\n", _EXAMPLES, *_examples(rows)]
    return "\n".join(parts).rstrip() + "\n"


def table_line(row: Row) -> str:
    """A row of the page's tables."""
    name = f"`{row['name']}`" + (f": {row['about']}" if row.get("about") else "")
    held = ("rests at the optimum of " if row["rests"] else "") + row["objective"]
    beside = ", ".join(_number(scale) for _, scale in row["batches"].values())
    cells = [
        name,
        f"{row['group_size']}, {row['level'] or '–'}",
        held,
        "yes" if row["right"] else "**no**",
        _number(row["fresh_cosine"]),
        _number(row["fresh_scale"]),
        _number(row["fresh_bias"]),
        _number(row["stale_cosine"]),
        _number(row["stale_bias"]),
        beside or "–",
        row["ends"],
        "–" if row["leaves"] is None else f"{row['leaves']} leaves",
    ]
    return "| " + " | ".join(cells) + " |"


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "|---" * len(_COLUMNS) + "|"
    yield from map(table_line, rows)


def _examples(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        if row["counterexample"]:
            yield f"`{row['name']}`\n\n```text\n{row['counterexample']}\n```\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


_INTRODUCTION = """# What losses optimise

This page is written by `python -m tokengym.experiments.audit.pages`, which lists every group of episodes that a small
task can give and averages the gradient of each loss over them, in float64: nothing on it is sampled. There are {count}
losses, each less than a minute on one core. The numbers are also in [audit.json](audit.json).

How to read a row. The policy is a table on a tree of seven leaves of one and two tokens, whose rewards are uniform on
0…1; it is not uniform. *Cosine* is between the loss's expected ascent and the gradient of what it is held against,
*scale* how long the ascent is along it, *bias* what remains after the scale that the loss claims (any scale, where it
claims none; RLOO claims 1), as a share. *Stale* is the same on episodes of an older policy, logits apart by normal
numbers of .3, which few of these losses claim to mend. *Is it?* says whether the claim held within 1e-9 there and on
all trees of at most eight leaves that were tried, with poisoned padding. *Scale at B* is that of one group in batches
of B groups of two, all that may stand beside it: where it changes, the batch is part of the loss. *Where it ends*
follows the expected gradient on three leaves (ours: four, three starts) from two starts: to a point where it vanishes;
to one leaf alone, when it is driven there on and on; to where some tokens are given up and the others rest; or to a
kink, where it turns round without vanishing. The regret is of what it is held against, in units of what the uniform
reference lacks of the optimum.

Losses that learn from comparisons are held against something else: they are given pairs (G = 2) that the uniform
reference said, labelled with the exact chances of Bradley and Terry, and claim no gradient but a point of rest. Their
*bias* is the norm of their gradient at the optimum π_ref·e^(R/β)/Z as a share of that at the reference: 0 where they
rest there. Some of them never claimed to (SFT imitates what was preferred, IPO has the chance of being preferred in
place of R, CPO, SimPO and ORPO have no reference): the row says where they go all the same.
"""

_NOTES = {
    "tokengym": (
        """\
These rows come from [the audit of methods](concepts/audit.md), which runs their own `prepare` and `loss`. Its tree
has the same shape, its policies are its own, and *bias* is what remains after the best scale; of a method that claims
only where it rests, the largest entry of its gradient at the optimum of its own β. A batch is one group, for methods
without groups one episode; groups are of three here. PPO and A2C whiten advantages over the batch and divide by its
tokens unless told otherwise, REINFORCE++ whitens, too, and a mean over one episode is that episode: in batches that
small they are far from what they are in large ones, as the scale at B shows. Distillation learns from no reward; its
teacher is the solver's soft optimum of the same tree at β = .1, and its regret is KL(π‖π_teacher) in units of that of
the uniform policy. QRPO ranks episodes among all that the reference may say, each text as often as it is likely.
NLPO with `top_p` below 1 is held against the return of the policy within its bounds, as they were when it drew, its
lagged copy having just caught up; its regret is that of the policy within them.
""",
    ),
}

_FINDINGS = """## What stands out

- Of TRL's policy gradients these follow the gradient of E[R]: RLOO, and `dr_grpo` and `luspo` once `scale_rewards` is
  "none". TRL's `loss_type="dr_grpo"` by itself is not Dr. GRPO: `scale_rewards` is "group" unless told otherwise, so
  the advantages are still divided by the group's standard deviation, and the cosine is .928.
- With TRL's defaults CISPO has a fifth of its gradient even on fresh data: weights are capped at `epsilon_high`,
  which is `epsilon` = .2 where it is not set. With 5, as its paper has it, the scale is that of DAPO.
- `bnpo`, `dapo`, `cispo` and `vespo`, deviations over the batch and RLOO's `normalize_advantages` depend on what else
  is in the batch.
- The KL. RLOO's, in the reward, rests at the optimum. GRPO's, in the loss, does not. TRL says of
  `use_bias_correction_kl`, which is its default, that it makes the KL's gradient that of the reverse KL without bias:
  of each token's KL given what was said before it does, but what a token does to the KL of those after it is missing.
  And the group's own mean leaves (G − 1)/G of the reward's gradient and all of the KL's, so that β counts for more
  than it says. With the correction the regret is .0048, without it .16, and .043 with it where advantages are divided
  by the deviation.
- What another sampler drew (`use_vllm`, held against E[R] on stale episodes, too) is mended by the whole episode's
  weight alone, and not where that is truncated or masked; weights of tokens leave a bias however high their bound.
- On comparisons with exact chances `sigmoid` rests at the optimum, as its paper proves, and so do `aot` and
  `aot_unpaired`, which sort over a batch that here is one pair; no other type of `DPOTrainer` does. `robust` presumes
  flipped labels, of which there are none here. `discopop` rests far from the optimum; `apo_down` may end sure of a bad
  leaf, and hinges end at a kink.
- Without a KL all of TRL's policy gradients end sure of the best of the three leaves, whatever their bias. That is
  this tree's doing: on the four leaves of lengths 1 to 3 that our own rows end on, PPO, A2C and V-trace, one episode at
  a time and with a mean over its tokens, collapse to a short leaf that pays less.
- Of ours, REINFORCE with the others' mean or a critic, RLOO, the presets `dr-grpo` and `rloo`, and DPO are what they
  claim, and `max-rl` and `pass-at-k` exactly their own objectives; `grpo`, `dapo`, `gspo`, `cispo`, `gmpo` and `opo`
  are biased as their papers have them. With its KL in the loss `dr-grpo` rests where TRL's does without the
  correction. DQN and SAC, soft or not, with logits for Q or a head, rest at their optima; uncorrected n-step returns
  value who drew them, and the clip of Munchausen's bonus moves its point of rest. SFT's mean over the tokens of a
  batch weighs an episode by what else is in it.
- Distillation that credits a token with its own grade alone (`credit=token`, the default) has not the gradient of the
  KL of episodes: what the token does to the KL of later states is missing, which makes a bias of .08 here and of .29 on
  three leaves. It rests at the teacher all the same, since there every grade is 0. With `to_go` it is the gradient of
  −KL(π‖π_teacher), which for a solved teacher is that of E[R] − β·KL to the uniform policy, divided by β.
- QRPO follows the KL-regularised quantile of the return under the reference, as it claims, and rests at that optimum.
  That is another objective than the return: held against E[R] − β·KL (`claim=kl_return`) its regret is .32. On
  recorded episodes (`offline-qrpo`) it rests there with the Z of the samples; with that of continuous rewards, which
  on fresh episodes makes no difference, four leaves are too few for ranks to be uniform, and its regret is .024.
- NLPO within the tokens that make up .7 has, without PPO's whitening and mean over tokens, exactly the gradient of the
  return of the policy within its bounds, and none at all for what is outside. So it rests wherever one token has .7 in
  every state that it still reaches: at the best leaf from two starts of three; at a short one, with a regret of .83,
  from the third, whose chance of .29 for the best leaf's last token was outside. With `top_p=1` all three go to the
  best.
"""

_EXAMPLES = """The smallest tree of those tried on which each claim fails. The policy, what it was drawn with, and both
gradients are of the tokens in order, after what had been read; a token is `t0`, `t1`, ….
"""


def main(names: list[str], folder: Path = Path("docs")) -> None:
    """Audit what is named, or everything, and write the page; without TRL its rows stay as they are."""
    kept = folder / "audit.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    known = {(row["origin"], row["name"]): row for row in before}
    order = makers()
    for place, make in order.items():
        asked = not names or any(name in place[1] for name in names)
        if not asked or (place[0] == "TRL" and not available):
            continue
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TRL's own, of experiments and of what it will rename
            known[place] = make()
        print(f"{place[1]}: {time.process_time() - began:.0f} s", flush=True)
        rows = [known[one] for one in dict.fromkeys([*order, *known]) if one in known]
        kept.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "audit.md").write_text(written(rows), encoding="utf-8")
