"""Mutants are made again by their seed; sizes and edges of parts are those of the file."""

import pytest

from benchmarks.fuzz_bases import bases
from benchmarks.mutants import KINDS, Outside, mutants
from benchmarks.mutants.parts import edges, with_size
from pipelines.errors import MediaError
from pipelines.media.sniff import sniff

OUTSIDE = Outside("/elsewhere/canary.mp4", "http://127.0.0.1:9/canary.ts")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def made(sound):
    return list(mutants(sound, OUTSIDE, seed=3, count=2 * len(KINDS)))


def test_a_seed_makes_the_same_mutants_again_and_another_seed_others(sound, made):
    assert list(mutants(sound, OUTSIDE, seed=3, count=60)) == made[:60]
    others = list(mutants(sound, OUTSIDE, seed=4, count=60))
    assert sum(one.data != other.data for one, other in zip(made, others, strict=False)) > 50


def test_every_kind_occurs_and_no_two_mutants_are_the_same(made):
    assert {mutant.kind for mutant in made} == KINDS.keys()
    assert len({mutant.data for mutant in made}) == len(made)
    assert len({mutant.name for mutant in made}) == len(made)
    assert not any("/." in mutant.name or mutant.name.startswith((".", "/")) for mutant in made)


def test_only_the_kinds_that_are_named_are_made(sound):
    assert {mutant.kind for mutant in mutants(sound, OUTSIDE, 0, 9, ("bomb", "playlist"))} == {"bomb", "playlist"}


def test_what_points_elsewhere_points_to_what_was_planted(sound):
    kinds = ("playlist", "data_elsewhere", "movie_of_references", "linked_segments")
    for mutant in mutants(sound, OUTSIDE, 0, 80, kinds):
        text = mutant.data.replace(b":", b"/")
        points = b"canary" in text or b"127.0.0.1" in mutant.data
        assert points, mutant.name


def test_parts_lie_inside_the_file_and_fill_it(sound):
    walked = [base for base in sound if len(base.parts) > 1]
    assert {base.container for base in walked} >= {"mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "asf"}
    for base in walked:
        assert all(0 <= part.start <= part.body <= part.end <= len(base.data) + 1 for part in base.parts), base.name
        assert edges(base.data)[0] == 0
        covered = sum(part.end - part.start for part in base.parts if not _inside_another(part, base.parts))
        assert covered > 0.9 * len(base.data), base.name


def _inside_another(part, parts):
    return any(
        other.start <= part.start and part.end <= other.end and other.end - other.start > part.end - part.start
        for other in parts
    )


def test_a_part_whose_true_size_is_written_is_as_it_was(sound):
    checked = 0
    for base in sound:
        for part in base.parts:
            whole = {"mov": part.end - part.start, "matroska": part.end - part.body, "avi": part.end - part.body}
            true = whole.get(base.container)
            if true is not None and part.end < len(base.data):  # one that reaches to the end may have been cut off
                assert with_size(base.data, part, true) == base.data, (base.name, part)
                checked += 1
            assert len(with_size(base.data, part, 7)) == len(base.data)
    assert checked > 1000


def test_instructions_are_refused_by_their_first_bytes(sound):
    """Whatever the name: none of FFmpeg's readers of scripts is ever chosen."""
    for mutant in mutants(sound, OUTSIDE, 0, 60, ("playlist",)):
        with pytest.raises(MediaError, match=r"not video|is empty"):
            sniff(mutant.data)
