"""How the trainings went: losses over steps, and what the VAE makes of pictures it never saw.

In: a training's folder (metrics.jsonl, tensorboard/). Out: charts, and pictures as data URIs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cli.formatting import format_number
from jobs.reporting.drawing.charts import LineChart, line_chart
from jobs.reporting.drawing.media import jpeg_uri
from jobs.training.exports import EXPORT
from jobs.training.metrics import read_metrics
from pipelines.untrusted import read_object

_PICTURES = "held_out/"
_MOST_SHAPES = 6
_TIME = re.compile(r"val_loss_t(\d*\.?\d+)$")
_SHAPE = re.compile(r"val_loss_(\d+x\d+x\d+)$")

Entries = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """Originals above their reconstructions, of one clip."""

    clip_id: str
    source: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class TrainingView:
    """One training: facts in words, charts, pictures."""

    title: str
    facts: list[str]
    charts: list[LineChart]
    pictures: list[Picture]


def vae_view(folder: Path, clips: Mapping[str, Mapping[str, Any]]) -> TrainingView:
    """The video compression network's training.

    Args:
        clips: rows of the index by clip_id, to say where a picture is from.
    """
    entries = read_metrics(folder)
    losses = {
        "training": ("train", _series(entries, "loss")),
        "held out": ("held", _series(entries, "val_loss")),
    }
    charts = [
        line_chart("Loss", "L1 + KL; held-out: whole frames of moments that training never saw", losses),
        line_chart(
            "Held-out PSNR, dB",
            "higher is better",
            {"held out": ("held", _series(entries, "val_psnr_db"))},
            log=False,
        ),
        _learning_rate(entries),
    ]
    return TrainingView(
        "VAE", _facts(folder, "vae", entries), [c for c in charts if c], _pictures(folder, clips)
    )


def dit_view(folder: Path) -> TrainingView:
    """The diffusion transformer's training: losses over steps, and held-out losses taken apart by time and by
    shape."""
    entries = read_metrics(folder)
    losses = {
        "training": ("train", _series(entries, "loss")),
        "held out": ("held", _series(entries, "val_loss")),
    }
    times = sorted({m[1] for e in entries for name in e if (m := _TIME.match(name))}, key=float)
    shapes = sorted(
        {m[1] for e in entries for name in e if (m := _SHAPE.match(name))},
        key=lambda s: [int(n) for n in s.split("x")],
    )
    by_time = {f"t = {t}": (f"ramp{k % 5}", _series(entries, f"val_loss_t{t}")) for k, t in enumerate(times)}
    by_shape = {
        s.replace("x", " × "): (f"hue{k}", _series(entries, f"val_loss_{s}"))
        for k, s in enumerate(shapes[:_MOST_SHAPES])
    }
    more = f"; {_MOST_SHAPES} of {len(shapes)} shown" if len(shapes) > _MOST_SHAPES else ""
    charts = [
        line_chart(
            "Loss",
            "mean squared error of the velocity; held-out: moments that training never saw, at five fixed "
            "times",
            losses,
        ),
        line_chart(
            "Held-out loss by time", "t = 0 is data, t = 1 is noise; times are before the shift", by_time
        ),
        line_chart("Held-out loss by shape", f"width × height × frames{more}", by_shape),
        _learning_rate(entries),
    ]
    return TrainingView("DiT", _facts(folder, "dit", entries), [c for c in charts if c], [])


def first_and_last(folder: Path, name: str) -> tuple[float, float] | None:
    """A figure at its first and at its last entry."""
    values = [value for _, value in _series(read_metrics(folder), name)]
    return (values[0], values[-1]) if values else None


def _series(entries: Iterable[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    return [(e["step"], e[name]) for e in entries if name in e]


def _learning_rate(entries: Entries) -> LineChart | None:
    return line_chart("Learning rate", "", {"learning rate": ("train", _series(entries, "lr"))}, log=False)


def _facts(folder: Path, kind: str, entries: Entries) -> list[str]:
    """Steps, parameters and speed, as far as they are known."""
    facts = [f"{entries[-1]['step']:,.0f} steps"] if entries else []
    samples = [e["samples_per_s"] for e in entries if "samples_per_s" in e]
    parameters = _parameters(folder, kind)
    if parameters:
        facts.append(f"{parameters / 1e6:.1f} M parameters")
    if samples:
        facts.append(f"{format_number(samples[-1])} samples/s")
    return facts


def _parameters(folder: Path, kind: str) -> int | None:
    """From the exported weights' own record; None before they are exported."""
    path = folder / EXPORT / kind / "config.json"
    if not path.is_file():
        return None
    extra = read_object(path, finite=False).get("extra")
    count = extra.get("parameters") if isinstance(extra, dict) else None
    return count if isinstance(count, int) else None


def _pictures(folder: Path, clips: Mapping[str, Mapping[str, Any]]) -> list[Picture]:
    """The newest reconstructions that training left in TensorBoard."""
    import cv2
    import numpy as np

    board = folder / "tensorboard"
    if not board.is_dir():
        return []
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

    events = EventAccumulator(str(board), size_guidance={IMAGES: 1})
    events.Reload()
    pictures = []
    for tag in sorted(t for t in events.Tags()[IMAGES] if t.startswith(_PICTURES)):
        coded = events.Images(tag)[-1].encoded_image_string
        decoded = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None, f"{tag} in {board} is no picture"
        frame = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        clip_id = tag.removeprefix(_PICTURES)
        source = Path(clips[clip_id]["source_uri"]).name if clip_id in clips else ""
        pictures.append(Picture(clip_id, source, jpeg_uri(frame, quality=92), frame.shape[1], frame.shape[0]))
    return pictures
