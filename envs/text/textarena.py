"""TextArena's games for one player, in the interface of other environments of strings."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from ..checking import TokenGymError, import_module, unknown_name


class TextArenaEnv:
    """A game of TextArena for one player, seen by that player.

    What the game says is told once: neither its wrappers, which repeat all messages (and keep them from one episode to
    the next), nor the echo of what the player said is passed on.

    Args:
        env_id: TextArena's id, such as `"GuessTheNumber-v0"`.
        kwargs: Arguments of the game.
    """

    def __init__(self, env_id: str, kwargs: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("textarena") is None:
            raise TokenGymError("env='textarena/…' needs textarena: pip install 'tokengym[textarena]'")
        arena: Any = import_module("textarena", "environment", f"textarena/{env_id}")
        known = arena.envs.registration.ENV_REGISTRY
        if env_id not in known:
            raise unknown_name("game of TextArena", env_id, known)
        self._echo = arena.ObservationType.PLAYER_ACTION
        self.env = arena.make(env_id, **kwargs)
        self.game = self.env
        while isinstance(self.game, arena.Wrapper):
            self.game = self.game.env

    def reset(self, seed: int | None = None) -> str:
        """Begins a game."""
        self.env.reset(num_players=1, seed=seed)
        return self._heard()

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Says a text to the game, whose reward comes at its end."""
        done, _ = self.env.step(text)
        rewards = self.game.close()[0] if done else None
        told = self._heard()
        if done:
            reason = self.game.state.game_info[0].get("reason")
            told += f"{reason}\n" if reason else ""
        return told, float((rewards or {}).get(0, 0.0)), bool(done), False, {}

    def _heard(self) -> str:
        _, messages = self.game.get_observation()
        said = [message for _, message, kind in messages if kind != self._echo]
        return "".join(f"{message.strip()}\n" for message in said)
