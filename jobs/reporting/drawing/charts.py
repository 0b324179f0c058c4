"""Series of numbers → charts as geometry in percent. Pure; the template draws it.

In: values. Out: axes with ticks, lines as SVG paths in a 100 × 100 box. The box is stretched to the
page's width and its labels are HTML, so text keeps its size on a phone and strokes keep their width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.cli.formatting import format_number

_MOST_POINTS = 240
_LOG_ABOVE = 20.0  # largest ÷ smallest beyond which a linear axis hides the small ones


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place along an axis, percent."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to percent, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Percent from the low end."""
        if self.log:
            return 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)

    def value(self, percent: float) -> float:
        """The inverse of `place`."""
        if self.log:
            return self.low * (self.high / self.low) ** (percent / 100)
        return self.low + (self.high - self.low) * percent / 100

    def ticks(self, about: int) -> list[Tick]:
        """Round values, some `about` of them."""
        values = (
            _log_ticks(self.low, self.high, about) if self.log else _linear_ticks(self.low, self.high, about)
        )
        return [Tick(round(self.place(v), 2), format_number(v)) for v in values]


def axis(values: Sequence[float], *, from_zero: bool = False, log: bool | None = None) -> Axis:
    """An axis that shows all values, with a little room.

    Args:
        log: None decides by how far the values are apart.
    """
    low, high = min(values), max(values)
    if log is None:
        log = low > 0 and high / low > _LOG_ABOVE
    if log:
        room = (high / low) ** 0.05 if high > low else 2.0
        return Axis(low / room, high * room, log=True)
    if from_zero:
        low = min(0.0, low)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Axis(low if from_zero and low == 0 else low - room, high + room)


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= min((1, 2, 5, 10), key=lambda m: abs((high - low) / (step * m) - about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        found = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(found) >= about - 1:
            return found if len(found) <= 2 * about else found[:: math.ceil(len(found) / about)]
    return found if len(found) > 1 else _linear_ticks(low, high, about)


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, a style class, its SVG path, and its points as (x percent, y percent, text) to
    read off."""

    name: str
    style: str
    path: str
    points: list[tuple[float, float, str]]
    last: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over steps."""

    title: str
    note: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    log: bool


Series = Sequence[tuple[float, float]]


def line_chart(
    title: str, note: str, series: Mapping[str, tuple[str, Series]], log: bool | None = None
) -> LineChart | None:
    """Lines over a common axis.

    Args:
        series: name → (style class, points (step, value)); points that are not finite are left out, empty
        series too.

    Returns:
        None if there is not one series with two points.
    """
    finite = {
        n: (style, [(x, y) for x, y in points if math.isfinite(y)]) for n, (style, points) in series.items()
    }
    shown = {n: (style, thin(points)) for n, (style, points) in finite.items() if points}
    if not any(len(points) > 1 for _, points in shown.values()):
        return None
    xs = [x for _, points in shown.values() for x, _ in points]
    x_axis = Axis(min(0.0, *xs), max(1.0, *xs))
    y_axis = axis([y for _, points in shown.values() for _, y in points], log=log)
    lines = []
    for name, (style, points) in shown.items():
        places = [(round(x_axis.place(x), 2), round(100 - y_axis.place(y), 2), x, y) for x, y in points]
        path = "M" + "L".join(f"{px} {py}" for px, py, _, _ in places)
        read = [(px, py, f"step {x:,.0f}: {format_number(y)}") for px, py, x, y in places]
        lines.append(Line(name, style, path, read, format_number(finite[name][1][-1][1])))
    return LineChart(title, note, lines, x_axis.ticks(5), y_axis.ticks(4), y_axis.log)


def thin(points: Series, most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many points, each the mean of its neighbourhood; the first and the last stay as they are."""
    if len(points) <= most:
        return [(float(x), float(y)) for x, y in points]
    inner, groups = points[1:-1], most - 2
    means = []
    for k in range(groups):
        part = inner[len(inner) * k // groups : len(inner) * (k + 1) // groups]
        means.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return [(float(points[0][0]), float(points[0][1])), *means, (float(points[-1][0]), float(points[-1][1]))]
