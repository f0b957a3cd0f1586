"""Lattice as somebody would write it by hand for Gymnasium: the lightest peer with the same rules and observations."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tokengym.envs.tasks.control.lattice import Lattice


class HandwrittenLattice(gymnasium.Env[dict[str, np.ndarray], int]):
    """Plain Python: no vocabulary, no engine, no checks, no saved states, nothing but Lattice's default rules."""

    def __init__(self) -> None:
        task = Lattice()
        self._bos, self._pad = task.vocabulary.bos, task.vocabulary.pad
        self.observation_space = spaces.Dict(
            {
                "tokens": spaces.Box(0, task.vocabulary.size - 1, (task.max_length,), np.int32),
                "length": spaces.Box(1, task.max_length, (1,), np.int32),
            }
        )
        self.action_space = spaces.Discrete(3)  # pyright: ignore[reportAttributeAccessIssue]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Place the point anywhere, at rest."""
        super().reset(seed=seed)
        self._x, self._v, self._said = int(self.np_random.integers(-8, 9)), 0, 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        """Push, move, pay."""
        push = int(action) - 1
        self._v = max(-3, min(3, self._v + push))
        self._x = max(-8, min(8, self._x + self._v))
        self._said += 1
        return self._observation(), -(self._x**2 + 0.1 * push**2) / 64, self._said == 20, False, {}

    def _observation(self) -> dict[str, np.ndarray]:
        tokens = [self._bos, 3 + self._x + 8, 20 + self._v + 3, self._pad]
        return {"tokens": np.array(tokens, np.int32), "length": np.array([3], np.int32)}
