"""A clip's file shows its span and nothing else: the source's own pictures bit for bit, at the source's own
times."""

import hashlib
import random
import sys
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut
from pipelines.cutting.reencode import ClipContent
from pipelines.errors import MediaError, Reason
from pipelines.media import fast_reader
from pipelines.media.decode import decode_frames, frames_at, iterate_frames, iterate_pictures, probe_clip
from pipelines.media.fast_reader import DecordError, open_fast
from pipelines.media.mp4_boxes import Edit, set_edits, video_edit, without_video_edit
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.planes import planes_of
from pipelines.media.probe import open_container, video_stream
from pipelines.media.read_clock import read_clock
from tests.support.codecs import FPS, LAYOUTS, NUM_FRAMES, SOUND_RATE, Source, measure_source, render, tone
from tests.support.odd_sources import SOURCES

needs_decord = pytest.mark.skipif(
    find_spec("decord") is None, reason="an extra, which not every machine has wheels of"
)
ENCODE = ReencodeConfig()
CANNOT_BE_CUT = {"same_time.mkv": "frames per second", "resized.ts": "size or the colours"}
DECORD_CAN = {
    name
    for name, layout in LAYOUTS.items()
    if layout.codec != "libsvtav1" and "10" not in layout.pixel_format and layout.aspect == 1
}


def spans(name: str, count: int) -> list[tuple[int, int]]:
    """Arbitrary ones, every other one short."""
    rng = random.Random(name)
    firsts = [rng.randrange(NUM_FRAMES - 6) for _ in range(count)]
    longest = [6 if k % 2 else NUM_FRAMES for k in range(count)]
    return [
        (first, rng.randint(first + 1, min(NUM_FRAMES, first + most)))
        for first, most in zip(firsts, longest, strict=True)
    ]


def shown_by_pyav(clip: Path | bytes) -> tuple[list[Fraction], list[int]]:
    """Times and hashes of the frames that FFmpeg shows of a clip, its edit list honoured."""
    with open_container(clip) as container:
        stream = video_stream(container)
        shown = [
            (picture.pts * stream.time_base, picture_hash(picture)) for picture in container.decode(stream)
        ]
    return [time for time, _ in shown], [name for _, name in shown]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_copied_clips_frames_are_the_sources_bit_for_bit_at_its_times_in_both_readers(
    source, tmp_path, name
):
    footage, out = source(name), tmp_path / "clip.mp4"
    assert len(footage.hashes) == NUM_FRAMES
    for first, last in spans(name, 6):
        made = footage.cut(out, first, last)
        assert made.method == "copy", (first, last, made.why)
        assert shown_by_pyav(out) == (footage.times(first, last), footage.hashes[first:last])
        data = out.read_bytes()
        clock = read_clock(data)
        assert [(int(pts) - int(clock.pts[0])) * clock.time_base for pts in clock.pts] == footage.times(
            first, last
        )
        assert probe_clip(data)[:2] == (last - first, footage.span(first, last).duration_s)
        rng = random.Random(f"{name}{first}")
        picked = sorted(rng.choices(range(last - first), k=8))
        for clip in (data, out):
            np.testing.assert_array_equal(frames_at(clip, clock, picked), footage.pixels[first:last][picked])
        seconds = [float(footage.times(first, last)[index]) for index in picked]
        at_times = decode_frames(data, seconds, *footage.pixels.shape[1:3])
        np.testing.assert_array_equal(at_times, footage.pixels[first:last][picked])
        begin = rng.randrange(last - first)
        part = [frame for _, frame in iterate_frames(data, clock, int(clock.pts[begin]))]
        np.testing.assert_array_equal(np.stack(part), footage.pixels[first + begin : last])


@needs_decord
@pytest.mark.parametrize("name", sorted(DECORD_CAN - {"h264_rotated"}))
def test_decord_reads_copied_clips_in_any_order(source, tmp_path, name):
    footage, out = source(name), tmp_path / "clip.mp4"
    for first, last in spans(f"{name} in decord", 3):
        assert footage.cut(out, first, last).method == "copy"
        data = out.read_bytes()
        reader = open_fast(data, read_clock(data))
        assert reader is not None
        order = list(range(last - first))
        random.Random(first).shuffle(order)
        for index in order:
            np.testing.assert_array_equal(reader.pick([index])[index], footage.pixels[first + index])


def test_without_decord_the_same_frames_are_shown(source, tmp_path, monkeypatch):
    footage, out = source("h264"), tmp_path / "clip.mp4"
    footage.cut(out, 0, 20)
    clock = read_clock(out)
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "decord", None)  # as if it were not installed
        fast_reader._has_decord.cache_clear()
        assert open_fast(out, clock) is None
        np.testing.assert_array_equal(frames_at(out, clock, [3, 7]), footage.pixels[[3, 7]])
    fast_reader._has_decord.cache_clear()


@needs_decord
def test_a_frame_that_decord_loses_comes_from_pyav(tmp_path):
    """A recording that begins within an open group: decord repeats a frame at the end of some of its
    clips."""
    footage = measure_source(SOURCES["begun_late.ts"](tmp_path / "begun_late.ts"))
    last_but = len(footage.hashes) - 5
    gave_up = 0
    for first, last in [(first, first + length) for first in (0, 2, last_but) for length in (1, 3, 5)]:
        assert footage.cut(tmp_path / "clip.mp4", first, last).method == "copy"
        data = (tmp_path / "clip.mp4").read_bytes()
        clock, everything = read_clock(data), range(last - first)
        np.testing.assert_array_equal(frames_at(data, clock, everything), footage.pixels[first:last])
        shown = np.stack([frame for _, frame in iterate_frames(data, clock)])
        np.testing.assert_array_equal(shown, footage.pixels[first:last])
        try:
            open_fast(data, clock).pick(everything)
        except DecordError:
            gave_up += 1
    assert gave_up


@pytest.mark.parametrize("name", SOURCES)
def test_clips_of_odd_sources_are_exact_or_near_or_refused(tmp_path, name):
    try:
        footage = measure_source(SOURCES[name](tmp_path / name))
    except MediaError:
        return  # curation refuses it before there is anything to cut: see test_clock
    out, end = tmp_path / "clip.mp4", len(footage.hashes)
    if name in CANNOT_BE_CUT:
        with pytest.raises(MediaError, match=CANNOT_BE_CUT[name]):
            footage.cut(out, 0, end)
        return
    for first, last in {(0, end), (end // 3, end // 3 + max(1, end // 4))}:
        made = footage.cut(out, first, last, audio="keep")
        if made.method == "copy":
            assert shown_by_pyav(out) == (footage.times(first, last), footage.hashes[first:last])
            data = out.read_bytes()
            shown = [frame for _, frame in iterate_frames(data, read_clock(data))]
            np.testing.assert_array_equal(np.stack(shown), footage.pixels[first:last])
        else:
            assert shown_by_pyav(out)[0] == footage.times(first, last)
            assert made.worst_db is None or made.worst_db >= CutConfig().min_db


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"h264_long_gop"}))
def test_clips_from_a_keyframe_and_from_the_middle_of_a_group_are_copied_by_default(source, tmp_path, name):
    footage, share = source(name), CutConfig().max_lead_share
    for first, last in ((0, 40), (24, 60), (41, NUM_FRAMES)):
        made = footage.cut(tmp_path / "clip.mp4", first, last, max_lead_share=share)
        assert made.method == "copy", made.why
        assert made.lead_frames + made.tail_frames <= last - first
        assert (made.lead_frames > 0) == (first > 0) or first == 24  # a keyframe in some layouts


def psnr_db(footage: Source, clip: Path, first: int, last: int) -> float:
    """Of the worst frame, over the samples of all planes, in the clip's pixel format."""
    start, end = footage.bounds[first], footage.bounds[last]
    worst = np.inf
    with open_container(clip) as container:
        shown = container.decode(video_stream(container))
        for wanted, got in zip(iterate_pictures(footage.path, start, end), shown, strict=True):
            quarter_turns = round(wanted.rotation / 90)
            if wanted.format.name != got.format.name:
                wanted = wanted.reformat(format=got.format.name)
            planes = zip(planes_of(wanted), planes_of(got), strict=True)
            off = [(np.rot90(a, quarter_turns).astype(float) - b).ravel() ** 2 for a, b in planes]
            peak, error = 2 ** got.format.components[0].bits - 1, np.concatenate(off).mean()
            worst = min(worst, 10 * np.log10(peak**2 / error)) if error else worst
    return worst


@pytest.mark.parametrize(
    "name", ["h264", "h264_vfr", "h264_rotated", "h264_late_mkv", "hevc_10bit", "vp9", "mpeg2_ts"]
)
def test_a_re_encoded_clip_is_near_and_exact_in_time(source, tmp_path, name):
    footage, out = source(name), tmp_path / "clip.mp4"
    made = footage.cut(out, 7, 37, method="encode", min_db=43)
    assert (made.method, made.lead_frames, made.why) == ("encode", 0, "cut.method=encode")
    assert made.worst_db == pytest.approx(psnr_db(footage, out, 7, 37), abs=1e-6)
    assert made.worst_db >= 43
    assert shown_by_pyav(out)[0] == footage.times(7, 37)
    num_frames, duration_s, width, height, _ = probe_clip(out.read_bytes())
    assert (num_frames, height, width) == (30, *footage.pixels.shape[1:3])
    assert duration_s == pytest.approx(footage.span(7, 37).duration_s)


def test_a_clip_is_encoded_again_until_it_is_near_enough_at_last_without_loss(source, tmp_path):
    footage, out = source("h264"), tmp_path / "clip.mp4"
    name, span = frames_hash(footage.hashes[9:30]), footage.span(9, 30)
    for crf, min_db, wanted in ((40, 41.0, "near"), (8, 60.0, "equal")):
        cfg = CutConfig(method="encode", min_db=min_db)
        made = cut(
            footage.path, out, ClipContent(span, 21, name), cfg, ReencodeConfig(crf=crf, preset="medium")
        )
        if wanted == "equal" and made.worst_db is None:
            assert shown_by_pyav(out)[1] == footage.hashes[9:30]
        else:
            assert made.worst_db == pytest.approx(psnr_db(footage, out, 9, 30), abs=1e-6)
            assert made.worst_db >= min_db


def test_a_long_lead_is_not_copied_and_the_reason_is_told(source, tmp_path):
    footage = source("h264_long_gop")
    made = footage.cut(tmp_path / "clip.mp4", 50, 58, max_lead_share=0.5)
    assert made.method == "encode"
    assert made.worst_db >= CutConfig().min_db
    assert "max_lead_share" in made.why
    assert "max_lead_share" in footage.cut(tmp_path / "clip.mp4", 50, 70, max_lead_share=0.7).why
    assert footage.cut(tmp_path / "clip.mp4", 50, 58, max_lead_share=0.9).lead_frames == 50


@pytest.mark.parametrize("method", ["auto", "encode"])
@pytest.mark.parametrize("name", ["h264_rotated", "h264_late_mkv", "hevc_open_gop", "h264_pcm_mkv"])
def test_the_same_clip_has_the_same_bytes(source, tmp_path, name, method):
    footage, digests = source(name), set()
    for attempt in ("a.mp4", "b.mp4"):
        footage.cut(tmp_path / attempt, 11, 40, method=method, audio="keep")
        digests.add(hashlib.sha256((tmp_path / attempt).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_rotation_and_pixel_aspect_come_along(source, tmp_path):
    out = tmp_path / "clip.mp4"
    for name, method, rotation, aspect in (
        ("h264_rotated", "auto", -90, 1),
        ("h264_rotated", "encode", 0, 1),
        ("h264_anamorphic", "auto", 0, Fraction(4, 3)),
        ("h264_anamorphic", "encode", 0, Fraction(4, 3)),
    ):
        footage = source(name)
        footage.cut(out, 5, 25, method=method)
        with open_container(out) as container:
            stream = video_stream(container)
            assert (stream.sample_aspect_ratio or 1) == aspect
            assert next(container.decode(stream)).rotation == rotation
        shown = decode_frames(out.read_bytes(), [0.0], *footage.pixels.shape[1:3])[0]
        assert np.abs(shown.astype(int) - footage.pixels[5]).mean() <= (4 if method == "encode" else 0)


def heard(clip: Path) -> tuple[np.ndarray, float]:
    """Samples of a clip's sound, and when the first one is heard, in seconds."""
    with av.open(str(clip)) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler("flt", "mono", SOUND_RATE)
        samples = [
            part.to_ndarray().ravel() for frame in [*frames, None] for part in resampler.resample(frame)
        ]
        return np.concatenate(samples), float(frames[0].pts * frames[0].time_base)


@pytest.mark.parametrize("method", ["auto", "encode"])
@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.sound])
def test_sound_is_in_sync_within_one_of_its_frames(source, tmp_path, name, method):
    footage, out = source(name), tmp_path / "clip.mp4"
    frame_s = {"aac": 1024, "pcm_s16le": 1024, "ac3": 1536, "libopus": 960}[LAYOUTS[name].sound] / SOUND_RATE
    for first, last in ((0, 30), (41, NUM_FRAMES)):
        made = footage.cut(out, first, last, method=method, audio="keep")
        assert made.method == ("copy" if method == "auto" else "encode")
        assert shown_by_pyav(out)[0] == footage.times(first, last)
        samples, begin_s = heard(out)
        begin, length_s = round(begin_s * SOUND_RATE), (last - first) / FPS
        assert abs(begin_s) <= frame_s
        assert abs(begin_s + len(samples) / SOUND_RATE - length_s) <= 2 * frame_s
        middle = slice(len(samples) // 4, 3 * len(samples) // 4)
        at = np.arange(len(samples))[middle] + begin
        lags = range(-2400, 2401, 48)
        match = [np.dot(samples[middle], tone(first / FPS + (at + lag) / SOUND_RATE)) for lag in lags]
        assert abs(lags[int(np.argmax(match))]) / SOUND_RATE <= frame_s


def test_sound_is_dropped_by_default(source, tmp_path):
    source("h264_rotated").cut(tmp_path / "clip.mp4", 3, 30)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_pictures_that_were_not_measured_are_refused(source, tmp_path):
    footage = source("h264")
    for cfg in (CutConfig(), CutConfig(method="encode")):
        content = ClipContent(footage.span(3, 30), 27, frames_hash([1, 2]))
        with pytest.raises(MediaError) as caught:
            cut(footage.path, tmp_path / "clip.mp4", content, cfg, ENCODE)
        assert caught.value.reason == Reason.UNFAITHFUL


def rewrite(path: Path, out: Path, change) -> Path:
    """The same packets in a file of the same kind; `change` is told each one's number and may alter it, or
    return bytes."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        track = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            data = change(number, packet)
            if data is not None:
                other = av.Packet(data)
                other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
                other.time_base, other.is_keyframe, packet = packet.time_base, packet.is_keyframe, other
            packet.stream = track
            target.mux(packet)
    return out


def test_keyframe_flags_that_lie_mislead_no_reader(source, tmp_path):
    def flag_all(number, packet):
        packet.is_keyframe = True

    honest = source("h264_open_gop")
    liar = measure_source(rewrite(honest.path, tmp_path / "liar.mp4", flag_all))
    assert liar.hashes == honest.hashes
    for first, last in spans("liar", 6):
        made = liar.cut(tmp_path / "clip.mp4", first, last)
        assert made.method == "copy", made.why
        data = (tmp_path / "clip.mp4").read_bytes()
        clock = read_clock(data)
        for index in {0, (last - first) // 2, last - first - 1}:
            np.testing.assert_array_equal(frames_at(data, clock, [index])[0], honest.pixels[first + index])


@pytest.mark.parametrize(("name", "which"), [("h264", 1), ("mpeg4", 13), ("vp9_mp4", 13)])
def test_a_packet_of_the_lead_that_broke_since_it_was_measured_makes_no_clip(source, tmp_path, name, which):
    def damage(number, packet):
        return bytes(packet)[:20] + b"\x00" * (packet.size - 20) if number == which else None

    footage = source(name)
    broken = replace(footage, path=rewrite(footage.path, tmp_path / footage.path.name, damage))
    with pytest.raises(MediaError) as caught:
        broken.cut(tmp_path / "clip.mp4", 15, 60)
    assert caught.value.reason in (Reason.UNDECODABLE, Reason.UNFAITHFUL, Reason.TRUNCATED)


def test_a_stream_that_changes_its_parameters_is_re_encoded(source, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    both, seam = tmp_path / "both.ts", 900_000
    with av.open(str(both), "w") as target:
        track = None
        for path, moved in ((source("h264_ts").path, 0), (write_other_profile(other / "plain.ts"), seam)):
            with av.open(str(path)) as part:
                track = track or target.add_stream_from_template(part.streams.video[0], opaque=True)
                for packet in (p for p in part.demux(video=0) if p.size):
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    packet.stream = track
                    target.mux(packet)
    footage = measure_source(both)
    made = footage.cut(tmp_path / "clip.mp4", NUM_FRAMES - 6, NUM_FRAMES + 10)
    assert made.method == "encode"
    assert "parameter sets" in made.why
    assert psnr_db(footage, tmp_path / "clip.mp4", NUM_FRAMES - 6, NUM_FRAMES + 10) >= CutConfig().min_db
    assert footage.cut(tmp_path / "clip.mp4", 3, 40).method == "copy"


def write_other_profile(path: Path) -> Path:
    with (
        av.open(str(source_of_pixels := render("h264_ts", path.parent))) as part,
        av.open(str(path), "w") as target,
    ):
        stream = target.add_stream(
            "libx264", rate=FPS, options={"x264-params": "keyint=8:bframes=0:ref=2:8x8dct=0"}
        )
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for picture in part.decode(video=0):
            picture.pict_type = 0
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))
    source_of_pixels.unlink()
    return path


@needs_decord
def test_plain_decord_reads_a_clip_as_docs_tell(source, tmp_path):
    """Runs the lines of docs/clips.md."""
    lines = Path("docs/clips.md").read_text().split("```python\n")[1].split("```")[0]
    footage = source("h264")
    made = footage.cut(tmp_path / "clip.mp4", 21, 60)
    told = {"mp4": (tmp_path / "clip.mp4").read_bytes(), "lead_frames": made.lead_frames, "num_frames": 39}
    assert made.lead_frames
    exec(lines, told)
    np.testing.assert_array_equal(told["frames"], footage.pixels[21:60])


def test_edits_are_written_to_the_tick_and_refused_where_they_do_not_fit(source, tmp_path):
    footage, out = source("h264"), tmp_path / "clip.mp4"
    footage.cut(out, 21, 60)
    edit = video_edit(out.read_bytes())
    assert edit.duration_s == footage.bounds[60] * footage.time_base - footage.bounds[21] * footage.time_base
    assert edit.samples >= 39 + 5
    set_edits(out, [Edit(5, 700)])
    with open_container(out) as container:
        assert video_stream(container).duration == 700
    for edits in ([], [Edit(0, 2**32)], [Edit(2**31, 1)]):
        with pytest.raises(ValueError, match=r"tracks|fit"):
            set_edits(out, edits)
    data = without_video_edit(out.read_bytes())
    assert len(data) == out.stat().st_size
    assert video_edit(data) is None
    with pytest.raises(ValueError, match=r"ends|beyond"):
        video_edit(out.read_bytes()[:300])


def test_frames_a_nanosecond_apart_are_too_fast_for_a_clip_and_no_fault_of_the_encoder(tmp_path):
    path = SOURCES["variable.mkv"](tmp_path / "hasty.mkv")
    data = path.read_bytes()
    # its time scale
    path.write_bytes(data.replace(bytes.fromhex("2ad7b1830f4240"), bytes.fromhex("2ad7b183000001")))
    hasty = measure_source(path)
    assert hasty.time_base < Fraction(1, 1_000_000)
    with pytest.raises(MediaError, match="frames per second"):
        hasty.cut(tmp_path / "clip.mp4", 0, 16)
