"""Which copy is kept is a function of the clips and pairs alone: no order, no history, no chains."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.dedup.choose_copies import Duplicate, duplicates
from pipelines.dedup.pairs import EXACT, PERCEPTUAL, SEMANTIC, Pair, content


@st.composite
def copies(draw):
    """Clips, and pairs among them and clips that did not pass."""
    count = draw(st.integers(1, 9))
    clips = [
        {
            "clip_id": f"c{k}",
            "frames_hash": draw(st.sampled_from((f"c{k}", "c0", None))),
            "safe_width": draw(st.sampled_from((2, 4))),
            "safe_height": 2,
            "start_s": 0.0,
            "end_s": draw(st.sampled_from((1.0, 2.0))),
            "sharpness": draw(st.sampled_from((None, 0.5, 1.0))),
        }
        for k in range(count)
    ]
    edges = draw(
        st.sets(st.tuples(st.integers(0, count + 1), st.integers(0, count + 1)).filter(lambda e: e[0] < e[1]))
    )
    pairs = [
        Pair(
            f"c{a}",
            f"c{b}",
            draw(st.sampled_from((PERCEPTUAL, SEMANTIC))),
            draw(st.sampled_from((0.9, 0.95, 1.0))),
        )
        for a, b in sorted(edges)
    ]
    return clips, pairs


@given(copies(), st.randoms(use_true_random=False))
def test_order_changes_nothing(found, random):
    clips, pairs = found
    shuffled, reordered = list(clips), list(pairs)
    random.shuffle(shuffled)
    random.shuffle(reordered)
    assert duplicates(shuffled, reordered) == duplicates(clips, pairs)


@given(copies())
def test_what_a_duplicate_names_is_kept_and_is_directly_its_copy_and_none_that_are_kept_are_copies(found):
    clips, pairs = found
    result = duplicates(clips, pairs)
    kept = {clip["clip_id"] for clip in clips} - set(result)
    contents = {clip["clip_id"]: content(clip) for clip in clips}
    direct = {(pair.a, pair.b): (pair.kind, pair.similarity) for pair in pairs}
    for clip_id, duplicate in result.items():
        mine, its = sorted((contents[clip_id], contents[duplicate.kept_clip_id]))
        assert duplicate.kept_clip_id in kept
        assert (duplicate.kind, duplicate.similarity) == ((EXACT, 1.0) if mine == its else direct[mine, its])
    shown = [contents[clip_id] for clip_id in kept]
    assert len(set(shown)) == len(shown)
    assert not [pair for pair in pairs if pair.a in shown and pair.b in shown]


@given(copies())
def test_the_kept_one_is_never_worse_in_pixels(found):
    clips, pairs = found
    pixels = {clip["clip_id"]: clip["safe_width"] * clip["safe_height"] for clip in clips}
    assert all(
        pixels[duplicate.kept_clip_id] >= pixels[clip_id]
        for clip_id, duplicate in duplicates(clips, pairs).items()
    )


@given(copies())
def test_a_clip_without_copies_changes_nothing(found):
    clips, pairs = found
    alone = clips[0] | {"clip_id": "alone", "frames_hash": "alone", "safe_width": 8}
    assert duplicates([*clips, alone], pairs) == duplicates(clips, pairs)


def test_more_pixels_come_before_length_and_length_before_sharpness():
    clip = {
        "frames_hash": None,
        "safe_width": 4,
        "safe_height": 4,
        "start_s": 0.0,
        "end_s": 2.0,
        "sharpness": 1.0,
    }
    best = clip | {"clip_id": "z", "safe_width": 5, "end_s": 1.0}
    longer = clip | {"clip_id": "y", "end_s": 3.0, "sharpness": 0.1}
    sharper = clip | {"clip_id": "x", "sharpness": 2.0}
    plain = clip | {"clip_id": "w"}
    clips = [plain, sharper, longer, best]
    names = sorted(c["clip_id"] for c in clips)
    pairs = [Pair(a, b, "perceptual", 0.9) for a in names for b in names if a < b]
    assert {d.kept_clip_id for d in duplicates(clips, pairs).values()} == {"z"}
    assert {d.kept_clip_id for d in duplicates(clips[:3], pairs).values()} == {"y"}
    assert {d.kept_clip_id for d in duplicates(clips[:2], pairs).values()} == {"x"}


def test_a_pair_holds_for_all_clips_of_both_contents_whichever_of_them_pass():
    clip = {"safe_width": 4, "safe_height": 4, "start_s": 0.0, "end_s": 2.0, "sharpness": 1.0}
    clips = {name: clip | {"clip_id": name, "frames_hash": name[0]} for name in ("a1", "a2", "b1", "b2")}
    pairs = [Pair("a", "b", PERCEPTUAL, 0.9)]
    assert duplicates([clips["a2"], clips["b2"]], pairs) == {"b2": Duplicate("a2", PERCEPTUAL, 0.9)}
    assert duplicates(list(clips.values()), pairs) == {
        "a2": Duplicate("a1", EXACT, 1.0),
        "b1": Duplicate("a1", PERCEPTUAL, 0.9),
        "b2": Duplicate("a1", PERCEPTUAL, 0.9),
    }
