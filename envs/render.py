"""How an episode looks to people: one line of text."""

from __future__ import annotations

from .engine import Engine


def render_row(engine: Engine, row: int, reward: float | None) -> str:
    """Returns one row's observation as text, with the reward of its last token.

    Args:
        engine: The engine.
        row: The row.
        reward: The last token's reward, or None where the episode has just begun.
    """
    text = engine.task.render_tokens(engine.tokens[row, : engine.lengths[row]])
    if reward is None:
        return text
    return f"{text}\n[reward {reward:g}{'; the episode is over' if engine.over[row] else ''}]"
