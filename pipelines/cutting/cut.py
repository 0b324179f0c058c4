"""A span of a source → the clip's mp4: the source's own packets where that works, re-encoded where it
doesn't; verified.

In: a source, a span, and the hash of the span's pictures as they were measured. Out: a file, and how it was
made. A copy is taken only if its decoded pictures are the source's bit for bit, at exactly the source's
times; a re-encoded clip only if every frame of it is near enough. Runs in the killable child: see `cut_clip`.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.cutting.audio_track import AudioTrack, read_audio_track
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.reencode import ClipContent, reencode
from pipelines.cutting.remux import CannotCopy, PacketRun, read_packet_run, write_clip
from pipelines.errors import MediaError, Reason
from pipelines.media.clip_file import ClipFile, read_clip_file
from pipelines.media.clock import duration_of, pts_of, time_base_of
from pipelines.media.decode import iterate_pictures
from pipelines.media.framing import frame_first
from pipelines.media.picture import frames_hash as hash_of
from pipelines.media.picture import picture_hash
from pipelines.media.picture_format import PictureFormat, format_of
from pipelines.media.probe import open_container, video_stream
from pipelines.media.ranged import File
from pipelines.media.read_clock import read_clock
from pipelines.records import Span

VERSION = 2
# (keyframes further back, only the first sample begins): where a keyframe was none, the one before it may be.
_ATTEMPTS = ((0, False), (0, True), (1, True))
# pictures of an open group that are read, and then left out: as many as a standard reorders
_MOST_LEADING = 16


@dataclass(frozen=True, slots=True)
class Cut:
    """How a clip's mp4 was made.

    Attributes:
        method: copy or encode.
        lead_frames: in the file before the clip's first frame; its edit list skips them.
        tail_frames: in the file behind the clip's last frame, likewise.
        why: it was not copied; None if it was.
        worst_db: PSNR of its worst frame against the source's; None if they are equal bit for bit.
        sound: how the source's audio was handled (kept, converted or dropped, with the reason); None without
        audio, or if audio=drop.
    """

    method: str
    lead_frames: int
    tail_frames: int
    why: str | None
    worst_db: float | None
    sound: str | None


def cut_clip(
    path: File, out: Path, content: ClipContent, cfg: CutConfig, encode: ReencodeConfig
) -> dict[str, Any]:
    """`cut`, for `pipelines.sandbox.child.call`: the fields of its `Cut`."""
    return asdict(cut(path, out, content, cfg, encode))


def cut(path: File, out: Path, content: ClipContent, cfg: CutConfig, encode: ReencodeConfig) -> Cut:
    """Write one clip.

    Args:
        path: the source.
        out: where the mp4 goes.
        content: which of the source's pictures it shows.

    Raises:
        MediaError: the source does not decode; unfaithful if what is written is not the span, or no longer
            the pictures that were measured.
    """
    track = out.with_name(f"{out.name}.sound")
    sound, heard = read_audio_track(path, content.span, track) if cfg.audio == "keep" else (None, None)
    try:
        if cfg.method == "encode":
            why = "cut.method=encode"
        else:
            try:
                return _copy(path, content, out, (sound, heard), cfg)
            except CannotCopy as reason:
                why = str(reason)
        worst_db, lost = reencode(path, content, out, cfg, encode)
        if sound is not None and (refused := add_audio_track(sound, out)):
            heard = f"left out: {refused}"
        why = "; ".join([why, *(f"without its {name} data" for name in lost)])
        return Cut("encode", 0, 0, why, worst_db, heard)
    finally:
        track.unlink(missing_ok=True)


def add_audio_track(sound: AudioTrack, out: Path) -> str | None:
    """Put sound beside the pictures of a re-encoded clip; why it is as it was if that fails, else None."""
    heard = out.with_name(f"{out.name}.heard")
    clock = read_clock(out)
    span = Span(int(clock.pts[0]), clock.end_pts, clock.time_base)
    try:
        write_clip(out, heard, read_packet_run(out, span, len(clock.pts)), sound)
    except CannotCopy as error:
        heard.unlink(missing_ok=True)
        return str(error)
    heard.replace(out)
    return None


def _copy(
    path: File, content: ClipContent, out: Path, audio: tuple[AudioTrack | None, str | None], cfg: CutConfig
) -> Cut:
    """audio: the track, and how it was handled. Raises CannotCopy."""
    sound, heard = audio
    why, share = None, cfg.max_lead_share
    most_before = math.ceil(content.num_frames * share / (1 - share)) + _MOST_LEADING if share < 1 else None
    for keyframes_back, only_first_begins in _ATTEMPTS:
        try:
            run = read_packet_run(
                path, content.span, content.num_frames, keyframes_back, most_before, content.stream
            )
            _check_share(run, content.num_frames, cfg)
            marked = write_clip(path, out, run, sound, only_first_begins, content.picture_format)
            why = _difference(path, content, out, run, marked)
        except CannotCopy as reason:
            raise CannotCopy(why or reason) from reason
        except MediaError as error:
            why = f"the copy is not readable ({error})"
        if why is None:
            return Cut("copy", run.lead_frames, run.tail_frames, None, None, heard)
    raise CannotCopy(why)


def _check_share(run: PacketRun, num_frames: int, cfg: CutConfig) -> None:
    lead, tail = run.lead_frames, run.tail_frames
    share = (lead + tail) / (lead + tail + num_frames)
    if share > cfg.max_lead_share:
        raise CannotCopy(
            f"{lead} frames before and {tail} behind its {num_frames} are more than "
            f"cut.max_lead_share={cfg.max_lead_share}"
        )


def _difference(path: File, content: ClipContent, out: Path, run: PacketRun, marked: set[int]) -> str | None:
    """How a copy differs from its source, or why a reader would misread it; None if it does not.

    Args:
        marked: PTS in the source of the samples shown that are marked as places to begin at.
    """
    span, hashes, shown, begin, first = content.span, [], [], [], None
    with open_container(out) as container:
        stream = video_stream(container)
        for picture in container.decode(stream):
            if first is None:
                frame_first(out, container, stream, picture)
                first = format_of(picture)
            hashes.append(picture_hash(picture))
            shown.append(pts_of(picture) * time_base_of(stream))
            begin += [shown[-1]] if picture.key_frame else []
        length = duration_of(stream) * time_base_of(stream)
    times = [(pts - span.start_pts) * span.time_base for pts in run.shown_pts]
    if shown != times:
        return f"the copy shows {len(shown)} frames, or not at the source's times"
    if length != (span.end_pts - span.start_pts) * span.time_base:
        return f"the copy is {float(length)} s long"
    if hash_of(hashes) != content.frames_hash:
        return "the copy decodes to other pictures"
    if not marked <= {time / span.time_base + span.start_pts for time in begin}:
        return "keyframes of the source are none"
    clip = read_clip_file(out.read_bytes())
    assert first is not None, "a copy that shows frames has a first"
    if clip and run.lead_frames and _size_before(clip) != (first.coded_width, first.coded_height):
        return "the frames before it are of another size"
    if clip is None or [int(pts) * clip.clock.time_base for pts in clip.clock.pts] != times:
        return "its packets do not tell when frames are shown"
    if first != (content.picture_format or _shown_in_source(path, content)):
        return "the copy lost its rotation, cropping, aspect or colours"
    return None


def _size_before(clip: ClipFile) -> tuple[int, int]:
    """Of the first of the frames that the clip hides."""
    with open_container(clip.data) as container:
        picture = next(container.decode(video_stream(container)))
        return picture.width, picture.height


def _shown_in_source(path: File, wanted: ClipContent) -> PictureFormat:
    span = wanted.span
    for picture in iterate_pictures(path, span.start_pts, span.end_pts, wanted.clock):
        return format_of(picture)
    raise MediaError(Reason.UNFAITHFUL, "the source shows no frame there")
