"""What a job of a workflow left when it finished, in the workflow's folder.

In: a folder. Out: records as JSON, one for each job.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.durable import write_text
from pipelines.untrusted import read_object

logger = logging.getLogger(__name__)
RECORDS = "workflow"
_RECORDED = {"fingerprint", "digest", "path", "result", "seconds"}


def read_record(out: Path, job: str) -> dict[str, Any] | None:
    """What a node left when it finished: fingerprint, digest, path, result, seconds; None too if that is
    damaged, so that the node is run again. `path` is in this folder, whatever the record says: it may have
    been moved, and nothing is opened elsewhere because a file says so.
    """
    path = out / RECORDS / f"{job}.json"
    try:
        record = read_object(path, finite=False) if path.exists() else None
    except ValueError as error:
        logger.warning("%s: %s is run again", error, job)
        return None
    if record is None or not record.keys() >= _RECORDED or not _of_its_kinds(record):
        return None
    name = Path(record["path"]).name
    return record | {"path": str(out if job == "report" else out / name)}


def _of_its_kinds(record: Mapping[str, Any]) -> bool:
    return (
        all(isinstance(record[name], str) for name in ("fingerprint", "digest", "path"))
        and isinstance(record["result"], dict)
        and isinstance(record["seconds"], int | float)
        and Path(record["path"]).name not in ("", "..")
    )


def write_record(out: Path, job: str, record: Mapping[str, Any]) -> None:
    """Keep what a node left, whole or not at all."""
    folder = out / RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{job}.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
