"""Pictures with PTS → the bytes of an mp4, the same bytes every time.

In: FFmpeg's frames of a span. Out: h264 in mp4, upright, of native size, depth up to 10 bits, aspect, fields
and colours, PTS shifted so that the first frame is at 0, in the source's own time base. One thread, no
version strings: reproducible byte for byte.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutting.config import ReencodeConfig
from pipelines.cutting.encoder_input import to_encoder_input
from pipelines.cutting.fidelity import Fidelity
from pipelines.cutting.fields import FieldOrder
from pipelines.errors import MediaError, Reason
from pipelines.media.clock import pts_of
from pipelines.media.picture_format import PictureFormat

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

VERSION = 2
_CPU_SSE4_2, _CPU_AVX2 = 7, 11  # cv::CpuFeatures, which OpenCV's Python leaves without names


@dataclass(frozen=True, slots=True)
class Timing:
    """When pictures are shown.

    Attributes:
        end_pts: where the last one ends.
        time_base: of the PTS, seconds.
        rate: nominal frame rate, a hint for the encoder only.
    """

    end_pts: int
    time_base: Fraction
    rate: Fraction


def encode_mp4(
    pictures: Iterable["VideoFrame"],
    timing: Timing,
    cfg: ReencodeConfig,
    fidelity: Fidelity | None = None,
    fields: FieldOrder | None = None,
) -> tuple[bytes, int]:
    """Encode one clip.

    Args:
        pictures: frames in order, with PTS in `time_base`; `opaque` says how their container frames them. Odd
            sizes keep their size: they are coded 4:4:4.
        timing: when they are shown.
        fidelity: measures PSNR during encoding; encoding stops early, and the file is unusable, when a frame
        falls below its limit.
        fields: of the pictures, if they are of two fields each; None if they are not.

    Returns:
        The file's bytes, and how many frames are in it.

    Raises:
        MediaError: no_frames; unwritable, if sizes differ, or with what the encoder said.
    """
    import av

    end_pts, time_base, rate = timing.end_pts, timing.time_base, timing.rate
    file = io.BytesIO()
    shown: list[int] = []
    try:
        # bitexact: the muxer's version is not written into the file.
        with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream, packets = None, []
            for picture in pictures:
                shown.append(pts_of(picture))
                made = to_encoder_input(picture, fields is not None)
                picture = made.picture
                if stream is None:
                    stream, first = (
                        _add_stream(container, made.picture_format, time_base, rate, cfg, fields),
                        made.picture_format,
                    )
                elif made.picture_format != first:
                    raise MediaError(
                        Reason.UNWRITABLE, "the size or the colours of its pictures change on the way"
                    )
                picture.pts, picture.time_base = shown[-1] - shown[0], time_base
                picture.pict_type = 0  # the source's choice of I, P and B is not x264's
                if fidelity is not None:
                    fidelity.expect(picture)
                packets += _measured(stream, stream.encode(picture), fidelity)
                if fidelity is not None and not fidelity.is_within_limit:
                    break
            if stream is None:
                raise MediaError(Reason.NO_FRAMES, "the span holds no frame")
            packets += _measured(stream, stream.encode(None), fidelity)
            if fidelity is not None:
                fidelity.finish()
            # The muxer would guess how long the last frame is shown.
            until = dict(zip(shown, [*shown[1:], end_pts], strict=True))
            for packet in packets:
                pts = pts_of(packet) + shown[0]
                packet.duration = until[pts] - pts
                container.mux(packet)
    except av.error.FFmpegError as error:
        raise MediaError(Reason.UNWRITABLE, f"x264 in mp4: {error.strerror}") from error
    return file.getvalue(), len(shown)


def _measured(stream: "VideoStream", packets: list["Packet"], fidelity: Fidelity | None) -> list["Packet"]:
    if fidelity is not None:
        for packet in packets:
            fidelity.compare(packet, stream.codec_context.extradata or b"")
    return packets


def _add_stream(
    container: "OutputContainer",
    shown: PictureFormat,
    time_base: Fraction,
    rate: Fraction,
    cfg: ReencodeConfig,
    fields: FieldOrder | None,
) -> "VideoStream":
    from av.codec.context import Flags

    stream = container.add_stream("libx264", rate=rate)
    codec = stream.codec_context
    codec.width, codec.height, codec.pix_fmt = shown.coded_width, shown.coded_height, shown.pixel_format
    codec.sample_aspect_ratio = shown.pixel_aspect
    codec.color_range, codec.colorspace = shown.color_range, shown.color_matrix
    codec.color_primaries, codec.color_trc = shown.color_primaries, shown.color_transfer
    codec.time_base = stream.time_base = time_base
    codec.thread_count = 1
    codec.gop_size = max(1, math.ceil(float(rate) * cfg.keyframe_every_s))
    # Without B-frames PTS and DTS are one, so there is no edit list and every reader agrees on the times.
    x264 = f"threads=1:open-gop=0:bframes=0{fields.as_x264(shown) if fields else ''}{_same_code()}"
    # With more than 8 bits, a rate factor of 0 is not yet without loss; a quantiser of 0 is, with any.
    rate_control = {"crf": str(cfg.crf)} if cfg.crf else {"qp": "0"}
    codec.options = rate_control | {"preset": cfg.preset, "x264-params": x264}
    codec.flags |= Flags.bitexact
    return stream


def _same_code() -> str:
    """x264's AVX-512 routines read memory they did not write, so their output varies with what lay there
    before (it follows MALLOC_PERTURB_); those for AVX2 and SSE4.2 don't, and agree with each other bit for
    bit.
    """
    import cv2

    if cv2.checkHardwareSupport(_CPU_AVX2):
        return ":asm=AVX2"
    return ":asm=SSE4.2" if cv2.checkHardwareSupport(_CPU_SSE4_2) else ""
