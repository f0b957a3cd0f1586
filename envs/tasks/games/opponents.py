"""Opponents: who plays the other side of a two-player game, named in JSON or given as a policy."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from ...checking import TokenGymError, call_entry_point, load_entry_point, unknown_name

NAMED = ("random", "optimal")
"""The opponents that need no policy: a uniformly random legal move, and minimax with ties broken uniformly."""

FROZEN_POLICY = "tokengym.algorithms.self_play:checkpoint_policy"
"""What makes a policy of a checkpoint; it lies above `envs`, so it is named here and imported on use."""

Opponent = Callable[..., np.ndarray]
"""A policy that can be an opponent: `policy(tokens, lengths, masks)` to probabilities, as `Agent.probabilities` is."""


def build_opponent(spec: Any) -> str | Opponent:
    """Gives the opponent that a specification names.

    Args:
        spec: one of

            - `"random"` or `"optimal"`;
            - `{"checkpoint": "folder"}`: the agent of a sealed checkpoint, a frozen self; with `"greedy": True` it
              makes its most probable move instead of drawing one;
            - `"module:callable"`: an importable policy. This runs code of that module, so a specification is as trusted
              as a program;
            - `{"entry_point": "module:callable", "kwargs": {...}}`: the same, where the callable is called with the
              kwargs and what it returns is the policy;
            - a policy itself: from int32 tokens (m, L), lengths (m,) and bool masks (m, A) of the legal moves to
              probabilities (m, A). It is shown positions as their own player would see them. One that takes no masks
              (`Solution.policy`) is asked without.

    Returns:
        One of `NAMED`, or a policy.

    Raises:
        TokenGymError: For an unknown name, or an entry point or checkpoint that cannot be loaded.
    """
    if callable(spec):
        return cast(Opponent, spec)
    if isinstance(spec, str):
        if ":" in spec:
            return load_entry_point("policy", spec)
        if spec not in NAMED:
            raise unknown_name("opponent", spec, NAMED)
        return spec
    if isinstance(spec, Mapping) and "entry_point" in spec:
        return call_entry_point("policy", spec)
    if isinstance(spec, Mapping) and "checkpoint" in spec:
        for key in spec:
            if key not in ("checkpoint", "greedy"):
                raise unknown_name("key of an opponent", key, ("checkpoint", "greedy"))
        if not isinstance(spec["checkpoint"], (str, os.PathLike)):
            raise TokenGymError(f"opponent={spec!r}: 'checkpoint' is the folder of a saved algorithm: give its path")
        if not isinstance(spec.get("greedy", False), bool):
            raise TokenGymError(f"opponent={spec!r}: 'greedy' is True or False")
        return load_entry_point("policy", FROZEN_POLICY)(**spec)
    raise TokenGymError(
        f"opponent={spec!r}: give 'random', 'optimal', {{'checkpoint': 'folder'}}, 'module:callable', "
        "{'entry_point': 'module:callable', 'kwargs': {...}}, or a policy."
    )


def ask_opponent(policy: Opponent, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Asks a policy for its moves in all positions at once; float64 (m, A), on legal moves only and with sum 1.

    What it gives to illegal moves is shared out among the legal ones in proportion, so no opponent loses by a slip.

    Args:
        policy: what is asked.
        tokens: int32 (m, L), the positions as the player to move sees them.
        lengths: int32 (m,).
        masks: bool (m, A), the legal moves.

    Raises:
        TokenGymError: The answer has another shape, or is not positive on any legal move somewhere.
    """
    arguments = (tokens, lengths, masks) if _takes_masks(policy) else (tokens, lengths)
    try:
        answer = np.asarray(policy(*arguments), dtype=np.float64)
    except TokenGymError as error:
        raise TokenGymError(f"the opponent's policy cannot play here: {error}; was it made for this game?") from error
    except Exception as error:
        raise TokenGymError(
            f"the opponent's policy raised {type(error).__name__} at {len(tokens)} positions: {error}; expected a "
            "policy from tokens, lengths and masks of the legal moves to probabilities"
        ) from error
    if answer.shape != masks.shape:
        raise TokenGymError(
            f"the opponent's policy returned shape {answer.shape} for {len(tokens)} positions: expected probabilities "
            f"of shape {masks.shape}, one column a move; was it made for this game?"
        )
    on_legal = np.where(masks, answer, 0.0)
    total = on_legal.sum(axis=1)
    wrong = ~(np.isfinite(answer).all(axis=1) & (answer >= 0).all(axis=1) & (total > 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TokenGymError(
            f"the opponent's policy returned {answer[row]} at {tokens[row, : lengths[row]].tolist()}: expected "
            "probabilities, not negative and with some on the legal moves."
        )
    return on_legal / total[:, None]


def _takes_masks(policy: Opponent) -> bool:
    try:
        inspect.signature(policy).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # a callable that does not tell its signature
        return True
    return True
