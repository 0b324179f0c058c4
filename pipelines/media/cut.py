"""A span of a source → the clip's mp4: the source's own packets where that works, re-encoded where it doesn't; verified.

In: a local source, a span, and the hash of the span's pictures as they were measured. Out: a file, and how it was made.
A copy is taken only if its decoded pictures are the source's bit for bit, at exactly the source's times; a re-encoded
clip only if every frame of it is near enough. Runs in the killable child: see `cut_clip`.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import CutConfig, EncodeConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.clip_file import read_clip_file
from pipelines.media.clock import read_clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.encode import encode_mp4
from pipelines.media.fidelity import Fidelity
from pipelines.media.picture import frames_hash as hash_of
from pipelines.media.picture import picture_hash
from pipelines.media.probe import clockwise_deg, open_container, video_stream
from pipelines.media.remux import CannotCopy, Run, read_run, write_clip
from pipelines.media.sound import Sound, read_sound
from pipelines.records import Span

if TYPE_CHECKING:
    from av import VideoFrame

VERSION = 1
# (keyframes further back, only the first sample begins): where a keyframe was none, the one before it may be.
_ATTEMPTS = ((0, False), (0, True), (1, True))
# Containers whose packets say when they are shown, whatever was read before. Without an index, a seek leads near a time,
# not to the keyframe before it.
_SEEK_EARLY_S = {"mov": 0, "matroska": 0, "mpegts": 3}
_SMALLEST_STEP = 2  # of the rate factor, between two encodings
_LOSSLESS = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """How a clip's mp4 was made.

    Attributes:
        method: copy or encode.
        lead_frames: in the file before the clip's first frame; its edit list skips them.
        tail_frames: in the file behind the clip's last frame, likewise.
        why: it was not copied; None if it was.
        worst_db: PSNR of its worst frame against the source's; None if they are equal bit for bit.
    """

    method: str
    lead_frames: int
    tail_frames: int
    why: str | None
    worst_db: float | None


def cut_clip(
    path: Path, out: Path, span: Span, num_frames: int, frames_hash: str, cfg: CutConfig, encode: EncodeConfig
) -> dict[str, Any]:
    """`cut`, for `pipelines.media.child.call`: the fields of its `Cut`."""
    return asdict(cut(path, out, span, num_frames, frames_hash, cfg, encode))


def cut(
    path: Path, out: Path, span: Span, num_frames: int, frames_hash: str, cfg: CutConfig, encode: EncodeConfig
) -> Cut:
    """Write one clip.

    Args:
        path: the source, a local file.
        out: where the mp4 goes.
        num_frames: how many frames the source shows during the span.
        frames_hash: of those frames: `pipelines.media.picture.frames_hash`.

    Raises:
        MediaError: the source does not decode; unfaithful if what is written is not the span, or no longer the pictures
            that were measured.
    """
    sound = read_sound(path, span) if cfg.audio == "keep" else None
    if cfg.method == "encode":
        why = "cut.method=encode"
    else:
        try:
            return _copy(path, out, span, num_frames, frames_hash, sound, cfg)
        except CannotCopy as reason:
            why = str(reason)
    worst_db = _encode(path, out, span, num_frames, frames_hash, sound, cfg, encode)
    return Cut("encode", 0, 0, why, worst_db)


def _copy(
    path: Path, out: Path, span: Span, num_frames: int, frames_hash: str, sound: Sound | None, cfg: CutConfig
) -> Cut:
    """Raises CannotCopy."""
    why = None
    for keyframes_back, only_first_begins in _ATTEMPTS:
        try:
            run = read_run(path, span, num_frames, keyframes_back)
            _check_share(run, num_frames, cfg)
            marked = write_clip(path, out, run, sound, only_first_begins)
            why = _difference(path, out, run, marked, frames_hash)
        except CannotCopy as reason:
            raise CannotCopy(why or reason) from reason
        except MediaError as error:
            why = f"the copy is not readable ({error})"
        if why is None:
            return Cut("copy", run.lead_frames, run.tail_frames, None, None)
    raise CannotCopy(why)


def _check_share(run: Run, num_frames: int, cfg: CutConfig) -> None:
    lead, tail = run.lead_frames, run.tail_frames
    share = (lead + tail) / (lead + tail + num_frames)
    if share > cfg.max_lead_share:
        raise CannotCopy(
            f"{lead} frames before and {tail} behind its {num_frames} are more than cut.max_lead_share={cfg.max_lead_share}"
        )


def _difference(path: Path, out: Path, run: Run, marked: set[int], frames_hash: str) -> str | None:
    """What is not the source's in a copy, or what would mislead its readers; None if nothing.

    Args:
        marked: PTS in the source of the samples shown that are marked as places to begin at.
    """
    span, hashes, shown, begin, look = run.span, [], [], [], None
    with open_container(out) as container:
        stream = video_stream(container)
        for picture in container.decode(stream):
            look = look or _look(picture, Fraction(stream.sample_aspect_ratio or 1))
            hashes.append(picture_hash(picture))
            shown.append(picture.pts * stream.time_base)
            begin += [shown[-1]] if picture.key_frame else []
        length = stream.duration * stream.time_base
    wanted = [(pts - span.start_pts) * span.time_base for pts in run.shown]
    if shown != wanted:
        return f"the copy shows {len(shown)} frames, or not at the source's times"
    if length != (span.end_pts - span.start_pts) * span.time_base:
        return f"the copy is {float(length)} s long"
    if hash_of(hashes) != frames_hash:
        return "the copy decodes to other pictures"
    if not marked <= {time / span.time_base + span.start_pts for time in begin}:
        return "keyframes of the source are none"
    clip = read_clip_file(out.read_bytes())
    if clip is None or [int(pts) * clip.clock.time_base for pts in clip.clock.pts] != wanted:
        return "its packets do not tell when frames are shown"
    return None if look == _look(*_first_picture(path)) else "the copy lost its rotation, aspect or colours"


def _look(picture: "VideoFrame", aspect: Fraction) -> tuple[object, ...]:
    """What decides how samples are shown."""
    colours = (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc)
    return (picture.width, picture.height, picture.format.name, picture.rotation, aspect, *colours)


def _encode(
    path: Path,
    out: Path,
    span: Span,
    num_frames: int,
    frames_hash: str,
    sound: Sound | None,
    cfg: CutConfig,
    encode: EncodeConfig,
) -> float | None:
    """The worst frame's PSNR; None if there is no difference."""
    rate = (num_frames / ((span.end_pts - span.start_pts) * span.time_base)).limit_denominator(100_000)
    aspect = _aspect_as_displayed(path)
    # To read the clock is to read the whole source, so first it is tried without.
    for exact in (False, True):
        clock, crf = read_clock(path) if exact else None, encode.crf
        try:
            while True:
                seen = _Seen(
                    iterate_pictures(path, span.start_pts, span.end_pts, clock) if clock else _sought(path, span)
                )
                fidelity, settings = Fidelity(cfg.min_db), replace(encode, crf=crf)
                data, _ = encode_mp4(seen, span.end_pts, span.time_base, rate, aspect, settings, fidelity)
                if fidelity.good or crf == _LOSSLESS:
                    break
                crf = max(_LOSSLESS, crf - max(_SMALLEST_STEP, math.ceil(cfg.min_db - fidelity.worst_db) + 1))
        except MediaError:
            if exact:
                raise
            continue
        if len(seen.pts) == num_frames and hash_of(seen.hashes) == frames_hash:
            break
    else:
        raise MediaError(
            Reason.UNFAITHFUL,
            f"the source shows {len(seen.pts)} frames there, or not the {num_frames} that were measured",
        )
    out.write_bytes(data)
    _check_encoded(out, [(pts - span.start_pts) * span.time_base for pts in seen.pts], span)
    if sound is not None:
        _add_sound(out, sound)
    return fidelity.worst_db if math.isfinite(fidelity.worst_db) else None


def _sought(path: Path, span: Span) -> Iterator["VideoFrame"]:
    """The pictures that FFmpeg shows during a span after a seek: the right ones, or others, or none."""
    with open_container(path) as container:
        stream = video_stream(container)
        next(container.decode(stream), None)  # see `packets_from`
        early_s = _SEEK_EARLY_S.get(container.format.name)
        if early_s is None:
            return
        container.seek(span.start_pts - int(early_s / stream.time_base), stream=stream)
        for picture in container.decode(stream):
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

    def __iter__(self) -> Iterator["VideoFrame"]:
        for picture in self._pictures:
            self.pts.append(picture.pts)
            self.hashes.append(picture_hash(picture))
            yield picture


def _aspect_as_displayed(path: Path) -> Fraction:
    """Width ÷ height of a pixel, after turning the picture upright."""
    first, aspect = _first_picture(path)
    return 1 / aspect if clockwise_deg(first.rotation) % 180 else aspect


def _first_picture(path: Path) -> tuple["VideoFrame", Fraction]:
    """The first picture that decodes, and width ÷ height of its pixels: a recording may begin between two keyframes."""
    with open_container(path) as container:
        stream = video_stream(container)
        for packet in itertools.dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream)):
            for picture in packet.decode():
                return picture, Fraction(stream.sample_aspect_ratio or 1)
    raise MediaError(Reason.NO_FRAMES, "no keyframe shows a picture")


def _check_encoded(out: Path, times: list[Fraction], span: Span) -> None:
    """Raises MediaError unless a re-encoded clip shows its frames at these times, and for as long as its span."""
    clock = read_clock(out)
    shown = [Fraction(int(pts)) * clock.time_base for pts in clock.pts]
    end, wanted_end = clock.end_pts * clock.time_base, (span.end_pts - span.start_pts) * span.time_base
    if shown != times or end != wanted_end:
        raise MediaError(
            Reason.UNFAITHFUL, f"wrote {len(shown)} frames during {end} s, wanted {len(times)} during {wanted_end} s"
        )


def _add_sound(out: Path, sound: Sound) -> None:
    """Put sound beside the pictures of a re-encoded clip."""
    silent = out.with_name(f"{out.name}.silent")
    out.replace(silent)
    clock = read_clock(silent)
    span = Span(int(clock.pts[0]), clock.end_pts, clock.time_base)
    try:
        write_clip(silent, out, read_run(silent, span, len(clock.pts)), sound)
    except CannotCopy as error:
        raise MediaError(Reason.UNWRITABLE, f"its sound: {error}") from error
    silent.unlink()
