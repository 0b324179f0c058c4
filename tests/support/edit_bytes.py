"""Sound files → odd ones, by editing their bytes or packets: what encoders and muxers at hand don't write.

In: the bytes of a small file, or its path. Out: the same with an edit list, without an index, with packed
pictures …
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf"))
NOT_CODED = b"\x00\x00\x01\xb6\x50\x00\x00\x00"
Edit = Callable[[list[av.Packet], av.stream.Stream], Iterator[av.Packet]]


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of the boxes in an ISO media file, or in one of its boxes."""
    found, offset = [], 0
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        found.append((kind, data[offset + 8 : offset + size]))
        offset += size
    return found


def join(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(struct.pack(">I4s", len(content) + 8, kind) + content for kind, content in parts)


def edit_boxes(data: bytes, change: Callable[[bytes, bytes], list[tuple[bytes, bytes]]]) -> bytes:
    """Every box replaced by what `change(kind, content)` says; those inside first. The index must follow the
    media."""
    parts = []
    for kind, content in boxes(data):
        parts += change(kind, edit_boxes(content, change) if kind in _PARENTS else content)
    return join(parts)


def without_box(data: bytes, unwanted: bytes) -> bytes:
    return edit_boxes(data, lambda kind, content: [] if kind == unwanted else [(kind, content)])


def with_edit_list(data: bytes, edits: list[tuple[int, int]], frame: int) -> bytes:
    """Edits as (frames shown, first frame in order of display, -1 for nothing); `frame` ticks a frame."""

    def change(kind: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if kind == b"edts":
            return []
        if kind != b"trak":
            return [(kind, content)]
        delay = _delay(content)
        rows = [(n * frame, -1 if first < 0 else first * frame + delay, 1, 0) for n, first in edits]
        entries = b"".join(struct.pack(">Iihh", *row) for row in rows)
        edts = join([(b"elst", struct.pack(">II", 0, len(rows)) + entries)])
        parts = boxes(content)
        return [(kind, join([parts[0], (b"edts", edts), *parts[1:]]))]

    return edit_boxes(data, change)


def _delay(trak: bytes) -> int:
    """Composition time of the first frame shown; ours decode it first."""
    content = trak
    for kind in (b"mdia", b"minf", b"stbl", b"ctts"):
        content = dict(boxes(content)).get(kind, b"")
    return struct.unpack_from(">i", content, 12)[0] if content else 0


def with_durations(data: bytes, ticks: int) -> bytes:
    """Header durations of movie, track and media replaced."""
    at = {b"mvhd": 16, b"mdhd": 16, b"tkhd": 20}

    def change(kind: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if kind in at:
            content = content[: at[kind]] + struct.pack(">I", ticks) + content[at[kind] + 4 :]
        return [] if kind == b"edts" else [(kind, content)]

    return edit_boxes(data, change)


def with_cover_first(data: bytes) -> bytes:
    """iTunes' cover (a PNG) in a `udta` before the track."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "rgb24", av.time_base and 1
    picture = av.VideoFrame(32, 32, "rgb24")
    png = bytes(encoder.encode(picture)[0])
    covr = join([(b"covr", join([(b"data", struct.pack(">II", 14, 0) + png)]))])
    hdlr = (b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    udta = (b"udta", join([(b"meta", bytes(4) + join([hdlr, (b"ilst", covr)]))]))

    def change(kind: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if kind == b"udta":
            return []
        if kind == b"moov":
            parts = boxes(content)
            content = join([parts[0], udta, *parts[1:]])
        return [(kind, content)]

    return edit_boxes(data, change)


def with_avi_length(data: bytes, frames: int) -> bytes:
    """Frame counts in `avih` and `strh` replaced, and those of OpenDML left out."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, data.index(b"avih") + 8 + 16, frames)
    struct.pack_into("<I", changed, data.index(b"strh") + 8 + 32, frames)
    at = data.find(b"dmlh")
    if at >= 0:
        struct.pack_into("<I", changed, at + 8, frames)
    return bytes(changed)


def _avi_parts(data: bytes) -> tuple[bytes, bytes]:
    """(all before the media, the chunks of the media) of an AVI, without RIFF's own header and without the
    index."""
    media, end = data.index(b"movi") + 4, data.index(b"idx1")
    return data[12 : media - 12], data[media:end]


def _riff(kind: bytes, head: bytes, chunks: bytes) -> bytes:
    body = kind + head + b"LIST" + struct.pack("<I", len(chunks) + 4) + b"movi" + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def in_two_riffs(data: bytes) -> bytes:
    """An AVI beyond a gigabyte as OpenDML has it: a second RIFF behind the first, and no old index."""
    head, chunks = _avi_parts(data)
    half = chunks.index(b"00dc", len(chunks) // 2)
    return _riff(b"AVI ", head, chunks[:half]) + _riff(b"AVIX", b"", chunks[half:])


def with_empty_chunks(data: bytes) -> bytes:
    """An AVI with a chunk of no bytes behind each third one: "the same again"."""
    head, chunks = _avi_parts(data)
    parts = chunks.split(b"00dc")
    media = b"".join(b"00dc" + part + (b"00dc" + bytes(4)) * (k % 3 == 2) for k, part in enumerate(parts[1:]))
    return _riff(b"AVI ", head, media)


def without_first_packets(stream: bytes, count: int) -> bytes:
    """A transport stream without so many of its first packets; tables are kept."""
    packets = [stream[k : k + 188] for k in range(0, len(stream), 188)]
    media = [k for k, packet in enumerate(packets) if (packet[1] & 0x1F) << 8 | packet[2] >= 0x100]
    dropped = {k for k in media[:count] if (packets[k][1] & 0x1F) << 8 | packets[k][2] == 0x100}
    return b"".join(packet for k, packet in enumerate(packets) if k not in dropped)


def without_most_times(stream: bytes, keep_every: int = 6) -> bytes:
    """A transport stream in which only every so many pictures say when they are shown."""
    packets, count = [bytearray(stream[k : k + 188]) for k in range(0, len(stream), 188)], 0
    for packet in packets:
        at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        if packet[1] & 0x40 and packet[at : at + 4] == b"\x00\x00\x01\xe0":
            if count % keep_every:
                packet[at + 7] &= 0x3F  # PTS_DTS_flags; ISO/IEC 13818-1, 2.4.3.7
                packet[at + 9 : at + 9 + packet[at + 8]] = b"\xff" * packet[at + 8]
            count += 1
    return b"".join(packets)


def with_times_later(stream: bytes, ticks: int) -> bytes:
    """A transport stream of which everything is shown so many ticks (1/90,000 s) later."""
    packets = [bytearray(stream[k : k + 188]) for k in range(0, len(stream) - 187, 188)]
    for packet in packets:
        adapted = packet[3] & 0x20
        at = 4 + (1 + packet[4] if adapted else 0)
        if adapted and packet[4] >= 7 and packet[5] & 0x10:  # the clock; ISO/IEC 13818-1, 2.4.3.4
            clock = (int.from_bytes(packet[6:11], "big") >> 7) + ticks & (1 << 33) - 1
            packet[6:10] = (clock >> 1).to_bytes(4, "big")
            packet[10] = packet[10] & 0x7F | (clock & 1) << 7
        if packet[1] & 0x40 and packet[at : at + 3] == b"\x00\x00\x01" and at + 14 <= 188:
            for number in range((0, 0, 1, 2)[packet[at + 7] >> 6]):  # PTS, or both; 2.4.3.7
                field = packet[at + 9 + 5 * number : at + 14 + 5 * number]
                time = (
                    (field[0] >> 1 & 7) << 30
                    | (field[1] << 7 | field[2] >> 1) << 15
                    | field[3] << 7
                    | field[4] >> 1
                )
                time = time + ticks & (1 << 33) - 1
                field[0] = field[0] & 0xF1 | time >> 29 & 0x0E
                field[1:3] = (time >> 14 & 0xFFFE | 1).to_bytes(2, "big")
                field[3:5] = (time << 1 & 0xFFFE | 1).to_bytes(2, "big")
                packet[at + 9 + 5 * number : at + 14 + 5 * number] = field
    return b"".join(packets)


def remux(path: Path, edit: Edit) -> Path:
    """The file's packets, edited, in a container of the same kind."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size]
        edited = path.with_stem(path.stem + "_edited")
        # No bitstream filter of the muxer's may repair what is odd.
        with av.open(str(edited), "w", options={"fflags": "-autobsf"}) as target:
            out = target.add_stream_from_template(stream)
            for packet in edit(packets, stream):
                packet.stream = out
                target.mux(packet)
    return edited.replace(path)


def _copy(packet: av.Packet, data: bytes) -> av.Packet:
    new = av.Packet(data)
    new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    new.is_keyframe = packet.is_keyframe
    return new


def pack_b_pictures(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    """DivX's packed bitstream: reference, B | placeholder, for each first B-picture after a reference."""
    data = [bytes(packet) for packet in packets]
    kinds = [part[part.index(b"\x00\x00\x01\xb6") + 4] >> 6 for part in data]
    for k in range(len(data) - 1):
        if kinds[k] != 2 and kinds[k + 1] == 2:
            data[k], data[k + 1] = data[k] + data[k + 1], NOT_CODED
    marker = b"\x00\x00\x01\xb2DivX503b1393p"
    at = data[0].index(b"\x00\x00\x01\xb6")
    data[0] = data[0][:at] + marker + data[0][at:]
    for packet, part in zip(packets, data, strict=True):
        yield _copy(packet, part)


def drop_some_pictures(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    for k, packet in enumerate(packets):
        yield _copy(packet, NOT_CODED) if k % 9 in (7, 8) else packet


def drop_first(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    yield from packets[4:]


def damage_last(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    for k, packet in enumerate(packets):
        data = bytes(packet)
        yield packet if k < len(packets) - 4 else _copy(packet, data[:8] + bytes(len(data) - 8))


def flag_all(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    for packet in packets:
        packet.is_keyframe = True
        yield packet


def split_superframes(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    split = BitStreamFilterContext("vp9_superframe_split", stream)
    for packet in packets:
        at, is_key = packet.pts, packet.is_keyframe
        for k, part in enumerate(split.filter(packet)):
            part.pts = part.dts = at + k  # the muxer wants each packet later than the one before
            part.is_keyframe = is_key and k == 0
            yield part


def show_again(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    for k, packet in enumerate(packets):
        yield packet
        if k % 9 == 5:
            again = _copy(packet, b"\x88")  # frame_marker, show_existing_frame, slot 0
            again.pts = again.dts = packet.pts + 20
            again.is_keyframe = False
            yield again


def hide_some_vp8(packets: list[av.Packet], stream: av.stream.Stream) -> Iterator[av.Packet]:
    for k, packet in enumerate(packets):
        data = bytearray(bytes(packet))
        if k % 7 == 4:
            data[0] &= ~0x10  # show_frame
        yield _copy(packet, bytes(data))
