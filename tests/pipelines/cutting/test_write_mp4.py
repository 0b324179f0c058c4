"""Videos of our own making play everywhere: 4:2:0, BT.709 used and said, the index first, exact in size,
frames and rate."""

import base64
import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cutting.write_mp4 import write_mp4
from tests.jobs.reporting.browser import document, needs_browser

# 8-bit Y, Cb, Cr of full red, green and blue in BT.709 of limited range (ITU-R BT.709-6, table 3).
BT709 = {(255, 0, 0): (63, 102, 240), (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118)}


def boxes(data: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found[kind.decode()] = data[at : at + size]
        at += size
    return found


def shown_size(data: bytes) -> tuple[int, int]:
    """Width and height as the container has them shown: its clean aperture, or all that is coded."""
    moov = boxes(data)["moov"]
    tkhd = moov[moov.index(b"tkhd") + 4 :]
    width, height = (side >> 16 for side in struct.unpack_from(">II", tkhd, 76))
    if b"clap" in moov:
        numbers = struct.unpack_from(">IIIIiIiI", moov, moov.index(b"clap") + 4)
        assert (numbers[0], numbers[2]) == (width, height)
        assert numbers[1] == numbers[3] == 1
    return width, height


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(16, 70),
    height=st.integers(16, 70),
    frames=st.integers(1, 12),
    fps=st.sampled_from(
        [7.3, 8.0, 12.0, 23.976, 24000 / 1001, 25.0, 29.97, 30000 / 1001, 59.94, 0.1, 12.3456]
    ),
)
def test_size_frames_and_rate_are_exact(tmp_path_factory, width, height, frames, fps):
    path = tmp_path_factory.mktemp("v") / "v.mp4"
    video = np.random.default_rng(0).integers(0, 255, (1, height, width, 3), np.uint8).repeat(frames, 0)
    write_mp4(path, video, fps)
    data = path.read_bytes()
    assert shown_size(data) == (width, height)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        pictures = list(file.decode(stream))
        assert (stream.codec_context.width, stream.codec_context.height) == (
            width + width % 2,
            height + height % 2,
        )
        assert len(pictures) == frames
        assert {picture.format.name for picture in pictures} == {"yuv420p"}
        rate = Fraction(str(fps)) if len(str(fps)) < 9 else Fraction(fps).limit_denominator(1001)
        times = [picture.pts * picture.time_base for picture in pictures]
        assert times == [k / rate for k in range(frames)]
        assert stream.duration * stream.time_base == frames / rate


@pytest.mark.parametrize("colour", BT709)
@pytest.mark.parametrize("side", [(32, 48), (33, 47)])
def test_colours_are_bt709_and_say_so(tmp_path, colour, side):
    write_mp4(tmp_path / "v.mp4", np.full((3, *side, 3), colour, np.uint8), 12.0)
    with av.open(str(tmp_path / "v.mp4")) as file:
        codec = file.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        picture = next(file.decode(video=0))
    got = [int(np.median(np.frombuffer(plane, np.uint8)[: plane.width])) for plane in picture.planes]
    np.testing.assert_allclose(got, BT709[colour], atol=1)
    assert b"colr" in (tmp_path / "v.mp4").read_bytes()


def test_the_index_comes_before_the_pictures_and_points_at_them(tmp_path):
    write_mp4(tmp_path / "v.mp4", np.random.default_rng(1).integers(0, 255, (20, 75, 101, 3), np.uint8), 7.3)
    kinds = list(boxes((tmp_path / "v.mp4").read_bytes()))
    assert kinds.index("moov") < kinds.index("mdat")
    with av.open(str(tmp_path / "v.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20


def test_an_odd_size_repeats_its_edge_where_nothing_is_shown(tmp_path):
    video = np.zeros((2, 17, 19, 3), np.uint8)
    video[:, -1], video[:, :, -1] = 255, 255
    write_mp4(tmp_path / "v.mp4", video, 8.0)
    with av.open(str(tmp_path / "v.mp4")) as file:
        picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert picture[17:].min() > 200
    assert picture[:, 19:].min() > 200


PAGE = """<html><head><title>waiting</title></head>
<body><video muted src="data:video/mp4;base64,{data}"></video><script>
const video = document.querySelector("video"), canvas = document.createElement("canvas");
video.onseeked = () => {{
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const pen = canvas.getContext("2d"); pen.drawImage(video, 0, 0);
  document.title = ["played", video.duration, ...pen.getImageData(40, 40, 1, 1).data].join(" ");
}};
video.onerror = () => {{ document.title = "error " + video.error.message; }};
video.onloadedmetadata = () => {{ video.currentTime = 0.5; }};
</script></body></html>"""


@needs_browser
def test_a_browser_plays_an_odd_size_in_its_colours(tmp_path):
    write_mp4(tmp_path / "v.mp4", np.full((10, 75, 101, 3), (255, 0, 0), np.uint8), 10.0)
    data = base64.b64encode((tmp_path / "v.mp4").read_bytes()).decode()
    title = re.search("<title>(.*?)</title>", document(PAGE.format(data=data), tmp_path, wait_ms=3000))[1]
    word, duration_s, red, green, blue, _ = title.split()
    assert (word, float(duration_s)) == ("played", 1.0)
    assert int(red) > 250
    assert max(int(green), int(blue)) < 6
