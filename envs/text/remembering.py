"""What was worked out for a text and is kept for the next time, up to a limit."""

from __future__ import annotations

from typing import Any, TypeVar

_MOST = 4096
"""How many entries a cache holds; past it the cache starts anew."""

Value = TypeVar("Value")


def remember(cache: dict[Any, Value], key: Any, value: Value) -> Value:
    """Keeps a value under its key, and gives it back."""
    if len(cache) >= _MOST:
        cache.clear()
    cache[key] = value
    return value
