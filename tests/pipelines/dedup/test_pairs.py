"""Copies are found however they were made, look-alikes are not, and other clips have no say in it."""

from functools import cache

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup import pairs
from pipelines.dedup.choose_copies import duplicates
from pipelines.dedup.compare import compare
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import content, find_pairs
from tests.pipelines.dedup.moments import filmed, looks_of, row
from tests.support.footage import texture

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


def test_a_clip_too_short_for_a_thumbnail_is_a_copy_of_nothing_and_hinders_no_other():
    frames, smaller = original(), COPIES["smaller"](original())
    clips = [row("a", frames), row("b", smaller), row("c", frames[:1], start_pts=1)]
    looks = pa.concat_tables([looks_of([(clips[0], frames), (clips[1], smaller)]), _no_thumbnails("c")])
    assert [(pair.a, pair.b) for pair in find_pairs(looks, clips, CFG)] == [("a", "b")]


def _no_thumbnails(clip_id):
    row = {"clip_id": clip_id, "thumbs": b"", "thumb_s": [], "unrest": 0.0}
    return pa.Table.from_pylist([row], schema=LOOKS)


def test_a_short_common_stretch_is_not_enough():
    frames = filmed(seed=11, seconds=5, start_s=2.2)
    assert not pairs_of([(row("a", original()), original()), (row("b", frames), frames)])


def test_what_is_not_shared_must_be_made_up_for_by_likeness():
    long = filmed(seed=11, seconds=4.5)
    first, last = long[:48], grainy(long[22:], 1)  # share a bit more than half
    clips = [(row("a", first), first), (row("b", last), last)]
    (pair,) = pairs_of(clips, DedupConfig(min_similarity=0.5))
    missing = 1 - pair.similarity
    assert not pairs_of(clips, DedupConfig(min_similarity=1 - 1.2 * missing))
    assert pairs_of(clips, DedupConfig(min_similarity=1 - 2.5 * missing)) == [pair]


@cache
def library():
    """Clips and looks: two families of copies, look-alikes, flat ones, an exact pair."""
    clips = []
    for seed in (11, 50):
        frames = filmed(seed, 2.5)
        clips += [(row(f"{seed}", frames), frames)]
        clips += [
            (row(f"{seed} {how}", made), made)
            for how in ("smaller", "later")
            for made in [COPIES[how](frames)]
        ]
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
    assert {("11", "11 later"), ("50", "50 smaller")} <= names
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
    """So adding clips changes nothing for others, and footage A and then B has the pairs of A and B at
    once."""
    clips, looks = library()
    few = [clips[k] for k in sorted(some)]
    names = {content(clip) for clip in few}
    expected = [pair for pair in library_pairs() if {pair.a, pair.b} <= names]
    assert find_pairs(looks, few, CFG) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(("x", "y", "z", None)), min_size=1, max_size=8))
def test_of_the_same_frames_one_is_always_kept(hashes):
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    clips = [row(f"c{k}", frames, frames_hash=value) for k, value in enumerate(hashes)]
    found = duplicates(clips, find_pairs(LOOKS.empty_table(), clips, CFG))
    first = {value: f"c{hashes.index(value)}" for value in hashes}
    same = {f"c{k}": first[v] for k, v in enumerate(hashes) if v is not None and first[v] != f"c{k}"}
    assert {clip_id: duplicate.kept_clip_id for clip_id, duplicate in found.items()} == same
    assert {duplicate.kind for duplicate in found.values()} <= {"exact"}


def test_thousands_of_exact_copies_are_compared_as_one(monkeypatch):
    compared = []
    monkeypatch.setattr(pairs, "compare", lambda *given: compared.append(given) or compare(*given))
    frames = original()
    made = {"x": frames, "y": COPIES["smaller"](frames)}
    clips = [row(f"{k:04}", made["xy"[k % 2]], frames_hash="xy"[k % 2]) for k in range(5000)]
    two = looks_of([(clip, made[clip["frames_hash"]]) for clip in clips[:2]])
    looks = two.take(pa.array([k % 2 for k in range(5000)])).set_column(
        0, LOOKS.field("clip_id"), pa.array([clip["clip_id"] for clip in clips])
    )
    found = find_pairs(looks, clips, CFG)
    assert [(pair.a, pair.b) for pair in found] == [("x", "y")]
    assert len(compared) == 1
    kinds = [duplicate.kind for duplicate in duplicates(clips, found).values()]
    assert sorted(kinds) == ["exact"] * 2499 + ["perceptual"] * 2500


def test_a_clip_without_a_look_has_the_pairs_of_its_exact_copies():
    frames, smaller = original(), COPIES["smaller"](original())
    clips = [row("a", frames, frames_hash="x"), row("b", frames, frames_hash="x"), row("c", smaller)]
    looks = looks_of([(clips[1], frames), (clips[2], smaller)])
    assert [(pair.a, pair.b) for pair in find_pairs(looks, clips, CFG)] == [("c", "x")]


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


def test_no_clips_or_none_with_an_embedding_have_no_semantic_pairs():
    cfg = DedupConfig(semantic=0.95)
    assert find_pairs(LOOKS.empty_table(), [], cfg) == []
    frames = filmed(11, 1)
    assert pairs_of([(row("a", frames), frames)], cfg) == []


def test_a_clip_given_twice_is_an_error():
    frames = filmed(11, 1)
    with pytest.raises(ValueError, match="listed twice"):
        find_pairs(LOOKS.empty_table(), [row("a", frames)] * 2, CFG)
