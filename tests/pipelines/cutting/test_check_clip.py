"""A clip's file is held against its row: what cutting writes passes, and what is not as promised is named."""

from fractions import Fraction

import pytest

from pipelines.cutting.check_clip import ExpectedClip, check_clip
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut
from pipelines.cutting.reencode import ClipContent
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from tests.support.footage import pan, write

SOURCES = {
    "plain": ((48, 64), {}),
    "turned": ((48, 64), {"rotate_deg": 90}),
    "odd sizes": ((49, 65), {"pixel_format": "yuv444p"}),
    "variable rate": (
        (48, 64),
        {"pts": [0, 1, 3, 4, 7, 8, 9, 12, 14, 15, 17, 20], "time_base": Fraction(1, 30)},
    ),
}


@pytest.mark.parametrize("method", ["copy", "encode"])
@pytest.mark.parametrize("name", SOURCES)
def test_what_cutting_writes_is_as_its_row_says(tmp_path, name, method):
    (height, width), options = SOURCES[name]
    source = write(tmp_path / "a.mp4", pan(1, len(options.get("pts", range(30))), height, width), **options)
    clock = read_clock(source)
    span = Span(int(clock.pts[3]), int(clock.pts[-2]), clock.time_base)
    pictures = [picture_hash(p) for p in iterate_pictures(source, span.start_pts, span.end_pts, clock)]
    named, cfg = frames_hash(pictures), CutConfig(method=method, max_lead_share=0.9)
    made = cut(source, tmp_path / "clip.mp4", ClipContent(span, len(pictures), named), cfg, ReencodeConfig())
    assert made.method == method
    if name == "turned":
        height, width = width, height
    length = (span.end_pts - span.start_pts) * span.time_base
    promised = ExpectedClip(len(pictures), width, height, length, named if method == "copy" else None)
    assert check_clip(tmp_path / "clip.mp4", promised) == []


def test_what_is_not_as_promised_is_named(tmp_path):
    write(tmp_path / "a.mp4", pan(1, 25, 48, 64), fps=25)
    assert check_clip(tmp_path / "a.mp4", ExpectedClip(25, 64, 48, Fraction(1), None)) == []
    assert check_clip(tmp_path / "a.mp4", ExpectedClip(24, 64, 50, Fraction(2), None)) == [
        "it shows 25 frames, not 24",
        "it is 64 × 48, not 64 × 50",
        "it lasts 1 s, not 2 s",
    ]
    assert check_clip(tmp_path / "a.mp4", ExpectedClip(25, 64, 48, Fraction(1), "0" * 32)) == [
        "it decodes to other pictures than the source"
    ]


@pytest.mark.parametrize(("rotate_deg", "own", "square"), [(0, (64, 48), (93, 48)), (90, (48, 64), (48, 93))])
def test_rows_of_early_versions_count_in_the_pixels_of_the_clip(tmp_path, rotate_deg, own, square):
    path = tmp_path / "a.mp4"
    write(path, pan(1, 25, 48, 64), fps=25, pixel_aspect=Fraction(16, 11), rotate_deg=rotate_deg)
    assert check_clip(path, ExpectedClip(25, *square, Fraction(1), None)) == []
    assert check_clip(path, ExpectedClip(25, *own, Fraction(1), None, square=False)) == []
    assert check_clip(path, ExpectedClip(25, *own, Fraction(1), None)) == [
        f"it is {square[0]} × {square[1]}, not {own[0]} × {own[1]}"
    ]
