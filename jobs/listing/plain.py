"""A text of somebody else's → the same for a terminal: in one line, without what would be taken for a command.

In: names of files, captions, messages. Out: text of one line.
"""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # of letters, and of emoji: harmless


def plain(text: str) -> str:
    """Line breaks become ` / `, control characters `�`."""
    one_line = text.replace("\r\n", " / ").replace("\n", " / ")
    return "".join("�" if c not in _JOINERS and unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in one_line)
