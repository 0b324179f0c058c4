"""Duplicates: which pairs of clips are joined, of copies and look-alikes whose truth is known by
construction.

`python -m benchmarks.measure.score_duplicates [seed=<n>] [size=small] [clips=<n>]`

Footage is described in `benchmarks.footage.duplicate_footage`. Every clip is written to a file by a real
encoder and measured from that file as curation does: dense signals, native frames for the safe rectangle,
scores, the look; then all pairs among all clips are judged with the default settings.

- `dup_recall`: of the pairs of an original and its copy that share at least 0.55 of the shorter one, how many
  are found.
- `dup_precision`: of all pairs that are found, how many show the same scene at the same time. Pairs that
  share less than that, and pairs of two copies (whose crops may share less than what copies are said to
  share), count for neither if they are found, or for precision only, as right.
- `dup_captions_joined`: pairs of the same footage with another caption, which are neither copies nor none,
  that are joined. They count nowhere else.

`clips=<n>` measures `find_pairs` instead, on so many synthetic looks of 5 s, a tenth of them copies: seconds,
memory.
"""

import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.footage import duplicate_footage
from benchmarks.footage.duplicate_footage import CHANGES, Shown
from pipelines.dedup.config import DedupConfig
from pipelines.dedup.looks import LOOKS, SIDE, look_row
from pipelines.dedup.pairs import Pair, content, find_pairs
from pipelines.measure import sandboxed
from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements
from pipelines.measure.signals import STAGE
from pipelines.media.config import FootageConfig
from pipelines.media.picture import frames_hash
from pipelines.precision import AUTO, decide
from pipelines.records import Span
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import METERS, score_clip
from pipelines.shots.config import ShotConfig
from tests.support.footage import write

FULL_SHARE = 0.55  # of the shorter clip: what copies must have in common to be asked for
_METERS = tuple(name for name in ("quality", "bars") if name in METERS)
_SCALE_S, _SCALE_COPIES, _THUMBS_PER_S = 5.0, 0.1, 8


def measure(seed: int, small: bool = False) -> dict[str, float]:
    """Figures by name; the table is printed."""
    started = time.process_time()
    shown: list[Shown] = []
    rows: list[dict[str, Any]] = []
    looks: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in duplicate_footage.clips(seed, small):
            row, look = _measured(clip, Path(folder))
            rows.append(row)
            looks.append(look)
            shown.append(clip)
    measured = time.process_time()
    pairs = find_pairs(pa.Table.from_pylist(looks, schema=LOOKS), rows, DedupConfig())
    found = time.process_time()
    contents = {row["clip_id"]: content(row) for row in rows}
    figures = _judged(shown, contents, pairs)
    return figures | {
        "dup_clips": float(len(shown)),
        "dup_find_cpu_ms_per_clip": (found - measured) / len(shown) * 1e3,
        "dup_benchmark_cpu_s": found - started,
    }


def _measured(clip: Shown, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The clip's row of the index, as far as duplicates need it, and its look."""
    codec, suffix, options = clip.codec
    path = write(folder / f"clip{suffix}", clip.frames, clip.fps, codec, options=options)
    header = sandboxed.read_header(path, clip.name, FootageConfig())
    clock, video = sandboxed.header_clock(header), sandboxed.header_video(header)
    wanted = (STAGE, *_METERS)
    shots = ShotConfig(detector="content")  # the file is one clip: no network need look for cuts
    tables = sandboxed.measure_unit(
        path,
        clock,
        (0, len(clock.pts)),
        Measurements(SignalConfig(), shots, ScoreConfig(), wanted, decide(AUTO).name),
    )
    signals = tables.pop(STAGE)
    span = Span(int(clock.pts[0]), clock.end_pts, clock.time_base)
    scores = score_clip(signals, tables, video.width, video.height, span, ScoreConfig())
    row = scores | {
        "clip_id": clip.name,
        "video_id": clip.name,
        "start_pts": int(clock.pts[0]),
        "end_pts": clock.end_pts,
        "time_base": str(clock.time_base),
        "start_s": 0.0,
        "end_s": clock.duration_s,
        "width": video.width,
        "height": video.height,
        "frames_hash": frames_hash(signals["picture_hash"].to_pylist()),
    }
    return row, look_row(signals, row)


def truth(a: Shown, b: Shown) -> str:
    """copy, copies (of the same original), grazing (they share a little), captions, or other."""
    common = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    if a.footage != b.footage or common <= 0:
        return "other"
    if a.scene != b.scene:
        return "captions"
    if common < FULL_SHARE * min(a.end_s - a.start_s, b.end_s - b.start_s):
        return "grazing"
    return "copy" if "original" in (a.kind, b.kind) else "copies"


def _judged(shown: list[Shown], contents: Mapping[str, str], pairs: list[Pair]) -> dict[str, float]:
    joined = {(pair.a, pair.b) for pair in pairs} | {(name, name) for name in contents.values()}
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for a, b in combinations(sorted(shown, key=lambda clip: clip.name), 2):
        what, here = truth(a, b), tuple(sorted((contents[a.name], contents[b.name]))) in joined
        counts[what][0] += 1
        counts[what][1] += here
        if what == "copy":
            change = (b if a.kind == "original" else a).kind
            kind = "copy: several changes" if "+" in change else f"copy: {change}"
        elif what == "other" and a.family == b.family:
            change = (b if "+" in a.kind or a.kind in ("original", *CHANGES, "exact") else a).kind
            kind = f"look-alike: {change}"
        else:
            kind = what
        kinds[kind][0] += 1
        kinds[kind][1] += here
        if (what == "copy" and not here) or (what == "other" and here):
            print(f"{'missed' if what == 'copy' else 'wrong'}: {a.name} ({a.kind}), {b.name} ({b.kind})")
    for name, (total, number) in sorted(kinds.items()):
        print(f"{name:32} {number:6} of {total:6} joined")
    right = counts["copy"][1] + counts["copies"][1]
    return {
        "dup_precision": right / max(1, right + counts["other"][1]),
        "dup_recall": counts["copy"][1] / counts["copy"][0],
        "dup_copies": float(counts["copy"][0]),
        "dup_copies_of_copies_recall": counts["copies"][1] / max(1, counts["copies"][0]),
        "dup_others": float(counts["other"][0]),
        "dup_wrong": float(counts["other"][1]),
        "dup_captions_joined": counts["captions"][1] / max(1, counts["captions"][0]),
    }


def scale(number: int) -> dict[str, float]:
    """What `find_pairs` takes for so many clips of 5 s: pictures with the spectrum of natural ones, which
    drift and change."""
    rng = np.random.default_rng(2)
    frames = round(_SCALE_S * _THUMBS_PER_S)
    copies = round(number * _SCALE_COPIES)
    builder: list[pa.RecordBatch] = []
    times = (np.arange(frames) / _THUMBS_PER_S).astype(np.float32)
    originals: list[np.ndarray] = []
    for first in range(0, number, 1000):
        names, thumbs = [], []
        for k in range(first, min(number, first + 1000)):
            if k >= number - copies:
                clip = (
                    originals[k - (number - copies)].astype(np.float32) * 0.9
                    + 8
                    + rng.normal(0, 1, (frames, SIDE, SIDE))
                )
                clip = np.clip(clip, 0, 255).astype(np.uint8)
            else:
                clip = _natural(rng, frames)
                if len(originals) < copies:
                    originals.append(clip)
            names.append(f"{k:08}")
            thumbs.append(clip.tobytes())
        columns = {
            "clip_id": names,
            "thumbs": thumbs,
            "thumb_s": [times] * len(names),
            "unrest": [1.0] * len(names),
        }
        columns |= {name: [None] * len(names) for name in LOOKS.names if name not in columns}
        builder.append(pa.RecordBatch.from_pydict(columns, schema=LOOKS))
    looks = pa.Table.from_batches(builder)
    builder.clear()
    originals.clear()
    rows = [
        {"clip_id": f"{k:08}", "video_id": f"{k:08}", "frames_hash": None, "start_pts": 0, "end_pts": 1}
        for k in range(number)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    pairs = find_pairs(looks, rows, DedupConfig())
    return {
        "scale_clips": float(number),
        "scale_looks_mib": looks.nbytes / 1024**2,
        "scale_find_cpu_s": time.process_time() - started,
        "scale_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "scale_peak_before_mib": before,
        "scale_copies_found": len({p for p in pairs if int(p.b) - int(p.a) == number - copies})
        / max(1, copies),
        "scale_others_found": float(
            len(pairs) - len({p for p in pairs if int(p.b) - int(p.a) == number - copies})
        ),
    }


def _natural(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A picture with amplitudes like 1/f over a slower vertical shade, seen by a moving camera; something
    else moves in it."""
    wide = SIDE * 2
    frequency = np.hypot(np.fft.fftfreq(wide)[:, None], np.fft.rfftfreq(wide)[None]) + 1 / wide
    spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    canvas = np.fft.irfft2(spectrum / frequency**1.2, s=(wide, wide))
    canvas += np.linspace(rng.normal(), rng.normal(), wide)[:, None] * canvas.std()
    canvas = 128 + 50 * (canvas - canvas.mean()) / canvas.std()
    thing = rng.uniform(0, 255, (6, 6))
    move, pace, phase = rng.uniform(-8, 8, 2), rng.uniform(0.1, 0.5, 2), rng.uniform(0, 6, 2)
    clip = np.empty((frames, SIDE, SIDE), np.uint8)
    for k in range(frames):
        x, y = (SIDE / 2 + move * k / frames).astype(int)
        picture = canvas[y : y + SIDE, x : x + SIDE].copy()
        u, v = ((SIDE - 6) / 2 * (1 + np.sin(pace * k + phase))).astype(int)
        picture[v : v + 6, u : u + 6] = thing
        clip[k] = np.clip(picture, 0, 255)
    return clip


def main() -> None:
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    if unknown := set(given) - {"seed", "size", "clips"}:
        raise SystemExit(f"{', '.join(sorted(unknown))}: known are seed=<n>, size=small and clips=<n>")
    small = given.get("size") == "small"
    figures = scale(int(given["clips"])) if "clips" in given else measure(int(given.get("seed", 1000)), small)
    for name, value in figures.items():
        print(f"{name:32} {value:.4g}")


if __name__ == "__main__":
    main()
