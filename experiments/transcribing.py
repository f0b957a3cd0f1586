"""Episodes as text: what a player said and was answered from the first evaluation starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..envs import Engine, Task, derive_start
from ..envs.checking import Count, Range, Seed, checked
from .evaluation import acting, chooser


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One episode as text."""

    start: int
    """The start that it was played from."""
    total_reward: float
    """Sum of its rewards."""
    segments: tuple[tuple[str, str], ...]
    """What was said in order, as pairs of the speaker (``"task"`` or ``"agent"``) and the text."""

    def text(self) -> str:
        """Return the episode in one line, the agent's words in brackets."""
        return " ".join(f"[{words}]" if speaker == "agent" else words for speaker, words in self.segments if words)


@checked
def transcripts(
    player: Any,
    task: Task,
    count: Annotated[int, Range(least=0, most=65_536)],
    *,
    seed: Seed = 1_000_003,
    deterministic: bool = True,
    action_masks: bool = False,
    max_tokens: Count = 200,
) -> list[Transcript]:
    """Play the first few evaluation starts and return them as text; very long episodes are cut after `max_tokens`."""
    if count <= 0:
        return []
    engine, starts = Engine(task, count), derive_start(seed, np.arange(count))
    engine.reset(None, starts)
    segments: list[list[tuple[str, list[int]]]] = [
        [("task", engine.tokens[row, 1 : engine.lengths[row]].tolist())] for row in range(count)
    ]
    rewards, live = np.zeros(count), np.arange(count)
    with chooser(acting(player), count, seed, deterministic) as choose:
        for _ in range(max_tokens):
            if not len(live):
                break
            masks = engine.action_mask(live) if action_masks else None
            actions, _ = choose(live, engine.tokens[live], engine.lengths[live], masks)
            before = engine.lengths[live].copy()
            result = engine.step(live, actions)
            rewards[live] += result.rewards
            for index, row in enumerate(live.tolist()):
                said = segments[row]
                if said[-1][0] != "agent":
                    said.append(("agent", []))
                said[-1][1].append(int(actions[index]))
                shown = before[index] + 1 if task.context == "episode" else 1
                if task.context == "episode" or (result.turn_ended[index] and not result.terminated[index]):
                    reply = engine.tokens[row, shown : engine.lengths[row]].tolist()
                    if reply:
                        said.append(("task", reply))
            live = live[~(result.terminated | result.truncated)]
    cut = set(live.tolist())
    return [
        Transcript(
            start=int(starts[row]),
            total_reward=float(rewards[row]),
            segments=(
                *((speaker, task.render_tokens(np.array(ids, np.int32))) for speaker, ids in segments[row]),
                *([("task", f"… (cut after {max_tokens} tokens)")] if row in cut else []),
            ),
        )
        for row in range(count)
    ]
