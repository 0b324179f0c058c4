"""Tiny frames of a stretch → what the detectors know of its frames: evidence, and TransNetV2 where something may happen.

In: uint8 frames (T, 27, 48, 3) of a stretch and its surroundings, which frames they are, and how many the video has. Out:
a column per kind of evidence. The network sees windows that are anchored at the video's first frame, each alone, so a
frame's row is the same whatever stretch it is measured in.
"""

import numpy as np

from pipelines.shot_detection import evidence, transnet

CELL = 25
"""Frames that one window decides."""
MARGIN = 25
"""Frames that the network sees before and after them, as in its training."""
_STEPS = 250  # of a quantised probability: it is stored in a byte
_NEAR = 2  # frames around a cell whose proposals concern it
COLUMNS = (*(f"alike_{reach}" for reach in evidence.REACHES), "transition")


def context_frames(looks: str) -> int:
    """Frames needed on either side of a stretch for the rows of its frames."""
    if looks == "none":
        return 0
    around_cell = MARGIN if looks == "all" else max(MARGIN, _NEAR + max(evidence.REACHES) + 1)
    return CELL - 1 + around_cell


def observe(tiny: np.ndarray, begin: int, first: int, last: int, total: int, looks: str) -> dict[str, np.ndarray]:
    """Evidence of frames [first, last).

    Args:
        tiny: of frames [begin, begin + len(tiny)), which are those of the stretch and `context_frames` on either side, as far as the video goes.
        total: frames of the video.
        looks: where TransNetV2 looks: none, proposed, all.

    Returns:
        Float32 columns by the names of `COLUMNS`; NaN where nobody looked.
    """
    columns = {name: np.full(last - first, np.nan, np.float32) for name in COLUMNS}
    if looks == "none":
        return columns
    cells = range(first // CELL, -(-last // CELL))
    seen = (max(0, cells.start * CELL - _NEAR), min(total, cells.stop * CELL + _NEAR))
    alike = _alike(tiny, begin, *seen)
    proposed = np.full(len(alike), looks == "all") | evidence.proposed(alike)
    for column, reach in enumerate(evidence.REACHES):
        columns[f"alike_{reach}"][:] = alike[first - seen[0] : last - seen[0], column]
    for cell in cells:
        start = cell * CELL
        around = slice(max(0, start - _NEAR - seen[0]), start + CELL + _NEAR - seen[0])
        if proposed[around].any():
            window = np.clip(np.arange(start - MARGIN, start + CELL + MARGIN), 0, total - 1) - begin
            seen_now = transnet.load()(tiny[window])[MARGIN:-MARGIN]
            inside = slice(max(first, start), min(last, start + CELL))
            rounded = np.round(seen_now * _STEPS) / _STEPS
            columns["transition"][inside.start - first : inside.stop - first] = rounded[
                inside.start - start : inside.stop - start
            ]
    return columns


def _alike(tiny: np.ndarray, begin: int, start: int, stop: int) -> np.ndarray:
    """`alike` of frames [start, stop) at every reach, float32 (stop − start, len(REACHES))."""
    return np.array(
        [[evidence.across(tiny, i - begin, reach) for reach in evidence.REACHES] for i in range(start, stop)],
        np.float32,
    )
