"""What decodes of a damaged file becomes clips, whatever its units are; what is lost is told, and the account
balances."""

from fractions import Fraction
from pathlib import Path

import pytest

from jobs.curation.analysis import SourceAnalyzer
from jobs.curation.assemble import BaseManifest as Nothing
from jobs.curation.assemble import assemble
from jobs.curation.clip_records import DecidedClip, PlacedClip
from jobs.curation.config import CurateConfig, RequeueConfig
from jobs.curation.decide import Outcome
from jobs.curation.fingerprints import fingerprints
from jobs.curation.measure_progress import merge_units
from jobs.requeue import _requested_rows
from jobs.upkeep.consistency import _quarantine
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut
from pipelines.cutting.reencode import ClipContent
from pipelines.dataset.schema import QUARANTINE, SOURCES, is_gap, table
from pipelines.footage.listing import find_footage
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.sandbox import child
from pipelines.scores.config import ScoreConfig
from pipelines.shots.config import ShotConfig
from tests.pipelines.media.test_intact_pictures import packets_of, with_noise
from tests.support.footage import pan, write

FRAMES = 120
X264 = {"g": "24", "bf": "2", "sc_threshold": "0"}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """5 s each: whole, damaged in the middle, in two containers, cut off, and damaged all over; and a copy of
    one."""
    folder, made = tmp_path_factory.mktemp("damage"), tmp_path_factory.mktemp("made")
    options = {"options": X264, "container": {"movflags": "faststart"}}
    source = write(made / "a.mp4", pan(1, FRAMES, 48, 64), **options)
    (folder / "a_whole.mp4").write_bytes(source.read_bytes())
    with_noise(source, folder / "b_torn.mp4", [52])
    (folder / "c_copy.mp4").write_bytes((folder / "b_torn.mp4").read_bytes())
    data = write(made / "cut.mp4", pan(2, FRAMES, 48, 64), **options).read_bytes()
    (folder / "d_cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    film = write(
        made / "e.ts", pan(3, FRAMES, 48, 64), codec="mpeg2video", options={"g": "12", "bf": "2"}
    ).read_bytes()
    at = len(film) // 188 // 2 * 188
    (folder / "e_lost.ts").write_bytes(film[:at] + film[at + 4 * 188 :])
    hopeless = write(made / "f.mp4", pan(4, 24, 48, 64), **options)
    data = bytearray(hopeless.read_bytes())
    for at, size, _ in packets_of(hopeless):
        data[at + 4 : at + size] = bytes(size - 4)
    (folder / "f_hopeless.mp4").write_bytes(data)
    yield folder
    child.stop()


def analysed(footage: Path, dataset: Path, unit_s: float):
    cfg = CurateConfig(
        footage=str(footage),
        dataset=str(dataset),
        unit_s=unit_s,
        precision="fp32",
        shots=ShotConfig(detector="content"),
        scores=ScoreConfig(tags=False, nsfw=False, text=False),
    )
    analyst, found = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg)), find_footage(cfg.footage)
    parts = [
        analyst.measure(unit)
        for source in found.sources
        for unit in analyst.split_units(analyst.identify(source))
    ]
    again = [analyst.finished(source) for source in found.sources]
    analyses = list(merge_units(parts))
    assert [(one.clips, one.lost, one.lost_s) for one in again] == [
        (one.clips, one.lost, one.lost_s) for one in analyses
    ]
    return found, analyses


@pytest.fixture(scope="module")
def known(footage, tmp_path_factory):
    return analysed(footage, tmp_path_factory.mktemp("dataset"), 60.0)


def of(known, name):
    (found,) = [one for one in known[1] if Path(one.source_uri).name == name]
    return found


def test_what_is_damaged_is_a_gap_between_two_clips(known):
    torn = of(known, "b_torn.mp4")
    assert torn.quarantined is None
    first, second = torn.clips
    assert (first["start_kind"], first["end_kind"], first["end_confidence"]) == ("edge", "edge", 1.0)
    assert (second["start_kind"], second["end_kind"]) == ("edge", "edge")
    (gap,) = torn.lost
    assert (gap["start_s"], gap["end_s"]) == (first["end_s"], second["start_s"])
    assert 48 / 25 <= gap["start_s"] < gap["end_s"] == 72 / 25
    assert gap["reason"] == "undecodable"
    assert (
        f"{gap['start_s']:.3f} to 2.880 s is lost, {round((72 / 25 - gap['start_s']) * 25)} frames"
        in gap["message"]
    )
    assert first["num_frames"] + second["num_frames"] + torn.lost_s * 25 == pytest.approx(FRAMES)


def test_a_file_that_is_cut_off_says_how_much_is_missing(known):
    cut_off = of(known, "d_cut.mp4")
    (clip,) = cut_off.clips
    (gap,) = cut_off.lost
    assert gap["reason"] == "truncated"
    assert clip["num_frames"] + round(cut_off.lost_s * 25) == FRAMES
    assert clip["num_frames"] == round((clip["end_s"] - clip["start_s"]) * 25), (
        "no frame is missing within it"
    )


def test_a_whole_file_has_lost_nothing_and_a_hopeless_one_is_quarantined(known):
    assert (of(known, "a_whole.mp4").lost, of(known, "a_whole.mp4").lost_s) == ([], 0.0)
    assert of(known, "f_hopeless.mp4").quarantined is not None


@pytest.mark.parametrize("unit_s", [0.4, 1.3])
def test_units_of_any_length_lose_the_same(footage, known, tmp_path, unit_s):
    _, analyses = analysed(footage, tmp_path, unit_s)
    assert [(one.clips, one.lost, one.lost_s) for one in analyses] == [
        (one.clips, one.lost, one.lost_s) for one in known[1]
    ]


def test_clips_beside_damage_are_cut_from_it(footage, known, tmp_path):
    for name, methods in (
        ("b_torn.mp4", {"copy"}),
        ("e_lost.ts", {"copy", "encode"}),
        ("d_cut.mp4", {"copy"}),
    ):
        path = footage / name
        clock = read_clock(path)
        for clip in of(known, name).clips:
            span = Span(clip["start_pts"], clip["end_pts"], Fraction(clip["time_base"]))
            content = ClipContent(span, clip["num_frames"], clip["frames_hash"], clock)
            made = cut(path, tmp_path / "clip.mp4", content, CutConfig(), ReencodeConfig())
            assert made.method in methods, made.why
            assert len(read_clock(tmp_path / "clip.mp4").pts) == clip["num_frames"]
            made = cut(path, tmp_path / "clip.mp4", content, CutConfig(method="encode"), ReencodeConfig())
            assert made.method == "encode"


def test_the_tables_tell_what_is_lost_and_balance(known):
    found, analyses = known
    assembly = assemble(found, analyses, Nothing())
    sources = table(assembly.sources, SOURCES).to_pylist()
    quarantine = table(assembly.quarantine, QUARANTINE).to_pylist()
    by_name = {Path(row["uri"]).name: row for row in sources}
    assert {name: row["status"] for name, row in by_name.items()} == {
        "a_whole.mp4": "video",
        "b_torn.mp4": "video",
        "c_copy.mp4": "duplicate",
        "d_cut.mp4": "video",
        "e_lost.ts": "video",
        "f_hopeless.mp4": "quarantined",
    }
    assert by_name["a_whole.mp4"]["lost_s"] == 0.0
    assert by_name["c_copy.mp4"]["lost_s"] == by_name["b_torn.mp4"]["lost_s"] > 0
    gaps = [row for row in quarantine if is_gap(row)]
    assert [Path(row["source_uri"]).name for row in gaps] == ["b_torn.mp4", "d_cut.mp4", "e_lost.ts"]
    assert all(row["video_id"] and row["stage"] == "signals" for row in gaps)
    assert not list(_quarantine(lambda: iter(quarantine), lambda: iter(sources), lambda: iter(())))
    less = [row for row in quarantine if row not in gaps]
    assert len(list(_quarantine(lambda: iter(less), lambda: iter(sources), lambda: iter(())))) == len(gaps)
    rejected = tuple(PlacedClip(DecidedClip(clip, ("static",), "b")) for clip in assembly.candidates)
    assembly.ledger(Outcome(rejected, {}, (), 0)).check()


def test_a_lost_stretch_is_not_tried_again_but_with_other_software(known):
    assembly = assemble(*known, Nothing())
    quarantine = table(assembly.quarantine, QUARANTINE).to_pylist()
    (row,), number = _requested_rows(lambda: quarantine, RequeueConfig(dataset="d"))
    assert number == len(quarantine)
    assert Path(row["source_uri"]).name == "f_hopeless.mp4"
