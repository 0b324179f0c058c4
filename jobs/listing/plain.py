"""A text of somebody else's → the same for a table: in one line, without what would be taken for a command.

In: names of files, captions, messages. Out: text of one line.
"""

from __future__ import annotations

from jobs.cli.shown import shown


def plain(text: str) -> str:
    """Line breaks become ` / `; what else a terminal would obey or hide is spelled out."""
    return shown(text.replace("\r\n", " / ").replace("\n", " / "))
