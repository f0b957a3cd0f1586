"""Terminals without Unicode: what they cannot write comes out in readable signs of ASCII, and never as an error.

The one place that knows of it: every command prints through the streams of its process, whatever prints for it.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata
from typing import Any

_HANDLER = "tokengym-readable"
_SIGNS = {
    **dict.fromkeys("‐‑‒–—―−─━╌╍┄┅╴╶╸╺", "-"),
    **dict.fromkeys("│┃╎╏┆┇", "|"),
    **dict.fromkeys("•●◦∙⋅", "*"),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("█▓■▀▄▌▐", "#"),
    **dict.fromkeys("▒░", "%"),
    "·": ".",
    "±": "+-",
    "×": "x",
    "÷": "/",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "←": "<-",
    "↑": "^",
    "↓": "v",
    "∞": "inf",
    "✓": "+",
    "✗": "x",
    "\N{NO-BREAK SPACE}": " ",
}


def make_readable() -> None:
    """Let the process's streams write what their encoding lacks in ASCII, and read what it lacks as numbers."""
    for name, errors in (("stdout", _HANDLER), ("stderr", _HANDLER), ("stdin", "backslashreplace")):
        stream: Any = getattr(sys, name)
        encoding = getattr(stream, "encoding", None)
        if hasattr(stream, "reconfigure") and encoding is not None and not _has_unicode(encoding):
            stream.reconfigure(errors=errors)


def readable(text: str) -> str:
    """Return a text in ASCII: what is not in it as a sign like it, or as a number."""
    return text.encode("ascii", _HANDLER).decode("ascii")


def _has_unicode(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name.startswith("utf")
    except LookupError:
        return False


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = [_sign(error.object, place) for place in range(error.start, error.end)]
    return "".join(shown), error.end


def _sign(text: str, place: int) -> str:
    char = text[place]
    if char == "…":  # one column where it stands for the rest of a word, so that what was cut to fit still fits
        return "~" if place and not text[place - 1].isspace() else "..."
    if char in _SIGNS:
        return _SIGNS[char]
    code = ord(char)
    if 0x2400 <= code < 0x2420:
        return "^" + chr(code - 0x2400 + 0x40)  # the picture of a control character
    if code == 0x2421:
        return "^?"
    if 0x2500 <= code < 0x2580:
        return "+"  # corners and crossings of boxes
    if 0x2800 <= code < 0x2900:
        return "*"  # braille, of which spinners are made
    if (name := unicodedata.name(char, "")).startswith("GREEK SMALL LETTER "):
        return name.removeprefix("GREEK SMALL LETTER ").split()[0].lower()
    plain = unicodedata.normalize("NFKD", char)
    return plain if plain.isascii() else char.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_HANDLER, _replace)
