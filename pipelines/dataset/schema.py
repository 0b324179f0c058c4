"""The tables of a dataset: their columns, types, units and meaning, and one byte-exact way of writing them.

In: rows as dictionaries. Out: Arrow tables and parquet bytes. The index, sources and quarantine tables hold
no times of day and no run ids, so the same content has the same bytes.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.scores.registry import score_fields

SCHEMA_VERSION = 3
"""Of the tables and the manifest. Readers take every older one: a new version adds columns, which are null in
older tables, and renames none."""
KEPT, REJECTED = "kept", "rejected"
Row = Mapping[str, Any]
"""A row of a dataset's table: values by column."""
_NAMES = ("clip_id", "video_id", "duplicate_of", "shard", "bucket")
_NAME = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$"


def _field(name: str, kind: pa.DataType, doc: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"doc": doc, **({"unit": unit} if unit else {})})


def _pairs(key: str, value: str) -> pa.DataType:
    return pa.list_(pa.struct([pa.field(key, pa.string()), pa.field(value, pa.string())]))


_WORDS = pa.list_(pa.string())
_SAFE = (("x", "left edge"), ("y", "top edge"), ("width", "width"), ("height", "height"))

INDEX = pa.schema(
    [
        _field("clip_id", pa.string(), "hash(video_id, start_pts, end_pts)"),
        _field("video_id", pa.string(), "hash of the source's bytes"),
        _field("source_uri", pa.string(), "where the footage is"),
        _field("source_text", pa.string(), "what the footage's own list says of it"),
        _field("source_license", pa.string(), "the license its list names"),
        _field("source_dataset", pa.string(), "the collection its list names"),
        _field("shot_index", pa.int32(), "number of its shot in the video, from 0"),
        _field("start_kind", pa.string(), "edge, hard, fade, dissolve or divided"),
        _field("end_kind", pa.string(), "edge, hard, fade, dissolve or divided"),
        _field("start_confidence", pa.float64(), "of start_kind, 0 to 1"),
        _field("end_confidence", pa.float64(), "of end_kind, 0 to 1"),
        _field("start_pts", pa.int64(), "first frame", "time_base s"),
        _field("end_pts", pa.int64(), "end of the last frame, exclusive", "time_base s"),
        _field("time_base", pa.string(), "fraction, like 1/12800", "s"),
        _field("start_s", pa.float64(), "start_pts × time_base", "s"),
        _field("end_s", pa.float64(), "end_pts × time_base", "s"),
        _field("num_frames", pa.int32(), "without lead and tail", "frames"),
        _field("frames_hash", pa.string(), "of every sample of every frame, as decoded from the source"),
        _field("fps", pa.float64(), "num_frames ÷ duration_s: the mean", "1/s"),
        _field("width", pa.int32(), "as displayed: cropped, in square pixels, turned", "px"),
        _field("height", pa.int32(), "as displayed: cropped, in square pixels, turned", "px"),
        _field("coded_width", pa.int32(), "of a picture as it is decoded", "px"),
        _field("coded_height", pa.int32(), "of a picture as it is decoded", "px"),
        _field("pixel_aspect", pa.string(), "fraction, width ÷ height of a coded pixel"),
        _field(
            "rotation_deg", pa.int32(), "clockwise turn that shows it upright, after mirroring", "degrees"
        ),
        _field("mirrored", pa.bool_(), "left and right are swapped to show it"),
        _field("interlaced", pa.bool_(), "a picture of it is of two fields"),
        _field("pixel_format", pa.string(), "FFmpeg's name of how samples lie"),
        _field("bit_depth", pa.int32(), "of a sample", "bits"),
        _field("transfer", pa.string(), "SDR, PQ or HLG"),
        _field("picture_format", pa.string(), "all of this, cropping and the numbers of colours, as JSON"),
        _field("codec", pa.string(), "of the source"),
        *(
            _field(f"safe_{name}", pa.int32(), f"{what} of the picture without bars around it", "px")
            for name, what in _SAFE
        ),
        *score_fields(),
        _field("score_gaps", _pairs("score", "why"), "scores that are null, and why"),
        _field(
            "score_models",
            _pairs("source", "model"),
            "what measured the scores, by the source that their columns name",
        ),
        _field("status", pa.string(), "kept or rejected"),
        _field("reject_reasons", _WORDS, "why rejected, sorted; empty if kept"),
        _field(
            "duplicate_of", pa.string(), "clip_id of the better copy that is kept instead; null if it is none"
        ),
        _field("duplicate_kind", pa.string(), "exact, perceptual or semantic; null if it is no duplicate"),
        _field("duplicate_similarity", pa.float64(), "to that copy, 0 to 1; null if it is no duplicate"),
        _field("bucket", pa.string(), "aspect × resolution × length class"),
        _field("caption_short", pa.string(), "one sentence; null if rejected"),
        _field("caption_dense", pa.string(), "several sentences; null if rejected"),
        *(
            _field(f"tag_{name}", _WORDS, f"{name} tags of the captioner")
            for name in ("subject", "setting", "camera", "light", "motion", "style")
        ),
        _field("caption_model", pa.string(), "the captioner that wrote them"),
        _field("cut_method", pa.string(), "copy (the source's own packets) or encode; null if not cut"),
        _field("cut_why", pa.string(), "why it was re-encoded; null if copied, or not cut"),
        _field(
            "lead_frames", pa.int32(), "frames before the clip that a reader skips; null if not cut", "frames"
        ),
        _field(
            "cut_sound",
            pa.string(),
            "what became of its sound: kept, converted or left out, and why; null if there is none, with "
            "cut.audio=drop, or if not cut",
        ),
        _field("shard", pa.string(), "id of the shard; null if not cut"),
        _field("offset", pa.int64(), "of the mp4's data in the shard", "bytes"),
        _field("size", pa.int64(), "of the mp4", "bytes"),
        *(
            _field(f"{suffix}_{what}", pa.int64(), f"{what} of the {suffix}'s data in the shard", "bytes")
            for suffix in ("json", "txt")
            for what in ("offset", "size")
        ),
        _field("encode_fingerprint", pa.string(), "of the settings that cut it; null if not cut"),
    ]
)


def _columns(*names: str, also: tuple[pa.Field, ...] = ()) -> pa.Schema:
    return pa.schema([*(INDEX.field(name) for name in names), *also])


_REASON = (
    _field("reason", pa.string(), "one of pipelines.errors.Reason; null if it succeeded"),
    _field("message", pa.string(), "what exactly went wrong"),
)

CAPTION_COLUMNS = tuple(INDEX.names[INDEX.names.index("caption_short") : INDEX.names.index("cut_method")])
"""Of the index, that a captioner fills."""

# What the stages commit, in the columns of the index they fill.
CLIPS = _columns(
    *INDEX.names[INDEX.names.index("shot_index") : INDEX.names.index("status")],
    also=(INDEX.field("clip_id"), INDEX.field("video_id")),
)
CAPTIONS = _columns(
    "clip_id",
    *CAPTION_COLUMNS,
    also=(
        _field("shown", pa.string(), "hash of the scores and the text that the captioner was told"),
        *_REASON,
    ),
)
CUTS = _columns(
    "clip_id",
    *INDEX.names[INDEX.names.index("cut_method") :],
    "bucket",
    also=(
        _field("shard_sha256", pa.string(), "of the whole tar"),
        _field("shard_bytes", pa.int64(), "of the whole tar", "bytes"),
        *_REASON,
    ),
)

SOURCES = pa.schema(
    [
        _field("uri", pa.string(), "where it is"),
        _field("size_bytes", pa.int64(), "its size", "bytes"),
        _field("etag", pa.string(), "changes when the content does"),
        _field("status", pa.string(), "video, duplicate, ignored or quarantined"),
        _field("video_id", pa.string(), "hash of its bytes; null if ignored or unread"),
        _field(
            "why",
            pa.string(),
            "why it was ignored, which source it repeats, or which films it has besides the video",
        ),
        _field("duration_s", pa.float64(), "of the video", "s"),
        _field("lost_s", pa.float64(), "of it, lost to damage: 0 if nothing is; null if nobody knows", "s"),
        *(INDEX.field(f"source_{name}") for name in ("text", "license", "dataset")),
    ]
)

QUARANTINE = pa.schema(
    [
        _field("source_uri", pa.string(), "where it is"),
        _field("stage", pa.string(), "the stage that gave up"),
        _field("reason", pa.string(), "one of pipelines.errors.Reason"),
        _field("message", pa.string(), "what exactly"),
        _field("video_id", pa.string(), "null if its bytes could not be read"),
        _field(
            "clip_id", pa.string(), "null if the entire source is quarantined, or a stretch of it is lost"
        ),
        _field(
            "start_s",
            pa.float64(),
            "of a stretch that is lost, while the rest is a video; null of all else",
            "s",
        ),
        _field("end_s", pa.float64(), "where it ends; null if nobody knows", "s"),
    ]
)


def is_gap(row: Mapping[str, Any]) -> bool:
    """Whether a row of the quarantine is about a lost stretch of a source that is a video all the same."""
    return row.get("start_s") is not None


def table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of rows; what a row does not have is null, what the schema does not have is an error."""
    rows = list(rows)
    for row in rows:
        if unknown := set(row) - set(schema.names):
            raise ValueError(f"columns {sorted(unknown)} are not in the schema")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def check_names(rows: pa.RecordBatch | pa.Table, columns: Collection[str] = _NAMES) -> None:
    """Check ids and buckets, which become file names: in an untrusted table they could contain a path.

    Args:
        columns: those that hold them.

    Raises:
        ValueError: one is no name.
    """
    for column in columns:
        if column not in rows.schema.names:
            continue
        names = rows[column].cast(pa.string())
        wrong = names.filter(pc.invert(pc.match_substring_regex(names, _NAME)))
        if len(wrong):
            raise ValueError(
                f"{column} {wrong[0].as_py()[:100]!r} is no name that rushes gives; who wrote these rows?"
            )


def conform_to_schema(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with exactly the columns of a schema. Columns, and fields of struct columns, that an earlier
    version did not write are null.

    Raises:
        ValueError: a column is of another kind.
    """
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)
