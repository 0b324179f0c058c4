"""The picture without bars around it: letterbox and pillarbox.

In: luma of native frames. Out: of each frame and side, where a straight edge to black lies, and how far in it
could; of a clip, the rectangle of its picture. Bars are black of any level (0, 16, a bad 24), perhaps noisy,
perhaps with a subtitle or logo in them; blurred or coloured fillings are picture.

A dark scene looks like a bar too. Three things tell them apart: a bar ends in a straight step, not in a
gradient or a skyline; it is there in every frame, wherever the scene is bright; and it keeps its black.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipelines.scores.base import ClipMeasurements, Meter, MeterRow, NativeFrame, Rectangle, Score

VERSION = 1
SIDES = ("left", "top", "right", "bottom")

_CELLS = 64  # that rows and columns are averaged into: what noise there is in a bar averages out
_BLACKEST = 40.0  # luma of the brightest black
_LEAST_STEP = 3.5  # luma that stands out from black, at least
_MOST_STEP = 8.0
_DEEPEST = 0.6  # share of the frame that one bar may take
_LEAST_PICTURE = 0.2  # share of the frame's width or height that the picture takes; less is text on black
_ISLAND = 0.14  # share of the frame that a line of text or a logo in a bar may be high
_STRAIGHT = 0.5  # share of the picture's width along which an edge that needs no other evidence is seen
_FAINT = 0.12  # the same, at least, for two opposite edges that make bars of one width
_SAME_PX = 2
_SAME_BLACK = 3.0  # luma that a bar changes by over time, at most
_RINGING_PX = 16  # how far inside a bar compression leaves traces of the picture
_STRAY = 0.1  # share of a black line that may not be black
_GAP_PX = 2  # black between an island and the picture, at least
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@dataclass(frozen=True, slots=True)
class Edge:
    """What one frame says of one side.

    Attributes:
        room: widest bar that could be there, px: how far in the frame is black but for islands; all of it if
        it is black.
        edge: width of the bar that ends in the straightest step, px; 0 if there is none.
        straight: share of the picture's width along which that step is seen, 0 to 1.
        length: the same share of the frame's width.
        black: luma at the border.
    """

    room: int
    edge: int
    straight: float
    length: float
    black: float

    @property
    def bar(self) -> int:
        """Width of the bar that is surely there, px."""
        return self.edge if self.straight >= _STRAIGHT else 0


def edges(gray: np.ndarray) -> dict[str, Edge]:
    """By side, of a frame's luma, uint8 (H, W)."""
    import cv2

    h, w = gray.shape
    rows = cv2.resize(gray, (min(w, _CELLS), h), interpolation=cv2.INTER_AREA).astype(np.float32)
    columns = cv2.resize(gray, (w, min(h, _CELLS)), interpolation=cv2.INTER_AREA).astype(np.float32).T
    lines = {"left": columns, "top": rows, "right": columns[::-1], "bottom": rows[::-1]}
    return {side: _edge(lines[side]) for side in SIDES}


def _edge(lines: np.ndarray) -> Edge:
    """Of the side where the first of `lines` is; each is a row or column of luma, averaged into cells."""
    black = float(np.median(lines[:2]))
    none = Edge(0, 0, 0.0, 0.0, black)
    if black > _BLACKEST:
        return none
    level = np.abs(lines - black)
    noise = 1.4826 * float(np.median(level[:4]))
    step = min(_MOST_STEP, _LEAST_STEP + 4 * noise)
    bright = level > step
    active = bright.mean(axis=0) > 0.02  # the cells between bars of the other direction
    if not active.any():
        return replace(none, room=len(lines))
    level, bright = level[:, active], bright[:, active]
    ends = _ends_of_black(bright.mean(axis=1) <= _STRAY)
    found = [_step_near(level, end, step) for end in ends if end <= _DEEPEST * len(lines)]
    steps = [(position, seen) for position, seen in found if seen >= _STRAIGHT * level.shape[1]]
    edge, seen = steps[-1] if steps else max(found, key=lambda step: step[1], default=(0, 0))
    room = max(edge, ends[-1] if ends else 0)
    return Edge(room, edge, seen / level.shape[1], seen / lines.shape[1], black)


def _ends_of_black(is_black: np.ndarray) -> list[int]:
    """Where black lines end that begin at the border, and go on behind islands: lines of text, a logo."""
    total, limit = len(is_black), _DEEPEST * len(is_black)
    ends: list[int] = []
    since = 0  # where the island began that we are in
    for begin, end in pairwise([0, *(np.flatnonzero(np.diff(is_black)) + 1).tolist(), total]):
        if is_black[begin]:
            if begin > 0 and end - begin < _GAP_PX:
                continue
            if begin - since > _ISLAND * total or begin > limit:
                break
            ends.append(end)
            since = end
        elif begin == 0:
            break
    return ends


def _step_near(level: np.ndarray, end: int, step: float) -> tuple[int, int]:
    """The straightest step up from black about line `end`, and in how many cells; `level` is (lines, cells),
    0 for black.

    A line is a cell's first of the picture if it has half of what follows, and the line before has not: there
    the edge was before it was scaled or compressed. What compression lets ring around it has less.
    """
    positions = np.arange(max(1, end - 4), min(end + _RINGING_PX, len(level) - 1) + 1)
    if not len(positions):
        return 0, 0
    sums = np.concatenate((np.zeros_like(level[:1]), np.cumsum(level, axis=0, dtype=np.float64)))

    def mean(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        first, last = np.clip(first, 0, len(level)), np.clip(last, 0, len(level))
        return (sums[last] - sums[first]) / np.maximum(1, last - first)[:, None]

    inside, outside = mean(positions, positions + 6), mean(positions - 5, positions - 1)
    begins = (level[positions] >= inside / 2) & (level[positions - 1] < inside / 2)
    begins &= (inside > step) & (outside < 0.35 * inside)
    rise = level[np.minimum(positions + 2, len(level) - 1)] - level[np.maximum(positions - 2, 0)]
    begins &= rise > 0.4 * mean(positions, positions + 24)  # a gradient goes on rising
    counts = begins.sum(axis=1)
    around = np.convolve(counts, (1, 1, 1), mode="same")
    best = max(range(len(positions)), key=lambda k: (around[k], counts[k]))
    return (int(positions[best]), min(int(around[best]), level.shape[1])) if counts.any() else (0, 0)


def picture_of(gray: np.ndarray) -> np.ndarray:
    """The picture of one frame's luma, without the bars that this frame alone tells of."""
    rectangle = _between({side: edge.bar for side, edge in edges(gray).items()}, gray.shape[1], gray.shape[0])
    return gray[rectangle.y : rectangle.y + rectangle.height, rectangle.x : rectangle.x + rectangle.width]


def safe_rectangle(native: Mapping[str, pa.Table], width: int, height: int) -> Rectangle:
    """What is left of the frame without bars, from a clip's native rows; all of it where nothing was
    measured."""
    rows = native.get("bars")
    if rows is None or not len(rows):
        return Rectangle(0, 0, width, height)
    sizes = {"left": width, "right": width, "top": height, "bottom": height}
    clip = {side: _over_frames(rows[side].to_pylist(), sizes[side]) for side in SIDES}
    return _between({side: _accepted(clip[side], clip[_OPPOSITE[side]]) for side in SIDES}, width, height)


def _between(bars: Mapping[str, int], width: int, height: int) -> Rectangle:
    """What bars of these widths leave; a direction in which they leave too little has none."""
    left, top = bars["left"], bars["top"]
    w, h = width - left - bars["right"], height - top - bars["bottom"]
    if w < _LEAST_PICTURE * width:
        left, w = 0, width
    if h < _LEAST_PICTURE * height:
        top, h = 0, height
    return Rectangle(left, top, w, h)


def _over_frames(rows: list[MeterRow], size: int) -> Edge:
    """Of a clip: the longest edge among those that no frame contradicts, by picture in the bar or by another
    black."""
    room = min(row["room"] for row in rows)
    possible = [
        row for row in rows if 0 < row["edge"] <= room + max(_SAME_PX, min(_RINGING_PX, row["edge"] // 2))
    ]
    if not possible:
        return Edge(room, 0, 0.0, 0.0, rows[0]["black"])
    longest = max(possible, key=lambda row: row["length"])
    seen = [row for row in possible if row["length"] >= 0.8 * longest["length"]]
    blacks = [row["black"] for row in rows if row["room"] < size]
    if max(blacks, default=0.0) - min(blacks, default=0.0) > _SAME_BLACK:
        return Edge(room, 0, 0.0, 0.0, longest["black"])
    edge = int(np.median([row["edge"] for row in seen]))
    return Edge(room, edge, max(row["straight"] for row in seen), longest["length"], longest["black"])


def _accepted(edge: Edge, opposite: Edge) -> int:
    """Width of a clip's bar: two that are as wide are seen together where neither would be alone."""
    alike = abs(edge.edge - opposite.edge) <= _SAME_PX and min(edge.straight, opposite.straight) >= _FAINT
    return edge.edge if alike and edge.straight + opposite.straight >= _STRAIGHT else edge.bar


def _look(frame: NativeFrame) -> MeterRow:
    return {side: asdict(edge) for side, edge in edges(frame.gray).items()}


def _safe_share(clip: ClipMeasurements) -> float | None:
    if not len(clip.native.get("bars", ())):
        return None
    return clip.safe.width * clip.safe.height / (clip.width * clip.height)


_SIDE = pa.struct(
    [
        *(pa.field(name, pa.int32()) for name in ("room", "edge")),
        *(pa.field(name, pa.float32()) for name in ("straight", "length", "black")),
    ]
)

METER = Meter(
    name="bars",
    columns=tuple(pa.field(side, _SIDE) for side in SIDES),
    load=lambda cfg, precision: _look,
    settings=lambda cfg, precision: VERSION,
    model=lambda cfg: f"bars v{VERSION}",
)

SCORES = {
    "safe_share": Score(
        _safe_share,
        "area of the picture without bars around it, of the whole frame's",
        "share of the frame",
        "bars",
        low="letterboxed",
    ),
}
