"""The page of a VAE's evaluation: figures per shape, and originals beside reconstructions beside their
difference.

In: what was measured, and pixels of some windows. Out: one HTML document that fetches nothing.
The three stand in one video, so that they never drift apart, and in one picture per still frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.cli.formatting import format_count, format_number, format_timestamp
from jobs.reporting.document import document
from jobs.reporting.drawing.media import data_uri, jpeg_uri

AMPLIFIED = 4
_JPEG_QUALITY = 95  # what coding adds must not look like the VAE's doing
_WIDTH_PX, _HEIGHT_PX, _ENLARGED = 1180, 400, 4  # most of a row on the page


@dataclass(frozen=True, slots=True)
class Still:
    """One frame: original, reconstruction and difference side by side."""

    label: str
    uri: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window of one clip; `width` and `height` are of a row of three on the page. A single frame has no
    video."""

    clip_id: str
    source: str
    at: str
    figures: list[tuple[str, str]]
    video: str | None
    stills: list[Still]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure: its name, unit, which way is better, and one line that explains it."""

    key: str
    name: str
    unit: str
    better: str
    meaning: str

    def text(self, value: float | None) -> str:
        """A value of it; a dash where there was nothing to measure."""
        return f"{value:.2f}" if self.key == "psnr_db" and value is not None else format_number(value)

    def with_unit(self, value: float | None) -> str:
        return f"{self.text(value)} {self.unit}".strip() if value is not None else self.text(value)


MEASURES = (
    Measure("psnr_db", "PSNR", "dB", "higher is better",
        "mean squared error of all pixels against the full range"),
    Measure("ssim", "SSIM", "", "1 is the original", "structural similarity of luma, frame by frame"),
    Measure("perceptual", "perceptual", "", "0 is the original",
        "distance of a network's features: blur and texture"),
    Measure(
        "flicker", "flicker", "levels", "0 is the original",
        "change between frames beyond the original's (of 255 levels), in pixels that stand still",
    ),
    Measure(
        "motion_sharpness", "motion sharpness", "", "1 is the original",
        "gradient energy left in pixels that move; below 1 they are blurred",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShapeView:
    """Some clips of one shape, from the worst on."""

    name: str
    clips: list[Comparison]
    all_clips: int


def make_comparison(
    row: Mapping[str, Any],
    original_THWC: np.ndarray,
    reconstruction_THWC: np.ndarray,
    fps: float,
    start_s: float,
    figures: Mapping[str, float | None],
) -> Comparison:
    """One window as the page shows it.

    Args:
        row: its clip's row of the index.
        original_THWC, reconstruction_THWC: uint8.
        start_s: of the window in its clip.
    """
    difference = np.abs(original_THWC.astype(np.int16) - reconstruction_THWC.astype(np.int16)) * AMPLIFIED
    beside = np.concatenate(
        [original_THWC, reconstruction_THWC, difference.clip(0, 255).astype(np.uint8)], axis=2
    )
    num, height, width, _ = beside.shape
    scale = min(_WIDTH_PX / width, _HEIGHT_PX / height, _ENLARGED)
    return Comparison(
        row["clip_id"],
        Path(row["source_uri"]).name,
        f"{format_timestamp(row['start_s'] + start_s)}, {format_count(num, 'frame')}",
        [(m.name, m.with_unit(figures[m.key])) for m in MEASURES],
        _video_uri(beside, fps) if num > 1 else None,
        [
            Still(f"frame {k + 1} of {num}", jpeg_uri(beside[k], _JPEG_QUALITY))
            for k in sorted({0, num // 2, num - 1})
        ],
        round(width * scale),
        round(height * scale),
    )


def render(
    checkpoint: str,
    dataset: str,
    result: Mapping[str, Any],
    shown: Sequence[tuple[tuple[int, int, int], int, list[Comparison]]],
) -> str:
    """The page.

    Args:
        result: metrics.json of the evaluation.
        shown: (shape, how many clips it has in all, those that are shown).
    """
    return document(
        "reconstructions.html",
        ("page.css", "reconstructions.css"),
        ("page.js",),
        checkpoint=checkpoint,
        dataset=dataset,
        result=result,
        measures=MEASURES,
        rows=[(_name(s["num_frames"], s["height"], s["width"]), s) for s in result["shapes"]],
        shapes=[ShapeView(_name(*shape), clips, all_clips) for shape, all_clips, clips in shown],
        amplified=AMPLIFIED,
    )


def _name(num_frames: int, height: int, width: int) -> str:
    return f"{num_frames} × {height} × {width}"


def _video_uri(frames_THWC: np.ndarray, fps: float) -> str:
    from pipelines.cutting.write_mp4 import write_mp4

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "beside.mp4"
        write_mp4(path, frames_THWC, fps)
        return data_uri(path.read_bytes(), "video/mp4")
