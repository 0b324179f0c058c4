"""A dataset of any older schema is read by everything as it is: what its version did not know is null, and
its shards stay."""

import html
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.cli.main import WRONG_USAGE, main
from jobs.encoding.plan import chunks, split_finished
from jobs.inspect import describe
from jobs.listing.passport_text import as_text, passport
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, conform_to_schema
from pipelines.ids import hash_bytes, hash_text
from pipelines.storage.parquet import parquet_bytes, read_parquet
from tests.conftest import run_job
from tests.support.footage import film, pan, write

# The columns of schema 1, the first that there was, and what the index of schema 2 had beside.
INDEX_1 = """
    clip_id video_id source_uri source_text source_license source_dataset shot_index start_kind end_kind
    start_pts
    end_pts time_base start_s end_s num_frames fps width height pixel_aspect codec duration_s short_side
    motion_mean
    motion_p95 object_motion luma_mean luma_std sharpness camera camera_magnitude status reject_reasons bucket
    caption_short caption_dense tag_subject tag_setting tag_camera tag_light tag_motion tag_style
    caption_model
    cut_method lead_frames shard offset size json_offset json_size txt_offset txt_size encode_fingerprint
"""
NEW_IN_2 = """
    start_confidence end_confidence frames_hash safe_x safe_y safe_width safe_height static_ratio black_ratio
    flicker safe_share blockiness blur noise text_area text_count text_boxes text nsfw tags colours aesthetic
    watermark text_match technical score_gaps score_models duplicate_of duplicate_kind duplicate_similarity
    cut_why
"""
SOURCES_1 = "uri size_bytes etag status video_id why duration_s"
TAGS_2 = pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("probability", pa.float32())]))


def _schema_1(name: str, rows: pa.Table) -> pa.Table:
    keep = {"index": INDEX_1, "sources": SOURCES_1}.get(name)
    return rows.select(keep.split()) if keep else rows


def _schema_2(name: str, rows: pa.Table) -> pa.Table:
    """As it began: later datasets of schema 2 lack less."""
    if name == "sources":
        return rows.select(SOURCES_1.split())
    if name == "looks":
        return rows.drop_columns(["clip_fingerprint"])
    if name != "index":
        return rows
    rows = rows.select([column for column in rows.column_names if column in (INDEX_1 + NEW_IN_2).split()])
    tags = [
        row and [{name: tag[name] for name in ("name", "probability")} for tag in row]
        for row in rows["tags"].to_pylist()
    ]
    rows = rows.set_column(rows.schema.get_field_index("tags"), "tags", pa.array(tags, TAGS_2))
    return rows.drop_columns(["colours"])


def _with(table: pa.Table, name: str, values: list) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))


def _named_then(shard: str) -> str:
    """What an earlier version called a shard: it cut clips in another way, which a shard's id tells."""
    return hash_text(shard)[:16]


def as_of(schema: int, dataset: Path, looks: bool) -> None:
    """Make a dataset what an earlier version would have left.

    Args:
        looks: whether it noted what clips look like, with the rules of its recipe and its settings.
    """
    path = max((dataset / "manifests").iterdir())
    manifest = json.loads(path.read_text()) | {"schema": schema}
    for name in ("index", "sources", "quarantine", "looks"):
        rows = [read_parquet((dataset / key).read_bytes()) for key in manifest[name]]
        table = {1: _schema_1, 2: _schema_2}[schema](name, pa.concat_tables(rows))
        if name == "index":
            shards = table["shard"].to_pylist()
            table = _with(table, "encode_fingerprint", [shard and "0" * 16 for shard in shards])
            table = _with(table, "shard", [shard and _named_then(shard) for shard in shards])
        data = parquet_bytes(table)
        manifest[name] = [f"{name}/{hash_bytes(data)}.parquet"]
        (dataset / manifest[name][0]).write_bytes(data)
    for shard in manifest["shards"]:
        old = dataset / shard["key"]
        shard["id"] = _named_then(shard["id"])
        shard["key"] = str(old.rename(old.with_stem(shard["id"])).relative_to(dataset))
    if not looks:
        manifest = {name: value for name, value in manifest.items() if name not in ("looks", "settings")}
        manifest["recipe"].pop("rules")
    shutil.rmtree(dataset / "manifests")
    shutil.rmtree(dataset / "stages")
    (dataset / "manifests").mkdir()
    (dataset / "manifests/000001.json").write_text(json.dumps(manifest))


OLDER = {"schema 1": (1, False), "schema 2, at first": (2, False), "schema 2": (2, True)}


@pytest.fixture(scope="module")
def curated(tmp_path_factory, shared_ray):
    """Three clips that are kept, and a text that claims to be a film."""
    folder = tmp_path_factory.mktemp("footage")
    write(folder / "a.mp4", film(pan(1, 40, 48, 64), pan(2, 35, 48, 64), pan(4, 30, 48, 64)), fps=25)
    (folder / "text.mp4").write_text("dear diary, " * 20)
    dataset = tmp_path_factory.mktemp("dataset") / "dataset"
    # As the preset has it, so that its rules are known by its hash.
    run_job(
        "curate",
        f"footage={folder}",
        f"dataset={dataset}",
        f"ray.address={shared_ray.address}",
        "scores.text=false",
        "scores.nsfw=false",
        "recipe=permissive",
    )
    return folder, dataset


@pytest.fixture(params=OLDER)
def older(request, curated, tmp_path):
    """(which, its footage, the dataset)"""
    schema, looks = OLDER[request.param]
    dataset = Path(shutil.copytree(curated[1], tmp_path / "dataset"))
    as_of(schema, dataset, looks)
    return request.param, curated[0], dataset


def test_missing_columns_are_null_and_the_others_are_what_they_were(older, curated):
    which, _, path = older
    now, then = open_dataset(str(curated[1])), open_dataset(str(path))
    assert then.manifest.schema == OLDER[which][0]
    for name, schema in (("index", INDEX), ("sources", SOURCES), ("quarantine", QUARANTINE)):
        read, there = (
            getattr(then, name)().table(),
            read_parquet((path / then.manifest.__getattribute__(name)[0]).read_bytes()),
        )
        assert read.schema.equals(schema)
        for column in set(schema.names) - {"score_gaps", "encode_fingerprint", "shard"}:
            if column not in there.column_names:
                assert read[column].null_count == len(read) > 0, column
            elif column != "tags":
                assert read[column].equals(getattr(now, name)().table()[column]), column
    assert len(then.index().table()) == 3
    gaps = {gap["score"]: gap["why"] for gap in then.index().table().to_pylist()[0]["score_gaps"]}
    assert "before this score existed" in gaps["colours"], "null is explained"
    for row in then.kept():
        assert then.read(row, "mp4") == now.read(
            next(r for r in now.kept() if r["clip_id"] == row["clip_id"]), "mp4"
        )


def test_records_lack_what_their_version_did_not_know_and_no_column_becomes_another():
    tags = pa.table({"tags": pa.array([[{"name": "kite", "probability": 0.5}], None], TAGS_2)})
    schema = pa.schema([INDEX.field("clip_id"), INDEX.field("tags")])
    read = conform_to_schema(tags, schema).to_pylist()
    assert read == [
        {"clip_id": None, "tags": [{"name": "kite", "number": None, "probability": 0.5}]},
        {"clip_id": None, "tags": None},
    ]
    with pytest.raises(pa.ArrowException):
        conform_to_schema(pa.table({"clip_id": pa.array([[1]])}), schema)


def test_everything_reads_it(older, shared_ray):
    _, _, path = older
    dataset = f"dataset={path}"
    holds = describe(str(path))
    assert (holds["clips_kept"], holds["clips_rejected"], holds["quarantined"], holds["shards"]) == (
        3,
        0,
        1,
        1,
    )
    opened = open_dataset(str(path))
    told = passport(opened, next(opened.kept())["clip_id"])
    assert all(rule["within"] is not False for rule in told["decision"]["rules"]), as_text(told)
    run_job("report", dataset)
    assert next(opened.kept())["caption_short"] in html.unescape((path / "report.html").read_text())
    finished, missing = split_finished(opened.store, "f" * 16, chunks(opened))
    assert (finished, [len(chunk.rows) for chunk in missing]) == ([], [3])
    assert run_job("clean", dataset)["removed"] == 0
    did = run_job("verify", dataset, f"ray.address={shared_ray.address}")
    assert (did["findings"], did["clips_decoded"]) == (0, 3)


def test_deciding_again_leaves_its_shards_as_they_are_and_needs_no_footage(
    older, curated, shared_ray, tmp_path, monkeypatch
):
    _, footage, path = older
    ray, dataset = f"ray.address={shared_ray.address}", f"dataset={path}"
    before = {file: file.read_bytes() for file in path.glob("shards/*/*.tar")}
    moved = footage.rename(tmp_path / "elsewhere")
    try:
        did = run_job("select", dataset, ray)
        assert (did["clips_cut"], did["clips_captioned"], did["shards_written"], did["shards"]) == (
            0,
            0,
            0,
            1,
        )
        assert open_dataset(str(path)).manifest.schema == SCHEMA_VERSION
        assert run_job("verify", dataset, ray)["findings"] == 0
        # One falls: the others are packed again, from the bytes that are there.
        bound = sorted(row["duration_s"] for row in open_dataset(str(path)).kept())[1]
        did = run_job("select", dataset, ray, f"recipe.min.duration_s={bound}")
        assert (did["clips_cut"], did["clips_captioned"], did["shards_written"], did["shards"]) == (
            0,
            0,
            1,
            1,
        )
        assert len(list(open_dataset(str(path)).kept())) == 2
        assert run_job("verify", dataset, ray)["findings"] == 0
        assert {file: file.read_bytes() for file in before} == before
    finally:
        moved.rename(footage)


def test_other_footage_joins_it_and_its_own_is_made_anew_where_it_is_curated_again(
    older, shared_ray, tmp_path
):
    _, footage, path = older
    ray, dataset = f"ray.address={shared_ray.address}", f"dataset={path}"
    shard = open_dataset(str(path)).shards()
    assert run_job("requeue", dataset, ray)["still_quarantined"] == 1
    write(tmp_path / "b.mp4", pan(7, 40, 48, 64), fps=25)
    more = ["scores.text=false", "scores.nsfw=false", "recipe=permissive", ray, dataset]
    did = run_job("curate", f"footage={tmp_path / 'b.mp4'}", *more)
    assert (did["clips_cut"], did["shards"]) == (1, 2)
    assert shard[0] in open_dataset(str(path)).shards()
    assert run_job("verify", dataset, ray)["findings"] == 0
    did = run_job("curate", f"footage={footage}", *more)
    assert did["clips_cut"] == 3
    rows = open_dataset(str(path)).index().table().to_pylist()
    assert len(rows) == 4
    assert all(row["frames_hash"] and row["safe_width"] for row in rows)
    assert run_job("verify", dataset, ray)["findings"] == 0


def test_a_later_schema_is_one_line_for_everybody(curated, tmp_path, capsys):
    path = Path(shutil.copytree(curated[1], tmp_path / "dataset"))
    manifest = max((path / "manifests").iterdir())
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 99}))
    for job, *more in (
        ["inspect"],
        ["select"],
        ["verify"],
        ["report"],
        ["passport", "clip=0"],
        ["clean"],
        ["requeue"],
    ):
        assert main([job, f"dataset={path}", *more]) == WRONG_USAGE
        (line,) = capsys.readouterr().err.splitlines()
        assert (
            f"dataset {path} has schema 99, which a later version of rushes made; this one reads up to "
            f"{SCHEMA_VERSION}" in line
        )


def test_a_recipe_whose_rules_an_early_version_did_not_keep_is_asked_for(curated, tmp_path, capsys):
    path = Path(shutil.copytree(curated[1], tmp_path / "dataset"))
    as_of(1, path, False)
    manifest = path / "manifests/000001.json"
    manifest.write_text(
        json.dumps(json.loads(manifest.read_text()) | {"recipe": {"name": "mine", "hash": "0" * 16}})
    )
    assert main(["select", f"dataset={path}"]) == WRONG_USAGE
    assert (
        "kept the name of its recipe ('mine') and not its rules; name a preset or a file"
        in capsys.readouterr().err
    )
    opened = open_dataset(str(path))
    assert passport(opened, next(opened.kept())["clip_id"])["decision"]["rules"] == []
