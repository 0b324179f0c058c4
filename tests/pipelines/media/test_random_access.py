"""Which packets show a picture, and at which decoding may begin, by the bits of each standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media.packets import demux_times
from pipelines.media.probe import open_container, video_stream
from pipelines.media.random_access import (
    FieldSyntax,
    field_syntax,
    is_field,
    is_random_access_point,
    is_shown,
    nal_length_bytes,
    nal_units,
    parameter_sets,
)
from tests.support.footage import pan, write
from tests.support.odd_sources import SOURCES

START = b"\x00\x00\x01"
# Recovery point SEI: type 6, one byte: recovery_frame_cnt 0 ("1"), exact_match, broken_link, 2 bits, stop
# bit.
EXACT, INEXACT, BROKEN, LATER = (
    b"\x06\x06\x01" + bytes((bits,)) + b"\x80" for bits in (0xC4, 0x84, 0xE4, 0x54)
)
# first_mb 0, then slice_type 7, 0, 7
I_SLICE, P_SLICE, IDR = b"\x41\x88\x80", b"\x41\xc0\x80", b"\x65\x88\x80"


def annex_b(*units: bytes) -> memoryview:
    return memoryview(b"".join(START + unit for unit in units))


@pytest.mark.parametrize(
    ("units", "open_gop", "closed"),
    [
        ((IDR,), True, True),
        ((b"\x09\x10", b"\x67\x64", b"\x68\xee", IDR), True, True),
        ((EXACT, I_SLICE), True, False),
        ((INEXACT, I_SLICE), False, False),
        ((BROKEN, I_SLICE), False, False),
        ((LATER, I_SLICE), False, False),
        ((EXACT, P_SLICE), False, False),
        ((I_SLICE,), False, False),
        ((b"\x09\x10",), False, False),
        ((), False, False),
    ],
)
def test_h264_begins_at_an_idr_or_an_exact_recovery_point(units, open_gop, closed):
    packet = annex_b(*units)
    assert is_random_access_point("h264", packet, 0) == open_gop
    assert is_random_access_point("h264", packet, 0, closed=True) == closed
    sized = memoryview(b"".join(len(unit).to_bytes(4) + unit for unit in units))
    assert is_random_access_point("h264", sized, 4) == open_gop


@pytest.mark.parametrize(
    ("kind", "open_gop", "closed"),
    [(1, False, False), (16, True, False), (19, True, True), (20, True, True), (21, True, False)],
)
def test_hevc_begins_at_random_access_pictures(kind, open_gop, closed):
    packet = annex_b(b"\x46\x01\x50", bytes((kind << 1, 1, 0x80)))
    assert is_random_access_point("hevc", packet, 0) == open_gop
    assert is_random_access_point("hevc", packet, 0, closed=True) == closed


@pytest.mark.parametrize(
    ("codec", "packet", "begins", "shown"),
    [
        ("vp8", b"\x10\x02\x00", True, True),  # key, shown
        ("vp8", b"\x00\x02\x00", False, False),  # key, hidden
        ("vp8", b"\x11\x02\x00", False, True),
        ("vp9", b"\x82\x49\x83", True, True),
        ("vp9", b"\x80\x49\x83", False, False),
        ("vp9", b"\x86\x00\x00", False, True),
        ("vp9", b"\x84\x00\x00", False, False),
        ("vp9", b"\x88", False, True),  # shows one decoded before
        ("vp9", b"\x84\x00\x00\xc1", False, True),  # a superframe
        ("vp9", b"\xb1\x49\x83", True, True),  # profile 3 has one bit more
        ("mpeg2video", START + b"\x00\x00\x0f\xff", True, True),
        ("mpeg2video", START + b"\x00\x00\x17\xff", False, True),
        ("mpeg4", START + b"\xb6\x10\x00", True, True),
        ("mpeg4", START + b"\xb6\x50\x00", False, True),
        ("mjpeg", b"\xff\xd8", True, True),
        ("cinepak", b"\x00\x00", False, True),  # not known to us: only the start of the file is sure
    ],
)
def test_other_codecs_tell_in_their_first_bits(codec, packet, begins, shown):
    assert is_random_access_point(codec, memoryview(packet), 0) == begins
    assert is_shown(codec, memoryview(packet)) == shown


@given(
    st.binary(min_size=1, max_size=80),
    st.sampled_from(["h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2video", "av1"]),
)
def test_no_bytes_are_too_odd_to_be_looked_at(data, codec):
    for prefix, length in ((b"", 0), (START, 0), (b"", 1), (b"", 4)):
        packet = memoryview(prefix + data)
        assert is_random_access_point(codec, packet, length) in (True, False)
        syntax = field_syntax(codec, packet, length) or FieldSyntax(4)
        assert is_field(packet, length, syntax) in (True, False)
        assert nal_length_bytes(codec, data) in (0, 1, 2, 3, 4)
        assert isinstance(parameter_sets(codec, data), memoryview)


@given(
    st.lists(st.binary(min_size=1, max_size=20).map(lambda unit: unit.replace(b"\x00", b"\x7f")), max_size=5)
)
def test_units_come_out_alike_behind_lengths_and_start_codes(units):
    assert list(nal_units(annex_b(*units), 0)) == units
    for size in (1, 2, 4):
        sized = memoryview(b"".join(len(unit).to_bytes(size) + unit for unit in units))
        assert list(nal_units(sized, size)) == units


def first_and_times(path):
    with open_container(path) as container:
        stream = video_stream(container)
        return stream.codec_context.extradata, demux_times(container, stream, 1000)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_field_coding_is_seen_in_the_headers(tmp_path, pixel_format, suffix):
    """x264 codes interlaced pictures as frames: its headers allow fields, and no packet is one."""
    for interlaced in (False, True):
        path = tmp_path / f"{interlaced}.{suffix}"
        options = {"x264-params": "tff=1"} if interlaced else {}
        write(path, pan(1, 12, 48, 64), options=options, pixel_format=pixel_format)
        extradata, times = first_and_times(path)
        syntax = field_syntax("h264", parameter_sets("h264", extradata), 0)
        assert (syntax is not None) == interlaced
        assert not times.needs_decoding
        if interlaced:
            nal_length = nal_length_bytes("h264", extradata)
            with open_container(path) as container:
                coded = [bytes(packet) for packet in container.demux(video_stream(container)) if packet.size]
            fields = [
                is_field(memoryview(_as_field(data, nal_length, syntax)), nal_length, syntax)
                for data in coded
            ]
            assert all(fields)


def _as_field(packet: bytes, nal_length: int, syntax: FieldSyntax) -> bytes:
    """The packet with field_pic_flag set in its first slice header; the flag's place is counted here by
    hand."""
    (unit,) = [unit for unit in nal_units(memoryview(packet), nal_length) if unit[0] & 0x1F in (1, 5)][:1]
    bits = "".join(f"{byte:08b}" for byte in unit[1:])
    at = 0
    for _ in range(3):
        zeros = bits.index("1", at) - at
        at += 2 * zeros + 1
    at += syntax.skipped_bits
    changed = bits[:at] + "1" + bits[at + 1 :]
    new = unit[:1] + bytes(int(changed[k : k + 8], 2) for k in range(0, len(changed), 8))
    return packet.replace(unit, new)


def test_the_bits_of_real_encoders_are_understood(tmp_path):
    """Each keyframe that an encoder flags is one; of intra refresh, none but those that are whole."""
    for name in (
        "plain.mp4",
        "opengop.mp4",
        "opengop_hevc.mp4",
        "hevc.ts",
        "mpeg2.ts",
        "mpeg4_b.mp4",
        "vp8.webm",
        "altref.webm",
    ):
        _, times = first_and_times(SOURCES[name](tmp_path / name))
        assert times.plain, name
        assert len(times.keyframes) >= 2, name
    _, times = first_and_times(SOURCES["refresh.mp4"](tmp_path / "refresh.mp4"))
    assert not times.plain
