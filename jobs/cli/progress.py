"""Progress of whatever takes more than a few seconds: a bar on a terminal, a line now and then elsewhere.

In: a label, a total and advances. Out: percent, rate and time left, on stderr (stdout belongs to results).
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.cli.terminal_text import escape_line, escape_standard_streams, raw_stream

_FIRST_LINE_S, _LAST_EVERY_S = 2.0, 60.0
_LINES_APART = 5  # the next line comes when a fifth of the time until the last one has gone by


class Bar(ABC):
    """What the body of `progress` advances; `note` is a short text behind the bar, such as the newest loss.

    Its `total` may be set as more becomes known; until it is `settled`, nothing is said of the time left.
    """

    def __init__(self, label: str, total: float, unit: str):
        self.label, self.total, self.unit = label, total, unit
        self.settled = True
        self.done, self.note = 0.0, ""
        self._showing = threading.Lock()
        self._start_s = time.monotonic()
        self._first: tuple[float, float] | None = None

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        self.update(self.done + amount, note)

    def update(self, done: float, note: str | None = None) -> None:
        self.done = done
        if self._first is None and done:
            self._first = (time.monotonic(), done)
        if note is not None:
            self.note = note
        with self._showing:
            self._show()

    def rate(self) -> float:
        """Units per second since the first were done: what happens before that is starting, not working."""
        since_s, before = self._first or (self._start_s, 0.0)
        if self.done == before:
            since_s, before = self._start_s, 0.0
        return (self.done - before) / max(time.monotonic() - since_s, 1e-9)

    def count(self) -> str:
        """How many of how many, with the unit."""
        return f"{self.done:g}/{self.total:g} {self.unit}"

    def time_left(self) -> str:
        """The time left, in words; empty where it is not known."""
        if not self.settled or not self.done:
            return ""
        left_s = (self.total - self.done) / max(self.rate(), 1e-9)
        if left_s < 100:
            return f"{left_s:.0f} s left"
        return f"{left_s / 60:.0f} min left" if left_s < 6000 else f"{left_s / 3600:.1f} h left"

    @abstractmethod
    def _show(self) -> None: ...

    def finish(self) -> None:  # noqa: B027 (a terminal's bar has no last word)
        """The last word; called once."""


class _TerminalBar(Bar):
    def __init__(self, label: str, total: float, unit: str, bars: Progress):
        super().__init__(label, total, unit)
        self._bars = bars
        self._task = bars.add_task(
            escape_line(label), total=total, count=self.count(), rate="", left="", note=""
        )

    def _show(self) -> None:
        rate = f"{self.rate():.3g} {self.unit}/s" if self.done else ""
        columns: dict[str, Any] = {"count": self.count(), "rate": rate, "left": self.time_left()}
        columns["note"] = escape_line(self.note)
        self._bars.update(self._task, completed=self.done, total=self.total, **columns)


class _LineBar(Bar):
    def __init__(self, label: str, total: float, unit: str):
        super().__init__(label, total, unit)
        self._next_s = self._start_s + _FIRST_LINE_S

    def _show(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s and not 0 < self.total <= self.done:
            self._next_s = now_s + min(
                _LAST_EVERY_S, max(_FIRST_LINE_S, (now_s - self._start_s) / _LINES_APART)
            )
            self._print(self.time_left() if self.done else "starting")

    def _print(self, ending: str) -> None:
        parts = [
            self.count(),
            f"{100 * self.done / self.total:.0f}%" if self.total else "",
            f"{self.rate():.3g}/s" if self.done else "",
            ending,
            self.note,
        ]
        print(escape_line(f"{self.label}: {', '.join(p for p in parts if p)}"), file=sys.stderr, flush=True)

    def finish(self) -> None:
        self._print(f"{time.monotonic() - self._start_s:.1f} s")


@contextmanager
def progress(label: str, total: float, unit: str) -> Iterator[Bar]:
    """Show the progress of a block.

    Args:
        label: what is being done, e.g. "curate: videos".
        total: how many units there are.
        unit: what is counted, plural.
    """
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        with Progress(*columns, console=Console(file=raw_stream(sys.stderr))) as bars:
            escape_standard_streams()  # what is printed meanwhile goes through Progress
            yield _TerminalBar(label, total, unit, bars)
        return
    bar = _LineBar(label, total, unit)
    yield bar
    bar.finish()
