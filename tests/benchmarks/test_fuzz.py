"""The worst of broken and hostile files through curation: each ends somewhere, and nobody follows where they
point.

`benchmarks/fuzz.py` does it with a thousand, and watches what is opened.
"""

import pytest

from benchmarks.footage.fuzz_changing import changing
from benchmarks.footage.fuzz_streams import of_several_streams
from benchmarks.footage.mutants.kinds import Base
from benchmarks.fuzz import Fuzz, listener
from tests.conftest import run_job
from tests.support.odd_sources import SOURCES

WORST = (
    "playlist", "playlist_in_disguise", "data_elsewhere", "movie_of_references", "many_samples",
    "nested_boxes",
    "streamed_for_ever", "huge_dimensions", "nested_elements", "cut_at_edge", "odd_name", "parts_swapped",
    "absurd_matrix",
    "clean_aperture", "odd_pixels", "pixel_crop", "junk_behind", "stretch_zeroed", "packets_lost",
    "joined_programmes", "two_films",
)  # fmt: skip
DAMAGED = ("stretch_zeroed", "packets_lost")
TAKEN = ("recording", "programme", "two_films")
FROM = ("plain.mp4", "no_index.mkv", "fragments.mp4", "late.ts", "mpeg4_b.avi")


@pytest.fixture(scope="module")
def fuzzed(shared_ray, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "sound").mkdir()
    sound = [Base(name, SOURCES[name](folder / "sound" / name).read_bytes()) for name in FROM]
    made = [*changing(folder / "sound"), *of_several_streams(folder / "sound")]
    sound += [Base(path.name, path.read_bytes(), what) for path, what in made if what in TAKEN]
    with listener() as (address, visits):
        fuzz = Fuzz(folder, sound, seed=0, count=len(WORST), address=address, kinds=WORST)
        run_job(
            "curate", f"footage={fuzz.footage}", f"dataset={fuzz.dataset}",
            f"ray.address={shared_ray.address}",
            "recipe=permissive", "limits.deadline_s=10", "scores.text=false", "scores.nsfw=false",
            "scores.tags=false",
            "captioner=own_text",
        )  # fmt: skip
    outcomes, findings = fuzz.accounts()
    fuzz.compare(outcomes.values())
    return outcomes.values(), findings, visits


def test_every_broken_file_is_kept_rejected_or_quarantined_and_the_ledger_balances(fuzzed):
    outcomes, findings, _ = fuzzed
    assert {outcome.mutant.kind for outcome in outcomes} == set(WORST)
    assert findings.unaccounted == []
    assert findings.ours == []


def test_what_only_points_elsewhere_is_no_video_and_nobody_goes_there(fuzzed):
    outcomes, _, visits = fuzzed
    for outcome in outcomes:
        if outcome.mutant.kind == "playlist":
            assert outcome.status in ("quarantined", "ignored")
    assert visits == [0]


def test_of_damaged_files_and_no_others_it_is_told_what_is_shown(fuzzed):
    outcomes, _, _ = fuzzed
    for outcome in outcomes:
        assert (outcome.shown is not None) == (outcome.mutant.kind in DAMAGED)
        if outcome.shown:
            assert 0 <= outcome.shown.ours_right_s <= outcome.shown.ours_s <= 4.01
            assert 0 < outcome.shown.ffmpeg_right_s <= outcome.shown.ffmpeg_s
