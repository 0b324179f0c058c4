"""The clock lists what a decoder shows, when it shows it; and decoding may begin anywhere and shows the
same."""

import itertools
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import MediaError, Reason
from pipelines.media import packets
from pipelines.media.config import FootageConfig
from pipelines.media.decode import iterate_frames, iterate_pictures
from pipelines.media.intact_pictures import intact_pictures
from pipelines.media.picture import picture_hash
from pipelines.media.probe import open_container, video_stream
from pipelines.media.read_clock import read_clock
from tests.support.edit_bytes import without_box
from tests.support.footage import pan, write
from tests.support.odd_sources import EDITS, REFUSED, SOURCES, X264


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clock")


@pytest.fixture(scope="module")
def rendered(folder):
    made = {}

    def render(name):
        if name not in made:
            made[name] = SOURCES[name](folder / name)
        return made[name]

    return render


def shown(path, start_pts, end_pts, clock) -> list[tuple[int, int]]:
    return [
        (picture.pts, picture_hash(picture)) for picture in iterate_pictures(path, start_pts, end_pts, clock)
    ]


def shown_whole(path, start_pts, end_pts, clock) -> list[tuple[int, int]]:
    pictures = list(intact_pictures(path, clock, start_pts, end_pts))
    assert [picture.pts for _, picture in pictures] == [clock.pts[number] for number, _ in pictures]
    return [(picture.pts, picture_hash(picture)) for _, picture in pictures]


def whole(path, clock) -> list[tuple[int, int]]:
    return shown(path, int(clock.pts[0]), clock.end_pts, clock)


def same_anywhere(path, clock, starts) -> None:
    """The law."""
    everything = whole(path, clock)
    assert [pts for pts, _ in everything] == clock.pts.tolist()
    assert clock.end_pts > clock.pts[-1]
    for index in starts:
        assert shown(path, int(clock.pts[index]), clock.end_pts, clock) == everything[index:], index


@pytest.mark.parametrize("name", SOURCES)
def test_pictures_and_their_times_are_the_same_wherever_decoding_begins(rendered, name):
    path = rendered(name)
    clock = read_clock(path)
    same_anywhere(path, clock, range(1, len(clock.pts)))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_placed_in_time_is_refused_and_never_half_shown(folder, name):
    render, reason = REFUSED[name]
    path = render(folder / name)
    with pytest.raises(MediaError) as caught:
        read_clock(path)
    assert caught.value.reason == reason


@settings(max_examples=12, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 40), min_size=4, max_size=24),
    start=st.integers(0, 10**6),
    suffix=st.sampled_from(["mp4", "mkv", "ts", "mov"]),
    b_frames=st.integers(0, 3),
    gop=st.integers(1, 12),
    data=st.data(),
)
def test_any_rhythm_is_told_to_the_tick(tmp_path_factory, gaps, start, suffix, b_frames, gop, data):
    pts = (start + np.cumsum([0, *gaps])).tolist()
    options = X264 | {"bf": str(b_frames), "g": str(gop)}
    path = tmp_path_factory.mktemp("rhythm") / f"any.{suffix}"
    write(path, pan(3, len(pts), 48, 64), pts=pts, time_base=Fraction(1, 1000), options=options)
    clock = read_clock(path)
    ticks_ms = 1000 * clock.time_base
    assert [(int(p) - int(clock.pts[0])) * ticks_ms for p in clock.pts] == [p - pts[0] for p in pts]
    if suffix == "mkv":
        assert clock.pts.tolist() == pts
    same_anywhere(path, clock, {data.draw(st.integers(1, len(pts) - 1)) for _ in range(3)})


def test_an_edit_list_is_obeyed(rendered, folder):
    """Each list of one edit exactly; of several, what FFmpeg makes of the seams, which lie between other
    frames."""
    for name, edits in EDITS.items():
        path = rendered(name)
        plain = folder / "unedited.mp4"
        plain.write_bytes(without_box(path.read_bytes(), b"edts"))
        number = {picture: k for k, (_, picture) in enumerate(whole(plain, read_clock(plain)))}
        got = [(pts // 512, number[picture]) for pts, picture in whole(path, read_clock(path))]
        wanted, at = [], 0
        for frames, first in edits:
            wanted += [(at + k, first + k) for k in range(frames) if first >= 0]
            at += frames
        if sum(first >= 0 for _, first in edits) == 1:
            assert got == wanted, name
        else:
            assert {k for _, k in got} <= {k for _, k in wanted}, name
            assert len(got) >= len(wanted) - 1, name


def test_times_are_the_containers_own(rendered):
    def first_s(name):
        clock = read_clock(rendered(name))
        return int(clock.pts[0]) * clock.time_base

    assert first_s("late.mp4") == first_s("late.mkv") == 1000
    assert first_s("late.ts") == 40_000
    wrapped = read_clock(rendered("wrap.ts"))
    assert set(np.diff(wrapped.pts)) == {3600}
    assert wrapped.pts[0] < 0 < wrapped.end_pts or wrapped.pts[0] < 2**33 < wrapped.end_pts


@pytest.mark.parametrize("name", ["wrong_header.mp4", "wrong_header.avi", "no_index.avi", "fragments.mp4"])
def test_what_headers_say_of_frames_and_durations_is_not_believed(rendered, name):
    clock = read_clock(rendered(name))
    assert len(clock.pts) == 36
    assert clock.duration_s == pytest.approx(36 / 25)


@pytest.mark.parametrize("name", ["broken_end.mkv", "broken_end.ts", "broken_off.avi"])
def test_a_recording_that_breaks_off_ends_before_the_damage(rendered, name):
    clock = read_clock(rendered(name))
    assert 5 < len(clock.pts) < 36
    assert clock.end_pts <= clock.pts[-1] + 2 * np.diff(clock.pts).max()


def test_hidden_pictures_are_not_on_the_clock(rendered):
    for name, hidden in (("hidden.webm", 1), ("hidden_vp8.webm", 5)):
        path = rendered(name)
        with open_container(path) as container:
            coded = sum(packet.size > 0 for packet in container.demux(video_stream(container)))
        assert coded - len(read_clock(path).pts) >= hidden


def test_a_cover_or_another_video_is_not_taken_for_the_video(rendered):
    for name, size in (("cover.mp4", (48, 64)), ("two_videos.mkv", (96, 128))):
        path = rendered(name)
        clock = read_clock(path)
        assert not clock.plain
        frames = np.stack([frame for _, frame in iterate_frames(path, clock)])
        assert frames.shape == (36, *size, 3)


def test_keyframes_are_what_the_bitstream_allows_not_what_the_container_says(rendered):
    for honest, lying in (
        ("plain.mp4", "all_keyframes.mkv"),
        ("mpeg4_b.avi", "all_keyframes.avi"),
        ("opengop_hevc.mp4", "all_keyframes.mp4"),
    ):
        real, said = read_clock(rendered(honest)), read_clock(rendered(lying))
        assert [real.index_of(pts) for pts in real.keyframes] == [
            said.index_of(pts) for pts in said.keyframes
        ]
        assert 3 <= len(real.keyframes) < 9
    for name in ("refresh.mp4", "refresh.mkv", "refresh.ts"):
        path = rendered(name)
        with open_container(path) as container:
            flagged = sum(packet.is_keyframe for packet in container.demux(video_stream(container)))
        assert len(read_clock(path).keyframes) < flagged


SOUGHT = {
    "plain.mp4",
    "opengop.mp4",
    "opengop_hevc.mp4",
    "trimmed.mp4",
    "variable.mkv",
    "no_index.mkv",
    "altref.webm",
}
SOUGHT |= {"late.ts", "wrap.ts", "begun_late.ts", "opengop_mpeg2.mpg", "h264.flv", "wmv.asf", "msmpeg4.avi"}
SOUGHT |= {"av1.mp4", "mpeg4_b.avi", "h264_b.avi", "packed.avi", "fragments.mp4", "dense_keyframes.mp4"}


@pytest.mark.parametrize("name", sorted(SOUGHT))
def test_a_keyframe_is_sought_and_decoding_begins_there(rendered, name, monkeypatch):
    path = rendered(name)
    clock = read_clock(path)
    keyframe = int(clock.keyframes[-1])
    opened = []
    real = packets.open_container
    monkeypatch.setattr(packets, "open_container", lambda *args: opened.append(args) or real(*args))
    fed = [packet for packet in packets.packets_from(path, clock, keyframe) if packet.size]
    assert len(opened) == 1  # a second time, to read from the start, if the index led nowhere
    assert len(fed) <= len(clock.pts) - clock.index_of(keyframe) + 4  # leading pictures are fed too


def test_limits_hold_for_what_was_found_not_only_for_what_was_said(rendered, folder):
    def why(path, **limits):
        with pytest.raises(MediaError) as caught:
            read_clock(path, FootageConfig(**limits))
        assert next(iter(limits)) in caught.value.message
        return caught.value.reason

    path = rendered("wrong_header.avi")  # says 3 frames
    assert why(path, max_frames=35) == Reason.TOO_LARGE
    assert why(path, max_duration_s=1.0) == Reason.TOO_LARGE
    fast = write(folder / "fast.ts", pan(4, 90, 48, 64), fps=1500)
    assert why(fast, max_fps=60.0) == Reason.TOO_LARGE
    assert len(read_clock(path, FootageConfig(max_frames=36)).pts) == 36


@pytest.mark.parametrize(
    "name", ["late.mkv", "late.mp4", "late.ts", "mpeg2.ts", "altref.webm", "mpeg4_b.mkv", "av1.mkv"]
)
def test_a_damaged_file_is_refused_or_the_same_from_anywhere(rendered, folder, name):
    data = rendered(name).read_bytes()
    outcomes = []
    for k in range(6):
        at = len(data) * (3 + k) // 10
        path = (folder / f"damaged{k}").with_suffix(Path(name).suffix)
        path.write_bytes(data[:at] + bytes(60) + data[at + 60 :])
        try:
            clock = read_clock(path)
            everything = shown_whole(path, int(clock.pts[0]), clock.end_pts, clock)
            for index in range(1, len(clock.pts), 5):
                begin = int(clock.pts[index])
                assert shown_whole(path, begin, clock.end_pts, clock) == [
                    row for row in everything if row[0] >= begin
                ]
            outcomes.append("shown")
        except MediaError as error:
            outcomes.append(error.reason)
    assert set(outcomes) <= {"shown", Reason.UNDECODABLE, Reason.NO_TIMESTAMPS}


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(SOUGHT | {"raw.m2v", "cut_out.mp4", "refresh.ts"})), data=st.data())
def test_units_of_any_length_make_up_the_whole(rendered, name, data):
    path = rendered(name)
    clock = read_clock(path)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(clock.pts) - 1), max_size=5)))
    bounds = [int(clock.pts[index]) for index in (0, *cuts)] + [clock.end_pts]
    parts = [shown(path, start, end, clock) for start, end in itertools.pairwise(bounds)]
    assert [row for part in parts for row in part] == whole(path, clock)


BYTES = [
    "plain.mp4",
    "fragments.mp4",
    "late.mkv",
    "late.ts",
    "mpeg4_b.avi",
    "opengop_mpeg2.mpg",
    "h264.flv",
    "wmv.asf",
]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(BYTES),
    wounds=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
    in_header=st.booleans(),
)
def test_whatever_bytes_come_the_answer_is_a_true_clock_or_a_reason(
    rendered, folder, name, wounds, in_header
):
    content = bytearray(rendered(name).read_bytes())
    for where, wound in wounds:
        at = int(where * ((1500 if in_header else len(content)) - 9))
        content[at : at + len(wound)] = wound
    path = folder / f"wounded{Path(name).suffix}"
    path.write_bytes(content)
    try:
        clock = read_clock(path)
        everything = shown_whole(path, int(clock.pts[0]), clock.end_pts, clock)
    except MediaError:
        return
    assert {pts for pts, _ in everything} <= set(clock.pts.tolist())
    assert set(clock.keyframes.tolist()) <= set(clock.pts.tolist())
    middle = int(clock.pts[len(clock.pts) // 2])
    assert shown_whole(path, middle, clock.end_pts, clock) == [row for row in everything if row[0] >= middle]


def test_names_and_notes_in_another_encoding_do_no_harm(rendered, folder):
    path = folder / "latin.avi"
    data = rendered("mjpeg.avi").read_bytes()
    path.write_bytes(data.replace(b"Lavf", b"\xe9t\xe9 "))
    assert path.read_bytes() != data
    assert len(read_clock(path).pts) == 36


def test_the_clock_of_a_long_video_is_a_few_numbers_per_frame(rendered, folder):
    path = folder / "long.mkv"
    with av.open(str(rendered("plain.mp4"))) as short, av.open(str(path), "w") as long:
        stream = short.streams.video[0]
        rows = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in short.demux(stream) if p.size]
        out = long.add_stream_from_template(stream)
        for again in range(400):
            for data, pts, dts, is_key in rows:
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + again * 36 * 512, dts + again * 36 * 512
                packet.time_base, packet.is_keyframe, packet.stream = stream.time_base, is_key, out
                long.mux(packet)
    read_clock(path)
    tracemalloc.start()
    clock = read_clock(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(clock.pts) == 36 * 400
    assert peak_bytes < 100 * len(clock.pts) + 500_000
