"""What is measured of a video → rows of its clips: each has the size, turn and colours of its own
pictures."""

from fractions import Fraction

import pytest

from jobs.curation.clip_rows import bucket_of, clip_rows
from jobs.curation.config import CurateConfig
from pipelines.dedup.pairs import content
from pipelines.measure.measure import Measurements, measure
from pipelines.media.config import FootageConfig
from pipelines.media.decode import iterate_pictures
from pipelines.media.probe import probe
from pipelines.media.read_clock import read_clock
from pipelines.scores.config import ScoreConfig
from tests.support.footage import pan, write

CFG = CurateConfig(footage="f", dataset="d", scores=ScoreConfig(tags=False, nsfw=False, text=False))


def rows_of(path) -> list[dict]:
    clock, cfg = read_clock(path), CFG
    pictures = iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock)
    tables = measure(
        enumerate(pictures),
        clock,
        (0, len(clock.pts)),
        Measurements(cfg.signals, cfg.shots, cfg.scores, ("signals", "bars"), "fp32"),
    )
    rows, _ = clip_rows(probe(path, "v", FootageConfig()), clock, tables.pop("signals"), tables, cfg)
    return rows.to_pylist()


def test_a_bucket_is_of_square_pixels(tmp_path):
    path = write(tmp_path / "disc.mp4", pan(3, 50, 144, 176), pixel_aspect=Fraction(16, 11))
    (row,) = rows_of(path)
    assert (row["width"], row["height"], row["coded_width"], row["coded_height"]) == (256, 144, 176, 144)
    assert bucket_of(row) == "16x9_144_2s"
    assert (row["safe_x"], row["safe_width"], row["safe_height"]) == (0, 256, 144)


def test_each_clip_has_the_size_of_its_own_pictures(tmp_path):
    path, data = tmp_path / "joined.ts", b""
    for k, (height, width) in enumerate(((48, 64), (72, 96))):
        write(path, pan(5, 24, height, width), options={"g": "24"}, pts=[24 * k + 10 + n for n in range(24)])
        data += path.read_bytes()
    path.write_bytes(data)
    first, second = rows_of(path)
    assert [(row["num_frames"], row["width"], row["height"]) for row in (first, second)] == [
        (24, 64, 48),
        (24, 96, 72),
    ]
    assert (first["end_kind"], second["start_kind"]) == ("hard", "hard")


@pytest.mark.parametrize("rotate_deg", [0, 90])
def test_the_same_samples_turned_are_no_copy(tmp_path, rotate_deg):
    plain, turned = (
        rows_of(write(tmp_path / f"{number}.mp4", pan(3, 24, 48, 64), rotate_deg=angle))[0]
        for number, angle in enumerate((0, rotate_deg))
    )
    assert plain["frames_hash"] == turned["frames_hash"]
    assert (content(plain) == content(turned)) == (rotate_deg == 0)
    assert turned["rotation_deg"] == -rotate_deg % 360
