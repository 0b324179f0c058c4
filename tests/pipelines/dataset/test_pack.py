"""Shards hold every kept clip once, don't depend on order, and stay when footage is added."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipelines.dataset.buckets import bucket
from pipelines.dataset.config import ShardConfig
from pipelines.dataset.pack import ExistingShard, PackCandidate, plan_shards, shard_id
from pipelines.ids import hash_text

clips = st.lists(
    st.builds(
        PackCandidate,
        clip_id=st.integers(0, 10**6).map(lambda k: hash_text(str(k))),
        bucket=st.sampled_from(["16x9_720_5s", "4x3_480_2s"]),
        content=st.sampled_from(["a", "b"]),
        estimated_bytes=st.integers(0, 60),
    ),
    max_size=30,
    unique_by=lambda clip: clip.clip_id,
)
CFG = ShardConfig(max_clips=4, max_bytes=100)


def existing(plans, by_id):
    contents = [[(clip_id, by_id[clip_id].content) for clip_id in plan.clip_ids] for plan in plans]
    return [
        ExistingShard(shard_id(content), plan.bucket, plan.clip_ids)
        for plan, content in zip(plans, contents, strict=True)
    ]


@given(clips, st.randoms())
def test_every_clip_is_in_one_shard_of_its_bucket_whatever_the_order(clips, random):
    _, plans = plan_shards(clips, [], CFG)
    by_id = {clip.clip_id: clip for clip in clips}
    assert sorted(clip_id for plan in plans for clip_id in plan.clip_ids) == sorted(by_id)
    for plan in plans:
        held = [by_id[clip_id] for clip_id in plan.clip_ids]
        assert {clip.bucket for clip in held} == {plan.bucket}
        assert len(held) <= CFG.max_clips
        assert len(held) == 1 or sum(clip.estimated_bytes for clip in held) <= CFG.max_bytes
    shuffled = random.sample(clips, len(clips))
    assert plan_shards(shuffled, [], CFG) == ([], plans)


@given(clips, clips)
def test_adding_footage_leaves_old_shards_alone(old, new):
    by_id = {clip.clip_id: clip for clip in [*new, *old]}
    there = existing(plan_shards(old, [], CFG)[1], by_id)
    staying, plans = plan_shards(by_id.values(), there, CFG)
    assert sorted(staying) == sorted(shard.shard for shard in there)
    assert {c for plan in plans for c in plan.clip_ids} == set(by_id) - {clip.clip_id for clip in old}
    assert plan_shards(by_id.values(), there + existing(plans, by_id), CFG)[1] == []


@given(clips.filter(bool), st.data())
def test_a_clip_that_changes_takes_only_its_own_shard_along(clips, data):
    by_id = {clip.clip_id: clip for clip in clips}
    there = existing(plan_shards(clips, [], CFG)[1], by_id)
    gone = data.draw(st.sampled_from(clips)).clip_id
    staying, plans = plan_shards([clip for clip in clips if clip.clip_id != gone], there, CFG)
    assert set(staying) == {shard.shard for shard in there if gone not in shard.clip_ids}
    assert gone not in {clip_id for plan in plans for clip_id in plan.clip_ids}


def test_buckets_are_named_by_aspect_resolution_and_length():
    assert bucket(1280, 720, 5.28) == "16x9_720_5s"
    assert bucket(720, 1280, 4.999) == "9x16_720_2s"
    assert bucket(640, 272, 1.2) == "21x9_240_1s"
    assert bucket(176, 144, 0.3) == "4x3_144_0s"
    assert bucket(50, 40, 100.0) == "4x3_0_60s"


@given(clips.filter(bool), st.data())
def test_a_shard_that_another_version_named_stays_while_nothing_of_it_is_made_again(clips, data):
    carried = [replace(clip, carried=True) for clip in clips]
    by_id = {clip.clip_id: clip for clip in carried}
    there = [
        ExistingShard(
            hash_text(plan.unit)[:16],
            plan.bucket,
            plan.clip_ids,
            tuple(by_id[c].content for c in plan.clip_ids),
        )
        for plan in plan_shards(clips, [], CFG)[1]
    ]
    staying, plans = plan_shards(carried, there, CFG)
    assert (sorted(staying), plans) == (sorted(shard.shard for shard in there), [])
    one = data.draw(st.sampled_from(carried))
    for other in (replace(one, carried=False), replace(one, content="c")):
        staying, plans = plan_shards((by_id | {one.clip_id: other}).values(), there, CFG)
        (left,) = {shard.shard for shard in there} - set(staying)
        assert sorted(clip_id for plan in plans for clip_id in plan.clip_ids) == sorted(
            next(shard.clip_ids for shard in there if shard.shard == left)
        )
