"""Tiny frames of a stretch → what the detectors know of its frames: evidence, and TransNetV2 where something may happen.

In: uint8 frames (T, 27, 48, 3) of a stretch and its surroundings, which frames they are, and how many the video has. Out:
a column per kind of evidence. The network sees windows that are anchored at the video's first frame, each alone, so a
frame's row is the same whatever stretch it is measured in.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.shot_detection import evidence, transnet

_STEPS = 250  # of a quantised probability: it is stored in a byte
_LEAST_FPS = 12.0  # frames that the network should see in a second: its training saw at least twice as many
COLUMNS = (*(f"alike_{reach}" for reach in evidence.REACHES), "transition")


@dataclass(frozen=True, slots=True)
class Look:
    """How TransNetV2 looks: at every `stride`-th frame; a window decides `core` of those, and sees `margin` around them;
    `everywhere`, or only at cells (the frames that a window decides) in which evidence proposes it.
    """

    stride: int
    core: int
    margin: int
    everywhere: bool

    @property
    def cell(self) -> int:
        """Frames that a window decides."""
        return self.core * self.stride

    def at(self, fps: float) -> "Look":
        """The same, at more of the frames if they are few in a second already."""
        return replace(self, stride=max(1, min(self.stride, round(fps / _LEAST_FPS))))


def context_frames(look: Look | None) -> int:
    """Frames needed on either side of a stretch for the rows of its frames."""
    if look is None:
        return 0
    return look.cell - 1 + max(look.margin * look.stride, 2 * evidence.REACH)


def observe(
    tiny: np.ndarray, begin: int, first: int, last: int, total: int, look: Look | None
) -> dict[str, np.ndarray]:
    """Evidence of frames [first, last).

    Args:
        tiny: of frames [begin, begin + len(tiny)), which are those of the stretch and `context_frames` on either side, as
            far as the video goes.
        total: frames of the video.
        look: None measures nothing.

    Returns:
        Float32 columns by the names of `COLUMNS`; NaN where nobody looked.
    """
    columns = {name: np.full(last - first, np.nan, np.float32) for name in COLUMNS}
    if look is None:
        return columns
    cells = range(first // look.cell, -(-last // look.cell))
    # Proposals of a cell's frames depend on clear cuts around them, and those on their neighbours.
    start, stop = max(0, cells.start * look.cell - evidence.REACH), min(total, cells.stop * look.cell + evidence.REACH)
    alike = evidence.measure_alike(tiny, begin, start, stop, total)
    for name, column in zip(COLUMNS, alike.T, strict=False):
        columns[name][:] = column[first - start : last - start]
    proposed = evidence.proposed(alike) | look.everywhere
    for cell in cells:
        inside = range(cell * look.cell, min((cell + 1) * look.cell, total))
        if proposed[inside.start - start : inside.stop - start].any():
            seen = np.repeat(_probabilities(tiny, begin, inside.start, total, look), look.stride)
            for i in range(max(first, inside.start), min(last, inside.stop)):
                columns["transition"][i - first] = seen[i - inside.start]
    return columns


def _probabilities(tiny: np.ndarray, begin: int, start: int, total: int, look: Look) -> np.ndarray:
    """Of the frames that the window decides whose first is `start`, float32 (core,)."""
    steps = np.arange(-look.margin, look.core + look.margin)
    window = np.clip(start + steps * look.stride, 0, total - 1) - begin
    decided = transnet.load()(tiny[window])[look.margin : look.margin + look.core]
    return np.round(decided * _STEPS) / _STEPS
