"""`rushes export`: clips of a dataset as files that play anywhere.

In: a dataset, and which of its clips. Out: an mp4 each, which shows the clip's frames at the clip's times,
and hides nothing: the bytes of the shard where they do so, else the clip encoded anew. No file that is there
is written over unless asked for.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jobs.cli.formatting import format_bytes, format_count, format_duration
from jobs.cli.progress import progress
from jobs.cli.run_folder import Run, Scratch, scratch_run_folder
from jobs.exporting.plan import ExportPlan, make_plan
from jobs.exporting.write import write_file
from jobs.listing.config import ExportConfig
from jobs.listing.sources import name_of
from pipelines.dataset.schema import Row
from pipelines.errors import MediaError

_NAMED = 5
_AS_STORED = "as stored in the dataset"


def check(cfg: ExportConfig) -> None:
    """There is a dataset, some of its kept clips are meant, and their files may be written."""
    make_plan(cfg)


def run_folder(cfg: ExportConfig) -> Scratch:
    return scratch_run_folder("export")


def run(cfg: ExportConfig, run: Run) -> dict[str, Any]:
    """Write the files. Returns which, how many were encoded, how many were there, how many clips that are
    meant have none.

    Raises:
        RuntimeError: some clips could not be written; all others are.
    """
    plan = make_plan(cfg)
    there = {path for path in plan.files if path.exists() and not cfg.replace}
    todo = {path: row for path, row in plan.files.items() if path not in there}
    done: dict[Path, Row] = {}
    failed: dict[Path, str] = {}
    with progress("export", total=len(todo), unit="clips") if len(todo) > 1 else nullcontext() as bar:
        for path, row in todo.items():
            try:
                done[path] = {**row, **write_file(plan.dataset, row, path, cfg)}
            # the others can be written
            except (MediaError, EOFError, FileNotFoundError, FileExistsError) as error:
                failed[path] = str(error)
            if bar is not None:
                bar.advance(1)
    for line in _told(cfg, plan, done, len(there)):
        run.say(line)
    if failed:
        some = "; ".join(f"{path.name}: {why}" for path, why in list(failed.items())[:_NAMED])
        more = " …" if len(failed) > _NAMED else ""
        raise RuntimeError(
            f"{len(failed)} of {format_count(len(todo), 'clip')} could not be exported: {some}{more}"
        )
    return {
        "files": [str(path) for path in done],
        "encoded": sum(made["encoded"] is not None for made in done.values()),
        "there": len(there),
        "rejected": plan.rejected,
    }


def _told(cfg: ExportConfig, plan: ExportPlan, done: Mapping[Path, Row], there: int) -> list[str]:
    """What became of it: one clip in full, many in figures."""
    lines = []
    if len(plan.files) == 1 and done:
        ((path, made),) = done.items()
        lines.append(f"{path}: {_one(made)}")
    elif done:
        seconds = sum(made["end_s"] - made["start_s"] for made in done.values())
        num_bytes = sum(made["bytes"] for made in done.values())
        lines.append(
            f"{format_count(len(done), 'file')} in {cfg.out}: {format_duration(seconds)}, "
            f"{format_bytes(num_bytes)}; {_how(done)}"
        )
    if there:
        lines.append(
            f"{format_count(there, 'file')} in {cfg.out} were there already and stay; replace=true writes "
            "them anew"
        )
    if plan.rejected and cfg.limit is None:
        lines.append(
            f"{format_count(plan.rejected, 'rejected clip')} left out: rejected clips have no file (rushes "
            "clips says why)"
        )
    return lines


def _one(made: Row) -> str:
    """One file in full."""
    where = f"{name_of(made['source_uri'])}, {made['start_s']:.2f}–{made['end_s']:.2f} s"
    shows = (
        f"{format_count(made['num_frames'], 'frame')}, {made['width']}×{made['height']}, "
        f"{format_bytes(made['bytes'])}"
    )
    how = _AS_STORED if made["encoded"] is None else f"encoded anew ({made['encoded']}; {_quality([made])})"
    return f"clip {made['clip_id']} of {where}: {shows}, {how}"


def _how(done: Mapping[Path, Row]) -> str:
    """How many were made in which way."""
    encoded = [made for made in done.values() if made["encoded"] is not None]
    stored = len(done) - len(encoded)
    parts = [f"{stored:,} {_AS_STORED}"] if stored else []
    parts += (
        [f"{len(encoded):,} encoded anew, without hidden frames ({_quality(encoded)})"] if encoded else []
    )
    return ", ".join(parts)


def _quality(encoded: Sequence[Row]) -> str:
    known = [made["worst_db"] for made in encoded if made["worst_db"] is not None]
    return f"worst frame {min(known):.1f} dB PSNR" if known else "without loss"
