"""Progress of whatever takes more than a few seconds: a bar on a terminal, a line now and then elsewhere.

In: a label, a total and advances. Out: percent, rate and time left, on stderr (stdout belongs to results).
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class Bar(ABC):
    """What the body of `progress` advances; `note` is a short text behind the bar, such as the newest loss."""

    def __init__(self, label: str, total: float, unit: str):
        self.label, self.total, self.unit = label, total, unit
        self.done, self.note = 0.0, ""
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
        self._show()

    def rate(self) -> float:
        """Units per second since the first were done: what happens before that is starting, not working."""
        since_s, before = self._first or (self._start_s, 0.0)
        if self.done == before:
            since_s, before = self._start_s, 0.0
        return (self.done - before) / max(time.monotonic() - since_s, 1e-9)

    @abstractmethod
    def _show(self) -> None: ...

    def finish(self) -> None:  # noqa: B027 (a terminal's bar has no last word)
        """The last word; called once."""


class _TerminalBar(Bar):
    def __init__(self, label: str, total: float, unit: str, bars: Progress):
        super().__init__(label, total, unit)
        self._bars = bars
        self._task = bars.add_task(label, total=total, rate="", note="")

    def _show(self) -> None:
        self._bars.update(self._task, completed=self.done, rate=f"{self.rate():.3g} {self.unit}/s", note=self.note)


class _LineBar(Bar):
    def __init__(self, label: str, total: float, unit: str):
        super().__init__(label, total, unit)
        self._last_s = self._start_s

    def _show(self) -> None:
        if time.monotonic() - self._last_s >= _LINE_EVERY_S and self.done < self.total:
            self._last_s = time.monotonic()
            self._print(f"{(self.total - self.done) / self.rate():.0f} s left" if self.done else "starting")

    def _print(self, ending: str) -> None:
        share = 100 * self.done / self.total if self.total else 100
        parts = [
            f"{self.done:g}/{self.total:g} {self.unit}",
            f"{share:.0f}%",
            f"{self.rate():.3g}/s" if self.done else "",
            ending,
            self.note,
        ]
        print(f"{self.label}: {', '.join(p for p in parts if p)}", file=sys.stderr, flush=True)

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
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield _TerminalBar(label, total, unit, bars)
        return
    bar = _LineBar(label, total, unit)
    yield bar
    bar.finish()
