"""A coded packet → whether it outputs a picture, and whether it is a random access point.

In: the bytes of one packet, as the demuxer hands it out. Out: yes or no. Containers flag keyframes, and the
flags lie: recovery points of an intra refresh, all-keyframe indices, wrong `stss` boxes. What is said here is
read from the bitstream. Only standards with a few fixed header bits are read; of the others, flags are
trusted if every picture is coded alone, and else decoding always begins at the start of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass

# Every picture is whole; or, in the last ones, keyframes are and the decoder itself refuses to begin
# elsewhere.
_CODED_ALONE = (
    "mjpeg",
    "prores",
    "dnxhd",
    "rawvideo",
    "huffyuv",
    "ffvhuff",
    "utvideo",
    "v210",
    "dvvideo",
    "png",
)
TRUSTED_KEYFRAME_CODECS = frozenset((*_CODED_ALONE, "jpeg2000", "ffv1", "theora", "libdav1d", "av1"))
# Pictures refer to the one before and to nothing else, so a whole one is enough; the decoder tells which are.
DECODED_KEYFRAME_CODECS = frozenset(("h263", "flv", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"))
_H264_SLICES, _H264_IDR, _H264_SEI, _H264_SPS = range(1, 6), 5, 6, 7
_HEVC_RANDOM_ACCESS = range(16, 22)  # BLA, IDR, CRA; ITU-T H.265, table 7-1
_RECOVERY_POINT = 6  # SEI payload type; ITU-T H.264, D.1.8


def is_shown(codec: str, packet: memoryview) -> bool:
    """Whether decoding the packet shows a picture: VP8 and VP9 code some only for others to refer to."""
    if codec == "vp8":  # RFC 6386, 9.1
        return bool(packet[0] & 0x10)
    if codec == "vp9":
        if packet[-1] & 0xE0 == 0xC0:  # a superframe: its last picture is shown
            return True
        show_existing, _, show = _vp9_bits(packet)
        return bool(show_existing or show)
    return True


def is_random_access_point(codec: str, packet: memoryview, nal_length: int, closed: bool = False) -> bool:
    """Whether the packet is a random access point: decoding from it gives the same pictures as decoding from
    the start.

    Args:
        codec: FFmpeg's name of the decoder.
        packet: of which the container says that it is a keyframe; for `DECODED_KEYFRAME_CODECS` its decoder
        must agree.
        nal_length: bytes of a NAL unit's length field; 0 for start codes.
        closed: also nothing may be shown before its own picture (no open group of pictures).
    """
    if codec == "h264":
        return _h264_begins_anew(packet, nal_length, closed)
    if codec == "hevc":
        kinds = [unit[0] >> 1 & 0x3F for unit in nal_units(packet, nal_length)]
        coded = [kind for kind in kinds if kind < 32]
        return bool(coded) and coded[0] in (range(19, 21) if closed else _HEVC_RANDOM_ACCESS)
    if codec in ("mpeg1video", "mpeg2video"):  # ISO/IEC 13818-2, 6.3.9: picture_coding_type 1 is I
        data = bytes(packet)
        at = data.find(b"\x00\x00\x01\x00")
        return 0 <= at < len(data) - 5 and data[at + 5] >> 3 & 7 == 1
    if codec == "mpeg4":  # ISO/IEC 14496-2, 6.3.5: vop_coding_type 0 is I
        data = bytes(packet)
        at = data.find(b"\x00\x00\x01\xb6")
        return 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 0
    if codec == "vp8":
        return not packet[0] & 1 and is_shown(codec, packet)
    if codec == "vp9":
        show_existing, inter, show = _vp9_bits(packet)
        return not show_existing and not inter and bool(show)
    return codec in TRUSTED_KEYFRAME_CODECS or codec in DECODED_KEYFRAME_CODECS


def nal_length_bytes(codec: str, extradata: bytes | None) -> int:
    """Bytes of the length before each NAL unit (ISO/IEC 14496-15); 0 if they follow start codes (Annex B)."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or not extradata or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def nal_units(packet: memoryview, length_bytes: int) -> Iterator[bytes]:
    """The NAL units of an access unit, header first, emulation prevention left in; empty ones left out."""
    if length_bytes:
        offset = 0
        while offset + length_bytes < len(packet):
            size = int.from_bytes(packet[offset : offset + length_bytes])
            offset += length_bytes
            if size:
                yield bytes(packet[offset : offset + size])
            offset += size
        return
    parts = bytes(packet).split(b"\x00\x00\x01")
    yield from (part for part in parts[1:] if part)


@dataclass(frozen=True, slots=True)
class FieldSyntax:
    """What to skip in an H.264 slice header before its field_pic_flag; ITU-T H.264, 7.3.3."""

    skipped_bits: int


def field_syntax(codec: str, headers: memoryview, length_bytes: int) -> FieldSyntax | None:
    """Of an H.264 parameter set among the NAL units, if it allows two packets for one picture (field
    coding)."""
    if codec != "h264":
        return None
    sets = (_field_syntax(unit) for unit in nal_units(headers, length_bytes) if unit[0] & 0x1F == _H264_SPS)
    return next((syntax for syntax in sets if syntax is not None), None)


def is_field(packet: memoryview, nal_length: int, syntax: FieldSyntax) -> bool:
    """Whether a packet is one field of a picture whose other field is, or may be, another packet."""
    for unit in nal_units(packet, nal_length):
        if unit[0] & 0x1F in _H264_SLICES:
            bits = _Bits(_unescape(unit[1:64]))
            for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
                bits.ue()
            bits.take(syntax.skipped_bits)
            return bits.take(1) == 1
    return False


def parameter_sets(codec: str, extradata: bytes | None) -> memoryview:
    """H.264 parameter sets out of a container's `avcC` (or as they are), as NAL units behind start codes."""
    data = extradata or b""
    if codec != "h264" or data[:1] != b"\x01":
        return memoryview(data)
    units, offset = [], 6
    for _ in range(data[5] & 0x1F if len(data) > 5 else 0):
        size = int.from_bytes(data[offset : offset + 2])
        units.append(data[offset + 2 : offset + 2 + size])
        offset += 2 + size
    return memoryview(b"".join(b"\x00\x00\x01" + unit for unit in units))


def _h264_begins_anew(packet: memoryview, nal_length: int, closed: bool) -> bool:
    recovers = False
    for unit in nal_units(packet, nal_length):
        kind = unit[0] & 0x1F
        if kind == _H264_SEI:
            recovers = recovers or _recovers_at_once(unit)
        elif kind in _H264_SLICES:
            if kind == _H264_IDR:
                return True
            bits = _Bits(_unescape(unit[1:64]))
            bits.ue()  # first_mb_in_slice
            return recovers and not closed and bits.ue() % 5 == 2  # slice_type I
    return False


def _recovers_at_once(sei: bytes) -> bool:
    """A recovery point message that promises exact pictures from its own on."""
    data, offset = _unescape(sei), 1
    while offset + 2 < len(data):
        numbers = []
        for _ in range(2):  # type, size: ITU-T H.264, 7.3.2.3.1
            value = 0
            while offset < len(data) and data[offset] == 255:
                value, offset = value + 255, offset + 1
            if offset == len(data):
                return False
            numbers.append(value + data[offset])
            offset += 1
        kind, size = numbers
        if kind == _RECOVERY_POINT:
            bits = _Bits(data[offset : offset + size])
            recovery_frames, exact, broken = bits.ue(), bits.take(1), bits.take(1)
            return recovery_frames == 0 and exact == 1 and broken == 0
        offset += size
    return False


def _field_syntax(sps: bytes) -> FieldSyntax | None:
    """None if frame_mbs_only_flag is 1; ITU-T H.264, 7.3.2.1.1."""
    bits = _Bits(_unescape(sps)[1:])
    plane_bits, profile = 0, bits.take(8)
    bits.take(16)
    bits.ue()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.ue()
        if chroma == 3:
            plane_bits = 2 * bits.take(1)  # colour_plane_id, if planes are coded apart
        bits.ue()
        bits.ue()
        bits.take(1)
        if bits.take(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = bits.ue() + 4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.take(1)
        bits.ue()
        bits.ue()
        for _ in range(min(bits.ue(), 255)):
            bits.ue()
    bits.ue()
    bits.take(1)
    bits.ue()
    bits.ue()
    return None if bits.take(1) else FieldSyntax(plane_bits + frame_num_bits)


def _skip_scaling_list(bits: "_Bits", size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            code = bits.ue()
            following = (last + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
        last = following or last


def _vp9_bits(packet: memoryview) -> tuple[int, int, int]:
    """(show_existing_frame, frame_type: 0 is key, show_frame) of the first picture; VP9 bitstream, 6.2."""
    bits = _Bits(bytes(packet[:2]))
    bits.take(2)
    low, high = bits.take(1), bits.take(1)
    if low and high:
        bits.take(1)
    return bits.take(1), bits.take(1), bits.take(1)


def _unescape(unit: bytes) -> bytes:
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


class _Bits:
    """Reads bits from the front; what reaches beyond the end is zero, so a header that was cut off reads as
    one."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        return self._value >> self._left & (1 << count) - 1 if self._left >= 0 else 0

    def ue(self) -> int:
        """Exp-Golomb; ITU-T H.264, 9.1."""
        zeros = 0
        while self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
