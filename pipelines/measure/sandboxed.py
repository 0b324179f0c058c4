"""The functions that run in the killable child: all that open, demux or decode an untrusted file.

In: a file and plain settings. Out: tables, arrays and plain values, the only things that come out of a child.
Call these through `pipelines.sandbox.child.call`; they are ordinary functions all the same.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import MediaError, Reason
from pipelines.measure.units import Unit
from pipelines.media.clock import Clock, Gap
from pipelines.media.config import FootageConfig, LimitConfig
from pipelines.media.picture_format import Crop, Framing
from pipelines.media.ranged import File
from pipelines.records import Video
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.progress_pipe import report_progress

if TYPE_CHECKING:
    from av import VideoFrame

    from pipelines.measure.measure import Measurements

_LOW_BYTES_PER_S = 100_000  # of such footage, whose length isn't known yet
_SLOW_BYTES_PER_S = 1_000_000  # of what it is read from
_FRACTIONS = ("time_base", "rate")


def decode_limits(cfg: LimitConfig, footage_s: float, file_bytes: int = 0) -> Limits:
    """For a call that decodes so many seconds of footage and writes at most so many bytes."""
    return Limits(cfg.deadline_s + cfg.deadline_per_s * footage_s, cfg.memory_bytes, file_bytes)


def header_limits(cfg: LimitConfig, size_bytes: int) -> Limits:
    """Limits of a call that reads the frame times of a file of `size_bytes`. A few old formats must be
    decoded completely for that.
    """
    return decode_limits(cfg, size_bytes / _LOW_BYTES_PER_S)


def full_read_limits(cfg: LimitConfig, size_bytes: int) -> Limits:
    """For a call that reads all bytes of a file, once."""
    return Limits(cfg.deadline_s + size_bytes / _SLOW_BYTES_PER_S, cfg.memory_bytes)


def read_identity(path: Path) -> str:
    """`video_id` of a file of this machine. What is no container that we take is refused before its bytes are
    hashed.

    Raises:
        MediaError: unreadable, missing.
    """
    from pipelines.ids import READ_BYTES, VideoHasher
    from pipelines.media.open_regular import regular_file
    from pipelines.media.sniff import HEAD_BYTES, sniff

    whole = VideoHasher()
    try:
        with regular_file(path) as file:
            sniff(file.read(HEAD_BYTES))
            file.seek(0)
            while piece := file.read(READ_BYTES):
                whole.update(piece)
        return whole.hexdigest()
    except OSError as error:
        raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error


def read_header(path: File, video_id: str, cfg: FootageConfig) -> pa.Table:
    """What a file is and when each of its frames is shown: rows (pts, key), and all else in the schema's
    metadata.

    Raises:
        MediaError: unreadable, truncated, beyond a limit, …
    """
    from pipelines.media.probe import probe

    video = json.dumps(dataclasses.asdict(probe(path, video_id, cfg)), default=str)
    times = read_times(path, cfg)
    return times.replace_schema_metadata(times.schema.metadata | {b"video": video})


def read_times(path: File, cfg: FootageConfig) -> pa.Table:
    """When each frame of a file is shown: rows (pts, key), the rest of its `Clock` in the schema's metadata.

    Raises:
        MediaError: see `read_clock`.
    """
    from pipelines.media.read_clock import read_clock

    clock = read_clock(path, cfg)
    about = {
        name: value for name, value in dataclasses.asdict(clock).items() if not isinstance(value, np.ndarray)
    }
    rows = pa.table({"pts": clock.pts, "key": np.isin(clock.pts, clock.keyframes)})
    return rows.replace_schema_metadata({b"clock": json.dumps(about, default=str)})


def header_video(header: pa.Table) -> Video:
    """The `Video` in a header's table."""
    return Video(**_fields(header, b"video"))


def header_clock(header: pa.Table) -> Clock:
    """The `Clock` in a header's table, or in one of times only."""
    pts = header["pts"].to_numpy()
    about = _fields(header, b"clock")
    about |= {"gaps": tuple(Gap(**gap) for gap in about["gaps"]), "holes": tuple(about["holes"])}
    return Clock(pts=pts, keyframes=pts[header["key"].to_numpy()], **about)


def _fields(header: pa.Table, name: bytes) -> dict[str, Any]:
    fields = json.loads(header.schema.metadata[name])
    if framing := fields.get("framing"):
        aspect = framing["pixel_aspect"] and Fraction(framing["pixel_aspect"])
        fields["framing"] = Framing(Crop(**framing["crop"]), aspect)
    return fields | {key: Fraction(fields[key]) for key in _FRACTIONS if key in fields}


def measure_unit(path: File, clock: Clock, unit: Unit, what: "Measurements") -> dict[str, pa.Table]:
    """The requested measurements of a unit's intact frames: signals and meter rows, by name. Reports progress
    in decoded seconds.

    Raises:
        MediaError: the file as such can't be read.
    """
    from pipelines.measure.measure import context_frames, measure
    from pipelines.media.intact_pictures import intact_pictures

    first, last = unit
    context = context_frames(what)
    begin, end = max(0, first - context), min(len(clock.pts), last + context)
    end_pts = clock.end_pts if end == len(clock.pts) else int(clock.pts[end])
    pictures = _told(
        intact_pictures(path, clock, int(clock.pts[begin]), end_pts), clock, int(clock.pts[first])
    )
    return measure(pictures, clock, unit, what)


def _told(
    pictures: Iterator[tuple[int, "VideoFrame"]], clock: Clock, start_pts: int
) -> Iterator[tuple[int, "VideoFrame"]]:
    for number, picture in pictures:
        report_progress(max(0.0, float((int(clock.pts[number]) - start_pts) * clock.time_base)))
        yield number, picture


def pick_frames(path: File, clock: Clock, start_pts: int, num_frames: int, count: int) -> np.ndarray:
    """`count` frames, evenly spread over the `num_frames` from `start_pts` on; uint8 (count, H, W, 3),
    upright, native size.

    Raises:
        MediaError: undecodable, truncated.
    """
    from pipelines.media.decode import frames_at

    first = clock.index_of(start_pts)
    return frames_at(path, clock, [first + int(num_frames * (k + 0.5) / count) for k in range(count)])


Sizes = Sequence[tuple[int, int, int]]
"""(how many, height, width) of sets of pictures, each spread over a stretch."""


def sample_pictures(path: File, clock: Clock, stretches: Sequence[tuple[int, float, Sizes]]) -> np.ndarray:
    """Small pictures of stretches of a video.

    Args:
        stretches: for each span its start in PTS, its length in seconds, and the requested (count, height,
        width) sizes.

    Returns:
        The bytes of all of them, one set after the other, uint8 (N).

    Raises:
        MediaError: undecodable.
    """
    from pipelines.media.decode import frames_in_passes

    wanted = [
        (
            clock.index_at(
                float((start_pts - int(clock.pts[0])) * clock.time_base) + interval_midpoints(length_s, num)
            ),
            height,
            width,
        )
        for start_pts, length_s, sizes in stretches
        for num, height, width in sizes
    ]
    return _small(lambda indices: frames_in_passes(path, clock, indices), wanted)


def sample_clip_pictures(data: bytes, length_s: float, sizes: Sizes) -> np.ndarray:
    """The same of a clip's own file.

    Raises:
        MediaError: what is no clip, or does not decode.
    """
    from pipelines.media.decode import open_clip

    clock, frames_of = open_clip(data)
    wanted = [
        (clock.index_at(interval_midpoints(length_s, num)), height, width) for num, height, width in sizes
    ]
    return _small(lambda indices: zip(indices, frames_of(indices), strict=True), wanted)


def _small(
    frames_of: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    wanted: Sequence[tuple[np.ndarray, int, int]],
) -> np.ndarray:
    """Frames with the numbers that are wanted, at the height and width that they are wanted in."""
    from pipelines.media.decode import cover

    sizes: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for indices, height, width in wanted:
        for index in indices.tolist():
            sizes[index].add((height, width))
    made = {
        (index, *size): cover(frame, *size)
        for index, frame in frames_of(sorted(sizes))
        for size in sizes[index]
    }
    parts = [made[index, height, width] for indices, height, width in wanted for index in indices.tolist()]
    return np.concatenate([part.reshape(-1) for part in parts])


def interval_midpoints(length_s: float, num: int) -> np.ndarray:
    """Midpoints of `num` equal intervals of a length, in seconds."""
    return length_s * (np.arange(num) + 0.5) / num
