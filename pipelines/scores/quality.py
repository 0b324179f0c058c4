"""How good the picture is technically: sharpness, blockiness, blur and noise, on native frames.

In: luma of a native frame, uint8 (H, W), without the bars of that frame, which would hide what is wrong with
the picture. Out: numbers without a reference: nobody knows what the scene looked like.
"""

import math

import numpy as np
import pyarrow as pa

from pipelines.scores import bars
from pipelines.scores.base import Meter, MeterRow, NativeFrame, Score, reduce_native

VERSION = 2

_BLUR_TAPS = 9
_FIXED_POINT = 64  # of luma in 16 bits
_NOISE_BLOCK_PX = 16
_NOISE_PERCENT = 20  # of the blocks, from the calmest on: in the others it is texture that varies
_CLIPPED = (4, 251)  # luma of blocks whose noise was cut off
_GRID_PERIODS_PX = (8.0, 16.0, 16 / 3, 6.0, 32 / 3, 12.0, 18.0, 24.0)  # 8 px, and scaled as pictures are
_GRID_LINES = 12  # a grid has at least so many lines
_MOST_STEP = 24  # luma; what is more is no trace of a codec
_LEAST_STEP = 0.5  # luma; what is less is not seen


def sharpness(gray: np.ndarray) -> float:
    """Variance of the Laplacian of luma (Pech-Pacheco et al. 2000): near 0 without focus, hundreds with fine
    detail."""
    import cv2

    _, deviation = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def blur(gray: np.ndarray) -> float | None:
    """How little of the picture's variation a further blur takes away, 0 (sharp) to 1 (Crété et al. 2007);
    None if flat.

    In the direction in which it is more: motion blurs one only.
    """
    import cv2

    sharp = gray.astype(np.int16) * _FIXED_POINT
    found = []
    for taps, after, before in (
        ((1, _BLUR_TAPS), np.s_[1:], np.s_[:-1]),
        ((_BLUR_TAPS, 1), np.s_[:, 1:], np.s_[:, :-1]),
    ):
        if not sharp[after].size:  # a single row or column; OpenCV crashes over nothing
            continue
        soft = cv2.blur(sharp, taps)
        varies = cv2.absdiff(sharp[after], sharp[before])
        lost = np.maximum(cv2.subtract(varies, cv2.absdiff(soft[after], soft[before])), 0)
        if total := cv2.sumElems(varies)[0]:
            found.append(1 - cv2.sumElems(lost)[0] / total)
    return max(found, default=None)


def noise(gray: np.ndarray) -> float | None:
    """Standard deviation of the noise, luma levels: Immerkær 1996 in each block, and of the calm blocks; None
    if too small.

    The mask takes away what is smooth; what texture leaves is taken away by looking at the calmest blocks
    only.
    """
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(gray, cv2.CV_16S, mask)
    deviation = _blocks(np.abs(response)) * (math.sqrt(math.pi / 2) / 6)
    luma = _blocks(gray)
    if not deviation.size:
        return None
    whole = (luma >= _CLIPPED[0]) & (luma <= _CLIPPED[1])
    return float(np.percentile(deviation[whole] if whole.any() else deviation, _NOISE_PERCENT))


def _blocks(values: np.ndarray) -> np.ndarray:
    """Mean of each whole block."""
    import cv2

    rows, columns = (side // _NOISE_BLOCK_PX for side in values.shape)
    if not rows * columns:
        return np.empty((0, 0), np.float32)
    whole = values[: rows * _NOISE_BLOCK_PX, : columns * _NOISE_BLOCK_PX]
    return cv2.resize(whole.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)


def blockiness(gray: np.ndarray) -> float | None:
    """How much larger steps of luma are along a grid than beside it: 0 (no grid) to 1 (nowhere else); None if
    too small.

    The ratio of Wu & Yuen 1997 (GBIM), bounded, and for the likeliest of the grids a codec may have left: any
    phase, and 8 px or what that becomes in scaling. Medians over lines, so that an upright post is no grid;
    two standard errors are taken off, so that chance is none. The mean of both directions.
    """
    across, down = _grid(gray), _grid(gray.T)
    return None if across is None or down is None else (across + down) / 2


def _grid(gray: np.ndarray) -> float | None:
    """Along columns."""
    periods = [period for period in _GRID_PERIODS_PX if gray.shape[1] > _GRID_LINES * period]
    if not periods:
        return None
    profile = _steps(gray)
    return max(_contrast(profile, period) for period in periods)


def _steps(gray: np.ndarray) -> np.ndarray:
    """Mean step of luma from each column to the next, those left out that no codec makes; float64 (W −
    1,)."""
    import cv2

    gray = np.ascontiguousarray(gray)
    steps = np.minimum(cv2.absdiff(gray[:, 1:], gray[:, :-1]), _MOST_STEP)
    return cv2.reduce(steps, 0, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[0]


def _contrast(profile: np.ndarray, period: float) -> float:
    """Of lines a period apart against all others, at the phase where steps are largest; 0 or more."""
    phase = np.floor(np.arange(len(profile)) % period).astype(int)
    usual = np.minimum(profile, 3 * np.median(profile))  # one post must not choose the phase
    means = np.bincount(phase, usual) / np.bincount(phase)
    here = phase == int(means[: int(period)].argmax())
    on, off = profile[here], profile[~here]
    middle, rest = float(np.median(on)), float(np.median(off))
    error = 1.2533 * 1.4826 * float(np.median(np.abs(on - middle))) / math.sqrt(len(on))
    return max(0.0, (middle - rest - 2 * error) / (middle + rest + _LEAST_STEP))


def _look(frame: NativeFrame) -> MeterRow:
    picture = bars.picture_of(frame.gray)
    return {
        "sharpness": sharpness(picture),
        "blockiness": blockiness(picture),
        "blur": blur(picture),
        "noise": noise(picture),
    }


METER = Meter(
    name="quality",
    columns=tuple(pa.field(name, pa.float32()) for name in ("sharpness", "blockiness", "blur", "noise")),
    load=lambda cfg, precision: _look,
    settings=lambda cfg, precision: [VERSION, bars.VERSION],
    model=lambda cfg: f"quality v{VERSION}",
)

SCORES = {
    "sharpness": Score(
        reduce_native("quality", "sharpness"),
        "median over native frames of the variance of the Laplacian (Pech-Pacheco et al. 2000)",
        "luma²",
        "quality",
        low="blurry",
    ),
    "blockiness": Score(
        reduce_native("quality", "blockiness"),
        "median over native frames of how steps along a coding grid exceed those beside it (after Wu & "
        "Yuen 1997); 0 is none",
        "0–1",
        "quality",
        high="blocky",
    ),
    "blur": Score(
        reduce_native("quality", "blur"),
        "median over native frames of the perceptual blur of Crété et al. 2007; 0 is sharp",
        "0–1",
        "quality",
        high="blurry",
    ),
    "noise": Score(
        reduce_native("quality", "noise"),
        "median over native frames of the noise's standard deviation in calm blocks (Immerkær 1996)",
        "luma, 0–255",
        "quality",
        high="noisy",
    ),
}
