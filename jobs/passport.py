"""`rushes passport`: all that is known of one clip.

In: a dataset, and a clip's id or the beginning of it. Out: identity, span, media, scores with their units and models, every
rule that was asked, copies, captions, and where its bytes lie.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.curation.config import PassportConfig
from jobs.run_folder import Run, scratch_run_folder
from pipelines.dataset import Dataset, open_dataset


def check(cfg: PassportConfig) -> None:
    """There is a dataset, and it has just one such clip."""
    dataset = open_dataset(cfg.dataset)
    if sum(name.startswith(cfg.clip) for name in _clip_ids(dataset)) != 1:
        _passport(dataset, cfg)  # raises, as it knows why


def run_folder(cfg: PassportConfig) -> Path:
    return scratch_run_folder("passport")


def run(cfg: PassportConfig, run: Run) -> dict[str, Any]:
    """Print and return the passport.

    Raises:
        ValueError: no clip, or more than one, has an id that begins so.
    """
    from jobs.curation.passport import as_text

    told = _passport(open_dataset(cfg.dataset), cfg)
    print(json.dumps(told, indent=2, ensure_ascii=False) if cfg.format == "json" else as_text(told))
    return told


def _passport(dataset: Dataset, cfg: PassportConfig) -> dict[str, Any]:
    from jobs.curation.passport import passport

    return passport(dataset, cfg.clip)


def _clip_ids(dataset: Dataset) -> list[str]:
    """One column of the index, whose rows are long."""
    files = (
        pq.ParquetFile(pa.BufferReader(dataset.store.read(key)), pre_buffer=False) for key in dataset.manifest.index
    )
    return [name for file in files for name in file.read(["clip_id"], use_threads=False)["clip_id"].to_pylist()]
