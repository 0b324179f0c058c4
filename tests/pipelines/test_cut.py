"""A clip's file shows its span and nothing else: the source's own pictures bit for bit, at the source's own times."""

import hashlib
import io
import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import decord
import numpy as np
import pytest

from pipelines.config import CutConfig, EncodeConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.clock import read_clock
from pipelines.media.cut import Cut, cut
from pipelines.media.decode import decode_frames, frames_at, iterate_frames, iterate_pictures, probe_clip
from pipelines.media.fast_reader import open_fast
from pipelines.media.mp4_boxes import Edit, set_edits, video_edit, without_video_edit
from pipelines.media.picture import frames_hash, picture_hash, upright
from pipelines.media.probe import open_container, video_stream
from pipelines.records import Span
from tests.codecs import FPS, LAYOUTS, NUM_FRAMES, SOUND_RATE, render, tone

ENCODE = EncodeConfig()
DECORD_CAN = {
    name for name, layout in LAYOUTS.items() if layout.codec != "libsvtav1" and "10" not in layout.pixel_format
}


@dataclass(frozen=True)
class Source:
    """A rendered source and everything that it shows."""

    path: Path
    time_base: Fraction
    bounds: list[int]
    """PTS of each frame, and where the last one ends."""
    hashes: list[int]
    pixels: np.ndarray

    def span(self, first: int, last: int) -> Span:
        return Span(self.bounds[first], self.bounds[last], self.time_base)

    def cut(self, out: Path, first: int, last: int, **settings) -> Cut:
        """Frames first … last−1 as a clip."""
        name = frames_hash(self.hashes[first:last])
        cfg = CutConfig(**{"max_lead_share": 1.0} | settings)
        return cut(self.path, out, self.span(first, last), last - first, name, cfg, ENCODE)

    def times(self, first: int, last: int) -> list[Fraction]:
        return [(pts - self.bounds[first]) * self.time_base for pts in self.bounds[first:last]]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Sources by the name of their layout, each rendered once."""
    folder, made = tmp_path_factory.mktemp("sources"), {}

    def get(name: str) -> Source:
        if name not in made:
            path = render(name, folder)
            clock = read_clock(path)
            pictures = list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
            bounds = [*(picture.pts for picture in pictures), clock.end_pts]
            pixels = np.stack([upright(picture) for picture in pictures])
            made[name] = Source(path, clock.time_base, bounds, [picture_hash(p) for p in pictures], pixels)
        return made[name]

    return get


def spans(name: str, count: int) -> list[tuple[int, int]]:
    rng = random.Random(name)
    firsts = [rng.randrange(NUM_FRAMES - 1) for _ in range(count)]
    return [(first, rng.randrange(first + 1, NUM_FRAMES + 1)) for first in firsts]


def shown_by_pyav(clip: Path | bytes) -> tuple[list[Fraction], list[int]]:
    """Times and hashes of the frames that FFmpeg shows of a clip, its edit list honoured."""
    with open_container(clip) as container:
        stream = video_stream(container)
        shown = [(picture.pts * stream.time_base, picture_hash(picture)) for picture in container.decode(stream)]
    return [time for time, _ in shown], [name for _, name in shown]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_copied_clips_frames_are_the_sources_bit_for_bit_at_its_times_in_both_readers(source, tmp_path, name):
    footage, out = source(name), tmp_path / "clip.mp4"
    assert len(footage.hashes) == NUM_FRAMES
    for first, last in spans(name, 6):
        made = footage.cut(out, first, last)
        assert made.method == "copy", (first, last, made.why)
        assert shown_by_pyav(out) == (footage.times(first, last), footage.hashes[first:last])
        data = out.read_bytes()
        clock = read_clock(data)
        assert [(int(pts) - int(clock.pts[0])) * clock.time_base for pts in clock.pts] == footage.times(first, last)
        rng = random.Random(f"{name}{first}")
        picked = sorted(rng.choices(range(last - first), k=8))
        for clip in (data, out):
            np.testing.assert_array_equal(frames_at(clip, clock, picked), footage.pixels[first:last][picked])
        begin = rng.randrange(last - first)
        part = [frame for _, frame in iterate_frames(data, clock, int(clock.pts[begin]))]
        np.testing.assert_array_equal(np.stack(part), footage.pixels[first + begin : last])


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
