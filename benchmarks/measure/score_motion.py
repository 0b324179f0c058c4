"""Motion and camera against rendered truth; and whether static, black and flicker follow what is done to real
clips.

`python -m benchmarks.measure.score_motion [small] [seed]`; seed 0 is what is reported, on shots that no other
seed sees.

- `motion_error`: mean over scenes of |motion_mean ÷ truth − 1|; truth is the mean length of the flow between
  every two consecutive frames inside the bars, by the matrices that the scene was rendered with. Scenes that
  move by less than 0.01 of the diagonal per second have no relative error and are left out.
  `motion_error_p95` is the 95th percentile over scenes, `motion_bias` the mean with its sign.
- `camera`: share of right labels over as many scenes of each of the nine (`moving_scenes` says what is
  varied).
- `ratio_error`: mean absolute error of `static_ratio` and `black_ratio` where a known share of the frames of
  a take of real clips is frozen or black.
- `monotone_light`: lowest Spearman correlation over takes between the share of frozen frames, of black
  frames, the size of a flicker, and their scores.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.footage.moving_scenes import LABELS, flows, plan, render
from benchmarks.footage.takes import Take, deal, frames_of, packaged_takes
from benchmarks.measure.score_pictures import scored
from tests.support.footage import write

SCENES = (20, 1)  # of each label; full, small
TAKES = (8, 1)
LEAST_MOTION = 0.01  # share of the frame diagonal per s
_LEVELS = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9)


def measure(seed: int, small: bool = False) -> dict[str, Any]:
    """Figures by name; the confusion of labels and every scene with a wrong one in `details`."""
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scene.mp4"
        return _scenes(seed, SCENES[small], path) | _light(seed, TAKES[small], path)


def _scenes(seed: int, count: int, path: Path) -> dict[str, Any]:
    ratios: list[float] = []
    said: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for k in range(count * len(LABELS)):
        scene = plan(LABELS[k % len(LABELS)], seed + k // len(LABELS), held_out=seed == 0)
        write(path, np.stack(list(render(scene))), scene.fps, options={"crf": str(scene.crf)})
        scores, _ = scored(path, ("bars",))
        what = f"{scene.label} {scene.traits} crf {scene.crf}"
        said[scene.label, scores["camera"]] += 1
        if scores["camera"] != scene.label:
            wrong.append(f"{scores['camera']} for {what}")
        true = float(flows(scene).mean())
        if true >= LEAST_MOTION:
            ratios.append(scores["motion_mean"] / true)
            if abs(ratios[-1] - 1) > 0.3:
                wrong.append(f"motion {scores['motion_mean']:.3f} for {true:.3f}, {what}")
    errors = np.abs(np.array(ratios) - 1)
    return {
        "motion_error": float(errors.mean()),
        "motion_error_p95": float(np.percentile(errors, 95)),
        "motion_bias": float(np.mean(ratios) - 1),
        "camera": sum(n for (label, answer), n in said.items() if label == answer) / said.total(),
        "camera_scenes": said.total(),
        "details": {"confusion": said, "wrong": wrong},
    }


def _frozen(frames: np.ndarray, level: float) -> np.ndarray:
    """This share of the frames repeats the one before, in one stretch."""
    count = round(level * (len(frames) - 1))
    order = np.concatenate([np.arange(2), np.ones(count, int), np.arange(2, len(frames))])
    return frames[order[: len(frames)]]


def _blackened(frames: np.ndarray, level: float) -> np.ndarray:
    frames = frames.copy()
    frames[len(frames) - round(level * len(frames)) :] = 0
    return frames


def _flickering(frames: np.ndarray, level: float) -> np.ndarray:
    sign = np.where(np.arange(len(frames)) % 2, 1, -1)[:, None, None, None]
    return np.clip(frames + 12 * level * sign, 0, 255).astype(np.uint8)


_DONE: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "static_ratio": _frozen,
    "black_ratio": _blackened,
    "flicker": _flickering,
}


def _light(seed: int, count: int, path: Path) -> dict[str, float]:
    rng = np.random.default_rng([seed, 3])
    takes: list[Take] = deal(packaged_takes(), held_out=seed == 0)
    correlations: dict[str, list[float]] = {name: [] for name in _DONE}
    off: list[float] = []
    for k in rng.permutation(len(takes))[:count]:
        frames = frames_of(takes[k])[:40]
        frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
        for name, degrade in _DONE.items():
            values = []
            for level in _LEVELS:
                write(path, degrade(frames, level), 25, options={"crf": str(rng.choice((16, 20, 24, 28)))})
                values.append(scored(path, ())[0][name])
                off += [] if name == "flicker" else [abs(values[-1] - level)]
            correlations[name].append(spearmanr(_LEVELS, values).statistic)
    worst = {name: float(min(values)) for name, values in correlations.items()}
    return {f"monotone_{name}": value for name, value in worst.items()} | {
        "ratio_error": float(np.mean(off)),
        "monotone_light": min(worst.values()),
    }


def main() -> None:
    seeds = [int(argument) for argument in sys.argv[1:] if argument.isdigit()] or [0]
    measured = measure(seeds[0], small="small" in sys.argv[1:])
    details = measured.pop("details")
    for name, value in measured.items():
        print(f"{name}: {value:.4g}")
    for (label, answer), scenes in sorted(details["confusion"].items()):
        print(f"  {label} → {answer}: {scenes}")
    print("\n".join(details["wrong"]))


if __name__ == "__main__":
    main()
