"""What a latent shard holds follows the shard that it comes from: clips that join the dataset change no
other."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.encoding.plan import Chunk, chunks, split_finished
from pipelines.dataset.latents import EncodedClip, read_failed_clips, write_failed_clips, write_shard
from pipelines.dataset.manifest import Shard
from pipelines.ids import hash_text
from pipelines.storage.local_store import LocalStore


@dataclass
class Rows:
    """As much of a dataset as a plan reads."""

    shards_: list[Shard]
    rows: list[dict]

    def shards(self):
        return self.shards_

    def kept(self, columns=()):
        return self.rows


def dataset(
    sizes: dict[str, int], captions: dict[str, str] | None = None, bytes_of: dict[str, str] | None = None
) -> Rows:
    """Shards by id and number of clips; ids of clips are hashes, so shards' clips interleave."""
    shards, rows = [], []
    for shard, count in sizes.items():
        sha256 = (bytes_of or {}).get(shard, f"sha of {shard}")
        shards.append(Shard(shard, "16x9", f"shards/16x9/{shard}.tar", sha256, 1, count))
        for i in range(count):
            clip = hash_text(f"{shard}{i}")
            text = (captions or {}).get(clip, "a clip")
            rows.append({"clip_id": clip, "bucket": "16x9", "shard": shard, "offset": 100 * i, "size": 90,
                "caption_short": text,
                         "caption_dense": None, "source_text": ""})  # fmt: skip
    return Rows(shards, sorted(rows, key=lambda row: row["clip_id"]))


def ids(rows: Rows) -> set[str]:
    return {chunk.id for chunk in chunks(rows)}


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 200), min_size=1), st.integers(1, 300))
def test_every_clip_is_in_one_chunk_and_those_that_join_change_no_other(sizes, joining):
    before = dataset(sizes)
    assert sorted(row["clip_id"] for chunk in chunks(before) for row in chunk.rows) == [
        r["clip_id"] for r in before.rows
    ]
    assert all(len(chunk.rows) <= 64 for chunk in chunks(before))
    after = dataset({**sizes, "new": joining})
    assert ids(before) <= ids(after)
    assert len(ids(after)) - len(ids(before)) == -(-joining // 64), "only what joined is to be made"


def test_other_bytes_or_another_caption_are_encoded_anew_and_nothing_else_is():
    sizes = {"a": 3, "b": 100}
    was = ids(dataset(sizes))
    assert was == ids(dataset(sizes))
    assert len(was & ids(dataset(sizes, bytes_of={"a": "cut anew"}))) == 2
    clip = dataset(sizes).rows[0]["clip_id"]
    assert len(was & ids(dataset(sizes, captions={clip: "told anew"}))) == 2


def written(store: LocalStore, chunk: Chunk) -> None:
    write_shard(
        store,
        "f",
        chunk.bucket,
        chunk.id,
        [EncodedClip(row["clip_id"], {}, {}, {}, []) for row in chunk.rows],
    )


def test_clips_that_could_not_be_read_are_alone_tried_again(tmp_path):
    store, (chunk,) = LocalStore(tmp_path), chunks(dataset({"a": 10}))
    assert split_finished(store, "f", [chunk]) == ([], [chunk])
    bad = [row["clip_id"] for row in chunk.rows[3:5]]
    good = chunk.select(row["clip_id"] for row in chunk.rows if row["clip_id"] not in bad)
    written(store, good)
    write_failed_clips(store, "f", chunk.id, bad)
    assert read_failed_clips(store, "f", chunk.id) == set(bad)
    assert split_finished(store, "f", [chunk]) == ([good], [chunk.select(bad)])
    written(store, chunk.select(bad[:1]))  # one of them can be read by now
    write_failed_clips(store, "f", chunk.select(bad).id, bad[1:])
    finished, missing = split_finished(store, "f", [chunk])
    assert {row["clip_id"] for one in finished for row in one.rows} == {r["clip_id"] for r in chunk.rows} - {
        bad[1]
    }
    assert missing == [chunk.select(bad[1:])]
    written(store, chunk.select(bad[1:]))
    assert split_finished(store, "f", [chunk])[1] == []
