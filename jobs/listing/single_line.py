"""Untrusted text → one line for a table, with control characters escaped.

In: names of files, captions, messages. Out: text of one line.
"""

from __future__ import annotations

from jobs.cli.terminal_text import escape_line


def single_line(text: str) -> str:
    """Line breaks become ` / `; what else a terminal would obey or hide is spelled out."""
    return escape_line(text.replace("\r\n", " / ").replace("\n", " / "))
