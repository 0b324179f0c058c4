"""Time weights of frames: a score averages over a clip's duration, not over its frames.

In: seconds that each of a clip's frames is shown, and where among them something was measured. Out: weights,
and how often a measurement counts. Where frames are even, everything counts alike.
"""

import numpy as np
import pyarrow as pa

STILL_PICTURE_S = 1.0
"""A picture that is shown for longer stands still, for all of that time."""


def repeat_counts(lasts_s: np.ndarray, step_s: float) -> np.ndarray:
    """How often measurements count that stand for so many seconds each, int (n,): once for every whole step,
    at least once.

    Args:
        step_s: between measurements, as a rule; where all are farther apart, the smallest distance is the
        step.
    """
    if not len(lasts_s):
        return np.empty(0, int)
    step = max(step_s, float(lasts_s.min()))
    return np.maximum(1, np.floor(lasts_s / step + 1e-6)).astype(int)


def expand_motion(
    columns: dict[str, np.ndarray], shown_s: np.ndarray, step_s: float
) -> dict[str, np.ndarray]:
    """What is measured between frames on a grid in time, as the grid would have it if every step had a frame.

    Args:
        columns: a value per frame (n,), NaN where none is measured; the first one points outside of the clip,
        and is left out.
        shown_s: of each frame (n,).
        step_s: of the grid.

    Returns:
        Values by name (m,): a step that takes longer counts as often as there are steps in it; while the last
        picture stands, nothing moves.
    """
    at = np.flatnonzero(np.isfinite(next(iter(columns.values()))))
    begins_s = np.cumsum(shown_s) - shown_s
    stands = shown_s[-1:] if shown_s[-1] > STILL_PICTURE_S else shown_s[:0]
    count = repeat_counts(np.concatenate([np.diff(begins_s[at]), stands]), step_s)
    still = np.zeros(len(stands))
    return {
        name: np.repeat(np.concatenate([values[at][1:], still]), count) for name, values in columns.items()
    }


def expand_native_rows(rows: pa.Table, begins_s: np.ndarray, length_s: float, step_s: float) -> pa.Table:
    """Rows of native frames, each as often as there are steps of the grid until the next one.

    Args:
        begins_s: when each is shown first, seconds from the clip's beginning (n,).
        length_s: of the clip.
    """
    count = repeat_counts(np.diff(begins_s, append=length_s), step_s)
    return rows if (count <= 1).all() else rows.take(pa.array(np.repeat(np.arange(len(rows)), count)))
