"""A dataset that is what its manifest says passes; whatever is not is found, named, and the only thing
found."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from jobs.cli.main import FAILED, WRONG_USAGE, main
from jobs.upkeep.findings import UnsoundError
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SOURCES, table
from pipelines.dedup.looks import LOOKS
from pipelines.ids import hash_bytes, sha256_file
from pipelines.storage.parquet import parquet_bytes, read_parquet
from tests.conftest import run_job
from tests.support.footage import film, pan, write

SETTINGS = [
    "scores.text=false",
    "scores.nsfw=false",
    "recipe=permissive",
    "recipe.min.duration_s=1.0",
    "cut.max_lead_share=0.4",
]
SCHEMAS = {"index": INDEX, "sources": SOURCES, "quarantine": QUARANTINE, "looks": LOOKS}


@pytest.fixture(scope="module")
def curated(tmp_path_factory, shared_ray):
    """Kept clips that were copied and one that had to be encoded, one too short, a copy, a note, and no
    film."""
    folder = tmp_path_factory.mktemp("footage")
    one_keyframe = {"x264-params": "keyint=250:scenecut=0"}
    shots = film(pan(1, 40, 48, 64), pan(2, 30, 48, 64), pan(4, 12, 48, 64))
    write(folder / "a.mp4", shots, fps=25, options=one_keyframe)
    write(folder / "b.avi", pan(6, 40, 48, 64), codec="mpeg4", options={"qmin": "2", "qmax": "2"})
    shutil.copy(folder / "a.mp4", folder / "copy of a.mp4")
    (folder / "notes.txt").write_text("shot on a sunny day")
    (folder / "text.mp4").write_text("dear diary, " * 20)
    dataset = tmp_path_factory.mktemp("dataset") / "dataset"
    run_job(
        "curate", f"footage={folder}", f"dataset={dataset}", f"ray.address={shared_ray.address}", *SETTINGS
    )
    return dataset


@pytest.fixture
def dataset(curated, tmp_path):
    return Path(shutil.copytree(curated, tmp_path / "dataset"))


def verify(dataset, shared_ray, *overrides):
    return run_job("verify", f"dataset={dataset}", f"ray.address={shared_ray.address}", *overrides)


def findings(dataset, shared_ray, *overrides):
    with pytest.raises(UnsoundError):
        verify(dataset, shared_ray, *overrides)
    (path,) = sorted(dataset.glob("runs/*-verify-*/verify.json"))[-1:]
    told = json.loads(path.read_text())
    assert told["findings"] == len(told["found"]) > 0
    return told["found"]


def manifest_of(dataset):
    return sorted((dataset / "manifests").iterdir())[-1]


def forge(dataset, folder, change):
    """Change the rows of a table, and name it in the manifest as if curation had made it so."""
    path = manifest_of(dataset)
    manifest = json.loads(path.read_text())
    rows = read_parquet((dataset / manifest[folder][0]).read_bytes()).to_pylist()
    rows = change(rows) or rows
    data = parquet_bytes(table(rows, SCHEMAS[folder]))
    manifest[folder] = [f"{folder}/{hash_bytes(data)}.parquet"]
    (dataset / manifest[folder][0]).write_bytes(data)
    path.write_text(json.dumps(manifest))


def shard_of(dataset):
    """The shard with most clips, and its clips."""
    opened = open_dataset(str(dataset))
    shard = max(opened.shards(), key=lambda shard: shard.clips)
    return dataset / shard.key, sorted(
        (row for row in opened.kept() if row["shard"] == shard.id), key=lambda row: row["offset"]
    )


def sign(dataset, shard):
    """Make the manifest say of a shard what it is now."""
    path = manifest_of(dataset)
    manifest = json.loads(path.read_text())
    for entry in manifest["shards"]:
        if dataset / entry["key"] == shard:
            entry |= {"sha256": sha256_file(shard), "bytes": shard.stat().st_size}
    path.write_text(json.dumps(manifest))


def overwrite(path, offset, data):
    path.chmod(0o644)
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(data)


def pack_again(shard, change):
    """Write a tar again, with other members."""
    with tarfile.open(shard) as tar:
        files = [(member.name, tar.extractfile(member).read()) for member in tar]
    shard.unlink()
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in change(files):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("what", "check"),
    [("shards", "shard"), ("index", "table"), ("looks", "table"), ("shard", "shard"), ("table", "table")],
)
def test_what_leads_out_is_a_finding_that_names_the_link(dataset, tmp_path, shared_ray, what, check):
    shutil.copytree(dataset, tmp_path / "home")
    path = dataset / what
    if what == "shard":
        path = next((dataset / "shards").rglob("*.tar"))
    elif what == "table":
        path = next((dataset / "sources").iterdir())
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(tmp_path / "home" / path.relative_to(dataset))
    found = findings(dataset, shared_ray, "decode=false")
    assert {one["check"] for one in found} == {check}
    assert all(f"{path} is a link to" in one["what"] for one in found)


@pytest.mark.parametrize(
    "command", [["inspect"], ["clips"], ["report", "out=r.html"], ["verify"], ["clean"], ["select"]]
)
@pytest.mark.parametrize("what", ["index", "manifests"])
def test_what_leads_out_is_one_line_for_all_who_read_it(
    dataset, tmp_path, monkeypatch, capsys, command, what
):
    monkeypatch.chdir(tmp_path)
    (dataset / what).rename(tmp_path / what)
    (dataset / what).symlink_to(tmp_path / what)
    assert main([command[0], f"dataset={dataset}", *command[1:]]) in (
        (0,) if [what, *command] == ["index", "clean"] else (FAILED, WRONG_USAGE)
    )
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert f"{dataset / what} is a link to {tmp_path / what}, out of {dataset}" in said.out + said.err


def test_rows_of_names_that_lead_out_are_findings_and_nothing_is_written(dataset, tmp_path, shared_ray):
    def lead_out(rows):
        for row in rows:
            if row["status"] == "kept":
                row["clip_id"] = f"../../../../../..{tmp_path}/home/x"

    (tmp_path / "home").mkdir()
    forge(dataset, "index", lead_out)
    found = findings(dataset, shared_ray)
    assert any(one["check"] == "columns" and "is no name that rushes gives" in one["what"] for one in found)
    assert main(["export", f"dataset={dataset}", f"out={tmp_path}/out/"]) in (FAILED, WRONG_USAGE)
    assert not list((tmp_path / "home").iterdir())


def test_a_manifest_of_keys_that_lead_out_is_a_finding(dataset, shared_ray):
    path = manifest_of(dataset)
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["key"] = "../home/x.tar"
    manifest["looks"] = ["/etc/passwd"]
    path.write_text(json.dumps(manifest))
    what = {one["what"] for one in findings(dataset, shared_ray)}
    assert what >= {"'../home/x.tar' is no key of a dataset", "'/etc/passwd' is no key of a dataset"}


def test_a_dataset_as_curation_makes_it_is_sound_and_every_kept_clip_is_decoded(dataset, shared_ray):
    kept = list(open_dataset(str(dataset)).kept())
    assert {row["cut_method"] for row in kept} == {"copy", "encode"}
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    did = verify(dataset, shared_ray)
    assert (did["findings"], did["clips_decoded"], did["clips"]) == (0, len(kept), len(kept))
    after = {
        path: path.read_bytes()
        for path in dataset.rglob("*")
        if path.is_file() and "-verify-" not in str(path)
    }
    assert after == before, "nothing of the dataset is changed"
    assert verify(dataset, shared_ray, "decode=false")["clips_decoded"] == 0
    assert verify(dataset, shared_ray, "sample=0.5")["clips_decoded"] < len(kept)


def flip_in_mp4(dataset):
    shard, clips = shard_of(dataset)
    middle = clips[0]["offset"] + clips[0]["size"] // 2
    overwrite(shard, middle, bytes(255 - byte for byte in shard.read_bytes()[middle : middle + 64]))


def flip_in_padding(dataset):
    shard, _ = shard_of(dataset)
    overwrite(shard, shard.stat().st_size - 1, b"\x01")


def truncate(dataset):
    shard, clips = shard_of(dataset)
    data = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(data[: clips[-1]["offset"] + 10])


def delete_shard(dataset):
    shard_of(dataset)[0].unlink()


def extra_member(dataset):
    shard, _ = shard_of(dataset)
    pack_again(shard, lambda files: [*files, ("extra.txt", b"who am I?")])
    sign(dataset, shard)


def missing_clip(dataset):
    shard, clips = shard_of(dataset)
    pack_again(shard, lambda files: [f for f in files if not f[0].startswith(clips[-1]["clip_id"])])
    sign(dataset, shard)


def wrong_caption_in_shard(dataset):
    shard, clips = shard_of(dataset)
    overwrite(shard, clips[0]["txt_offset"], b"#")
    sign(dataset, shard)


def wrong_passport_in_shard(dataset):
    shard, clips = shard_of(dataset)
    offset, size = clips[0]["json_offset"], clips[0]["json_size"]
    text = shard.read_bytes()[offset : offset + size]
    overwrite(
        shard,
        offset,
        text.replace(b'"num_frames":4', b'"num_frames":5').replace(b'"height":4', b'"height":5'),
    )
    sign(dataset, shard)


def wrong_pictures(rows):
    next(row for row in rows if row["cut_method"] == "copy").update(frames_hash="0" * 32)


def one_byte_further(rows):
    next(row for row in rows if row["status"] == "kept")["offset"] += 1


def change(whose, **values):
    """An edit of the first row of that status."""

    def edit(rows):
        next(row for row in rows if row["status"] == whose).update(values)

    return edit


def table_flipped(dataset):
    path = dataset / json.loads(manifest_of(dataset).read_text())["index"][0]
    overwrite(path, path.stat().st_size // 2, b"\xff\x00\xff")


def table_gone(dataset):
    (dataset / json.loads(manifest_of(dataset).read_text())["looks"][0]).unlink()


def other_columns(dataset):
    path = manifest_of(dataset)
    manifest = json.loads(path.read_text())
    rows = read_parquet((dataset / manifest["sources"][0]).read_bytes())
    rows = rows.drop_columns(["etag"]).append_column("colour", rows["uri"])
    data = parquet_bytes(rows.set_column(0, "uri", rows["uri"].cast("binary")))
    manifest["sources"] = [f"sources/{hash_bytes(data)}.parquet"]
    (dataset / manifest["sources"][0]).write_bytes(data)
    path.write_text(json.dumps(manifest))


def shard_twice(dataset):
    path = manifest_of(dataset)
    manifest = json.loads(path.read_text())
    manifest["shards"].append(manifest["shards"][0])
    path.write_text(json.dumps(manifest))


def forged(folder, edit):
    return lambda dataset: forge(dataset, folder, edit)


def to_be_no_clips_copy(rows):
    rejected = next(row for row in rows if row["status"] == "rejected")
    rejected.update(duplicate_of="f" * 32, duplicate_kind="exact", duplicate_similarity=1.0)


CORRUPTIONS = {
    "a flipped stretch of a clip": (flip_in_mp4, {"hash", "decode"}),
    "a flipped byte behind the clips": (flip_in_padding, {"hash"}),
    "a truncated shard": (truncate, {"size", "hash", "members"}),
    "a shard that is gone": (delete_shard, {"shard"}),
    "a file too many in a shard": (extra_member, {"members"}),
    "a clip that is missing in a shard": (missing_clip, {"members"}),
    "another caption in a shard": (wrong_caption_in_shard, {"caption"}),
    "another passport in a shard": (wrong_passport_in_shard, {"passport"}),
    "a shard that is named twice": (shard_twice, {"manifest"}),
    "other pictures than the index says": (forged("index", wrong_pictures), {"shard id", "decode"}),
    "another caption in the index": (
        forged("index", change("kept", caption_short="another")),
        {"shard id", "caption", "passport"},
    ),
    "another place in the index": (forged("index", one_byte_further), {"members"}),
    "a clip of another span": (forged("index", change("rejected", end_pts=1)), {"index"}),
    "a rejected clip in a shard": (forged("index", change("rejected", shard="0" * 16)), {"index"}),
    "a rejected clip without a reason": (forged("index", change("rejected", reject_reasons=[])), {"index"}),
    "a clip neither kept nor rejected": (forged("index", change("rejected", status="lost")), {"index"}),
    "a clip that is kept and nowhere": (
        forged("index", change("rejected", status="kept", reject_reasons=[])),
        {"index"},
    ),
    "a copy of no kept clip": (forged("index", to_be_no_clips_copy), {"duplicates"}),
    "a clip twice": (forged("index", lambda rows: [*rows, rows[-1]]), {"index", "placement", "shard id"}),
    "a clip that is lost": (
        forged("index", lambda rows: [row for row in rows if row["status"] == "kept"]),
        {"looks"},
    ),
    "a look that is lost": (forged("looks", lambda rows: rows[1:]), {"looks"}),
    "a source that is no video": (forged("sources", change("video", status="ignored")), {"sources"}),
    "a source with no known end": (forged("sources", change("ignored", status="lost")), {"sources"}),
    "a source twice": (forged("sources", lambda rows: [*rows, rows[-1]]), {"sources"}),
    "a quarantined source that the quarantine forgot": (
        forged("sources", change("duplicate", status="quarantined")),
        {"quarantine"},
    ),
    "a source in quarantine that is none": (
        forged("sources", lambda rows: [row for row in rows if row["status"] != "quarantined"]),
        {"quarantine"},
    ),
    "a table with other bytes": (table_flipped, {"table"}),
    "a table that is gone": (table_gone, {"table"}),
    "a table with other columns": (other_columns, {"columns"}),
    "a manifest with other bytes": (
        lambda dataset: overwrite(manifest_of(dataset), 0, b"\xff\xff"),
        {"manifest"},
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_not_as_the_manifest_says_is_found_and_nothing_else(dataset, shared_ray, name):
    corrupt, expected = CORRUPTIONS[name]
    corrupt(dataset)
    found = findings(dataset, shared_ray)
    assert {finding["check"] for finding in found} == expected, found
    assert all(finding["where"] and finding["what"] and finding["todo"] for finding in found)


def test_all_is_found_at_once_and_the_command_fails(dataset, shared_ray, capsys):
    flip_in_mp4(dataset)
    forge(dataset, "sources", change("ignored", status="lost"))
    assert (
        main(["verify", f"dataset={dataset}", f"ray.address={shared_ray.address}", "decode=false"]) == FAILED
    )
    said = capsys.readouterr()
    assert "notes.txt: it is 'lost', none of video, duplicate, ignored, quarantined" in said.out
    assert "hash: shards/" in said.out
    assert "verify failed: 2 findings (1 sources, 1 hash)" in said.err


def test_without_decoding_other_pictures_are_not_seen(dataset, shared_ray):
    shard, clips = shard_of(dataset)
    flip_in_mp4(dataset)
    sign(dataset, shard)
    assert verify(dataset, shared_ray, "decode=false")["findings"] == 0
    (found, *_) = findings(dataset, shared_ray)
    assert found["check"] == "decode"
    assert clips[0]["clip_id"] in found["where"]


def test_a_shard_that_a_killed_run_left_is_taken_as_it_is_though_it_was_cut_to_other_bytes(
    dataset, shared_ray
):
    shard, clips = shard_of(dataset)
    for folder in ("manifests", "index", "stages/shards"):
        shutil.rmtree(dataset / folder)
    box = b"\0\0\0\x08free"  # at an mp4's end it changes nothing but its bytes
    pack_again(shard, lambda files: [(name, data + box * name.endswith(".mp4")) for name, data in files])
    there = shard.read_bytes()
    footage, address = Path(clips[0]["source_uri"]).parent, f"ray.address={shared_ray.address}"
    run_job("curate", f"footage={footage}", f"dataset={dataset}", address, *SETTINGS)
    assert shard.read_bytes() == there
    assert [row["size"] for row in shard_of(dataset)[1]] == [row["size"] + len(box) for row in clips]
    assert verify(dataset, shared_ray)["findings"] == 0


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, capsys):
    assert main(["verify", f"dataset={tmp_path}"]) == WRONG_USAGE
    assert "no dataset is there" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_shard_that_is_lost_is_cut_again_from_its_footage_with_the_same_bytes(dataset, shared_ray):
    shard, clips = shard_of(dataset)
    footage, whole, manifest = (
        Path(clips[0]["source_uri"]).parent,
        shard.read_bytes(),
        manifest_of(dataset).read_bytes(),
    )
    shard.unlink()
    shutil.rmtree(dataset / "manifests")
    shutil.rmtree(dataset / "stages" / "shards")
    address = f"ray.address={shared_ray.address}"
    did = run_job("curate", f"footage={footage}", f"dataset={dataset}", address, *SETTINGS)
    assert (did["videos_decoded"], did["clips_captioned"], did["clips_cut"]) == (0, 0, len(clips))
    assert (shard.read_bytes(), manifest_of(dataset).read_bytes()) == (whole, manifest)
    assert verify(dataset, shared_ray)["findings"] == 0
