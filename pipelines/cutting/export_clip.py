"""The mp4 of a clip in a shard → an mp4 that any player shows without the hidden lead and tail frames.

In: an mp4 that was cut, and what its row of the index says. Out: the same bytes, where every player shows the
clip; else the clip encoded anew, near-losslessly, without the frames that an edit list hides. Runs in the
killable child: see `pipelines.sandbox.child.call`.
"""

import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.cutting.audio_track import KEPT, read_audio_track
from pipelines.cutting.check_clip import ExpectedClip, check_clip
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import add_audio_track
from pipelines.cutting.mp4_layout import move_moov_first
from pipelines.cutting.reencode import ClipContent, reencode
from pipelines.errors import MediaError, Reason
from pipelines.media.clip_file import read_clip_file
from pipelines.media.decode import iterate_pictures
from pipelines.media.mp4_boxes import video_edit
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.probe import open_container, video_stream
from pipelines.media.random_access import is_random_access_point, nal_length_bytes
from pipelines.records import Span

# Codecs whose open groups some players can't begin with: they wait for a keyframe that nothing refers across.
_MAY_BEGIN_OPEN = ("h264", "hevc")


@dataclass(frozen=True, slots=True)
class Exported:
    """How a file was made.

    Attributes:
        hidden_frames: in the stored file, which an edit list hides: before the clip and behind it.
        encoded: why it is not the stored file; None if it is.
        worst_db: PSNR of its worst frame against the stored one; None if they are equal bit for bit.
    """

    hidden_frames: int
    encoded: str | None
    worst_db: float | None


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How files are made.

    Attributes:
        min_db: the least PSNR of the worst frame of a clip that is encoded.
        encode: how it is encoded.
        verify: decode what was written, and compare it with what is expected.
    """

    min_db: float
    encode: ReencodeConfig
    verify: bool


def export_clip(
    stored: Path,
    out: Path,
    expected: ExpectedClip,
    interlaced: bool,
    settings: ExportSettings,
) -> dict[str, Any]:
    """Write a clip's file for players.

    Args:
        stored: the mp4 as it lies in its shard.
        expected: what the index says of it; its `frames_hash` where the file was copied from its source, and
        that is known.
        interlaced: its pictures are of two fields.

    Returns:
        the fields of `Exported`.

    Raises:
        MediaError: the stored file does not decode; unfaithful if it, or what is written, is not what is
        promised.
    """
    try:
        edit = video_edit(stored)
    except ValueError as error:
        raise MediaError(Reason.UNREADABLE, f"its boxes are broken: {error}") from error
    hidden = edit.samples - expected.num_frames if edit is not None else 0
    why = f"{hidden} hidden frames were taken away" if hidden else _begins_open(stored)
    worst_db = None
    if why is None:
        shutil.copyfile(stored, out)
    else:
        worst_db, lost = _anew(
            stored, out, expected, interlaced, CutConfig(min_db=settings.min_db), settings.encode
        )
        why = "; ".join([why, *lost])
    if settings.verify:
        told = expected if why is None else replace(expected, frames_hash=None)
        if wrong := check_clip(out, told):
            raise MediaError(Reason.UNFAITHFUL, "; ".join(wrong))
    return {"hidden_frames": hidden, "encoded": why, "worst_db": worst_db}


def _begins_open(path: Path) -> str | None:
    """Whether the first packet is no place where every player can begin; None if it is."""
    with open_container(path) as container:
        stream = video_stream(container)
        codec = stream.codec_context.name
        first = next(packet for packet in container.demux(stream))
        if codec not in _MAY_BEGIN_OPEN or not first.size:
            return None
        nal_length = nal_length_bytes(codec, stream.codec_context.extradata)
        closed = is_random_access_point(codec, memoryview(bytes(first)), nal_length, closed=True)
    return None if closed else "its first group is open, which some players can't begin with"


def _anew(
    stored: Path, out: Path, promised: ExpectedClip, interlaced: bool, cut: CutConfig, encode: ReencodeConfig
) -> tuple[float | None, list[str]]:
    """Encode the frames that the edit list shows. Returns the PSNR of the worst frame (see `reencode`) and a
    description of what was dropped."""
    clip = read_clip_file(stored.read_bytes())
    if clip is None:
        raise MediaError(Reason.UNREADABLE, "it hides frames, and its edit list does not say exactly which")
    time_base = clip.full_clock.time_base
    start_pts = int(clip.full_clock.pts[clip.lead_frames])
    whole = stored.with_name(f"{stored.name}.whole")  # in which every frame is shown, so that each has a time
    whole.write_bytes(clip.data)
    track = stored.with_name(f"{stored.name}.sound")
    sound, heard = read_audio_track(stored, Span(0, clip.clock.end_pts, time_base), track)
    span = Span(start_pts, start_pts + clip.clock.end_pts, time_base)
    named = promised.frames_hash or frames_hash(
        picture_hash(picture)
        for picture in iterate_pictures(whole, span.start_pts, span.end_pts, clip.full_clock)
    )
    content = ClipContent(span, promised.num_frames, named, clip.full_clock, interlaced=interlaced)
    worst_db, beside = reencode(whole, content, out, cut, encode)
    lost = [f"without its {name} data" for name in beside]
    if sound is not None and (refused := add_audio_track(sound, out)):
        heard = f"left out: {refused}"
    if heard not in (None, KEPT):
        lost.append(f"its sound is {heard}")
    whole.unlink()
    track.unlink(missing_ok=True)
    out.write_bytes(move_moov_first(out.read_bytes()))
    return worst_db, lost


def length_of(start_pts: int, end_pts: int, time_base: str) -> Fraction:
    """Of a row of the index, exact, s."""
    return (end_pts - start_pts) * Fraction(time_base)
