"""A span of a source → a re-encoded clip that meets a minimum PSNR.

In: a request (span, frame count, hash). Out: h264 in mp4 whose worst frame has at least min_db, at the
source's times. The hash of the frames is checked while they are encoded, so the clip shows the frames that
were measured.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.encode import Timing, encode_mp4
from pipelines.cutting.fidelity import Fidelity
from pipelines.cutting.fields import FieldOrder, field_order
from pipelines.errors import MediaError, Reason
from pipelines.media.clock import Clock, pts_of, time_base_of
from pipelines.media.decode import iterate_pictures
from pipelines.media.framing import read_framing
from pipelines.media.packets import pictures
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.picture_format import PictureFormat, format_of
from pipelines.media.probe import demux, open_container, video_stream
from pipelines.media.ranged import File
from pipelines.media.read_clock import read_clock
from pipelines.records import Span

if TYPE_CHECKING:
    from av import VideoFrame

# Containers whose packets say when they are shown, whatever was read before. Without an index, a seek leads
# near a time, not to the keyframe before it.
_SEEK_EARLY_S = {"mov": 0, "matroska": 0, "mpegts": 3}
# frames per second that an encoder is told of; a lying time base makes more than it can hold
_MOST_RATE = 1000
_SMALLEST_STEP = 2  # of the rate factor, between two encodings
_LOSSLESS = 0
# Side data that says how samples are shown, and that x264 is not told.
_BESIDE = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "MASTERING_DISPLAY_METADATA": "mastering display",
    "CONTENT_LIGHT_LEVEL": "content light level",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "ICC_PROFILE": "ICC profile",
    "SPHERICAL": "spherical view",
    "STEREO3D": "stereoscopic view",
}


@dataclass(frozen=True, slots=True)
class ClipContent:
    """The pictures of a clip.

    Attributes:
        span: of the source.
        num_frames: how many frames the source shows during the span.
        frames_hash: of those frames: `pipelines.media.picture.frames_hash`.
        clock: the source's, where it is known: reading it is reading all of the source.
        picture_format: how these frames are shown, where it is known: to find out, the source is decoded up
            to the first of them.
        interlaced: each of them has two fields.
    """

    span: Span
    num_frames: int
    frames_hash: str
    clock: Clock | None = None
    picture_format: PictureFormat | None = None
    interlaced: bool = False

    @property
    def stream(self) -> int | None:
        """The number of the source's video stream, where it is known."""
        return None if self.clock is None else self.clock.stream


def reencode(
    path: File, content: ClipContent, out: Path, cfg: CutConfig, encode: ReencodeConfig
) -> tuple[float | None, list[str]]:
    """Write a clip anew, as coarsely as cfg.min_db allows.

    Returns:
        PSNR of the worst frame, in dB, over all planes of the format written; None if there is no difference.
        And the names of side data (Dolby Vision, HDR10+ …) that the source has and the clip lacks.

    Raises:
        MediaError: the source does not decode; unfaithful if it shows other pictures than were measured, or
            what was written shows them at other times; unwritable.
    """
    span = content.span
    rate = (content.num_frames / ((span.end_pts - span.start_pts) * span.time_base)).limit_denominator(
        100_000
    )
    rate = min(rate, Fraction(_MOST_RATE))
    timing = Timing(span.end_pts, span.time_base, rate)
    fields = _fields(path, content) if content.interlaced else None
    # To read the clock is to read the whole source: where it isn't known, it is first tried without.
    for exact in (False, True) if content.clock is None else (True,):
        clock, crf = (content.clock or read_clock(path)) if exact else None, encode.crf
        try:
            while True:
                seen = _Seen(
                    iterate_pictures(path, span.start_pts, span.end_pts, clock)
                    if clock
                    else _sought(path, span)
                )
                fidelity, settings = Fidelity(cfg.min_db), replace(encode, crf=crf)
                data, _ = encode_mp4(seen, timing, settings, fidelity, fields)
                if fidelity.is_within_limit or crf == _LOSSLESS:
                    break
                crf = max(_LOSSLESS, crf - max(_SMALLEST_STEP, math.ceil(cfg.min_db - fidelity.worst_db) + 1))
        except MediaError:
            if exact:
                raise
            continue
        if len(seen.pts) == content.num_frames and frames_hash(seen.hashes) == content.frames_hash:
            break
    else:
        raise MediaError(
            Reason.UNFAITHFUL,
            f"the source shows {len(seen.pts)} frames there, or not the {content.num_frames} that were "
            "measured",
        )
    out.write_bytes(data)
    _check_encoded(out, [(pts - span.start_pts) * span.time_base for pts in seen.pts], span)
    return fidelity.worst_db if math.isfinite(fidelity.worst_db) else None, sorted(seen.beside)


def _sought(path: File, span: Span) -> Iterator["VideoFrame"]:
    """The pictures that FFmpeg shows during a span after a seek: the right ones, or others, or none."""
    with open_container(path) as container:
        stream = video_stream(container)
        if next(container.decode(stream), None) is None:  # see `packets_from`
            return
        framing = read_framing(path, container, stream)
        early_s = _SEEK_EARLY_S.get(container.format.name)
        if early_s is None:
            return
        container.seek(span.start_pts - int(early_s / time_base_of(stream)), stream=stream)
        for picture in pictures(demux(container, stream), "pts", framing):
            if picture.pts is None or picture.pts >= span.end_pts:
                return
            if picture.pts >= span.start_pts:
                yield picture


class _Seen:
    """Pictures on their way through, with a note of their times and hashes."""

    def __init__(self, pictures: Iterable["VideoFrame"]):
        self._pictures = pictures
        self.pts: list[int] = []
        self.hashes: list[int] = []
        self.beside: set[str] = set()

    def __iter__(self) -> Iterator["VideoFrame"]:
        for picture in self._pictures:
            self.pts.append(pts_of(picture))
            self.hashes.append(picture_hash(picture))
            if len(self.hashes) == 1:
                side_data: Any = picture.side_data  # its stubs take it for texts
                kinds = [data.type.name for data in side_data]
                self.beside = {_BESIDE[kind] for kind in kinds if kind in _BESIDE}
            yield picture


def _fields(path: File, content: ClipContent) -> FieldOrder | None:
    with open_container(path) as container:
        stream = video_stream(container, content.stream)
        first = next(pictures(container.demux(stream), "count", broken=[]), None)
        return field_order(stream, content.picture_format or format_of(first)) if first is not None else None


def _check_encoded(out: Path, times: list[Fraction], span: Span) -> None:
    """Raises MediaError unless a re-encoded clip shows its frames at these times, and for as long as its
    span."""
    clock = read_clock(out)
    shown = [Fraction(int(pts)) * clock.time_base for pts in clock.pts]
    end, wanted_end = clock.end_pts * clock.time_base, (span.end_pts - span.start_pts) * span.time_base
    if shown != times or end != wanted_end:
        raise MediaError(
            Reason.UNFAITHFUL,
            f"wrote {len(shown)} frames during {end} s, wanted {len(times)} during {wanted_end} s",
        )
