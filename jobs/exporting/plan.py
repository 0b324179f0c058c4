"""Which clips become which files: what is meant, what of it has a file at all, and whether it may be written.

In: the config of `rushes export`. Out: a `ExportPlan`, before anything is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from jobs.cli.formatting import format_count
from jobs.exporting.file_names import file_name
from jobs.exporting.rejected import why_no_file
from jobs.listing.account import by_reason
from jobs.listing.clip_at import clip_at
from jobs.listing.config import ExportConfig
from jobs.listing.ids import ids_of, short_length
from jobs.listing.select_clips import ClipFilter, select_clips
from jobs.training.out_folder import check_free, check_local
from pipelines.dataset.reader import Dataset, open_dataset
from pipelines.dataset.schema import KEPT, Row

SUFFIX = ".mp4"
COLUMNS = (
    *(
        "clip_id",
        "source_uri",
        "start_s",
        "end_s",
        "start_pts",
        "end_pts",
        "time_base",
        "num_frames",
        "width",
        "height",
    ),
    *(
        "interlaced",
        "frames_hash",
        "cut_method",
        "lead_frames",
        "bucket",
        "shard",
        "offset",
        "size",
        "status",
        "reject_reasons",
    ),
)


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Files by path with the row of the clip that each shows; how many of the clips that are meant have none,
    being rejected."""

    dataset: Dataset
    files: dict[Path, Row]
    rejected: int


def make_plan(cfg: ExportConfig) -> ExportPlan:
    """What is to be written.

    Raises:
        FileNotFoundError: there is no dataset.
        ValueError: what is meant is not known, has no file, or may not be written where it should.
    """
    if cfg.at_s is not None and cfg.source is None:
        raise ValueError("at_s is a time in a source: give source=<file> with it")
    if cfg.clip is not None and cfg.at_s is not None:
        raise ValueError("clip= and at_s= both say which clip is meant; give one")
    check_local("out", cfg.out)
    dataset = open_dataset(cfg.dataset)
    found = _meant(dataset, cfg)
    kept = [row for row in found if row["status"] == KEPT]
    digits = short_length(ids_of(dataset))
    if not kept:
        raise ValueError(_why_none(dataset, cfg, found, digits))
    kept = kept[: cfg.limit]
    rejected = len(found) - sum(row["status"] == KEPT for row in found)
    if not _is_file(cfg.out):
        check_free("out", cfg.out)
        return ExportPlan(dataset, {Path(cfg.out) / file_name(row, digits): row for row in kept}, rejected)
    if len(kept) > 1:
        raise ValueError(
            f"out={cfg.out} is one file, and {format_count(len(kept), 'clip')} are meant; give clip=, or "
            f"source= and at_s=, or a folder for all of them: out={cfg.out.removesuffix(SUFFIX)}/"
        )
    path = Path(cfg.out)
    if path.exists() and not cfg.replace:
        raise ValueError(f"out={cfg.out} is there already; give another name, or replace=true")
    return ExportPlan(dataset, {path: kept[0]}, rejected)


def _is_file(out: str) -> bool:
    """Whether one file is meant: it ends like one, and no folder is called so.

    Raises:
        ValueError: it ends like a file of another kind.
    """
    path = Path(out)
    if out.endswith("/") or path.is_dir() or not path.suffix:
        return False
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"out={out}: clips are mp4; end it in {SUFFIX} for one file, or in / for a folder")
    return True


def _meant(dataset: Dataset, cfg: ExportConfig) -> list[Row]:
    source, clip = cfg.source, cfg.clip
    if source is not None and cfg.at_s is not None:
        clip = clip_at(dataset, source, cfg.at_s)
        source = None
    rows = select_clips(
        dataset, ClipFilter(source=source, bucket=cfg.bucket, clip=clip, sort=cfg.sort), COLUMNS
    ).rows
    return rows.select(COLUMNS).to_pylist()


def _why_none(dataset: Dataset, cfg: ExportConfig, found: list[Row], digits: int) -> str:
    if not found and cfg.clip is not None:
        for row in dataset.quarantine().rows():
            if (row["clip_id"] or "").startswith(cfg.clip):
                return f"clip={cfg.clip} is in quarantine: {row['stage']}: {row['reason']}: {row['message']}"
        return (
            f"clip={cfg.clip}: no clip that is meant has an id that begins so; rushes clips "
            f"dataset={cfg.dataset} lists them"
        )
    if not found:
        return f"no clip of {cfg.dataset} is meant; rushes clips dataset={cfg.dataset} lists what there is"
    if len(found) == 1:
        clip_id = found[0]["clip_id"]
        (row,) = dataset.index().where(lambda batch: pc.equal(batch["clip_id"], clip_id)).to_pylist()
        return why_no_file(dataset, row, digits, cfg.dataset)
    reasons = Counter(reason for row in found for reason in row["reject_reasons"])
    return (
        f"all {format_count(len(found), 'clip')} that are meant were rejected ({by_reason(reasons)}), and "
        f"rejected clips have no file; rushes select dataset={cfg.dataset} with a looser recipe keeps them"
    )
