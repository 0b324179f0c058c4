"""Technical quality by DOVER (Wu et al. 2023, "Exploring Video Quality Assessment on User Generated Contents
from Aesthetic and Technical Perspectives"), where its weights are given: the ONNX file that its authors'
converter writes.

In: a clip. Out: the output of its technical branch. DOVER looks at consecutive frames of a clip, so it needs
a second look at the footage: `views`, inside the killable child, returns only the small pictures that the
network is shown; `Dover` scores them. Sampling is the published one, with the middle of each range where the
authors draw at random, so that a clip has one score.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.clock import Clock
from pipelines.scores import onnx
from pipelines.scores.base import Score
from pipelines.scores.config import ScoreConfig

VERSION = 1
SOURCE = "dover"
FRAMES = 32  # of a window
SIDE_PX = 224
WINDOWS = 3  # of the technical view, where the file leaves it open; its authors' setting
_STEP = 2  # frames from one to the next
_GRID = 7  # fragments along either side of a frame
_FRAGMENT_PX = SIDE_PX // _GRID
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of 0–255
_AESTHETIC, _TECHNICAL = "aes_view", "tech_view"


def missing(cfg: ScoreConfig) -> str | None:
    """Why there is no DOVER, and which key to set; None if there is one."""
    return None if cfg.dover else "needs DOVER: set scores.dover to its ONNX file"


def check(cfg: ScoreConfig) -> None:
    """Check that the file exists and is ONNX, without loading it.

    Raises:
        ValueError: it isn't there, or isn't ONNX.
    """
    if cfg.dover is None:
        return
    path = Path(cfg.dover)
    if not path.is_file():
        raise ValueError(f"scores.dover={path}: there is no such file")
    if path.suffix != ".onnx":
        raise ValueError(
            f"scores.dover={path} is not ONNX; write it with convert_to_onnx.py of DOVER's repository"
        )


def _weights(cfg: ScoreConfig) -> Path:
    assert cfg.dover is not None, "only who gives DOVER's weights asks for its score"
    return Path(cfg.dover)


def settings(cfg: ScoreConfig) -> Any:
    """Plain values that the score depends on, besides the clip."""
    return [VERSION, onnx.weights_hash(_weights(cfg))]


def model(cfg: ScoreConfig) -> str:
    """What people call it."""
    return f"DOVER {_weights(cfg).name} v{VERSION}"


def view_frame_indices(num_frames: int, windows: int = WINDOWS) -> np.ndarray:
    """Which frames of a clip DOVER is shown: numbers from 0, int64 (1 + windows, 32).

    The first row is the aesthetic view: one frame from each 32nd of the clip. Each other row is a window of
    the technical view: 32 frames, every second one, from an equal part of the clip; one that is too short is
    begun again.
    """
    aesthetic = _runs(num_frames, FRAMES, 1).reshape(1, FRAMES)
    return np.concatenate([aesthetic, _runs(num_frames, windows, FRAMES)])


def views(path: Path, clock: Clock, start_pts: int, num_frames: int, windows: int = WINDOWS) -> np.ndarray:
    """What DOVER is shown of a clip: uint8 (1 + windows, 32, 224, 224, 3), RGB, in the order of
    `view_frame_indices`.

    Args:
        clock: of the whole video.
        start_pts: of the clip's first frame.

    Raises:
        MediaError: undecodable, truncated.
    """
    from pipelines.media.decode import iterate_pictures
    from pipelines.media.picture import upright

    plan = view_frame_indices(num_frames, windows)
    first = clock.index_of(start_pts)
    numbers = {int(clock.pts[first + number]): int(number) for number in np.unique(plan)}
    pictures = iterate_pictures(path, min(numbers), max(numbers) + 1, clock)
    return assemble_views(((numbers[p.pts], upright(p)) for p in pictures if p.pts in numbers), plan)


def assemble_views(frames: Iterable[tuple[int, np.ndarray]], plan: np.ndarray) -> np.ndarray:
    """(number, frame) of every frame in a plan, each once, RGB uint8 (H, W, 3) → the views; see `views`.

    Raises:
        MediaError: truncated.
    """
    shown = np.zeros((*plan.shape, SIDE_PX, SIDE_PX, 3), np.uint8)
    lacking = set(plan.flat)
    for number, frame in frames:
        aesthetic, technical = plan[0] == number, plan[1:] == number
        if aesthetic.any():
            shown[0][aesthetic] = resized(frame)
        if technical.any():
            shown[1:][technical] = fragments(frame)
        lacking.discard(number)
    if lacking:
        raise MediaError(Reason.TRUNCATED, f"{len(lacking)} frames that the index lists don't decode")
    return shown


def resized(frame: np.ndarray) -> np.ndarray:
    """The aesthetic view of a frame: all of it, squeezed to a square; uint8 (224, 224, 3)."""
    import cv2

    shrinks = min(frame.shape[:2]) >= SIDE_PX
    return cv2.resize(
        frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def fragments(frame: np.ndarray) -> np.ndarray:
    """The technical view of a frame: 32 × 32 pixels as they are from the middle of each of 7 × 7 cells, side
    by side; uint8 (224, 224, 3). A frame with a side below 224 is first enlarged until it has none.
    """
    import cv2

    scale = SIDE_PX / min(frame.shape[:2])
    if scale > 1:
        height, width = (max(SIDE_PX, round(side * scale)) for side in frame.shape[:2])
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    rows, columns = (_middles(side) for side in frame.shape[:2])
    return frame[rows][:, columns]


class Dover:
    """The network, loaded, on one core.

    Attributes:
        windows: of its technical view, for `views`.

    Raises:
        ValueError: the file is not a DOVER.
    """

    def __init__(self, path: Path):
        self._session = onnx.session(path)
        shapes = {given.name: given.shape for given in self._session.get_inputs()}
        if shapes.keys() != {_AESTHETIC, _TECHNICAL} or len(self._session.get_outputs()) != 2:
            raise ValueError(
                f"scores.dover={path} is not a DOVER: it takes {', '.join(shapes)} and gives "
                f"{len(self._session.get_outputs())} outputs, DOVER takes {_AESTHETIC} and {_TECHNICAL} and "
                "gives 2; write it with convert_to_onnx.py of DOVER's repository"
            )
        given, expected = shapes[_TECHNICAL][1:], [3, FRAMES, SIDE_PX, SIDE_PX]
        if len(given) != 4 or any(
            isinstance(a, int) and a != b for a, b in zip(given, expected, strict=True)
        ):
            raise ValueError(
                f"scores.dover={path}: {_TECHNICAL} is {given}, not {expected}; it is another DOVER"
            )
        batch = shapes[_TECHNICAL][0]
        self.windows = batch if isinstance(batch, int) else WINDOWS

    def score(self, views: np.ndarray) -> float:
        """The technical branch's output, mean over windows. Its scale is DOVER's own: about 0.11 ± 0.07 over
        ordinary videos, higher is better.

        Args:
            views: see the function of that name.
        """
        x_VCTHW = np.ascontiguousarray(
            ((views - np.asarray(_MEAN, np.float32)) / np.asarray(_STD, np.float32)).transpose(0, 4, 1, 2, 3)
        )
        _, technical = self._session.run(None, {_AESTHETIC: x_VCTHW[:1], _TECHNICAL: x_VCTHW[1:]})
        return float(np.mean(technical))


def _runs(num_frames: int, parts: int, length: int) -> np.ndarray:
    """A run of frames from the middle of each of so many equal parts of a clip: numbers, (parts, length)."""
    starts = np.arange(parts) * num_frames // parts
    slack = max(0, num_frames // parts - length * _STEP)
    return (starts[:, None] + slack // 2 + np.arange(length) * _STEP) % num_frames


def _middles(side: int) -> np.ndarray:
    """Numbers of the rows, or columns, that fragments take of a side, (224,)."""
    cell = side // _GRID
    return (np.arange(_GRID)[:, None] * cell + (cell - _FRAGMENT_PX) // 2 + np.arange(_FRAGMENT_PX)).ravel()


SCORES = {
    "technical": Score(
        None,
        "DOVER's technical branch: distortions that people see, over windows of consecutive frames",
        "DOVER's own, about 0.11 ± 0.07 over ordinary videos",
        SOURCE,
        low="degraded",
        missing=missing,
    ),
}
