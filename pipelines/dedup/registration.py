"""Two looks → their registration: a window of the picture and a time lag, refined until the pictures agree.

In: two looks. Out: registrations. The search over windows and lags (`search`) is exhaustive and coarse; from
the best of it, Gauss-Newton on the common thumbnails (`refine`; Lucas & Kanade 1981, with time as a third
axis) finds place and scale to fractions of a cell and the lag to hundredths of a second, together with a
change of light.

Coordinates: a picture is the unit square, squeezed; a's point p shows b's `place + scale · p`, and a's second
t shows b's t + lag. Shapes: n thumbnails, S cells on a side.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.dedup.crop_windows import axis_windows, coarse, window
from pipelines.dedup.looks import SIDE, Look

_COARSE_STEP_S = 0.25  # between thumbnails of the search; `refine` finds lags from half as far
_MUCH_LESS = 0.15  # alike than the best start
_APART = 1.5  # steps between lags worth starting from
_TRIED_LAGS = np.array([0, -0.5, 0.5, -1, 1]) * _COARSE_STEP_S  # around a start's
_CLEARLY = 0.02  # more alike; of what stands still all lags are
_ITERATIONS = 8
# iterations, from which on so large a share of the variance should be explained
_HOPELESS_AFTER, _HOPELESS = 2, 0.3
_CUT_CELL = 0.2  # of b's cells, that one of a's may lie outside b
_FRAMES = 12  # thumbnails that the iterations look at
_CELLS = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
_SCALES = (0.7, 1.45)
_MOST_STEP = np.array([0.05, 0.05, 0.05, 0.05, 0.15])
_LAST_STEP = np.array([0.0005, 0.0005, 0.001, 0.001, 0.003])
# gray² per cell and unit²: what a still does not tell, stays
_PRIOR = np.array([100.0, 100.0, 100.0, 100.0, 1.0])


@dataclass(frozen=True, slots=True)
class InitialAlignment:
    """An initial alignment: likeness of the coarse pictures, a's window (x, y, width, height) in b, and b's
    time minus a's."""

    likeness: float
    window: tuple[float, float, float, float]
    lag_s: float

    def inverse(self) -> "InitialAlignment":
        """The same of b in a."""
        x, y, width, height = self.window
        return InitialAlignment(self.likeness, (-x / width, -y / height, 1 / width, 1 / height), -self.lag_s)


@dataclass(frozen=True, slots=True)
class Registration:
    """How b shows a's thumbnails first … last − 1 (n of them).

    Attributes:
        scale, place: of a's unit square in b's; (x, y).
        lag_s: b's time minus a's.
        resampled: b's pictures on a's cells, in a's light; float32 (n, S, S).
        time_gradient: change of `resampled` per second, same shape.
        inside: which of a's cells b shows, bool (S, S).
    """

    scale: tuple[float, float]
    place: tuple[float, float]
    lag_s: float
    first: int
    last: int
    resampled: np.ndarray
    time_gradient: np.ndarray
    inside: np.ndarray

    def overhang(self) -> float:
        """Largest overhang of one picture over the other, as a share of the inner side; 0 if one picture
        contains the other."""
        worst = 0.0
        for scale, place in zip(self.scale, self.place, strict=True):
            a_of_b = max(0.0, -place, place + scale - 1)
            b_of_a = max(0.0, place / scale, (1 - place - scale) / scale)
            worst = max(worst, min(a_of_b, b_of_a))
        return worst

    def distortion(self) -> float:
        """Largest part of it that is no identity, shares of a side."""
        return max(abs(v) for s, p in zip(self.scale, self.place, strict=True) for v in (s - 1, p))


def step_s(look: Look) -> float:
    """Usual time between thumbnails."""
    return float(np.median(np.diff(look.times_s))) if len(look.times_s) > 1 else 0.0


def search(a: Look, b: Look, least_s: float, count: int) -> list[InitialAlignment]:
    """The most alike windows and lags, at most `count`, best first.

    Args:
        least_s: shortest stretch that must be common.
    """
    step = max(step_s(a), step_s(b))
    if not step:
        return []
    every = max(1, round(_COARSE_STEP_S / step))
    a_thumbs, a_s, b_thumbs, b_s = (
        a.thumbs[::every],
        a.times_s[::every],
        b.thumbs[::every],
        b.times_s[::every],
    )
    step *= every
    a_pictures, b_pictures = coarse(a_thumbs), coarse(b_thumbs)
    # a's windows against all of b (b is the crop), and all of a against b's windows.
    like = np.concatenate([a_pictures @ b_pictures[0].T, a_pictures[0] @ b_pictures.transpose(0, 2, 1)])
    lags = np.rint(b_s / step).astype(int)[None, :] - np.rint(a_s / step).astype(int)[:, None]
    found = []
    for lag in range(int(lags.min()), int(lags.max()) + 1):
        meet = np.nonzero(lags == lag)
        if len(meet[0]) < 2 or (len(meet[0]) + 1) * step < least_s:
            continue
        mean = like[:, meet[0], meet[1]].mean(axis=1)
        best = int(mean.argmax())
        # Of a still all lags are alike: then the longest common stretch.
        rank = -float(mean[best]) - 0.02 * len(meet[0]) / min(len(a_s), len(b_s))
        found.append((rank, InitialAlignment(float(mean[best]), _window_of_a(best), lag * step)))
    found.sort(key=lambda f: (f[0], f[1].lag_s))
    apart: list[InitialAlignment] = []
    for _, start in found:
        if all(abs(start.lag_s - other.lag_s) > _APART * step for other in apart):
            apart.append(start)
    return [start for start in apart[:count] if start.likeness > apart[0].likeness - _MUCH_LESS]


def _window_of_a(row: int) -> tuple[float, float, float, float]:
    """a's window in b, by its row among the likenesses."""
    windows = len(axis_windows()) ** 2
    if row >= windows:
        return window(row - windows)
    return InitialAlignment(0.0, window(row), 0.0).inverse().window  # a's window is all of b


def refine(a: Look, b: Look, start: InitialAlignment) -> Registration | None:
    """The registration near a start; None if it slips away."""
    x, y, width, height = start.window
    # Centre and scale of a's square in b, lag. About the centre, place and scale are told apart best.
    state = np.array([x + width / 2, y + height / 2, width, height, start.lag_s])
    state[4] = _best_lag(a, b, state)
    for iteration in range(_ITERATIONS):
        view = _view(a, b, state, _FRAMES)
        if view is None:
            return None
        step, unexplained = _step(view, state)
        if iteration >= _HOPELESS_AFTER and unexplained > _HOPELESS:
            return None
        step = np.clip(step, -_MOST_STEP, _MOST_STEP)
        state = state + step
        if (np.abs(step) < _LAST_STEP).all():
            break
    view = _view(a, b, state)
    if view is None:
        return None
    light = _fit_light(view.seen[:, view.inside], view.wanted[:, view.inside])
    return Registration(
        scale=(float(state[2]), float(state[3])),
        place=(float(state[0] - state[2] / 2), float(state[1] - state[3] / 2)),
        lag_s=float(state[4]),
        first=view.first,
        last=view.last,
        resampled=_apply(light, view.seen),
        time_gradient=view.moving * _slope(light, view.seen),
        inside=view.inside,
    )


def _best_lag(a: Look, b: Look, state: np.ndarray) -> float:
    """The lag near a start's at which changes agree best. Coarse pictures hardly tell neighbours apart where
    most of the picture stands still, and where small things move by more than their size, Gauss-Newton
    doesn't get from one to the next.
    """
    best, most = state[4], -1.0
    for lag in state[4] + _TRIED_LAGS:
        view = _view(a, b, np.append(state[:4], lag), _FRAMES)
        if view is None:
            continue
        wanted, seen = (pictures - pictures.mean(axis=0) for pictures in (view.wanted, view.seen))
        wanted, seen = wanted[:, view.inside], seen[:, view.inside]
        agree = float((wanted * seen).mean() / np.sqrt(wanted.var() * seen.var() + 1))
        if agree > most + _CLEARLY:
            best, most = lag, agree
    return best


@dataclass(frozen=True, slots=True)
class _View:
    """a's thumbnails that b shows, b's pictures on their cells (in b's light), and which cells those are."""

    wanted: np.ndarray
    seen: np.ndarray
    moving: np.ndarray
    inside: np.ndarray
    first: int
    last: int


def _view(a: Look, b: Look, state: np.ndarray, most_frames: int | None = None) -> _View | None:
    if not (_SCALES[0] < state[2:4].min() and state[2:4].max() < _SCALES[1]) or len(b.times_s) < 2:
        return None
    when = a.times_s + state[4]
    slack = 0.02
    first = int(np.searchsorted(when, b.times_s[0] - slack))
    last = int(np.searchsorted(when, b.times_s[-1] + slack, side="right"))
    across, x_inside = _interpolation(state[0], state[2])
    down, y_inside = _interpolation(state[1], state[3])
    inside = y_inside[:, None] & x_inside[None, :]
    if last - first < 2 or inside.sum() < inside.size / 2:
        return None
    every = 1 if most_frames is None else -(-(last - first) // most_frames)
    when = when[first:last:every]
    after = np.clip(np.searchsorted(b.times_s, when, side="right"), 1, len(b.times_s) - 1)
    gap = (b.times_s[after] - b.times_s[after - 1]).astype(np.float32)[:, None, None]
    share = np.clip((when - b.times_s[after - 1]).astype(np.float32)[:, None, None] / gap, 0, 1)
    needed, where = np.unique(np.concatenate([after - 1, after]), return_inverse=True)
    on_cells = down @ b.thumbs[needed] @ across.T
    before, behind = on_cells[where[: len(after)]], on_cells[where[len(after) :]]
    seen = before + share * (behind - before)
    return _View(a.thumbs[first:last:every], seen, (behind - before) / gap, inside, first, last)


def _step(view: _View, state: np.ndarray) -> tuple[np.ndarray, float]:
    """One step of Gauss-Newton for (centre x, y, scale x, y, lag), and the share of the variance that is left
    before it."""
    light = _fit_light(view.seen[:, view.inside], view.wanted[:, view.inside])
    slope = _slope(light, view.seen)
    across = np.gradient(view.seen, axis=2) * slope * (SIDE / state[2])
    down = np.gradient(view.seen, axis=1) * slope * (SIDE / state[3])
    offset = _CELLS - 0.5
    columns = (
        across,
        down,
        across * offset,
        down * offset[:, None],
        view.moving * slope,
        view.seen**2 / 255,
        view.seen,
        np.ones_like(view.seen),
    )
    jacobian = np.stack([column[:, view.inside].ravel() for column in columns]).astype(np.float64)
    residual = (view.wanted - _apply(light, view.seen))[:, view.inside].ravel().astype(np.float64)
    square = jacobian @ jacobian.T
    square[np.diag_indices(len(square))] *= 1 + 1e-3
    square[np.diag_indices(len(_PRIOR))] += jacobian.shape[1] * _PRIOR
    solved = np.linalg.solve(square + 1e-6 * np.eye(len(square)), jacobian @ residual)
    unexplained = (residual**2).mean() / (view.wanted[:, view.inside].var() + 1.0)
    return solved[: len(_PRIOR)], float(unexplained)


def _interpolation(centre: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Cubic weights (S, S; Keys 1981) of b's cells at a's, along one axis; and which of a's cells lie in b,
    all but a sliver: what is beyond b's edge is not known.

    Where a's cells are the larger ones, the kernel is as wide as they are.
    """
    at = (centre + scale * (_CELLS - 0.5)) * SIDE - 0.5
    away = np.abs(np.clip(at, 0, SIDE - 1)[:, None] - np.arange(SIDE)) / max(1.0, scale)
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights = np.where(away <= 1, near, np.where(away < 2, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)  # at the edges some cells are missing
    reach = scale / 2 - _CUT_CELL
    return weights.astype(np.float32), (at - reach >= -0.5) & (at + reach <= SIDE - 0.5)


def _fit_light(seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Quadratic (3,) from b's light to a's: gain, bias and most of a gamma. Without contrast it is the
    identity."""
    x, y = seen.ravel().astype(np.float64) / 255, wanted.ravel().astype(np.float64) / 255
    columns = np.stack([x * x, x, np.ones_like(x)])
    weak = np.diag([1e-3, 1e-3, 1e-3]) * 0.01 * len(x)
    identity = np.array([0.0, 1.0, 0.0])
    return np.linalg.solve(columns @ columns.T + weak, columns @ y + weak @ identity)


def _apply(light: np.ndarray, seen: np.ndarray) -> np.ndarray:
    unit = seen / 255
    return (((light[0] * unit + light[1]) * unit + light[2]) * 255).astype(np.float32)


def _slope(light: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return (2 * light[0] * seen / 255 + light[1]).astype(np.float32)
