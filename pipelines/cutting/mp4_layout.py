"""The layout of an mp4 as players want it: the index before the pictures, and a picture of odd size cut out
of one of even size.

In: the bytes of an mp4 with one video. Out: the bytes of another with the same samples. Source: ISO/IEC
14496-12, 8.3.2 (tkhd), 8.5.2 (stsd), 8.7.5 (stco, co64), 12.1.4 (clap).
"""

import struct
from collections.abc import Callable
from functools import partial

_VISUAL_ENTRY = 78  # bytes of a sample entry of video before the boxes in it
_STSD_HEAD = 8
_SIZE_AT = {0: 76, 1: 88}  # of width and height in tkhd, by version


def move_moov_first(data: bytes) -> bytes:
    """The same file with `moov` before `mdat`, so that a player can begin before it has all of it.

    Raises:
        ValueError: there is no such box.
    """
    boxes = _split(data)
    kinds = [kind for kind, _ in boxes]
    for kind in ("moov", "mdat"):
        if kind not in kinds:
            raise ValueError(f"the mp4 holds no {kind}")
    if kinds.index("moov") < kinds.index("mdat"):
        return data
    moov = dict(boxes)["moov"]
    shift = len(_box("moov", moov))
    table = ("trak", "mdia", "minf", "stbl")
    moved = moov
    for kind, code in (("stco", "I"), ("co64", "Q")):
        moved = _changed(moved, (*table, kind), partial(_shifted, code=code, shift=shift))
    first = kinds.index("mdat")
    ordered = [*boxes[:first], ("moov", moved), *(box for box in boxes[first:] if box[0] != "moov")]
    return b"".join(_box(kind, content) for kind, content in ordered)


def add_clean_aperture(data: bytes, width: int, height: int, coded_width: int, coded_height: int) -> bytes:
    """The same file, of whose pictures the upper left width × height pixels are shown."""

    def entry(content: bytes) -> bytes:
        kind, inside = _split(content[_STSD_HEAD:])[0]
        clap = struct.pack(">IIIIiIiI", width, 1, height, 1, width - coded_width, 2, height - coded_height, 2)
        return content[:_STSD_HEAD] + _box(kind, inside + _box("clap", clap))

    def size(content: bytes) -> bytes:
        at = _SIZE_AT[content[0]]
        return content[:at] + struct.pack(">II", width << 16, height << 16) + content[at + 8 :]

    data = _changed(data, ("moov", "trak", "mdia", "minf", "stbl", "stsd"), entry)
    return _changed(data, ("moov", "trak", "tkhd"), size)


def _split(data: bytes) -> list[tuple[str, bytes]]:
    """Boxes one after another, by kind."""
    boxes, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        if size < head or at + size > len(data):
            raise ValueError(f"the box {kind!r} at byte {at} reaches beyond its end")
        boxes.append((kind.decode("latin-1"), data[at + head : at + size]))
        at += size
    return boxes


def _box(kind: str, content: bytes) -> bytes:
    size = len(content) + 8
    if size < 1 << 32:
        return struct.pack(">I4s", size, kind.encode("latin-1")) + content
    return struct.pack(">I4sQ", 1, kind.encode("latin-1"), size + 8) + content


def _changed(data: bytes, path: tuple[str, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Boxes, of which those at a path of kinds have another content."""
    kind, *rest = path
    made = []
    for name, content in _split(data):
        if name == kind:
            content = _changed(content, tuple(rest), change) if rest else change(content)
        made.append(_box(name, content))
    return b"".join(made)


def _shifted(content: bytes, code: str, shift: int) -> bytes:
    (count,) = struct.unpack_from(">I", content, 4)
    places = struct.unpack_from(f">{count}{code}", content, 8)
    return content[:8] + struct.pack(f">{count}{code}", *(place + shift for place in places))
