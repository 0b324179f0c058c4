"""What is measured of a reconstruction, and means of it.

In: original and reconstruction of windows. Out: figures by name, of a window and of many. A figure that a
window doesn't have (flicker where nothing stands still) is None and left out of means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from jobs.evaluation.video_quality import flicker, motion_sharpness, ssim
from jobs.training.perceptual import Distance
from model.vae.loss import psnr_db

FIGURES = ("psnr_db", "ssim", "perceptual", "flicker", "motion_sharpness")

Figures = Mapping[str, float | None]


def measure(x_1CTHW: Tensor, recon_1CTHW: Tensor, perceptual: Distance) -> Figures:
    """The figures of one window, (1, 3, T, H, W) in [-1, 1]; the reconstruction is clamped to that, as it is
    shown."""
    recon = recon_1CTHW.clamp(-1, 1)
    measured = {
        "psnr_db": psnr_db(x_1CTHW, recon),
        "ssim": ssim(x_1CTHW, recon),
        "perceptual": perceptual(x_1CTHW, recon),
        "flicker": flicker(x_1CTHW, recon),
        "motion_sharpness": motion_sharpness(x_1CTHW, recon),
    }
    values = {name: float(value) for name, value in measured.items()}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def summary(windows: Sequence[Figures]) -> dict[str, Any]:
    """Means over windows; `windows_with` counts those that have a figure, where some have not."""
    having = {name: [value for w in windows if (value := w[name]) is not None] for name in FIGURES}
    means = {name: fmean(values) if values else None for name, values in having.items()}
    counts = {name: len(values) for name, values in having.items() if len(values) < len(windows)}
    return {**means, "windows": len(windows), "windows_with": counts}
