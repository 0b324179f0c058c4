"""Copies are found however they were made, look-alikes are not, and other clips have no say in it."""

from functools import cache

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import DedupConfig
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import find_pairs
from tests.footage import texture
from tests.pipelines.dedup.moments import filmed, looks_of, row

CFG = DedupConfig()


def bars(frames, top):
    return np.pad(frames, ((0, 0), (top, top), (0, 0), (0, 0)))


def grainy(frames, seed):
    noise = np.random.default_rng(seed).normal(0, 5, (*frames.shape[:3], 1))
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def resized(frames, width, height):
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])


@cache
def original():
    return filmed(seed=11, seconds=3)


COPIES = {
    "smaller": lambda f: resized(f, 80, 60),
    "squeezed": lambda f: resized(f, 96, 96),
    "cropped": lambda f: f[:, 8:86, 4:112],
    "darker": lambda f: (f * 0.8 + 10).astype(np.uint8),
    "later": lambda f: f[13:],
    "the middle of it": lambda f: f[9:33],
    "every other frame twice": lambda f: f[::2].repeat(2, axis=0),
    "grainy": lambda f: grainy(f, 1),
    "cropped, smaller, later": lambda f: resized(f[11:, :82, 12:], 70, 60),
}
LOOKALIKES = {
    "a later piece of the same shot": lambda: filmed(seed=11, seconds=3, start_s=5),
    "other things on the same ground": lambda: filmed(seed=21, seconds=3, ground=11),
    "the ground alone": lambda: grainy(texture(11, 96, 128)[None].repeat(48, axis=0), 1),
    "the first frame, held": lambda: filmed(seed=11, seconds=3)[:1].repeat(48, axis=0),
    "backwards": lambda: original()[::-1],
}


def pairs_of(clips, cfg=CFG):
    return find_pairs(looks_of(clips), [clip for clip, _ in clips], cfg)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found(how):
    frames = COPIES[how](original())
    found = pairs_of([(row("a", original()), original()), (row("b", frames), frames)])
    assert [(p.a, p.b, p.kind) for p in found] == [("a", "b", "perceptual")]
    assert found[0].similarity >= CFG.min_similarity


def test_a_copy_between_bars_is_compared_without_them():
    frames = bars(original(), 20)
    clip = row("b", frames, safe_y=20, safe_height=96)
    assert pairs_of([(row("a", original()), original()), (clip, frames)])


@pytest.mark.parametrize("how", LOOKALIKES)
def test_a_look_alike_is_no_copy(how):
    frames = LOOKALIKES[how]()
    assert not pairs_of([(row("a", original()), original()), (row("b", frames), frames)])


def test_two_moments_of_a_live_still_are_no_copies_but_two_frozen_pictures_are():
    still = texture(5, 96, 128)[None].repeat(32, axis=0)
    live = [(row(name, still), grainy(still, seed)) for seed, name in enumerate("ab")]
    frozen = [(row(name, still), still) for name in "ab"]
    assert not pairs_of(live)
    assert len(pairs_of(frozen)) == 1
    of_one_video = [
        (row("a", still, video_id="v"), still),
        (row("b", still, video_id="v", start_pts=32, end_pts=64), still),
    ]
    assert not pairs_of(of_one_video)


@pytest.mark.parametrize("level", [0, 9, 128])
def test_flat_clips_are_copies_of_nothing(level):
    flat = np.full((32, 96, 128, 3), level, np.uint8)
    assert not pairs_of([(row("a", flat), flat), (row("b", flat), flat)])


def test_a_short_common_stretch_is_not_enough():
    frames = filmed(seed=11, seconds=5, start_s=2.2)
    assert not pairs_of([(row("a", original()), original()), (row("b", frames), frames)])


@cache
def library():
    """Clips and looks: two families of copies, look-alikes, flat ones, an exact pair."""
    clips = []
    for seed in (11, 50):
        frames = filmed(seed, 2.5)
        clips += [(row(f"{seed}", frames), frames)]
        clips += [(row(f"{seed} {how}", made), made) for how in ("smaller", "later") for made in [COPIES[how](frames)]]
        other = filmed(seed + 7, 2.5, ground=seed)
        clips.append((row(f"{seed} other", other), other))
    flat = np.full((32, 96, 128, 3), 40, np.uint8)
    clips += [(row(name, flat, frames_hash="flat"), flat) for name in ("flat 1", "flat 2")]
    return [clip for clip, _ in clips], looks_of(clips)


@cache
def library_pairs():
    return find_pairs(library()[1], library()[0], CFG)


def test_families_are_found_and_nothing_between_them():
    names = {(pair.a, pair.b) for pair in library_pairs()}
    assert {("11", "11 later"), ("50", "50 smaller"), ("flat 1", "flat 2")} <= names
    assert all(a.split()[0] == b.split()[0] and "other" not in a + b for a, b in names)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.permutations(range(10)), st.permutations(range(10)))
def test_order_of_rows_changes_nothing(clip_order, look_order):
    clips, looks = library()
    shuffled = looks.take(pa.array(look_order))
    assert find_pairs(shuffled, [clips[k] for k in clip_order], CFG) == library_pairs()


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.sets(st.integers(0, 9), min_size=2))
def test_pairs_of_fewer_clips_are_those_pairs_that_lie_among_them(some):
    """So adding clips changes nothing for others, and footage A and then B has the pairs of A and B at once."""
    clips, looks = library()
    few = [clips[k] for k in sorted(some)]
    names = {clip["clip_id"] for clip in few}
    expected = [pair for pair in library_pairs() if {pair.a, pair.b} <= names]
    assert find_pairs(looks, few, CFG) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(("x", "y", "z", None)), min_size=1, max_size=8))
def test_the_same_frames_are_always_found(hashes):
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    clips = [row(f"c{k}", frames, frames_hash=value) for k, value in enumerate(hashes)]
    found = {(p.a, p.b) for p in find_pairs(LOOKS.empty_table(), clips, CFG) if p.kind == "exact"}
    same = {
        (f"c{i}", f"c{j}")
        for i, a in enumerate(hashes)
        for j, b in enumerate(hashes)
        if i < j and a is not None and a == b
    }
    assert found == same


def test_semantic_pairs_are_those_of_embeddings():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(12, 40))
    vectors[5] = vectors[2] + 0.1 * rng.normal(size=40)
    flat = np.full((16, 8, 8, 3), 3, np.uint8)
    clips = [(row(f"c{k:02}", flat), flat) for k in range(12)]
    looks = looks_of(clips)
    column = pa.array([v.astype(np.float16) for v in vectors], LOOKS.field("embedding").type)
    looks = looks.set_column(looks.schema.get_field_index("embedding"), LOOKS.field("embedding"), column)
    rows = [clip for clip, _ in clips]
    (pair,) = find_pairs(looks, rows, DedupConfig(semantic=0.95))
    assert (pair.a, pair.b, pair.kind) == ("c02", "c05", "semantic")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert pair.similarity == pytest.approx(unit[2] @ unit[5], abs=2e-3)


def test_semantic_pairs_need_embeddings():
    frames = filmed(11, 1)
    with pytest.raises(ValueError, match=r"scores\.tags=true"):
        pairs_of([(row("a", frames), frames)], DedupConfig(semantic=0.95))


def test_a_clip_given_twice_is_an_error():
    frames = filmed(11, 1)
    with pytest.raises(ValueError, match="listed twice"):
        find_pairs(LOOKS.empty_table(), [row("a", frames)] * 2, CFG)
