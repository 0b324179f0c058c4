"""What attacks begin with: sound footage, a dataset, a VAE and a checkpoint, made once by the real jobs, and
copies of them to spoil.

In: a folder. Out: copies in places of attacks; foreign datasets, whose tables and manifest say what they are
told to.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

_SETTINGS = (
    "ray.num_cpus=2",
    "shapes.max_pixels=2304", "shapes.fps=8", "shapes.max_frames=5", "windows.stride_s=0.5",
    "windows.holdout_min_frames=1",
    "curate.recipe=permissive", "curate.recipe.min.duration_s=0.5",
    "train_vae.size=tiny", "train_vae.model.base_channels=16", "train_vae.max_steps=4", "train_vae.crop=32",
    "train_vae.workers.num=1",
    "train_vae.budget.max_tokens=64", "train_vae.budget.batches_per_step=1",
    "train.size=tiny", "train.model.width=32", "train.model.depth=2", "train.max_steps=4",
    "train.workers.num=1",
    "train.optim.schedule=constant", "train.budget.max_tokens=32", "train.budget.batches_per_step=1",
    "train.checkpoint_every=2",
    "evaluate.seeds=1", "evaluate.steps=1",
)  # fmt: skip
TINY_VIDEO = ("prompt=a kite", "width=64", "height=48", "steps=1", "duration_s=0")
"""What `rushes generate` is asked for, besides the checkpoint and the file."""
QUICK_CURATION = (
    "recipe=permissive",
    "scores.text=false",
    "scores.nsfw=false",
    "scores.tags=false",
    "captioner=own_text",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """Files that nobody changes; see `make_material`."""

    folder: Path

    @property
    def footage(self) -> Path:
        return self.folder / "footage"

    @property
    def film(self) -> Path:
        return self.footage / "wide.mp4"

    @cached_property
    def dataset(self) -> Path:
        return self._made("curate")

    @cached_property
    def vae(self) -> Path:
        return self._made("train_vae")

    @cached_property
    def training(self) -> Path:
        """The folder of a training that is done, with its states."""
        return self._made("train")

    def copy_dataset(self, to: Path) -> Path:
        return Path(shutil.copytree(self.dataset, to, symlinks=True))

    def copy_checkpoint(self, to: Path) -> Path:
        """A folder that generates on its own."""
        return Path(shutil.copytree(self.training / "export", to, symlinks=True))

    def _made(self, job: str) -> Path:
        return Path(json.loads((self.folder / "run" / "workflow" / f"{job}.json").read_text())["path"])


def make_material(folder: Path) -> Material:
    """Make it where it is not there yet: some minutes.

    Raises:
        RuntimeError: a sound workflow fails, so nothing can be attacked.
    """
    from tests.support.footage import film, pan, write, zoom

    made = Material(folder)
    if not made.footage.is_dir():
        made.footage.mkdir(parents=True)
        write(made.film, film(pan(1, 24, 48, 64), zoom(2, 24, 48, 64)), fps=16)
        write(made.footage / "tall.mp4", pan(3, 24, 64, 48), fps=16)
    if not (folder / "run" / "workflow" / "train.json").is_file():
        words = ["run", f"footage={made.footage}", f"out={folder / 'run'}", *_SETTINGS]
        root = Path(__file__).resolve().parent.parent.parent
        command = [sys.executable, "-m", "jobs.cli.main", *words]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                f"the workflow that makes the material failed: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
    return made


def settings_of(job: str) -> list[str]:
    """The keys with which a job of the workflow made its part, as that job takes them."""
    shared = ("ray.", "shapes.", "windows.") if job in ("encode", "train_vae") else ("ray.",)
    return [word.removeprefix(f"{job}.") for word in _SETTINGS if word.startswith((f"{job}.", *shared))]


def rewrite(
    dataset: Path,
    change_manifest: Callable[[dict[str, Any]], None] | None = None,
    **change: Callable[[list[Row]], list[Row]],
) -> Path:
    """Make a dataset say something else, as whoever shares it could: the newest manifest is replaced, and
    tables that it names.

    Args:
        change: rows → rows of the tables of that name: index, sources, quarantine.
    """
    import pyarrow.parquet as pq

    from pipelines.dataset import schema

    path = newest_manifest(dataset)
    manifest = json.loads(path.read_text())
    for name, changed in change.items():
        rows = [row for key in manifest[name] for row in pq.read_table(dataset / key).to_pylist()]
        data = schema.parquet_bytes(schema.table(changed(rows), getattr(schema, name.upper())))
        key = f"{name}/{sha256(data).hexdigest()[:32]}.parquet"
        (dataset / name).mkdir(exist_ok=True)
        (dataset / key).write_bytes(data)
        manifest[name] = [key]
    if change_manifest is not None:
        change_manifest(manifest)
    path.write_text(json.dumps(manifest))
    return dataset


def newest_manifest(dataset: Path) -> Path:
    return max((dataset / "manifests").glob("[0-9]*.json"), key=lambda path: int(path.stem))


def set_all(**values: Any) -> Callable[[list[Row]], list[Row]]:
    """Rows, in each of which these columns have these values."""
    return lambda rows: [{**row, **values} for row in rows]


def edit_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def quarantined(rows: Mapping[str, str]) -> list[Row]:
    """Rows of the quarantine: why a source could not be processed, by its URI."""
    return [
        {"source_uri": uri, "stage": "plan", "reason": "missing", "message": why} for uri, why in rows.items()
    ]
