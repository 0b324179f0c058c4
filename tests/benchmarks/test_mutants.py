"""Mutants are made again by their seed; sizes and edges of parts are those of the file."""

import io
from itertools import pairwise

import av
import numpy as np
import pytest

from benchmarks.footage.fuzz_bases import bases
from benchmarks.footage.mutants import KINDS, Outside, mutants
from benchmarks.footage.mutants.elements import edit_videos
from benchmarks.footage.mutants.parts import edges, with_size
from pipelines.errors import MediaError
from pipelines.media.sniff import sniff
from tests.support.edit_bytes import with_times_later

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
    assert {mutant.kind for mutant in mutants(sound, OUTSIDE, 0, 9, ("bomb", "playlist"))} == {
        "bomb",
        "playlist",
    }


def test_what_points_elsewhere_points_to_what_was_planted(sound):
    kinds = ("playlist", "data_elsewhere", "movie_of_references", "linked_segments")
    for mutant in mutants(sound, OUTSIDE, 0, 80, kinds):
        text = mutant.data.replace(b":", b"/")
        points = b"canary" in text or b"127.0.0.1" in mutant.data
        assert points, mutant.name


def test_parts_lie_inside_the_file_and_fill_it(sound):
    walked = [base for base in sound if len(base.parts) > 1]
    assert {base.container for base in walked} >= {
        "mov",
        "matroska",
        "avi",
        "mpegts",
        "mpeg",
        "ogg",
        "flv",
        "asf",
    }
    for base in walked:
        assert all(0 <= part.start <= part.body <= part.end <= len(base.data) + 1 for part in base.parts), (
            base.name
        )
        assert edges(base.data)[0] == 0
        covered = sum(part.end - part.start for part in base.parts if not _inside_another(part, base.parts))
        assert covered > 0.9 * len(base.data), base.name


def _inside_another(part, parts):
    return any(
        other.start <= part.start
        and part.end <= other.end
        and other.end - other.start > part.end - part.start
        for other in parts
    )


def test_a_part_whose_true_size_is_written_is_as_it_was(sound):
    checked = 0
    for base in sound:
        for part in base.parts:
            whole = {
                "mov": part.end - part.start,
                "matroska": part.end - part.body,
                "avi": part.end - part.body,
            }
            true = whole.get(base.container)
            # one that reaches to the end may have been cut off
            if true is not None and part.end < len(base.data):
                assert with_size(base.data, part, true) == base.data, (base.name, part)
                checked += 1
            assert len(with_size(base.data, part, 7)) == len(base.data)
    assert checked > 1000


def test_instructions_are_refused_by_their_first_bytes(sound):
    """Whatever the name: none of FFmpeg's readers of scripts is ever chosen."""
    for mutant in mutants(sound, OUTSIDE, 0, 60, ("playlist",)):
        with pytest.raises(MediaError, match=r"not video|is empty"):
            sniff(mutant.data)


def test_damage_in_the_middle_leaves_beginning_and_end(sound):
    by_name = {base.name: base.data for base in sound}
    kinds = [name for name, kind in KINDS.items() if kind.damage and "recording" in kind.what]
    assert len(kinds) == 7
    for mutant in mutants(sound, OUTSIDE, 0, 20 * len(kinds), kinds):
        data = by_name[mutant.base]
        end = len(data) // 100
        assert mutant.data != data
        assert mutant.data[:end] == data[:end], mutant.name
        assert mutant.data[-end:] == data[-end:], mutant.name


def pictures(data: bytes) -> list[tuple[float, bytes]]:
    with av.open(io.BytesIO(data)) as container:
        return [(frame.time, bytes(frame.planes[0])) for frame in container.decode(video=0)]


def test_a_programme_is_the_same_later(sound):
    for base in sound:
        if base.what == "programme":
            first, later = pictures(base.data), pictures(with_times_later(base.data, 90_000 * 7))
            assert [picture for _, picture in later] == [picture for _, picture in first]
            np.testing.assert_allclose([time for time, _ in later], [time + 7 for time, _ in first])


def test_joined_programmes_follow_each_other_in_time(sound):
    joined = [
        mutant
        for mutant in mutants(sound, OUTSIDE, 0, 30, ("joined_programmes",))
        if len(mutant.data) % 188 == 0
    ]
    assert len({len(mutant.data) for mutant in joined}) > 10
    for mutant in joined:
        clocks = [
            int.from_bytes(mutant.data[at + 6 : at + 11], "big") >> 7
            for at in range(0, len(mutant.data), 188)
            if mutant.data[at + 3] & 0x20 and mutant.data[at + 4] >= 7 and mutant.data[at + 5] & 0x10
        ]
        assert sum(later < clock for clock, later in pairwise(clocks)) <= 1  # some have flipped bits


def test_a_matroska_file_whose_description_is_edited_shows_the_same(sound):
    base = next(base for base in sound if base.name == "recording_h264.mkv")
    assert pictures(edit_videos(base.data, lambda content: content)) == pictures(base.data)
