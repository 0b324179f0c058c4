"""Tiny frames of a range → the inputs of the detectors: evidence, and TransNetV2's probabilities where a
transition is likely.

In: uint8 frames (T, 27, 48, 3) of a stretch and its surroundings, which frames they are, and how many the
video has. Out: a column per kind of evidence. The network sees windows that are anchored at the video's first
frame, each alone, so a frame's row is the same whatever stretch it is measured in.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.shots import evidence, transnet

_STEPS = 250  # of a quantised probability: it is stored in a byte
_LEAST_FPS = 12.0  # frames that the network should see in a second: its training saw at least twice as many
_BRIGHT_PERCENT, _BRIGHT, _MOST_GAIN = 90, 140.0, 4.0
_GOES_ON = 0.1  # probability at the border of a cell with which the next one is looked at too
COLUMNS = (*(f"alike_{reach}" for reach in evidence.REACHES), "contrast", "transition")


@dataclass(frozen=True, slots=True)
class InferencePlan:
    """How TransNetV2 is run: on every `stride`-th frame, in windows of `core` predicted frames with `margin`
    context frames on each side; on all windows (`everywhere`), or only on those that evidence proposes.
    """

    stride: int
    core: int
    margin: int
    everywhere: bool

    @property
    def cell(self) -> int:
        """Frames that a window decides."""
        return self.core * self.stride

    def for_fps(self, fps: float) -> "InferencePlan":
        """The same, at more of the frames if they are few in a second already."""
        return replace(self, stride=max(1, min(self.stride, round(fps / _LEAST_FPS))))


def context_frames(look: InferencePlan | None) -> int:
    """Frames needed on either side of a stretch for the rows of its frames."""
    if look is None:
        return 0
    return 2 * look.cell - 1 + max(look.margin * look.stride, 2 * evidence.REACH)


def evidence_columns(
    tiny: np.ndarray,
    begin: int,
    frames: tuple[int, int],
    segment: tuple[int, int],
    look: InferencePlan | None,
    precision: str,
) -> dict[str, np.ndarray]:
    """Evidence of a range of frames.

    Args:
        tiny: of frames [begin, begin + len(tiny)), which are those of the stretch and `context_frames` on
            either side, as far as the video goes.
        frames: [first, last), which the rows are of.
        segment: [start, end) of the consecutive intact frames that all these frames lie in.
        look: None measures nothing.
        precision: of the network, bf16 or fp32.

    Returns:
        Float32 columns by the names of `COLUMNS`; NaN where nobody looked.
    """
    (first, last), (start, total) = frames, segment
    columns = {name: np.full(last - first, np.nan, np.float32) for name in COLUMNS}
    if look is None:
        return columns
    asked, wanted = first // look.cell, -(-last // look.cell)
    beside = 0 if look.everywhere else 1
    cells = range(max(start // look.cell, asked - beside), min(wanted + beside, -(-total // look.cell)))
    # Proposals of a cell's frames depend on clear cuts around them, and those on their neighbours.
    since = max(start, cells.start * look.cell - evidence.REACH)
    stop = min(total, cells.stop * look.cell + evidence.REACH)
    alike = evidence.measure_alike(tiny, begin, since, stop, total, start)
    for name, column in zip(COLUMNS, alike.T, strict=False):
        columns[name][:] = column[first - since : last - since]
    columns["contrast"][:] = [evidence.contrast(tiny[i - begin]) for i in range(first, last)]
    proposed = evidence.proposed_frames(alike) | look.everywhere
    seen = {
        cell: _probabilities(tiny, begin, cell * look.cell, (start, total), look, precision)
        for cell in cells
        if proposed[max(cell * look.cell, since) - since : (cell + 1) * look.cell - since].any()
    }
    for cell in range(asked, wanted):
        if cell in seen or _goes_on(cell, seen):
            here = seen.get(cell)
            if here is None:
                here = _probabilities(tiny, begin, cell * look.cell, (start, total), look, precision)
            by_frame = np.repeat(here, look.stride)
            for i in range(max(first, cell * look.cell), min(last, (cell + 1) * look.cell)):
                columns["transition"][i - first] = by_frame[i - cell * look.cell]
    return columns


def _goes_on(cell: int, proposed: dict[int, np.ndarray]) -> bool:
    """Whether a transition seen in a proposed cell reaches the border to this one."""
    before, after = proposed.get(cell - 1), proposed.get(cell + 1)
    return bool(
        (before is not None and before[-1] >= _GOES_ON) or (after is not None and after[0] >= _GOES_ON)
    )


def _probabilities(
    tiny: np.ndarray, begin: int, start: int, among: tuple[int, int], look: InferencePlan, precision: str
) -> np.ndarray:
    """Of the frames that the window decides whose first is `start`, float32 (core,); it sees frames among[0]
    … among[1] − 1."""
    steps = np.arange(-look.margin, look.core + look.margin)
    window = np.clip(start + steps * look.stride, among[0], among[1] - 1) - begin
    decided = transnet.load(precision)(_exposed(tiny[window]))[look.margin : look.margin + look.core]
    return np.round(decided * _STEPS) / _STEPS


def _exposed(frames: np.ndarray) -> np.ndarray:
    """A dark window as bright as those of the network's training: night footage is seen as well as day."""
    bright = float(np.percentile(frames, _BRIGHT_PERCENT))
    gain = min(_MOST_GAIN, _BRIGHT / max(bright, 1.0))
    return frames if gain <= 1 else np.clip(frames * np.float32(gain), 0, 255).astype(np.uint8)
