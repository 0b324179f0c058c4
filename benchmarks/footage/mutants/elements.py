"""Edits of the description of videos in Matroska files (RFC 8794, RFC 9559).

In: a file's bytes. Out: the same with more in it, without an index that led to where things were.
"""

from collections.abc import Callable, Iterator

_SEGMENT, _TRACKS, _TRACK, _VIDEO = (bytes.fromhex(name) for name in ("18538067", "1654ae6b", "ae", "e0"))
# index, cues, space, checksum
_MOVED = frozenset(bytes.fromhex(name) for name in ("114d9b74", "1c53bb6b", "ec", "bf"))


def element(name: bytes, content: bytes) -> bytes:
    """With its size in eight bytes."""
    return name + (len(content) | 1 << 56).to_bytes(8, "big") + content


def edit_videos(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """What describes each video track (its content) is what `change` makes of it."""
    return _edit(data, (_SEGMENT, _TRACKS, _TRACK, _VIDEO), change)


def _edit(data: bytes, path: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    name, *rest = path
    made = b""
    for kind, body, whole in _elements(data):
        if kind == name:
            made += element(kind, _edit(body, tuple(rest), change) if rest else change(body))
        elif kind not in _MOVED:
            made += whole
    return made


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(name, content, all of it); one of unknown size reaches to the end."""
    at = 0
    while at < len(data):
        name_bytes = 9 - data[at].bit_length()
        size_at = at + name_bytes
        size_bytes = 9 - data[size_at].bit_length()
        body, unknown = size_at + size_bytes, (1 << 7 * size_bytes) - 1
        size = int.from_bytes(data[size_at:body], "big") & unknown
        end = len(data) if size == unknown else body + size
        yield data[at:size_at], data[body:end], data[at:end]
        at = end
