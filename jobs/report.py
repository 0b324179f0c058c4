"""`rushes report`: one self-contained HTML page about a dataset, or about everything that `rushes run` made.

In: a dataset, or a workflow's folder; footage, for pictures of rejected clips. Out: report.html, which opens
offline. What has not been made yet is not on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.cli.formatting import format_bytes
from jobs.cli.run_folder import Run, new_run_folder
from jobs.cli.run_records import RECORDS
from jobs.reporting.config import ReportConfig
from jobs.reporting.inputs import ReportInputs, dataset_inputs, workflow_inputs
from pipelines.dataset.reader import open_dataset
from pipelines.durable import write_bytes
from pipelines.footage.allowed_footage import allowed_footage
from pipelines.footage.listing import check_footage
from pipelines.storage.s3 import is_s3

_PAGE = "report.html"


def check(cfg: ReportConfig) -> None:
    """There is exactly one thing to report on, it holds a dataset, and the footage is there."""
    _target(cfg)
    found = _find(cfg)
    if cfg.footage is not None:
        check_footage(cfg.footage, cfg.uri_column)
    try:
        open_dataset(found.dataset)
    except FileNotFoundError:
        if cfg.dataset is not None and (Path(found.dataset) / RECORDS).is_dir():
            raise FileNotFoundError(
                f"dataset={cfg.dataset} is the folder of a workflow; give run={cfg.dataset}"
            ) from None
        raise


def run_folder(cfg: ReportConfig) -> Path | str:
    """For config and log; a workflow's own stay untouched."""
    return (
        new_run_folder(cfg.dataset, "report")
        if cfg.dataset is not None
        else Path(str(cfg.run)) / RECORDS / "report"
    )


def run(cfg: ReportConfig, run: Run) -> dict[str, Any]:
    """Write the page; returns where it is."""
    from jobs.reporting.page import make_view, render

    out = _target(cfg) or run.folder / _PAGE
    page = render(make_view(_find(cfg), cfg.clips, allowed_footage(cfg.footage, cfg.uri_column))).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, page)
    where = str(out) if _target(cfg) else f"{run.uri}/{_PAGE}"
    run.say(f"report: {where} ({format_bytes(len(page))}), opens in any browser, offline")
    return {"out": where}


def _find(cfg: ReportConfig) -> ReportInputs:
    return dataset_inputs(cfg.dataset) if cfg.dataset is not None else workflow_inputs(str(cfg.run))


def _target(cfg: ReportConfig) -> Path | None:
    """The file to write; None for the run's own folder, of a dataset in S3, where nothing is ever replaced.

    Raises:
        ValueError: neither or both of dataset= and run= are given, or out= is a folder.
    """
    if (cfg.dataset is None) == (cfg.run is None):
        given = "both are given" if cfg.dataset is not None else "neither is given"
        raise ValueError(
            f"report is about dataset= or about run= (the out= of rushes run), and {given}; give one"
        )
    if cfg.out is None and cfg.dataset is not None and is_s3(cfg.dataset):
        return None
    out = (
        Path(cfg.out)
        if cfg.out is not None
        else Path(_find(cfg).dataset) / _PAGE
        if cfg.dataset is not None
        else Path(str(cfg.run)) / _PAGE
    )
    if out.is_dir():
        raise ValueError(f"out={cfg.out} is a folder; give the file to write, like out={out / _PAGE}")
    return out
