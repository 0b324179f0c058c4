"""Numbers as a person reads them: few digits, with units.

In: seconds, bytes, figures. Out: short strings. Nothing here is HTML; the template escapes everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_BYTES = ("bytes", "kB", "MB", "GB", "TB", "PB")


def format_duration(seconds: float) -> str:
    """0.32 s, 17.6 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_timestamp(seconds: float) -> str:
    """A moment of a video: 0:03.2, 12:40.0, 1:02:03."""
    if seconds >= 3600:
        whole = round(seconds)
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def format_bytes(num_bytes: float) -> str:
    """940 bytes, 1.2 MB, 31 GB (powers of 1000)."""
    for unit in _BYTES:
        if num_bytes < 999.5 or unit == _BYTES[-1]:
            return (
                f"{num_bytes:.0f} {unit}"
                if unit == "bytes" or num_bytes >= 99.5
                else f"{num_bytes:.1f} {unit}"
            )
        num_bytes /= 1000
    raise AssertionError("unreachable: the last unit takes everything")


def format_number(value: float | None) -> str:
    """Three significant digits: 0.0042, 3.14, 128, 12,300, 1.00e+09; a dash for what was not measured."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else ("∞" if value > 0 else "−∞")
    magnitude = math.floor(math.log10(abs(value)))
    if -4 <= magnitude < 7:
        digits = max(0, 2 - magnitude)
        text = f"{round(value, 2 - magnitude):,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}"


def format_percent(value: float) -> str:
    """A part of one as a percentage."""
    return f"{100 * value:.0f}%"


def format_count(number: int, one: str, many: str | None = None) -> str:
    """1 clip, 1,200 clips."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_words(items: Iterable[str]) -> str:
    """too_short and dark → 'too short, dark'."""
    return ", ".join(item.replace("_", " ") for item in items)
