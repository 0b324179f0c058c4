"""Where the parts of what is reported on lie: the dataset, its newest ledger, the trainings, the generated
videos.

In: the folder of a dataset, or of a `rushes run`. Out: paths and what their JSON files say. What has not been
made yet is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from jobs.cli.run_records import RECORDS, read_record
from pipelines.storage.open_store import open_store
from pipelines.untrusted import JSON_BYTES, parse_object

METRICS_OF_EVALUATE = "metrics.json"
_NODES = ("curate", "train_vae", "encode", "train", "evaluate")


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """What there is to report on.

    dataset: its URI. records: what each finished node of the workflow left (path, result, seconds). vae, dit,
    videos: the folders of the trainings and of the evaluation.
    """

    title: str
    dataset: str
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    vae: Path | None = None
    dit: Path | None = None
    videos: Path | None = None


def dataset_inputs(uri: str) -> ReportInputs:
    """A dataset alone."""
    uri = open_store(uri).uri
    return ReportInputs(PurePosixPath(uri).name, uri)


def workflow_inputs(folder: str) -> ReportInputs:
    """A workflow's folder, as far as the workflow got.

    Raises:
        FileNotFoundError: no such folder, or no workflow has finished its curation there.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"run={folder}: there is no such folder; give the out= of rushes run")
    records = {job: record for job in _NODES if (record := read_record(root, job))}
    if "curate" not in records:
        hint = (
            f"; it looks like a dataset: give dataset={folder}"
            if (root / "manifests").is_dir()
            else "; give the out= of rushes run"
        )
        raise FileNotFoundError(f"run={folder}: no {RECORDS}/curate.json is there{hint}")
    paths = {job: _path(root, record) for job, record in records.items()}
    dataset = paths["curate"]
    if dataset is None:
        raise FileNotFoundError(
            f"run={folder}: its dataset {records['curate']['path']} is gone; run the workflow again"
        )
    return ReportInputs(
        root.name, str(dataset), records, paths.get("train_vae"), paths.get("train"), paths.get("evaluate")
    )


def _path(root: Path, record: Mapping[str, Any]) -> Path | None:
    """A node's folder: where the record says, or beside it in a workflow's folder that was moved."""
    for path in (root / Path(record["path"]).name, Path(record["path"]).absolute()):
        if path.is_dir():
            return path
    return None


def newest_ledger(dataset: str) -> tuple[str, dict[str, int]] | None:
    """(id, ledger.json) of the newest curation run that finished, or None."""
    store = open_store(dataset)
    found = max((key for key in store.list("runs/") if key.endswith("/ledger.json")), default=None)
    return (
        (PurePosixPath(found).parent.name, parse_object(store.read(found, JSON_BYTES), found))
        if found
        else None
    )
