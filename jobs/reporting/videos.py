"""Generated videos beside the training clips they are nearest to.

In: what `rushes evaluate` left, and the dataset. Out: a row per caption with its own clip and every seed's
video, all as data URIs, and the table of distances. Of many captions, a sample spread over all.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from jobs.cli.formatting import format_number
from jobs.cli.progress import Bar
from jobs.reporting.drawing.media import data_uri
from jobs.reporting.inputs import METRICS_OF_EVALUATE
from pipelines.batches.frames import FrameReader
from pipelines.dataset.reader import Dataset
from pipelines.errors import MediaError, Reason
from pipelines.even_sample import even_sample
from pipelines.measure.sandboxed import header_limits
from pipelines.media.config import LimitConfig
from pipelines.media.decode import decode_frames, probe_clip
from pipelines.sandbox import child
from pipelines.untrusted import read_object

_LIMITS = LimitConfig()
_MOST_CAPTIONS = 24
_MOST_COLUMNS = 64
# of metrics.json: the distance of each video to each clip
_MOST_BYTES, _MOST_VALUES = 128 * 2**20, 10_000_000


@dataclass(frozen=True, slots=True)
class VideoView:
    """A video as a data URI, with its size."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SeedView:
    """One generated video: whether its caption's own clip is the nearest, how far off it is, the nearer one
    if not."""

    seed: int
    video: VideoView
    right: bool
    distance: str
    nearest_id: str
    nearest_distance: str
    nearest: VideoView | None


@dataclass(frozen=True, slots=True)
class CaptionView:
    """One caption with the clip it was written of and what was made from it."""

    prompt: str
    clip_id: str
    source: str
    own: VideoView
    seeds: list[SeedView]


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean distance of a caption's videos to a clip; `heat` from 0 (farthest in its row) to 1 (nearest)."""

    value: str
    heat: float
    own: bool
    nearest: bool
    title: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Captions down, clips across."""

    columns: list[tuple[int, str]]
    rows: list[tuple[int, str, list[Cell]]]
    all_captions: int


@dataclass(frozen=True, slots=True)
class VideosView:
    """What was generated."""

    captions: list[CaptionView]
    all_captions: int
    share: float
    chance: float
    num_videos: int
    seeds: int
    steps: int
    matrix: Matrix


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """metrics.json of `rushes evaluate`, or None where it has not finished.

    Raises:
        ValueError: it is damaged, or names a video that is not beside it.
    """
    path = folder / METRICS_OF_EVALUATE
    if not path.is_file():
        return None
    found = read_object(path, _MOST_BYTES, _MOST_VALUES)
    numbers = ("retrieval_share", "chance", "seeds", "steps")
    videos = found.get("videos")
    if (
        not all(isinstance(found.get(name), int | float) for name in numbers)
        or not isinstance(videos, list)
        or not videos
        or not all(map(_is_video, videos))
    ):
        raise ValueError(f"{path} is damaged, or names videos that are not beside it; evaluate again")
    return found


def _is_video(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("clip_id", "prompt", "file", "nearest"))
        and isinstance(value.get("seed"), int)
        and Path(value["file"]).name == value["file"]
        and isinstance(value.get("distances"), dict)
        and {value["clip_id"], value["nearest"]} <= value["distances"].keys()
        and all(isinstance(one, int | float) for one in value["distances"].values())
    )


def videos_view(
    dataset: Dataset,
    clips: Mapping[str, Mapping[str, Any]],
    folder: Path,
    evaluation: Mapping[str, Any],
    bar: Bar,
) -> VideosView:
    """What `rushes evaluate` made.

    Args:
        clips: kept rows of the index by clip_id.
        folder, evaluation: of the evaluation, and its metrics.json.

    Raises:
        FileNotFoundError: a video that metrics.json names is gone.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for video in evaluation["videos"]:
        if video["clip_id"] in clips:  # footage may have left the dataset since
            groups.setdefault(video["clip_id"], []).append(video)
    ordered = sorted(groups, key=lambda c: (clips[c]["source_uri"], clips[c]["start_s"]))
    fps = _probed((folder / evaluation["videos"][0]["file"]).read_bytes())[4]  # one checkpoint, one rate
    stretches, captions = _Stretches(dataset, fps), []
    for clip_id in even_sample(ordered, _MOST_CAPTIONS):
        captions.append(_caption(stretches, clips, folder, sorted(groups[clip_id], key=lambda v: v["seed"])))
        bar.advance()
    return VideosView(
        captions,
        len(ordered),
        evaluation["retrieval_share"],
        evaluation["chance"],
        len(evaluation["videos"]),
        evaluation["seeds"],
        evaluation["steps"],
        _matrix([groups[c] for c in even_sample(ordered, _MOST_COLUMNS)], clips, len(ordered)),
    )


class _Stretches:
    """Finds and writes the stretches of clips that videos are nearest to."""

    def __init__(self, dataset: Dataset, fps: float):
        self._fps, self._reader = fps, FrameReader(dataset, fps, decode=_decoded)

    def nearest_to(self, made_THWC: np.ndarray, row: Mapping[str, Any]) -> VideoView:
        """The stretch of a clip at the video's frame rate and number of pixels, at the clip's aspect."""
        from jobs.evaluation.retrieval import thumbnails
        from pipelines.cutting.write_mp4 import write_mp4

        num, rows, columns, _ = made_THWC.shape
        side = math.sqrt(rows * columns * row["height"] / row["width"])
        height, width = 2 * round(side / 2), 2 * round(rows * columns / side / 2)
        frames = self._reader.clip(row, height, width)
        small, clip = thumbnails(made_THWC), thumbnails(frames)
        length = min(num, len(clip))
        first = min(
            range(len(clip) - length + 1),
            key=lambda o: float(np.mean((small[:length] - clip[o : o + length]) ** 2)),
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stretch.mp4"
            write_mp4(path, frames[first : first + length], self._fps)
            return VideoView(data_uri(path.read_bytes(), "video/mp4"), width, height)


def _caption(
    stretches: _Stretches,
    clips: Mapping[str, Mapping[str, Any]],
    folder: Path,
    videos: Sequence[Mapping[str, Any]],
) -> CaptionView:
    own = clips[videos[0]["clip_id"]]
    seeds, all_made = [], []
    for video in videos:
        content = (folder / video["file"]).read_bytes()
        made = _frames(content)
        distances, nearest = video["distances"], video["nearest"]
        right = nearest == video["clip_id"]
        all_made.append((distances[own["clip_id"]], video["seed"], made))
        other = None if right or nearest not in clips else stretches.nearest_to(made, clips[nearest])
        seeds.append(
            SeedView(
                video["seed"],
                VideoView(data_uri(content, "video/mp4"), made.shape[2], made.shape[1]),
                right,
                format_number(distances[own["clip_id"]]),
                nearest,
                format_number(distances[nearest]),
                other,
            )
        )
    best = min(all_made, key=lambda m: m[:2])[2]
    return CaptionView(
        videos[0]["prompt"],
        own["clip_id"],
        Path(own["source_uri"]).name,
        stretches.nearest_to(best, own),
        seeds,
    )


def _frames(content: bytes) -> np.ndarray:
    num_frames, _, width, height, fps = _probed(content)
    return _decoded(content, [k / fps for k in range(num_frames)], height, width)


def _probed(content: bytes) -> tuple[int, float, int, int, float]:
    """As `probe_clip`, in a child: a workflow's folder may be anyone's, as may its dataset."""
    num_frames, duration_s, width, height, fps = child.call(
        probe_clip, content, limits=header_limits(_LIMITS, len(content))
    )
    return num_frames, duration_s, width, height, fps


def _decoded(content: bytes, times_s: Sequence[float], height: int, width: int) -> np.ndarray:
    """As `decode_frames`, in a child."""
    limits = header_limits(_LIMITS, len(content))
    frames = child.call(decode_frames, content, list(times_s), height, width, limits=limits)
    if frames.dtype != np.uint8 or frames.shape != (len(times_s), height, width, 3):
        raise MediaError(Reason.CRASHED, "the process that decodes gave back something else than pictures")
    return frames


def _matrix(
    groups: Sequence[Sequence[Mapping[str, Any]]], clips: Mapping[str, Mapping[str, Any]], all_captions: int
) -> Matrix:
    shown = [videos[0]["clip_id"] for videos in groups]
    rows = []
    for number, videos in enumerate(groups):
        means = {c: fmean(v["distances"][c] for v in videos) for c in shown}
        low, high = min(means.values()), max(means.values())
        cells = [
            Cell(
                format_number(mean),
                round((high - mean) / (high - low), 3) if high > low else 1.0,
                c == videos[0]["clip_id"],
                mean == low,
                f"caption {number + 1} to clip {k + 1}: {format_number(mean)}",
            )
            for k, (c, mean) in enumerate(means.items())
        ]
        rows.append((number + 1, videos[0]["prompt"], cells))
    columns = [(k + 1, f"{Path(clips[c]['source_uri']).name}, {c}") for k, c in enumerate(shown)]
    return Matrix(columns, rows, all_captions)
