"""Two pictures and their optical flow → the camera motion between them (pan, tilt, zoom, roll), and the part
of the flow that it explains.

In: luma of two frames without the bars around it, and flow. Out: the similarity transform that the background
follows.

Flow alone misleads: it smears from things that move into a background of little texture, and the background
is what must be believed. So flow only proposes moves (fitted to all of it, to its rim, to each side; and that
nothing moves), and the pictures decide. Each move is refined until the second picture, moved back, matches
the first best (Gauss–Newton on luma; cells are weighted by Geman and McClure's function). That one wins under
which most cells match, those at the rim before all, as background is seen around things. Nothing is drawn at
random: the same on every run.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

_HALF = 2  # pictures are compared at a half of their size: it averages grain away
_CELL = 8  # px of them between points
_RIM, _RIM_WEIGHT = 0.18, 4.0  # how far it reaches from an edge, share of that side; how much its cells count
_SIDE = 0.2  # how far a side reaches
_FLOW_ROUNDS, _FLOW_SCALE = 1, 0.0015  # the last round's scale of disagreement, share of the diagonal
_GRAIN = 0.4  # variance of luma between two halved pictures of the same, levels²
_SLIP = 0.05  # what no similarity explains, px of the halved picture
_SURE_SHARE = 0.35  # this share of cells shows the background, at the least
_TIGHT = 0.5  # disagreement at which a cell keeps a quarter of its weight, times that of the surest
_KEPT = 4  # moves that are refined
_DOUBT = 2.0  # flow that matches so many times better than the camera is believed as much as the camera


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """Motion between two frames, as the picture shows it: pan right and down in shares of the frame diagonal,
    zoom as a share of the size (positive grows), roll clockwise in radians.
    """

    pan_x: float
    pan_y: float
    zoom: float
    roll_rad: float


@dataclass(frozen=True, slots=True)
class FrameRegion:
    """Where in a frame (width × height) the pictures lie, [left, right) × [top, bottom), px."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.width, self.height))


@dataclass(frozen=True, slots=True)
class CameraFit:
    """What the camera did; and cell by cell its flow and the measured one, (N, 2), shares of the diagonal,
    and how sure it is that the camera does not explain what is seen there, (N,), 0 … 1.
    """

    camera: CameraMotion
    camera_flow: np.ndarray
    measured_flow: np.ndarray
    doubt: np.ndarray


def fit_camera(before: np.ndarray, now: np.ndarray, flow: np.ndarray, part: FrameRegion) -> CameraFit:
    """The camera's move between two pictures.

    Args:
        before, now: uint8 (H, W), the part of two frames that is looked at; at least 16 px either way.
        flow: float32 (H, W, 2) from `before` to `now`, right and down, px.
        part: where they lie; moves are about the middle of the frame.
    """
    pair = _Pair(before, now, part)
    cells = pair.cells
    measured = _means(flow, cells) / part.diagonal
    moves = np.concatenate([_proposed(measured, pair), np.zeros((1, 4))])
    looks = [pair.look(move) for move in moves]
    kept = np.argsort(-_agreement(pair, looks), kind="stable")[:_KEPT]
    moves, looks = moves[kept], [looks[k] for k in kept]
    for _ in range(2):
        moves = pair.refined(moves, looks)
        looks = [pair.look(move) for move in moves]
    best = int(np.argmax(_agreement(pair, looks)))
    by_flow = (pair.error_of(flow) + pair.noise) / (looks[best][:, 0] + pair.noise)
    along, down = cells.design
    by_camera = np.stack([along @ moves[best], down @ moves[best]], 1)
    return CameraFit(
        CameraMotion(*moves[best].tolist()), by_camera, measured, 1 / (1 + (_DOUBT * by_flow) ** 4)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """A grid over the pictures: what of it depends on sizes alone. N cells."""

    columns: int
    rows: int
    design: tuple[np.ndarray, np.ndarray]  # (N, 4) each: u_x and u_y of the four parts of a move
    products: tuple[np.ndarray, np.ndarray, np.ndarray]  # (N, 16) each: xx, xy + yx, yy of the design
    weight: np.ndarray  # (N,)
    regions: np.ndarray  # (R, N), 0 or 1: all, the rim, the four sides


@lru_cache(maxsize=64)
def _cells(columns: int, rows: int, part: FrameRegion) -> _Cells:
    u, v = (
        a.ravel() for a in np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    )
    x = (part.left + u * (part.right - part.left) - part.width / 2) / part.diagonal
    y = (part.top + v * (part.bottom - part.top) - part.height / 2) / part.diagonal
    # u_x = pan_x + zoom·x − roll·y,  u_y = pan_y + zoom·y + roll·x: linear for the small turns between two
    # frames.
    one, nil = np.ones_like(x), np.zeros_like(x)
    along, down = np.stack([one, nil, x, -y], 1), np.stack([nil, one, y, x], 1)
    xx, xy, yy = (a[:, :, None] * b[:, None, :] for a, b in ((along, along), (along, down), (down, down)))
    xy = xy + xy.transpose(0, 2, 1)
    rim = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < _RIM
    regions = np.stack([one > 0, rim, u < _SIDE, u > 1 - _SIDE, v < _SIDE, v > 1 - _SIDE]).astype(float)
    products = (xx.reshape(-1, 16), xy.reshape(-1, 16), yy.reshape(-1, 16))
    return _Cells(columns, rows, (along, down), products, np.where(rim, _RIM_WEIGHT, 1.0), regions)


def _means(image: np.ndarray, cells: _Cells) -> np.ndarray:
    """Mean of (H, W, C) over each cell, float64 (N, C)."""
    small = cv2.resize(image, (cells.columns, cells.rows), interpolation=cv2.INTER_AREA)
    return small.reshape(cells.columns * cells.rows, -1).astype(np.float64)


class _Pair:
    """Two halved pictures, and how well a move makes one of the other. A cell's brightness may change as a
    whole."""

    def __init__(self, before: np.ndarray, now: np.ndarray, part: FrameRegion):
        height, width = (max(1, length // _HALF) for length in before.shape)
        self.part, self.size = part, (width, height)
        self.cells = _cells(max(1, round(width / _CELL)), max(1, round(height / _CELL)), part)
        self.before, self.now = (
            cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA).astype(np.float32)
            for picture in (before, now)
        )
        self.scale_x, self.scale_y = width / (part.right - part.left), height / (part.bottom - part.top)
        self.dx = cv2.Sobel(self.before, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
        self.dy = cv2.Sobel(self.before, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
        dx, dy = _means(cv2.merge([self.dx, self.dy]), self.cells).T
        xx, xy, yy = _means(
            cv2.merge([self.dx * self.dx, self.dx * self.dy, self.dy * self.dy]), self.cells
        ).T
        self.mean_dx, self.mean_dy = dx, dy
        self.xx, self.xy, self.yy = xx - dx * dx, xy - dx * dy, yy - dy * dy
        self.noise = _GRAIN + _SLIP**2 * (self.xx + self.yy)

    def look(self, move: np.ndarray) -> np.ndarray:
        """(N, 3): variance of what is left when `now` is moved back, levels²; and its covariance with the
        gradient."""
        difference = self._moved_back(move) - self.before
        mean, square, by_dx, by_dy = _means(
            cv2.merge([difference, difference * difference, difference * self.dx, difference * self.dy]),
            self.cells,
        ).T
        return np.stack([square - mean * mean, by_dx - mean * self.mean_dx, by_dy - mean * self.mean_dy], 1)

    def error_of(self, flow: np.ndarray) -> np.ndarray:
        """Variance of what is left when `now` is moved back by a flow (H, W, 2) of whole size, levels²,
        (N,)."""
        x, y = cv2.split(cv2.resize(flow, self.size, interpolation=cv2.INTER_AREA))
        columns, rows = np.arange(self.size[0], dtype=np.float32), np.arange(self.size[1], dtype=np.float32)
        x, y = columns + x * np.float32(self.scale_x), rows[:, None] + y * np.float32(self.scale_y)
        back = cv2.remap(self.now, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mean, square = _means(cv2.merge([back - self.before, (back - self.before) ** 2]), self.cells).T
        return square - mean * mean

    def refined(self, moves: np.ndarray, looks: list[np.ndarray]) -> np.ndarray:
        """One step of Gauss and Newton for each move (M, 4); cells that a move does not explain lose their
        say."""
        along, down = self.cells.design
        kx, ky = self.part.diagonal * self.scale_x, self.part.diagonal * self.scale_y
        xx, xy, yy = self.cells.products
        squares = (
            (kx * kx * self.xx)[:, None] * xx
            + (kx * ky * self.xy)[:, None] * xy
            + (ky * ky * self.yy)[:, None] * yy
        )
        steps = []
        for error, by_dx, by_dy in (look.T for look in looks):
            relative = error / self.noise
            weight = self.cells.weight / self.noise / (1 + relative / (_TIGHT * (1 + _surest(relative)))) ** 2
            left = (weight @ squares).reshape(4, 4)
            right = (weight * by_dx * kx) @ along + (weight * by_dy * ky) @ down
            steps.append(np.linalg.solve(left + np.eye(4) * (1e-4 * np.trace(left) + 1e-9), -right))
        return moves + np.stack(steps)

    def _moved_back(self, move: np.ndarray) -> np.ndarray:
        pan_x, pan_y, zoom, roll = move
        part = self.part
        # the middle of the frame, px of the halved picture
        x = (part.width / 2 - part.left) * self.scale_x - 0.5
        y = (part.height / 2 - part.top) * self.scale_y - 0.5
        right, down = pan_x * part.diagonal * self.scale_x, pan_y * part.diagonal * self.scale_y
        matrix = np.array(
            [[1 + zoom, -roll, right - zoom * x + roll * y], [roll, 1 + zoom, down - zoom * y - roll * x]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(self.now, matrix, self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _surest(relative: np.ndarray) -> float:
    """Disagreement among the cells that agree best."""
    rank = int(_SURE_SHARE * (len(relative) - 1))
    return float(np.partition(relative, rank)[rank])


def _agreement(pair: _Pair, looks: list[np.ndarray]) -> np.ndarray:
    """How many cells each look explains, (M,): a cell speaks for those by which it matches as well as by
    any."""
    errors = np.stack([look[:, 0] for look in looks])
    best = errors.min(0)
    enough = best + _GRAIN + (2 * _SLIP) ** 2 * (pair.xx + pair.yy)
    return (enough / (enough + errors - best)) ** 2 @ pair.cells.weight


def _proposed(flow: np.ndarray, pair: _Pair) -> np.ndarray:
    """Moves (R, 4) that flow (N, 2) suggests region by region; an edge tells only what happens across it."""
    cells = pair.cells
    along, down = cells.design
    total = pair.xx + pair.yy + 8.0  # levels² per px² at which texture begins to count
    xx, xy, yy = pair.xx / total, pair.xy / total, pair.yy / total
    products = (
        xx[:, None] * cells.products[0] + xy[:, None] * cells.products[1] + yy[:, None] * cells.products[2]
    )
    u, v = flow.T
    targets = (xx * u + xy * v)[:, None] * along + (xy * u + yy * v)[:, None] * down
    weights = cells.regions
    for k in range(_FLOW_ROUNDS + 1):
        left = (weights @ products).reshape(-1, 4, 4) + np.eye(4) * 1e-6
        moves = np.linalg.solve(left, (weights @ targets)[:, :, None])[:, :, 0]
        squares = (u - moves @ along.T) ** 2 + (v - moves @ down.T) ** 2
        scale = _FLOW_SCALE * 2.0 ** (_FLOW_ROUNDS - 1 - k)
        weights = cells.weight / (1 + squares / scale**2) ** 2
    return moves
