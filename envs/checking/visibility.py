"""Text from outside as a terminal or a page may show it: what would command it is made visible, and never obeyed.

Prompts, replies, token names and what an agent says may hold anything. Sent to a terminal as it is, an escape sequence
moves the cursor, retitles the window or writes to the clipboard; a bidirectional override reorders what stands around
it, and tag characters hide in it. Whatever is shown to people goes through `visible`; data stay as they are.
"""

from __future__ import annotations

import unicodedata

_LAYOUT = "\n\t"
_JOINERS = "‌‍"
"""Zero width non-joiner and joiner: scripts and emoji are made of them, and they command nothing."""
_SIGNS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Format characters that are printed, such as Arabic number signs."""


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Return a text in which control and format characters are written out instead of being in force.

    Those of ASCII become the pictures that Unicode has for them, one column each (ESC is ``␛``, DEL ``␡``); others are
    written as Python does (``\x9b``, ``\u202e``).

    Args:
        text: Any text.
        one_line: Write out newlines and tabs, too; otherwise they stay.
    """
    if text.isprintable():
        return text
    return "".join(_shown(char, one_line) for char in text)


def _shown(char: str, one_line: bool) -> str:
    if char.isprintable() or char in _JOINERS or (char in _LAYOUT and not one_line):
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in _SIGNS:
        return char.encode("ascii", "backslashreplace").decode("ascii")
    return char
