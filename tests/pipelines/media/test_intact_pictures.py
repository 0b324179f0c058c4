"""Of a damaged file what is whole comes out, the same wherever decoding begins; the rest is told to be
lost."""

import random
from functools import cache
from itertools import pairwise

import av
import numpy as np
import pytest

from pipelines.errors import MediaError, Reason
from pipelines.measure.segments import contiguous_segments, gaps, lost_s
from pipelines.media.intact_pictures import _Decoding, intact_pictures, pictures_between
from pipelines.media.picture import picture_hash
from pipelines.media.read_clock import read_clock
from tests.support.footage import pan, write

FRAMES = 96
X264 = {"g": "24", "bf": "2", "sc_threshold": "0"}
KINDS = {
    "h264.mp4": ("libx264", X264, {"movflags": "faststart"}),
    "h264.mkv": ("libx264", X264, {}),
    "open.ts": ("libx264", X264 | {"x264-params": "open-gop=1"}, {}),
    "h264.avi": ("libx264", X264, {}),
    "vp9.webm": ("libvpx-vp9", {"g": "24", "deadline": "realtime", "cpu-used": "8"}, {}),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2"}, {}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}, {}),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def source(name):
        codec, options, container = KINDS[name]
        return write(folder / name, pan(1, FRAMES, 48, 64), codec=codec, options=options, container=container)

    return source


def shown(path, clock, start_pts=None):
    start = int(clock.pts[0]) if start_pts is None else start_pts
    return {
        picture.pts: picture_hash(picture)
        for _, picture in intact_pictures(path, clock, start, clock.end_pts)
    }


def packets_of(path) -> list[tuple[int, int, int]]:
    """(position in the file, bytes, pts) of each packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]


def with_noise(path, out, numbers):
    """The same file, but for what is in the middle of some of its packets."""
    data, packets = bytearray(path.read_bytes()), packets_of(path)
    for number in numbers:
        at, size, _ = packets[number]
        half = at + size // 4
        data[half : at + size] = random.Random(number).randbytes(at + size - half)
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm"])
@pytest.mark.parametrize("number", [0, 5, 24, 40, 95])
def test_a_damaged_packet_costs_what_was_decoded_after_it_up_to_the_next_keyframe(
    sources, tmp_path, name, number
):
    path = sources(name)
    path_damaged = with_noise(path, tmp_path / name, [number])
    clock, original = read_clock(path_damaged), shown(path, read_clock(path))
    came = shown(path_damaged, clock)
    packets = packets_of(path)
    begin = max((int(pts) for pts in clock.keyframes if packets[number][2] >= pts), default=-1)
    following = [int(pts) for pts in clock.keyframes if pts > begin]
    untouched = {pts for pts in original if pts < begin or (following and pts >= following[0])}
    assert untouched <= {pts for pts, picture in came.items() if original[pts] == picture}
    assert {pts for pts, picture in came.items() if original.get(pts) != picture} <= {packets[number][2]} | (
        set(original) - untouched if name == "vp9.webm" else set()
    ), "a decoder that sees no damage shows other pictures; h264's does"


@pytest.mark.parametrize("name", KINDS)
def test_what_is_whole_is_the_same_wherever_decoding_begins(sources, tmp_path, name):
    data = sources(name).read_bytes()
    lost = 0
    for seed in range(6):
        at = int(len(data) * (0.3 + 0.1 * seed))
        path = tmp_path / name
        path.write_bytes(data[:at] + bytes(200) + data[at + 200 :])
        clock = read_clock(path)
        everything = shown(path, clock)
        lost += len(clock.pts) - len(everything) + sum(gap.num_frames for gap in clock.gaps)
        for begin, end in pairwise([*clock.pts[::11].tolist(), clock.end_pts]):
            part = {picture.pts for _, picture in intact_pictures(path, clock, begin, end)}
            assert part == {pts for pts in everything if begin <= pts < end}
            assert shown(path, clock, begin) == {pts: row for pts, row in everything.items() if pts >= begin}
    assert lost or name == "vp9.webm"


def test_lost_packets_of_a_broadcast_cost_no_more_than_their_group(sources, tmp_path):
    path = sources("mpeg2.ts")
    data, original = path.read_bytes(), shown(path, read_clock(path))
    at = len(data) // 188 // 2 * 188
    torn = tmp_path / "torn.ts"
    torn.write_bytes(data[:at] + data[at + 5 * 188 :])
    came = shown(torn, read_clock(torn))
    assert FRAMES - 24 <= len(came) < FRAMES
    assert came.items() <= original.items()


def test_who_asks_for_all_pictures_gets_all_or_an_error(sources, tmp_path):
    path = with_noise(sources("h264.mp4"), tmp_path / "torn.mp4", [30])
    clock = read_clock(path)
    before = list(pictures_between(path, clock, int(clock.pts[0]), int(clock.pts[24])))
    assert len(before) == 24
    behind = list(pictures_between(path, clock, int(clock.pts[48]), clock.end_pts))
    assert len(behind) == FRAMES - 48
    with pytest.raises(MediaError) as raised:
        list(pictures_between(path, clock, int(clock.pts[20]), clock.end_pts))
    assert raised.value.reason == Reason.UNDECODABLE


def test_damage_everywhere_costs_no_more_than_decoding_all_twice(sources, tmp_path, monkeypatch):
    path = with_noise(sources("h264.mp4"), tmp_path / "torn.mp4", range(1, FRAMES, 3))
    clock = read_clock(path)
    fed = []
    feed = _Decoding._feed
    monkeypatch.setattr(_Decoding, "_feed", lambda self, packet: fed.append(packet) or feed(self, packet))
    list(intact_pictures(path, clock, int(clock.pts[0]), clock.end_pts))
    assert len(fed) <= 2 * FRAMES


def test_of_an_mp4_that_is_cut_off_the_whole_frames_stay_and_the_missing_seconds_are_told(sources, tmp_path):
    path = sources("h264.mp4")
    data, original = path.read_bytes(), shown(path, read_clock(path))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 2 // 3])
    clock = read_clock(cut)
    came = shown(cut, clock)
    assert 24 < len(came) == len(clock.pts) < FRAMES
    assert came.items() <= original.items()
    (gap,) = clock.gaps
    assert gap.reason == Reason.TRUNCATED
    assert lost_s(clock, [gap]) + clock.duration_s == pytest.approx(FRAMES / 25)


def test_whole_fragments_of_a_file_that_is_cut_off_are_footage(tmp_path):
    path = write(
        tmp_path / "whole.mp4",
        pan(1, FRAMES, 48, 64),
        options=X264,
        container={"movflags": "frag_keyframe+empty_moov"},
    )
    data = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: data.rindex(b"moof") + 30])
    clock = read_clock(tmp_path / "cut.mp4")
    assert len(shown(tmp_path / "cut.mp4", clock)) == 72
    assert clock.gaps[-1].reason == Reason.TRUNCATED
    assert lost_s(clock, list(clock.gaps)) is None, "nothing in it tells of further fragments"


def test_a_file_that_ends_before_its_first_frame_does_is_refused(sources, tmp_path):
    data = sources("h264.mp4").read_bytes()
    (tmp_path / "stub.mp4").write_bytes(data[: data.index(b"mdat") + 20])
    with pytest.raises(MediaError) as raised:
        read_clock(tmp_path / "stub.mp4")
    assert raised.value.reason in (Reason.TRUNCATED, Reason.UNDECODABLE)


def test_a_recording_that_ends_in_the_middle_says_how_much_it_was_to_be(sources, tmp_path):
    data = sources("h264.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    clock = read_clock(tmp_path / "cut.mkv")
    assert len(shown(tmp_path / "cut.mkv", clock)) == len(clock.pts)
    assert lost_s(clock, list(clock.gaps)) + clock.duration_s == pytest.approx(FRAMES / 25, abs=0.05)


def test_a_hole_in_a_container_is_a_gap_and_no_shot_goes_on_behind_it(sources, tmp_path):
    path = sources("h264.mkv")
    data, original = path.read_bytes(), shown(path, read_clock(path))
    at, size, _ = packets_of(path)[30]
    (tmp_path / "hole.mkv").write_bytes(data[: at + 5] + data[at + size + 400 :])
    clock = read_clock(tmp_path / "hole.mkv")
    came = shown(tmp_path / "hole.mkv", clock)
    assert came.items() <= original.items()
    assert len(came) < FRAMES
    times = np.array(sorted(came))
    found = gaps(clock, times)
    assert lost_s(clock, found) == pytest.approx((FRAMES - len(came)) / 25, abs=0.1)
    for gap in found:
        assert not any(gap.start_pts <= pts < gap.end_pts for pts in came)
        for part in contiguous_segments(clock, times):
            assert part.end_pts <= gap.start_pts or times[part.first] >= gap.end_pts
