"""A sheet of frames: rows of labelled videos, one picture to look at.

In: labels with uint8 videos (T, H, W, 3) of one length and size. Out: a picture, uint8 (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

_EVERY, _SCALE, _GAP_PX, _LABEL_PX = 2, 2, 4, 300
_PAPER, _INK, _GIVEN = 250, (40, 40, 40), (30, 110, 230)


@dataclass(frozen=True, slots=True)
class Row:
    """A video, what is written beside it (lines of a few words), and which of its frames were given."""

    label: tuple[str, ...]
    frames_THWC: np.ndarray
    given: Sequence[slice] = field(default=())


def sheet(rows: Sequence[Row]) -> np.ndarray:
    """Every second frame of each row from left to right; those that were given have a blue border."""
    return np.concatenate([_drawn(row) for row in rows])


def _drawn(row: Row) -> np.ndarray:
    count, height, width = row.frames_THWC.shape[:3]
    cell_h, cell_w = _SCALE * height + 2 * _GAP_PX, _SCALE * width + 2 * _GAP_PX
    label = np.full((cell_h, _LABEL_PX, 3), _PAPER, np.uint8)
    for line, text in enumerate(row.label):
        at = (2 * _GAP_PX, cell_h // 2 + 6 + round(22 * (line - (len(row.label) - 1) / 2)))
        cv2.putText(label, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    given = {number for stretch in row.given for number in range(count)[stretch]}
    cells = [label]
    for number in range(0, count, _EVERY):
        cell = np.full((cell_h, cell_w, 3), _PAPER, np.uint8)
        if number in given:
            cell[1:-1, 1:-1] = _GIVEN
        frame = cv2.resize(
            row.frames_THWC[number], None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST
        )
        cell[_GAP_PX:-_GAP_PX, _GAP_PX:-_GAP_PX] = frame
        cells.append(cell)
    return np.concatenate(cells, axis=1)
