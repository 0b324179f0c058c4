"""Escapes untrusted text for terminals and logs: control and invisible characters are written as escape
sequences.

In: names of files, captions, messages. Out: text in which control characters (of C0, C1, and DEL), marks of
writing direction, line and paragraph separators, characters of no width and halves of surrogate pairs stand
as Python and JSON spell them: `\\x1b`, `\\u202e`. `escape_standard_streams` does it for all that this process
prints, `LogFormatter` for its logs; so nobody who prints has to think of it.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
import sys
from typing import Any, TextIO

from pipelines.redact import redact

_OURS = "\t\n"  # of which our own tables and paragraphs are made
# The general categories Cc, Cf, Cs, Zl and Zp, within a class of a regular expression.
_HIDDEN = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
# Joiners between letters that are no ASCII are a part of how Persian, Hindi and emoji are written.
_LETTER = f"[^\x00-\x7f{_HIDDEN}]"
_SPELLED_OUT = re.compile(f"(?!(?<={_LETTER})[\u200c\u200d](?={_LETTER}))[{_HIDDEN}]")
_ERRORS = "rushes.spelled"


def escape_line(text: str) -> str:
    """The text on one line, with control and invisible characters escaped."""
    return _SPELLED_OUT.sub(_spelled, text)


def printable_message(text: str) -> str:
    """A message of any origin as it may be printed: in one line, without keys."""
    return escape_line(redact(text))


def escape_lines(text: str) -> str:
    """The same of a text of several lines and columns that we made: its line breaks and tabs stay."""
    return _SPELLED_OUT.sub(lambda found: found[0] if found[0] in _OURS else _spelled(found), text)


def dump_escaped_json(value: Any, **how: Any) -> str:
    """JSON with the same values and nothing in it that a terminal would obey or hide."""
    return _SPELLED_OUT.sub(
        lambda found: found[0] if found[0] in _OURS else _in_json(found[0]),
        json.dumps(value, ensure_ascii=False, **how),
    )


def has_control_characters(text: str) -> bool:
    """Whether `escape_lines` would change it."""
    return escape_lines(text) != text


def _spelled(found: re.Match[str]) -> str:
    letter = found[0]
    return letter.encode("unicode_escape").decode("ascii")


def _in_json(letter: str) -> str:
    return json.dumps(letter)[1:-1]


def escape_standard_streams() -> None:
    """Escape everything that this process writes to stdout and stderr, including characters that the
    terminal's encoding lacks.
    """
    codecs.register_error(_ERRORS, _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, _Guarded):
            continue
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
        setattr(sys, name, _Guarded(stream))


def raw_stream(stream: Any) -> TextIO:
    """The stream behind a guarded one, for what draws on the terminal itself."""
    return stream.behind if isinstance(stream, _Guarded) else stream


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _in_json(error.object[error.start : error.end]), error.end


class _Guarded:
    """A stream of text that shows what is written to it."""

    def __init__(self, behind: TextIO):
        self.behind = behind

    def write(self, text: str) -> int:
        self.behind.write(escape_lines(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


class LogFormatter(logging.Formatter):
    """Lines of a log: keys are redacted, and only a line that begins with a time is a record; what else it
    has is indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return escape_lines(redact(super().format(record)).replace("\n", "\n  "))
