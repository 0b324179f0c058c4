"""What native frames tell, against known truth: bars, text, and technical quality as real clips are degraded.

`python -m benchmarks.measure.score_pictures [small] [seed]`; seed 0 is what is reported, on takes that no
other seed sees.

Every figure goes the whole way: frames are encoded, decoded, measured as curation measures them, and scored
as one clip.

- `letterbox`: share of scenes in which all four edges of the safe rectangle are within 2 px
  (`picture_scenes.barred` says what is varied).
- `text_area_error`: mean absolute error of `text_area` in percentage points, against the union of the boxes
  around rendered lines, over as many scenes of each kind of text, and without (`picture_scenes.written_on`).
- `monotone`: by measure, the lowest Spearman correlation over takes of the real clips between a degradation's
  level and the score: Gaussian blur (sharpness, blur), quantiser of MPEG-2 and Motion JPEG (blockiness),
  added noise (noise), gain (luma_mean). `monotone_min` is the least of sharpness, blockiness, noise and
  brightness.
- `cpu_ms_per_frame`: processor time of each meter for a native frame at 1280 × 720; conversion to RGB and
  luma apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.footage.picture_scenes import ENCODERS, FPS, TEXTS, Scene, barred, written_on
from benchmarks.footage.takes import Take, deal, frames_of, packaged_takes
from pipelines.grid import on_grid
from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements
from pipelines.measure.measure import measure as measure_pictures
from pipelines.media.clock import Clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.read_clock import read_clock
from pipelines.precision import AUTO, decide
from pipelines.records import Span
from pipelines.scores.base import NativeFrame
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import load_meters, score_clip
from pipelines.shots.config import ShotConfig
from tests.support.footage import real_clips, write

TOLERANCE_PX = 2
SCENES = {"letterbox": (240, 16), "text of a kind": (12, 1), "frames timed": (12, 3)}  # full, small
_FRAMES = 5

Degrade = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def measure(seed: int, small: bool = False) -> dict:
    """Figures by name; what failed, and details, in `details`."""
    cv2.setNumThreads(1)
    takes = deal(packaged_takes(), held_out=seed == 0)
    with tempfile.TemporaryDirectory() as folder:
        letterbox, wrong = _letterbox(seed, takes, SCENES["letterbox"][small], Path(folder))
        text = _text(seed, takes, SCENES["text of a kind"][small], Path(folder))
        monotone = _monotone(seed, takes[:2] if small else takes, Path(folder))
    headline = ("sharpness", "blockiness", "noise", "brightness")
    return {
        "letterbox": letterbox,
        **text,
        "monotone_min": min(monotone[name] for name in headline),
        "monotone": monotone,
        "cpu_ms_per_frame": _cpu_ms(SCENES["frames timed"][small]),
        "details": {"letterbox_wrong": wrong},
    }


def scored(path: Path, meters: tuple[str, ...]) -> tuple[dict, Clock]:
    """All scores of a file as one clip, through the decoder, the signals and these meters."""
    cfg, clock = ScoreConfig(), read_clock(path)
    total = len(clock.pts)
    pictures = list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts))
    wanted = ("signals", *meters)
    shots = ShotConfig(detector="content")
    precision = decide(AUTO).name
    tables = measure_pictures(
        enumerate(pictures),
        clock,
        (0, total),
        Measurements(SignalConfig(), shots, cfg, tuple(wanted), precision),
    )
    signals = tables.pop("signals")
    span = Span(int(clock.pts[0]), clock.end_pts, clock.time_base)
    return score_clip(signals, tables, pictures[0].width, pictures[0].height, span, cfg), clock


def _encoded(scene: Scene, folder: Path) -> Path:
    encoder, suffix, pixel_format, _ = ENCODERS[scene.codec]
    path = folder / f"scene.{suffix}"
    if scene.codec != "mpeg2":
        return write(path, scene.frames, FPS, encoder, pixel_format=pixel_format, options=scene.options)
    # its frame rates are a short list; frames may be missing
    pts = [k * 25 // FPS for k in range(len(scene.frames))]
    return write(path, scene.frames, 25, encoder, pts, pixel_format=pixel_format, options=scene.options)


def _letterbox(seed: int, takes: list[Take], scenes: int, folder: Path) -> tuple[float, list[str]]:
    wrong = []
    for k in range(scenes):
        scene = barred(np.random.default_rng([seed, 1, k]), takes)
        scores, _ = scored(_encoded(scene, folder), ("bars",))
        left, top = scores["safe_x"], scores["safe_y"]
        found = (left, top, left + scores["safe_width"], top + scores["safe_height"])
        if max(abs(a - b) for a, b in zip(found, scene.picture, strict=True)) > TOLERANCE_PX:
            wrong.append(f"{k}: {found} for {tuple(round(edge, 1) for edge in scene.picture)}, {scene.what}")
    return 1 - len(wrong) / scenes, wrong


def _text(seed: int, takes: list[Take], scenes: int, folder: Path) -> dict:
    errors: dict[str, list[float]] = defaultdict(list)
    read = lines = 0
    for number, kind in enumerate(TEXTS):
        for k in range(scenes):
            scene = written_on(np.random.default_rng([seed, 2, number, k]), takes, kind)
            scores, clock = scored(_encoded(scene, folder), ("text",))
            native = on_grid(clock.pts, clock.time_base, SignalConfig().native_every_s)
            errors[kind].append(100 * (scores["text_area"] - float(scene.area[native].mean())))
            said = _letters(scores["text"])
            read += sum(_letters(line) in said for line in scene.lines)
            lines += len(scene.lines)
    every = np.concatenate(list(errors.values()))
    return {
        "text_area_error": float(np.abs(every).mean()),
        "text_area_error_p95": float(np.percentile(np.abs(every), 95)),
        "text_lines_read": read / lines,
        "text_area_bias": {kind: float(np.mean(values)) for kind, values in errors.items()},
    }


def _letters(line: str) -> str:
    return "".join(c for c in line.lower() if c.isalnum())


def _blurred(frames: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]) if sigma else frames


def _noisy(frames: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(frames + rng.normal(0, sigma, (*frames.shape[:3], 1))), 0, 255).astype(np.uint8)


def _brightened(frames: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(frames * gain), 0, 255).astype(np.uint8)


def _unchanged(frames: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    return frames


_FINE = {"crf": "10", "preset": "veryfast"}
_QUANTISERS = (2, 3, 5, 8, 12, 17, 23, 31)
_BLURS = (0, 0.5, 0.8, 1.2, 1.8, 2.6, 3.6, 5.0)
# measure → score, sign, codecs, levels, what a level does
_LADDERS: dict[str, tuple[str, int, tuple[str, ...], tuple[float, ...], Degrade]] = {
    "sharpness": ("sharpness", -1, ("h264",), _BLURS, _blurred),
    "blur": ("blur", 1, ("h264",), _BLURS, _blurred),
    "blockiness": ("blockiness", 1, ("mpeg2", "mjpeg"), _QUANTISERS, _unchanged),
    "noise": ("noise", 1, ("h264",), (0, 1, 2, 3, 5, 8, 12, 18), _noisy),
    "brightness": ("luma_mean", 1, ("h264",), (0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5), _brightened),
}


def _monotone(seed: int, takes: list[Take], folder: Path) -> dict[str, float]:
    """By measure, the lowest correlation of all takes of the real clips, and codecs."""
    mine = [take for take in takes if take.path in real_clips().values()]
    lowest: dict[str, float] = {}
    for number, (measure_name, (score, sign, codecs, levels, degrade)) in enumerate(_LADDERS.items()):
        for k, take in enumerate(mine):
            rng = np.random.default_rng([seed, 3, number, k])
            source = frames_of(take)
            frames = source[np.linspace(int(rng.integers(8)), len(source) - 1, _FRAMES).astype(int)]
            frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
            for codec in codecs:
                values = []
                for level in levels:
                    options = _FINE if codec == "h264" else {"qmin": str(level), "qmax": str(level)}
                    scene = Scene(degrade(frames, level, rng), codec, options, "")
                    values.append(scored(_encoded(scene, folder), ("quality",))[0][score])
                found = sign * float(spearmanr(levels, values).statistic) if len(set(values)) > 1 else 0.0
                lowest[measure_name] = min(lowest.get(measure_name, 1.0), found)
    return lowest


def _cpu_ms(count: int) -> dict[str, float]:
    """Of frames of a real clip at 1280 × 720; models are loaded, and have looked once."""
    with av.open(str(real_clips()["bigbuckbunny.mp4"])) as container:
        pictures = [picture for k, picture in enumerate(container.decode(video=0)) if k % 10 == 0][
            : count + 1
        ]
    spent: dict[str, float] = defaultdict(float)
    looks = load_meters(ScoreConfig(), ("bars", "quality", "text", "nsfw"), "fp32")
    for k, picture in enumerate(pictures):
        frame = NativeFrame(picture)
        for name, look in {"conversion": lambda frame: (frame.rgb, frame.gray), **looks}.items():
            started = time.process_time()
            look(frame)
            spent[name] += (time.process_time() - started) * (k > 0)
    return {name: 1000 * seconds / (len(pictures) - 1) for name, seconds in spent.items()}


def main() -> None:
    seeds = [int(argument) for argument in sys.argv[1:] if argument.isdigit()] or [0]
    for name, value in measure(seeds[0], small="small" in sys.argv[1:]).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
