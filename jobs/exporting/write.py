"""One clip → its file: read from its shard, made to play anywhere, verified, and only then given its name.

In: a dataset, a row of its index, a path. Out: the file, whole or not at all. Everything that decodes runs in
the killable child.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from jobs.listing.config import ExportConfig
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import Row
from pipelines.durable import sync_file, sync_folder
from pipelines.errors import MediaError, Reason
from pipelines.measure.sandboxed import decode_limits
from pipelines.sandbox.child import call

_MIB = 1024**2
_COPY = "copy"


def write_file(dataset: Dataset, row: Row, path: Path, cfg: ExportConfig) -> dict[str, Any]:
    """Write one file.

    Returns:
        the fields of `pipelines.cutting.export_clip.Exported`, and `bytes`.

    Raises:
        MediaError: the clip does not decode, or shows something else than its row says.
        EOFError, FileNotFoundError: its shard is not what the manifest says.
        FileExistsError: a file has got this name in the meantime.
    """
    from pipelines.cutting.check_clip import ExpectedClip
    from pipelines.cutting.export_clip import ExportSettings, export_clip, length_of

    length = length_of(row["start_pts"], row["end_pts"], row["time_base"])
    same = row["frames_hash"] if row["cut_method"] == _COPY else None
    promised = ExpectedClip(row["num_frames"], row["width"], row["height"], length, same)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rushes-export-", dir=path.parent) as folder:
        stored, made = Path(folder).absolute() / "stored.mp4", Path(folder).absolute() / "made.mp4"
        stored.write_bytes(dataset.read(row))
        # Its lead is decoded, too; without loss it may take as much as its pixels do.
        frames = row["num_frames"] + (row["lead_frames"] or 0)
        raw_bytes = 3 * row["width"] * row["height"] * row["num_frames"]
        most = decode_limits(
            cfg.limits, float(length) * frames / row["num_frames"], max(row["size"], raw_bytes) + 64 * _MIB
        )
        settings = ExportSettings(cfg.min_db, cfg.encode, cfg.verify)
        args = (stored, made, promised, bool(row["interlaced"]), settings)
        told = call(export_clip, *args, limits=most, writes=Path(folder).absolute())
        size_bytes = _accept(made)
        sync_file(made)
        if cfg.replace:
            made.replace(path)
        else:
            _name(made, path)
        sync_folder(path.parent)
    return told | {"bytes": size_bytes}


def _accept(made: Path) -> int:
    """Bytes in the file that the child made.

    Raises:
        MediaError: it is no file; a link in its place would lead elsewhere.
    """
    about = made.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise MediaError(
            Reason.CRASHED, "the process that decodes left something else than the file it was to make"
        )
    made.chmod(about.st_mode & 0o666)  # nothing that runs, whoever made it so
    return about.st_size


def _name(made: Path, path: Path) -> None:
    """Give a file its name, if that is free. Raises FileExistsError."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError as error:  # no links on this file system
        if path.exists():
            raise FileExistsError(f"{path} is there already") from error
        made.rename(path)
