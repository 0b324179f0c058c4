"""`rushes encode` on a real dataset: cached latents follow the clips' bytes, and a clip that can't be read
ends nothing."""

import shutil
import tarfile
from pathlib import Path

import pytest

from jobs.cluster.failures import one_line_message
from pipelines.dataset.latents import open_latents
from pipelines.dataset.reader import open_dataset
from pipelines.precision import AUTO, decide
from pipelines.storage.open_store import open_store
from tests.conftest import TINY, run_job

SHAPES = [o for o in TINY if o.startswith(("shapes.", "windows."))]


@pytest.fixture
def dataset(tiny_run, tmp_path):
    """The tiny run's dataset without its latents, to be changed at will."""
    shutil.copytree(tiny_run.made("curate"), tmp_path / "dataset")
    shutil.rmtree(tmp_path / "dataset" / "latents")
    return tmp_path / "dataset"


def encode(dataset, tiny_run, *more):
    return run_job("encode", f"dataset={dataset}", f"vae={tiny_run.made('train_vae')}", *SHAPES, *more)


def damage(dataset: Path, clip: dict, what: bytes | None = None) -> bytes:
    """Put zeros, or other bytes, in the place of the middle of a clip; what was there."""
    path = dataset / "shards" / clip["bucket"] / f"{clip['shard']}.tar"
    with path.open("r+b") as file:
        file.seek(clip["offset"] + clip["size"] // 3)
        was = file.read(clip["size"] // 2)
        file.seek(clip["offset"] + clip["size"] // 3)
        file.write(bytes(len(was)) if what is None else what)
    return was


def test_a_clip_that_can_not_be_read_is_left_out_told_and_tried_again(dataset, tiny_run, shared_ray, capsys):
    clips = list(open_dataset(str(dataset)).kept())
    bad = next(clip for clip in clips if sum(c["shard"] == clip["shard"] for c in clips) > 1)
    was = damage(dataset, bad)
    result = encode(dataset, tiny_run)
    assert (result["clips"], result["clips_unread"]) == (len(clips) - 1, 1)
    said = capsys.readouterr().out
    assert (
        f"left out: clip {bad['clip_id']} in shards/{bad['bucket']}/{bad['shard']}.tar: undecodable" in said
    )
    assert "the next run tries them again" in said
    assert {clip for clip, _ in open_latents(open_store(str(dataset)), None).rows} == {
        c["clip_id"] for c in clips
    } - {bad["clip_id"]}

    again = encode(dataset, tiny_run)
    assert (again["shards_made"], again["clips_unread"]) == (0, 1), "its neighbours are not made again"

    damage(dataset, bad, was)
    mended = encode(dataset, tiny_run)
    assert (mended["shards_made"], mended["clips_unread"], mended["clips"]) == (1, 0, len(clips))
    assert {clip for clip, _ in open_latents(open_store(str(dataset)), None).rows} == {
        c["clip_id"] for c in clips
    }
    assert "all shards were there" in (encode(dataset, tiny_run), capsys.readouterr().out)[1]


def test_when_none_can_be_read_the_job_fails_and_names_one(dataset, tiny_run, shared_ray):
    for path in dataset.glob("shards/*/*.tar"):
        path.unlink()
    with pytest.raises(RuntimeError, match=r"none of the \d clips can be read, such as clip \w+ in shards/"):
        encode(dataset, tiny_run)


def test_clips_written_anew_are_encoded_anew(dataset, tiny_run, shared_ray):
    first = encode(dataset, tiny_run)
    before = {shard.sha256 for shard in open_dataset(str(dataset)).shards()}
    run_job("curate", tiny_run.overrides[0], f"dataset={dataset}", "recipe=permissive",
        "recipe.min.duration_s=0.5",
            "cut.method=encode", "encode.crf=48", "cut.min_db=20")  # fmt: skip
    assert before.isdisjoint(shard.sha256 for shard in open_dataset(str(dataset)).shards())
    second = encode(dataset, tiny_run)
    assert second["latents"] == first["latents"], "the same VAE, shapes and windows"
    assert second["shards_made"] == second["shards"] == first["shards"]
    assert (second["clips"], second["clips_unread"]) == (first["clips"], 0)


def test_clips_without_text_are_encoded_and_the_index_says_which_texts_there_are(
    dataset, tiny_run, shared_ray, tmp_path
):
    run_job("curate", tiny_run.overrides[0], f"dataset={dataset}", "recipe=permissive",
        "recipe.min.duration_s=0.5",
            "captioner=own_text")  # fmt: skip
    encode(dataset, tiny_run)
    rows = open_latents(open_store(str(dataset)), None).rows
    assert {row.texts for row in rows.values()} == {""}


def test_the_precision_is_part_of_what_latents_are_and_is_gone_on_with(dataset, tiny_run, shared_ray, capsys):
    chosen = decide(AUTO).name
    first = encode(dataset, tiny_run)
    assert first["precision"] == chosen
    assert f"encode computes in {chosen}" in capsys.readouterr().out
    other = "fp32" if chosen == "bf16" else "bf16"
    second = encode(dataset, tiny_run, f"precision={other}")
    assert (second["precision"], second["latents"] == first["latents"]) == (other, False)
    assert open_latents(open_store(str(dataset)), second["latents"]).manifest["precision"] == other
    shutil.rmtree(dataset / "latents" / first["latents"])
    assert encode(dataset, tiny_run)["latents"] == second["latents"], "auto keeps what there is"
    assert "(as it began" in capsys.readouterr().out


def test_more_encoders_than_there_is_room_for_are_refused_before_anything_runs(dataset, tiny_run, shared_ray):
    with pytest.raises(ValueError, match=r"workers=3 with 1 CPUs each needs 3 CPUs, and there are 2 CPUs"):
        encode(dataset, tiny_run, "workers=3")
    with pytest.raises(ValueError, match=r"workers=1 with a GPU each needs 1 GPU, and there is no GPU"):
        encode(dataset, tiny_run, "gpu=true")


def test_a_fault_of_the_storage_is_one_line_that_names_the_shard(dataset, tiny_run, shared_ray):
    """What is no fault of a clip ends the job: here a file lies where a folder of latent shards is to be."""
    result = encode(dataset, tiny_run)
    folder = dataset / "latents" / result["latents"] / "shards"
    for path in folder.iterdir():
        shutil.rmtree(path)
    bucket = next(open_dataset(str(dataset)).kept())["bucket"]
    (folder / bucket).write_text("in the way")
    with pytest.raises(Exception, match="latent shard") as caught:
        encode(dataset, tiny_run)
    line = one_line_message(caught.value)
    assert line.startswith(f"latent shard {bucket}/")
    assert "\n" not in line


def test_the_tars_of_latents_are_what_they_were_called_for(dataset, tiny_run, shared_ray):
    result = encode(dataset, tiny_run)
    held: list[str] = []
    for path in (dataset / "latents" / result["latents"] / "shards").glob("*/*.tar"):
        with tarfile.open(path) as tar:
            held += [name.partition(".")[0] for name in tar.getnames()]
    assert sorted(held) == sorted(clip["clip_id"] for clip in open_dataset(str(dataset)).kept())
