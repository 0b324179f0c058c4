"""Footage read by ranges in the killable child: the same in every bit, a part costs a part, and the child
reaches nothing else."""

import os
import socket
import stat
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut_clip
from pipelines.cutting.reencode import ClipContent
from pipelines.errors import MediaError, Reason
from pipelines.footage.partial_reads import supports_partial_reads
from pipelines.measure import sandboxed
from pipelines.media import ranged
from pipelines.media.config import FootageConfig
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.ranged import RangedFile, read_by_ranges
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.child import call
from tests.support.codecs import render
from tests.support.odd_sources import SOURCES

LIMITS = Limits(deadline_s=30, memory_bytes=1024**3, file_bytes=64 * 1024**2)
LAYOUTS = (
    "h264_vfr",
    "h264_rotated",
    "h264_open_gop_ts",
    "h264_mkv",
    "h264_avi",
    "hevc_10bit",
    "vp9",
    "mpeg4_avi",
    "mpeg2_ts",
)
ODD = (
    "broken_off.ts",
    "begun_late.mkv",
    "no_index.mkv",
    "no_index.avi",
    "mpeg2.mxf",
    "old.flv",
    "wmv.asf",
    "h264.flv",
)


@pytest.fixture(autouse=True, scope="module")
def _ended():
    yield
    child.stop()


class Far:
    """A local file as if it were elsewhere; counts the bytes asked for."""

    def __init__(self, path: Path):
        self.path, self.fetched = path, 0
        self.file = read_by_ranges(path.name, path.stat().st_size, self._read)

    def _read(self, offset: int, size: int) -> bytes:
        self.fetched += size
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


def shown(source, clock, start_pts, end_pts):
    return [[p.pts, picture_hash(p)] for p in iterate_pictures(source, start_pts, end_pts, clock)]


def cut_of(path: Path, source, out: Path, clock, first: int, last: int) -> tuple[dict, bytes]:
    bounds = [*clock.pts.tolist(), clock.end_pts]
    hashes = [number for _, number in shown(path, clock, bounds[first], bounds[last])]
    span = Span(bounds[first], bounds[last], clock.time_base)
    cfg = CutConfig(max_lead_share=1.0)
    content = ClipContent(span, last - first, frames_hash(hashes), clock)
    args = (source, out, content, cfg, ReencodeConfig())
    made = call(cut_clip, *args, limits=LIMITS, writes=out.parent)
    return made, out.read_bytes()


@pytest.mark.parametrize("name", [*LAYOUTS, *ODD])
def test_headers_pictures_and_cuts_are_those_of_the_file(name, tmp_path):
    path = SOURCES[name](tmp_path / name) if name in SOURCES else render(name, tmp_path)
    file = Far(path).file
    header = call(sandboxed.read_header, path, "x", FootageConfig(), limits=LIMITS)
    far_header = call(sandboxed.read_header, file, "x", FootageConfig(), limits=LIMITS)
    assert far_header.equals(header, check_metadata=True)
    clock = sandboxed.header_clock(header)
    first, last = len(clock.pts) // 3, len(clock.pts) // 3 + 8
    span = int(clock.pts[first]), int(clock.pts[last])
    assert call(shown, file, clock, *span, limits=LIMITS) == call(shown, path, clock, *span, limits=LIMITS)
    picked = [
        call(sandboxed.pick_frames, source, clock, span[0], 8, 3, limits=LIMITS) for source in (path, file)
    ]
    np.testing.assert_array_equal(*picked)
    assert cut_of(path, file, tmp_path / "far.mp4", clock, first, last) == cut_of(
        path, path, tmp_path / "near.mp4", clock, first, last
    )


@pytest.fixture(scope="module")
def long_files(tmp_path_factory) -> dict[str, Path]:
    """About 12 MB of noise with sound, 30 s, in containers that can be read in part and in some that
    can't."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    noise = [
        np.kron(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
        for _ in range(6)
    ]
    first = folder / "long.mp4"
    with av.open(str(first), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "ultrafast", "g": "24", "bf": "2", "qp": "14"}
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for k in range(720):
            picture = av.VideoFrame.from_ndarray(np.roll(noise[k % 6], k, axis=1), format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, 24)
            container.mux(stream.encode(picture))
            heard = av.AudioFrame.from_ndarray(
                rng.integers(-9999, 9999, (1, 2000), dtype=np.int16), "s16", "mono"
            )
            heard.sample_rate, heard.pts = 48000, 2000 * k
            container.mux(sound.encode(heard))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    made = {"mp4": first}
    fragments = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}
    for name, options in {
        "mkv": {},
        "ts": {},
        "flv": {},
        "live.mkv": {"live": "1"},
        "fragments.mp4": fragments,
    }.items():
        made[name] = folder / f"long.{name}"
        with av.open(str(first)) as source, av.open(str(made[name]), "w", options=options) as container:
            tracks = {s.index: container.add_stream_from_template(s, opaque=True) for s in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = tracks[packet.stream.index]
                    container.mux(packet)
    return made


@pytest.mark.parametrize("name", ["mp4", "mkv", "ts"])
def test_a_stretch_in_the_middle_costs_a_fraction_of_the_file(long_files, tmp_path, name):
    path = long_files[name]
    size = path.stat().st_size
    assert size > 8_000_000
    clock = read_clock(path)
    bounds = int(clock.pts[400]), int(clock.pts[448])
    far = Far(path)
    call(shown, far.file, clock, *bounds, limits=LIMITS)
    assert 0.05 * size < far.fetched < 0.45 * size  # 2 of 30 s, the head, the index
    far = Far(path)
    call(sandboxed.pick_frames, far.file, clock, bounds[0], 48, 2, limits=LIMITS)
    assert far.fetched < 0.45 * size
    far = Far(path)
    made, _ = cut_of(path, far.file, tmp_path / "clip.mp4", clock, 400, 448)
    assert made["method"] == "copy"
    assert far.fetched < 0.45 * size
    once = far.fetched
    cut_of(path, far.file, tmp_path / "clip.mp4", clock, 410, 440)
    assert far.fetched < once + 0.1 * size  # head and index were there already


def test_an_encoded_cut_of_known_times_reads_its_stretch_alone(long_files, tmp_path):
    path = long_files["mp4"]
    clock, far = read_clock(path), Far(path)
    span = Span(int(clock.pts[400]), int(clock.pts[424]), clock.time_base)
    hashes = [number for _, number in shown(path, clock, span.start_pts, span.end_pts)]
    content = ClipContent(span, 24, frames_hash(hashes), clock)
    args = (tmp_path / "clip.mp4", content, CutConfig(method="encode"), ReencodeConfig())
    assert call(cut_clip, far.file, *args, limits=LIMITS, writes=tmp_path)["method"] == "encode"
    assert far.fetched < 0.45 * path.stat().st_size
    known = (tmp_path / "clip.mp4").read_bytes()
    call(cut_clip, path, *args, limits=LIMITS, writes=tmp_path)
    assert (tmp_path / "clip.mp4").read_bytes() == known


def test_what_can_only_be_read_from_the_start_is_told_apart_by_its_first_bytes(long_files):
    wanted = {"mp4": True, "mkv": True, "ts": True, "flv": False, "live.mkv": False, "fragments.mp4": False}
    for name, path in long_files.items():
        far = Far(path)
        assert supports_partial_reads(far.file) == wanted[name], name
        assert far.fetched <= 1024**2


def broken(offset: int, size: int) -> bytes:
    raise ConnectionResetError("the network is down")


@pytest.mark.parametrize(
    ("read_range", "message"),
    [(broken, "the network is down"), (lambda offset, size: bytes(size // 2), "bytes from 0 on came")],
)
def test_bytes_that_can_not_be_had_end_the_call_and_may_come_another_time(read_range, message, tmp_path):
    file = read_by_ranges("gone.mp4", 10**6, read_range)
    with pytest.raises(MediaError, match=message) as caught:
        call(sandboxed.read_header, file, "x", FootageConfig(), limits=LIMITS)
    assert caught.value.reason is Reason.MISSING
    assert not caught.value.permanent
    far = Far(render("h264_mkv", tmp_path))
    assert call(sandboxed.read_header, far.file, "x", FootageConfig(), limits=LIMITS).num_rows == 72


def read_all(file):
    return len(file.read(0, file.size_bytes))


def test_fetching_may_take_longer_than_the_file_is_given():
    def slow(offset: int, size: int) -> bytes:
        time.sleep(0.8)
        return bytes(size)

    file = RangedFile("slow", 5 * 1024**2, slow)
    assert call(read_all, file, limits=Limits(3, 2**28)) == 5 * 1024**2


def hang_with_a_question(file):
    ranged._wire.sendall(ranged._QUESTION.pack(0, 1)[:7])
    time.sleep(3600)


def hang_and_take_no_answer(file):
    ranged._wire.sendall(ranged._QUESTION.pack(0, 1024**2))
    time.sleep(3600)


@pytest.mark.parametrize("function", [hang_with_a_question, hang_and_take_no_answer])
def test_a_child_that_hangs_on_its_wire_is_ended_at_its_deadline(function):
    file = read_by_ranges("a", 4 * 1024**2, lambda offset, size: bytes(size))
    began = time.monotonic()
    with pytest.raises(MediaError) as caught:
        call(function, file, limits=Limits(1.0, 2**28))
    assert caught.value.reason is Reason.TIMED_OUT
    assert time.monotonic() - began < 5


def hang_up(file):
    ranged._wire.close()
    time.sleep(0.3)
    return "done"


def test_a_child_may_hang_up():
    file = read_by_ranges("a", 1024, lambda offset, size: bytes(size))
    assert call(hang_up, file, limits=LIMITS) == "done"


def ask(file, offset, size):
    ranged._wire.sendall(ranged._QUESTION.pack(offset, size))
    return len(ranged._wire.recv(1024))


@pytest.mark.parametrize(("offset", "size"), [(990, 11), (1000, 1), (2**64 - 1, 2), (0, 0), (0, 2**63)])
def test_a_child_that_asks_for_what_is_not_in_its_file_gets_nothing(offset, size):
    asked = []
    file = RangedFile("a", 1000, lambda *range_: asked.append(range_) or bytes(1000))
    with pytest.raises(MediaError, match="not in the file") as caught:
        call(ask, file, offset, size, limits=LIMITS)
    assert caught.value.reason is Reason.CRASHED
    assert not asked
    assert call(ask, file, 990, 10, limits=LIMITS) == 1000  # what its parent reads is what it gets


def what_a_child_has(file):
    sockets = [handle for handle in range(256) if is_socket(handle)]
    families = [socket.socket(fileno=handle).family.name for handle in sockets]
    return {"sockets": families, "keys": [name for name in os.environ if "AWS" in name]}


def is_socket(handle):
    try:
        return stat.S_ISSOCK(os.fstat(handle).st_mode)
    except OSError:
        return False


def test_a_child_has_one_socket_to_its_parent_and_neither_network_nor_keys(monkeypatch):
    child.stop()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    file = read_by_ranges("a", 1024, lambda offset, size: bytes(size))
    has = call(what_a_child_has, file, limits=LIMITS)
    assert has == {"sockets": ["AF_UNIX"], "keys": []}
    child.stop()


def test_a_file_that_was_handed_to_nobody_says_so():
    import pickle

    copy = pickle.loads(pickle.dumps(read_by_ranges("a", 1024, lambda offset, size: bytes(size))))
    assert (copy.name, copy.size_bytes) == ("a", 1024)
    with pytest.raises(RuntimeError, match="not handed a socket"):
        copy.read(0, 10)
