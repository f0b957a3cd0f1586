"""Episodes as text: what a player said and was answered from the first evaluation starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..agents import policy_of
from ..algorithms.collecting import Observer, Step, play, queue
from ..envs import Engine, Task, derive_start
from ..envs.checking import Count, Range, Seed, checked


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


class Writing(Observer):
    """Writes down who said what, one episode a row.

    Args:
        engine: whose rows are played.
        final: in context "turn", write down what is shown behind an episode's own end, too.

    Attributes:
        segments: what was said on each row in order, as pairs of the speaker and the ids.
        rewards: the sum of each row's rewards, float64 (n,).
    """

    def __init__(self, engine: Engine, final: bool = False) -> None:
        self.engine = engine
        self.final = final
        self.segments: list[list[tuple[str, list[int]]]] = [[] for _ in range(engine.num_rows)]
        self.rewards = np.zeros(engine.num_rows)
        self._said = np.zeros(engine.num_rows, np.int64)
        self._turns = np.zeros(engine.num_rows, np.int64)

    @property
    def tokens(self) -> int:
        """The most tokens that a row has said."""
        return int(self._said.max())

    @property
    def turns(self) -> int:
        """The most turns that a row has ended."""
        return int(self._turns.max())

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Write down the prompts."""
        for row in rows.tolist():
            self.segments[row] = [("task", self._shown(row, 1))]

    def stepped(self, step: Step) -> None:
        """Write down what was said and answered."""
        rows, result, appended = step.rows, step.result, self.engine.task.context == "episode"
        self.rewards[rows] += result.rewards
        self._said[rows] += step.said
        self._turns[rows] += result.turn_ended
        for index, (row, count) in enumerate(zip(rows.tolist(), step.said.tolist(), strict=True)):
            said = self.segments[row]
            if said[-1][0] != "agent":
                said.append(("agent", []))
            said[-1][1].extend(step.act.tokens[index, :count].tolist())
            if appended or (result.turn_ended[index] and (self.final or not result.terminated[index])):
                reply = self._shown(row, int(step.lengths[index]) + count if appended else 1)
                if reply:
                    said.append(("task", reply))

    def _shown(self, row: int, first: int) -> list[int]:
        return self.engine.tokens[row, first : self.engine.lengths[row]].tolist()


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
    written = Writing(engine)
    play(
        engine,
        policy_of(player, seed),
        queue(starts),
        [written],
        action_masks=action_masks,
        deterministic=deterministic,
        until=lambda: written.tokens >= max_tokens,
    )
    cut = set(np.flatnonzero(~engine.over).tolist())
    return [
        Transcript(
            start=int(starts[row]),
            total_reward=float(written.rewards[row]),
            segments=(
                *((speaker, task.render_tokens(np.array(ids, np.int32))) for speaker, ids in written.segments[row]),
                *([("task", f"… (cut after {max_tokens} tokens)")] if row in cut else []),
            ),
        )
        for row in range(count)
    ]
