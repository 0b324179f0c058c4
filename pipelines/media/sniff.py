"""First bytes → container, from a fixed list: FFmpeg is never left to guess, so no playlist or script is opened.

In: the head of a file. Out: the demuxer to use. A list of segments or a concat script named `.mp4` is refused here,
before anything could follow what it points to.
"""

from pipelines.errors import MediaError, Reason

HEAD_BYTES = 4096
_MP4_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF = bytes.fromhex("060e2b34020501010d010201")


def sniff(head: bytes) -> str:
    """The FFmpeg demuxer for a file that starts so.

    Raises:
        MediaError: unreadable; no container that we take starts like this.
    """
    if head[4:8] in _MP4_BOXES:
        return "mov"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"):
        return "mpeg" if head[3] == 0xBA else "mpegvideo"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:3] == b"FLV":
        return "flv"
    if head[:16] == _ASF:
        return "asf"
    if _MXF in head:
        return "mxf"
    if _is_transport_stream(head):
        return "mpegts"
    if not head:
        raise MediaError(Reason.UNREADABLE, "the file is empty")
    kind = "text" if head[:256].isascii() and b"\x00" not in head[:256] else "of no known container"
    raise MediaError(Reason.UNREADABLE, f"the content is {kind}, not video")


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) > 3 * size and all(head[offset + k * size] == 0x47 for k in range(3))
        for size, offset in ((188, 0), (192, 4))
    )
