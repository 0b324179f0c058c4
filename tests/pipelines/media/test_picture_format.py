"""How samples are shown is a fact of the picture: turned, mirrored, cropped, with pixels of any shape, and
never lost in a cut."""

import struct
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut
from pipelines.cutting.mp4_layout import add_clean_aperture
from pipelines.cutting.reencode import ClipContent
from pipelines.cutting.remux import read_packet_run
from pipelines.errors import MediaError, Reason
from pipelines.measure.config import SignalConfig
from pipelines.measure.signals import measure
from pipelines.media.config import FootageConfig
from pipelines.media.decode import decode_frames, frames_at, iterate_pictures, probe_clip
from pipelines.media.picture import frames_hash, picture_hash, upright
from pipelines.media.picture_format import Crop, columns_of, format_of, from_text
from pipelines.media.probe import open_container, probe, video_stream
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.shots.config import ShotConfig
from pipelines.shots.find_shots import find_shots
from tests.support.footage import pan, write

ONE = 1 << 16
# What each turn does to an image: (a, b, c, d) of the matrix, y downwards.
TURNS = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "left and right swapped": ((-1, 0, 0, 1), np.fliplr),
    "top and bottom swapped": ((1, 0, 0, -1), np.flipud),
    "half a turn": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "counterclockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "transposed": ((0, 1, 1, 0), lambda image: np.swapaxes(image, 0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: np.swapaxes(np.rot90(image, 2), 0, 1)),
}
HEIGHT, WIDTH = 48, 64


def marked(count: int = 12, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Frames that look different from each side, and move."""
    frames = np.zeros((count, height, width, 3), np.uint8) + 60
    for k, frame in enumerate(frames):
        frame[: height // 4, : width // 2] = (230, 30, 30)
        frame[height // 2 :, : width // 8] = (30, 230, 30)
        cv2.circle(frame, (width // 2 + k, height // 2), height // 5, (240, 240, 240), -1)
    return frames


def turned(path, name: str):
    """A file of `marked` frames with that turn in its header."""
    (a, b, c, d), _ = TURNS[name]
    write(path.with_suffix(".plain.mp4"), marked())
    with av.open(str(path.with_suffix(".plain.mp4"))) as plain, av.open(str(path), "w") as container:
        source = plain.streams.video[0]
        track = container.add_stream_from_template(source, opaque=True)
        track.set_display_matrix((a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30))
        for packet in plain.demux(source):
            if packet.size:
                packet.stream = track
                container.mux(packet)
    return path


def pictures_of(path) -> list[av.VideoFrame]:
    clock = read_clock(path)
    return list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))


def clip_of(path, out, method: str = "auto", known: bool = True, min_db: float = 43.0, pictures=None):
    """The whole of a source as a clip, cut as curation does; and how it is cut where nobody knows how it is
    shown."""
    clock = read_clock(path)
    pictures = pictures or pictures_of(path)
    last = pictures[-1].pts
    end = clock.end_pts if last == clock.pts[-1] else int(clock.pts[clock.index_of(last) + 1])
    span = Span(pictures[0].pts, end, clock.time_base)
    how = (format_of(pictures[0]), any(p.interlaced_frame for p in pictures)) if known else (None, False)
    name = frames_hash(picture_hash(p) for p in pictures)
    cfg = CutConfig(method=method, min_db=min_db)
    content = ClipContent(span, len(pictures), name, clock, *how)
    return cut(path, out, content, cfg, ReencodeConfig())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("name", TURNS)
def test_a_picture_is_shown_as_its_matrix_says_and_stays_so_in_a_clip(tmp_path, name):
    path, wanted = turned(tmp_path / "turned.mp4", name), TURNS[name][1](marked()[0])
    first = pictures_of(path)[0]
    assert psnr(upright(first), wanted) > 30
    video = probe(path, "v", FootageConfig())
    assert (video.width, video.height) == (wanted.shape[1], wanted.shape[0])
    for method, known in (("auto", True), ("auto", False), ("encode", True)):
        out = tmp_path / "clip.mp4"
        made = clip_of(path, out, method, known)
        assert made.method == ("encode" if method == "encode" else "copy"), made.why
        shown = decode_frames(out.read_bytes(), [0.0], *wanted.shape[:2])[0]
        assert psnr(shown, upright(first)) > (99 if made.method == "copy" else 38)
        with open_container(out) as container:
            (again,) = [next(container.decode(video_stream(container)))]
        if method == "encode":
            assert format_of(again).as_coded


def test_a_turned_picture_is_re_encoded_without_a_conversion(tmp_path):
    path, out = turned(tmp_path / "turned.mp4", "transposed"), tmp_path / "clip.mp4"
    made = clip_of(path, out, "encode", min_db=99.0)
    assert made.worst_db is None, (
        "x264 without loss gives back every sample, so none was converted on the way"
    )


@pytest.mark.parametrize(
    ("aspect", "width"),
    [(Fraction(16, 11), 93), (Fraction(64, 45), 91), (Fraction(8, 9), 57), (Fraction(1), 64)],
)
def test_a_disc_is_round(tmp_path, aspect, width):
    path = write(tmp_path / "disc.mp4", discs(aspect), pixel_aspect=aspect)
    first = pictures_of(path)[0]
    shown = columns_of(format_of(first))
    assert (shown["width"], shown["height"]) == (width, HEIGHT)
    assert (shown["coded_width"], shown["coded_height"], shown["pixel_aspect"]) == (
        WIDTH,
        HEIGHT,
        str(aspect),
    )
    assert roundness(upright(first)) == pytest.approx(1, abs=0.08)
    for method in ("auto", "encode"):
        out = tmp_path / "clip.mp4"
        clip_of(path, out, method)
        assert probe_clip(out.read_bytes())[2:4] == (width, HEIGHT)
        assert roundness(decode_frames(out.read_bytes(), [0.0], HEIGHT, width)[0]) == pytest.approx(
            1, abs=0.08
        )
        with av.open(str(out)) as container:
            assert (container.streams.video[0].sample_aspect_ratio or 1) == aspect


def test_a_copy_has_the_shape_of_pixels_that_only_the_container_tells(tmp_path):
    path, out = write(tmp_path / "told.mp4", marked()), tmp_path / "clip.mp4"
    path.write_bytes(with_in_entry(path.read_bytes(), b"avc1", b"pasp", struct.pack(">II", 16, 11)))
    assert probe(path, "v", FootageConfig()).width == 93
    made = clip_of(path, out)
    assert made.method == "copy", made.why
    assert probe_clip(out.read_bytes())[2:4] == (93, HEIGHT)


def discs(aspect: Fraction) -> np.ndarray:
    """A disc, if a pixel has that shape."""
    frames = np.zeros((8, HEIGHT, WIDTH, 3), np.uint8)
    for frame in frames:
        cv2.ellipse(
            frame, (WIDTH // 2, HEIGHT // 2), (round(16 / aspect), 16), 0, 0, 360, (255, 255, 255), -1
        )
    return frames


def roundness(frame: np.ndarray) -> float:
    """Width ÷ height of what is white."""
    rows, columns = np.nonzero(frame.mean(axis=2) > 128)
    return float(np.ptp(columns) + 1) / float(np.ptp(rows) + 1)


def test_the_size_changes_on_the_way_as_a_hard_cut_and_each_clip_has_its_own(tmp_path):
    path = joined(tmp_path, [(48, 64, None), (72, 96, None), (72, 96, Fraction(4, 3))])
    table, clock = signals_of(path)
    shots = find_shots(table, clock.end_pts, clock.time_base, ShotConfig(detector="content"))
    starts = [clock.index_of(shot.span.start_pts) for shot in shots]
    assert starts == [0, 24, 48]
    assert [(shot.start_kind, shot.end_kind) for shot in shots] == [
        ("edge", "hard"),
        ("hard", "hard"),
        ("hard", "edge"),
    ]
    seen = [from_text(table["picture_format"][start].as_py()) for start in starts]
    assert [(one.width, one.height) for one in seen] == [(64, 48), (96, 72), (128, 72)]
    pictures = pictures_of(path)
    for number, (shot, shown) in enumerate(zip(shots, seen, strict=True)):
        inside = [p for p in pictures if shot.span.start_pts <= p.pts < shot.span.end_pts]
        out = tmp_path / "clip.mp4"
        made = clip_of(path, out, pictures=inside)
        assert made.method == "copy", made.why
        assert (made.lead_frames, len(inside)) == (0, 24), number
        assert probe_clip(out.read_bytes())[:4] == (24, pytest.approx(0.96), shown.width, shown.height)
        np.testing.assert_array_equal(frames_at(path, clock, [starts[number] + 3])[0], upright(inside[3]))
        clip_of(path, out, "encode", pictures=inside)
        assert probe_clip(out.read_bytes())[2:4] == (shown.width, shown.height)


def joined(folder, parts):
    """A broadcast of programmes of 24 frames, each of another size or pixel shape."""
    path = folder / "joined.ts"
    data = b""
    for k, (height, width, aspect) in enumerate(parts):
        options = {"g": "24", "bf": "2", "x264-params": "open-gop=0:scenecut=0"}
        pts = [24 * k + 10 + n for n in range(24)]
        write(path, pan(5, 24, height, width), options=options, pts=pts, pixel_aspect=aspect)
        data += path.read_bytes()
    path.write_bytes(data)
    return path


def signals_of(path):
    clock = read_clock(path)
    cfg, shots = SignalConfig(), ShotConfig(detector="content")
    pictures = iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock)
    total = len(clock.pts)
    return measure(enumerate(pictures), clock, (0, total), cfg, shots, "fp32"), clock


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_the_container_crops_is_not_shown(tmp_path, suffix):
    path = tmp_path / "cropped.mp4"
    write(path, marked())
    path.write_bytes(add_clean_aperture(path.read_bytes(), 50, 38, WIDTH, HEIGHT))
    if suffix == ".mkv":
        path = remuxed(path, tmp_path / "cropped.mkv")
    first = pictures_of(path)[0]
    shown = format_of(first)
    assert (shown.coded_width, shown.coded_height, shown.width, shown.height) == (64, 48, 50, 38)
    assert psnr(upright(first), marked()[0][:38, :50]) > 30
    for method in ("auto", "encode"):
        out = tmp_path / "clip.mp4"
        made = clip_of(path, out, method)
        assert made.method == ("encode" if method == "encode" else "copy"), made.why
        assert probe_clip(out.read_bytes())[2:4] == (50, 38)
        assert psnr(decode_frames(out.read_bytes(), [0.0], 38, 50)[0], upright(first)) > 38


def remuxed(path, out):
    with av.open(str(path)) as source, av.open(str(out), "w") as container:
        stream = source.streams.video[0]
        track = container.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = track
                container.mux(packet)
    return out


@pytest.mark.parametrize(
    ("terms", "crop"),
    [
        ((40, 1, 30, 1, 1, 2, 1, 2), (12, 9, 12, 9)),
        ((41, 1, 31, 1, 0, 1, 0, 1), (11, 8, 12, 9)),
        ((41, 1, 31, 1, 1, 2, 1, 2), (12, 9, 11, 8)),
        ((81, 2, 61, 2, 1, 3, -1, 3), (12, 8, 12, 10)),
        ((100, 1, 30, 1, 0, 1, 0, 1), (0, 0, 0, 0)),
        ((40, 1, 30, 1, 100, 1, 0, 1), (0, 0, 0, 0)),
        ((40, 0, 30, 1, 0, 1, 0, 1), (0, 0, 0, 0)),
        ((-40, 1, 30, 1, 0, 1, 0, 1), (0, 0, 0, 0)),
        ((40, 1, 30, 1, 0, 1, 0, -1), (0, 0, 0, 0)),
    ],
)
def test_an_aperture_is_cut_to_whole_pixels_as_ffmpeg_cuts_it_and_one_beyond_the_picture_is_none(
    tmp_path, terms, crop
):
    path = write(tmp_path / "cropped.mp4", marked())
    path.write_bytes(with_in_entry(path.read_bytes(), b"avc1", b"clap", struct.pack(">8i", *terms)))
    shown = format_of(pictures_of(path)[0])
    assert shown.crop == Crop(*crop)
    assert clip_of(path, tmp_path / "clip.mp4").method == "copy", "the copy is cropped by FFmpeg's muxer"


def test_a_cropping_larger_than_the_picture_is_none(tmp_path):
    path = write(tmp_path / "cropped.mp4", marked())
    path.write_bytes(add_clean_aperture(path.read_bytes(), 200, 300, WIDTH, HEIGHT))
    assert format_of(pictures_of(path)[0]).crop == Crop()


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("mov", "png", "rgb24"),
        ("mkv", "ffv1", "bgr0"),
        ("avi", "rawvideo", "rgb555le"),
        ("mkv", "ffv1", "gbrp10le"),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_what_was_rgb_is_tagged_as_what_it_became_and_loses_no_luma(
    tmp_path, suffix, codec, pixel_format, height, width
):
    path = write(
        tmp_path / f"rgb.{suffix}",
        pan(3, 6, height, width),
        codec=codec,
        pixel_format=pixel_format,
        options={},
    )
    pictures = pictures_of(path)
    assert format_of(pictures[0]).is_rgb
    out = tmp_path / "clip.mp4"
    made = clip_of(path, out, min_db=55)
    assert made.method == "encode"
    with open_container(out) as container:
        shown = list(container.decode(video_stream(container)))
    assert shown[0].format.name == (
        ("yuv420p" if height % 2 == 0 else "yuv444p") + ("10le" if "10" in pixel_format else "")
    )
    assert (int(shown[0].colorspace), int(shown[0].color_range)) == (1, 1), "BT.709 of limited range"
    assert (shown[0].width, shown[0].height) == (width, height)
    for wanted, got in zip(pictures, shown, strict=True):
        assert psnr(luma_of(upright(wanted)), luma(got)) > 45


def luma_of(rgb: np.ndarray) -> np.ndarray:
    """BT.709, limited range; ITU-R BT.709-6, item 3."""
    return 16 + rgb.astype(float) @ (0.2126, 0.7152, 0.0722) * 219 / 255


def luma(picture: av.VideoFrame) -> np.ndarray:
    deep = picture.format.components[0].bits > 8
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(picture.height, -1)[
        :, : picture.width
    ]
    return rows / (4 if deep else 1)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_stays_interlaced(tmp_path, order):
    path = tmp_path / "fields.mp4"
    write(path, marked(), options={"x264-params": f"{order}=1"})
    pictures, out = pictures_of(path), tmp_path / "clip.mp4"
    assert all(picture.interlaced_frame for picture in pictures)
    assert signals_of(path)[0]["interlaced"].to_pylist() == [True] * len(pictures)
    assert clip_of(path, out, "encode").method == "encode"
    assert field_order(out) == field_order(path) == {"tff": 2, "bff": 3}[order]
    with open_container(out) as container:
        assert all(picture.interlaced_frame for picture in container.decode(video_stream(container)))


def test_fields_that_are_turned_are_no_fields(tmp_path):
    path = write(tmp_path / "fields.mp4", marked(), options={"x264-params": "tff=1"}, rotate_deg=90)
    out = tmp_path / "clip.mp4"
    clip_of(path, out, "encode")
    assert field_order(out) not in (2, 3)


def field_order(path) -> int:
    with av.open(str(path)) as container:
        return int(container.streams.video[0].codec_context.field_order)


def hevc(path, suffix: str = "mp4", pixel_format: str = "yuv420p10le"):
    options = {
        "x265-params": "log-level=error:pools=none:frame-threads=1:keyint=6:"
        "colorprim=bt2020:transfer=smpte2084:"
        "colormatrix=bt2020nc:hdr10=1:repeat-headers=0:max-cll=1000,400:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    }
    return write(
        path.with_suffix(f".{suffix}"), marked(), codec="libx265", pixel_format=pixel_format, options=options
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_hevc_is_copied_as_players_take_it(tmp_path, suffix):
    path, out = hevc(tmp_path / "pq", suffix), tmp_path / "clip.mp4"
    first = pictures_of(path)[0]
    shown = columns_of(format_of(first))
    assert (shown["transfer"], shown["bit_depth"]) == ("PQ", 10)
    assert clip_of(path, out).method == "copy"
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec_tag == "hvc1"
        picture = next(container.decode(stream))
    assert format_of(picture) == format_of(first)


def test_deep_pictures_are_re_encoded_as_deep(tmp_path):
    path, out = hevc(tmp_path / "pq"), tmp_path / "clip.mp4"
    made = clip_of(path, out, "encode", min_db=99.0)
    assert made.worst_db is None, "without loss, all ten bits come back"
    with open_container(out) as container:
        shown = format_of(next(container.decode(video_stream(container))))
    assert shown == replace(format_of(pictures_of(path)[0]), pixel_format="yuv420p10le")


def test_what_dolby_vision_needs_comes_along(tmp_path):
    path, out = hevc(tmp_path / "pq"), tmp_path / "clip.mp4"
    path.write_bytes(with_dolby_vision(path.read_bytes()))
    assert clip_of(path, out).method == "copy"
    assert b"dvvC" in out.read_bytes()


def test_what_a_re_encoded_clip_lacks_is_told(tmp_path):
    path, out = hevc(tmp_path / "pq"), tmp_path / "clip.mp4"
    made = clip_of(path, out, "encode")
    assert (
        made.why
        == "cut.method=encode; without its content light level data; without its mastering display data"
    )


def with_dolby_vision(data: bytes) -> bytes:
    """The same HEVC in mp4, said to be of Dolby Vision profile 8.1: `dvvC` in its sample entry (Dolby's ISO
    media format, 2.2)."""
    record = bytes((1, 0, 8 << 1, 1 << 3 | 0b101, 1 << 4)) + bytes(19)
    return with_in_entry(data, b"hev1" if b"hev1" in data else b"hvc1", b"dvvC", record)


def with_in_entry(data: bytes, entry: bytes, name: bytes, content: bytes) -> bytes:
    """The same mp4 with a box more in its sample entry."""
    box, at = struct.pack(">I4s", 8 + len(content), name) + content, 0
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry):
        at = data.find(kind, at) - 4
        (size,) = struct.unpack_from(">I", data, at)
        data = data[:at] + struct.pack(">I", size + len(box)) + data[at + 4 :]
    end = at + size
    assert data.find(b"mdat") < at, "the samples lie before the index, so no place changes"
    return data[:end] + box + data[end:]


def test_no_range_is_the_default_one(tmp_path):
    tagged = write(tmp_path / "a.mp4", marked(), options={"x264-params": "fullrange=off"})
    assert format_of(pictures_of(tagged)[0]).color_range == 1
    full = write(tmp_path / "b.mp4", marked(), pixel_format="yuvj420p")
    assert format_of(pictures_of(full)[0]).color_range == 2
    out = tmp_path / "clip.mp4"
    made = clip_of(full, out, "encode", min_db=99.0)
    assert made.worst_db is None
    assert format_of(pictures_of(out)[0]).color_range == 2


def test_the_samples_of_a_clip_begin_with_its_first_sets(tmp_path):
    path = joined(tmp_path, [(48, 64, None), (72, 96, None)])
    clock = read_clock(path)
    span = Span(int(clock.pts[24]), clock.end_pts, clock.time_base)
    run = read_packet_run(path, span, 24)
    assert run.header is not None
    assert run.header.startswith(b"\x00\x00\x00\x01")
    first = read_packet_run(path, Span(int(clock.pts[0]), int(clock.pts[24]), clock.time_base), 24)
    assert first.header is None


def test_a_display_matrix_is_side_data_of_every_picture(tmp_path):
    path = turned(tmp_path / "turned.mp4", "clockwise")
    assert all(picture.side_data.get(Type.DISPLAYMATRIX) is not None for picture in pictures_of(path))


def test_pixels_of_no_possible_shape_are_too_large(tmp_path):
    """Whether the first picture says so, or one on the way."""
    header = write(tmp_path / "header.mp4", marked(2, 400, 64), pixel_aspect=Fraction(300))
    with pytest.raises(MediaError, match=r"19200 pixels wide or high are more than footage_options.max_side"):
        probe(header, "v", FootageConfig())
    path = joined(tmp_path, [(1200, 80, None), (1200, 80, Fraction(1000))])
    assert probe(path, "v", FootageConfig()).width == 80
    pictures = pictures_of(path)
    assert format_of(pictures[0]).width == 80
    with pytest.raises(MediaError, match=r"pixels of shape 1000 make a picture of 80000 × 1200") as caught:
        format_of(pictures[-1])
    assert caught.value.reason == Reason.TOO_LARGE
