"""What a recipe of `train_vae` reaches in a given time, from footage to decibels, by the commands that a user
would give.

    python -m benchmarks.measure.vae_recipe [recipe=small_half_hour] [minutes=30] [folder=<where to keep it>]
    [footage=<folder>]

In: a folder of videos. Out: figures on the clips' held-out ends, by frame size, and the trained VAE, both
kept in `folder`, which `python -m benchmarks.vae folder=…` then takes. The time is that of `rushes
train_vae`, from its start to its end; how many steps fit in it is measured first, by short runs of the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.options import given
from benchmarks.measure.results_file import report
from tests.support.footage import real_clips

SIDES_PX = (128, 256)
PROBE_STEPS = (10, 40)
SPARE_S = 60.0  # for the last validation and the export
CURATE = ("recipe=permissive", "recipe.min.duration_s=1.5", "scores.nsfw=false")


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        vae: folder of its weights.
        figures: `heldout_psnr_db` and its like, with `heldout_psnr_db_<side>` for frames of at most side ×
        side pixels.
    """

    vae: Path
    figures: dict[str, float]


def train(footage: str, folder: Path, recipe: str, minutes: float) -> Trained:
    """Curate, train for so long, evaluate.

    Args:
        footage: folder or list of videos.
        folder: keeps all that is made. If it holds a finished run, that is taken.
    """
    kept, weights = folder / "figures.json", folder / "vae" / "export" / "vae"
    if kept.exists():
        return Trained(weights, json.loads(kept.read_text()))
    dataset = folder / "dataset"
    _rushes("curate", f"footage={footage}", f"dataset={dataset}", *CURATE)
    common = (
        f"dataset={dataset}",
        f"experiment={recipe}",
        "validate_every=100000000",
        "sample_every=100000000",
    )
    walls = []
    for steps in PROBE_STEPS:
        began_s = time.monotonic()
        _rushes("train_vae", *common, f"out={folder / f'probe_{steps}'}", f"max_steps={steps}")
        walls.append(time.monotonic() - began_s)
    step_s = (walls[1] - walls[0]) / (PROBE_STEPS[1] - PROBE_STEPS[0])
    start_s = walls[0] - PROBE_STEPS[0] * step_s
    steps = int((minutes * 60 - start_s - SPARE_S) / step_s)
    print(f"{step_s:.3f} s a step, {start_s:.0f} s to start: {steps} steps in {minutes:g} minutes")
    began_s = time.monotonic()
    _rushes("train_vae", *common, f"out={folder / 'vae'}", f"max_steps={steps}", "checkpoint_every=500")
    figures = {
        "heldout_minutes": (time.monotonic() - began_s) / 60,
        "heldout_steps": float(steps),
        "heldout_step_s": step_s,
    }
    for side in SIDES_PX:
        out = folder / f"quality_{side}"
        _rushes(
            "evaluate_vae",
            f"checkpoint={weights}",
            f"dataset={dataset}",
            f"out={out}",
            f"shapes.max_pixels={side * side}",
        )
        overall: dict[str, Any] = json.loads((out / "metrics.json").read_text())["overall"]
        figures[f"heldout_psnr_db_{side}"] = overall["psnr_db"]
        figures[f"heldout_ssim_{side}"] = overall["ssim"]
        figures["heldout_clips"] = overall["clips"]
    figures["heldout_psnr_db"] = figures[f"heldout_psnr_db_{max(SIDES_PX)}"]
    kept.write_text(json.dumps(figures))
    return Trained(weights, figures)


def _rushes(job: str, *overrides: str) -> None:
    subprocess.run([sys.executable, "-m", "jobs.cli.main", job, *overrides], check=True)


def main() -> None:
    options = given({"recipe": "small_half_hour", "minutes": "30", "footage": "", "folder": ""})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options["folder"] or scratch)
        trained = train(
            listed(options["footage"], folder), folder, options["recipe"], float(options["minutes"])
        )
        report("vae_recipe", trained.figures)


def listed(footage: str, folder: Path) -> str:
    """What `footage=` takes: the folder given, or a list of the clips that come with the packages, written
    into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if footage:
        return footage
    path = folder / "footage.txt"
    path.write_text("".join(f"{video}\n" for video in sorted(real_clips().values())))
    return str(path)


if __name__ == "__main__":
    main()
