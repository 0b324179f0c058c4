"""First bytes → container, from a fixed list: FFmpeg is never left to guess, so no playlist or script is
opened.

In: the head of a file. Out: the demuxer to use. A list of segments or a concat script named `.mp4` is refused
here, before anything could follow what it points to.
"""

from pipelines.errors import MediaError, Reason

HEAD_BYTES = 4096
# Of a file, of a segment of one, and of what lies before either.
_MP4_BOXES = frozenset(
    (
        b"ftyp",
        b"moov",
        b"mdat",
        b"wide",
        b"free",
        b"skip",
        b"pnot",
        b"styp",
        b"sidx",
        b"moof",
        b"prft",
        b"emsg",
        b"uuid",
        b"pdin",
    )
)
# ISO/IEC 23008-12: pictures in the same boxes
_STILL_BRANDS = frozenset((b"heic", b"heix", b"mif1", b"avif"))
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF = bytes.fromhex("060e2b34020501010d010201")
_STARTS = {
    b"\x1aE\xdf\xa3": "matroska",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpegvideo",
    b"OggS": "ogg",
    b"FLV": "flv",
    b"\x1f\x07\x00": "dv",
    _ASF: "asf",
}
# What is often named like video and is none: said plainly, because nobody looks into a file called `.mp4`.
_NO_VIDEO = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"fLaC": "FLAC sound",
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a list of files to join",
    b"<": "markup text",
    b"%PDF": "a PDF document",
    b"DKIF": "IVF, VP8 or AV1 without a container of times",
    b"nut/multimedia container": "NUT",
    b"YUV4MPEG2": "YUV4MPEG, pictures without compression",
    b"PK": "a ZIP archive",
}
_TS_PACKETS = 8  # so many sync bytes in a row are no chance: 256^8


def sniff(head: bytes) -> str:
    """The FFmpeg demuxer for a file that starts so.

    Args:
        head: the first `HEAD_BYTES` of a file, or all of a shorter one.

    Raises:
        MediaError: unreadable; no container that we take starts like this.
    """
    if head[4:8] in _MP4_BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
            raise MediaError(Reason.UNREADABLE, "the content is a HEIF or AVIF picture, not video")
        return "mov"
    if head[:4] == b"RIFF":
        if head[8:12] == b"AVI ":
            return "avi"
        kind = {b"WAVE": "WAV sound", b"WEBP": "a WebP picture"}.get(head[8:12], "RIFF of another kind")
        raise MediaError(Reason.UNREADABLE, f"the content is {kind}, not video")
    for start, demuxer in _STARTS.items():
        if head.startswith(start):
            return demuxer
    if _MXF in head:
        return "mxf"
    if _is_transport_stream(head):
        return "mpegts"
    if not head:
        raise MediaError(Reason.UNREADABLE, "the file is empty")
    known = next((what for start, what in _NO_VIDEO.items() if head.startswith(start)), None)
    text = head[:256].isascii() and b"\x00" not in head[:256]
    kind = known or _raw_stream(head) or ("text" if text else "of no known container")
    raise MediaError(Reason.UNREADABLE, f"the content is {kind}, not video")


def _raw_stream(head: bytes) -> str | None:
    """What a stream without a container is: it tells of no times. Parameter sets come first (H.264 7.3.1,
    H.265 7.3.1.2)."""
    start = 4 if head.startswith(b"\x00\x00\x00\x01") else 3 if head.startswith(b"\x00\x00\x01") else 0
    if not start or len(head) <= start:
        return None
    kinds = {
        "H.264": head[start] & 0x9F in (7, 9),
        "H.265": head[start] & 0x81 == 0 and head[start] >> 1 in (32, 33, 35),
    }
    name = next((name for name, fits in kinds.items() if fits), None)
    return name and f"raw {name}, pictures without times; put them into a container"


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes (192 with a time in front, 204 with a checksum behind), after any tag or torn
    packet."""
    for size in (188, 192, 204):
        run = min(_TS_PACKETS, len(head) // size)
        if run < 3:
            continue
        last = len(head) - (run - 1) * size
        offset = head.find(b"G", 0, last)
        while offset >= 0:
            if all(head[offset + k * size] == 0x47 for k in range(run)):
                return True
            offset = head.find(b"G", offset + 1, last)
    return False
