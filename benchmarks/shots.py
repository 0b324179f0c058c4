"""Shots on composites with known truth: ours against PySceneDetect's detectors and TransNetV2, in quality and
in time.

Goal: purity ≥ 0.98 at coverage ≥ 0.85, at least 5 × as fast as TransNetV2 over all frames.
`python -m benchmarks.shots [size=small] [split=development] [footage=<folder> …]`

*Purity* is the share of clips of at least a second that lie in one true shot, two frames of a gradual
transition forgiven at either end; *coverage* the share of the true shots' frames that lie in pure clips.
Thresholds were chosen on the development split; what is written is the held-out split: other takes, other
seeds.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.footage.composites import DISTRACTORS, Truth, plan, render
from benchmarks.footage.takes import deal, folder_takes, packaged_takes
from benchmarks.measure.results_file import report
from benchmarks.measure.shot_scores import Tally
from benchmarks.peers import peers
from pipelines.ids import fingerprint
from pipelines.measure.config import SignalConfig
from pipelines.measure.signals import SCHEMA, measure
from pipelines.media.clock import Clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import upright_small
from pipelines.media.read_clock import read_clock
from pipelines.precision import AUTO, decide
from pipelines.records import Shot
from pipelines.shots import observation, transnet
from pipelines.shots.clips import cut_clips
from pipelines.shots.config import ClipConfig, ShotConfig
from pipelines.shots.find_shots import DETECTORS, find_shots

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "benchmarks" / "shots"
SIZES = {"small": 5, "full": 24}
SEEDS = {"development": 1000, "held_out": 9000}
KINDS = ("hard", "fade", "dissolve")
PRECISION = decide(AUTO).name
OURS = "cascade"


def main() -> None:
    options = {"size": "full", "split": "held_out"}
    folders = []
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name == "footage":
            folders.append(Path(value))
        elif (name == "size" and value in SIZES) or (name == "split" and value in SEEDS):
            options[name] = value
        else:
            raise SystemExit(
                f"{argument}: known are size={'|'.join(SIZES)}, split={'|'.join(SEEDS)}, footage=<folder>"
            )
    cv2.setNumThreads(1)
    peers.network(), transnet.load(PRECISION)  # not timed
    takes = packaged_takes() + [take for folder in folders for take in folder_takes(folder)]
    takes = deal(takes, options["split"] == "held_out")
    folder = CACHE / fingerprint([[str(t.path), t.first, t.last] for t in takes])[:12]
    tallies: dict[str, Tally] = defaultdict(Tally)
    seconds: dict[str, float] = defaultdict(float)
    for k in range(SIZES[options["size"]]):
        path, truth = render(plan(takes, SEEDS[options["split"]] + k), folder, f"{options['split']}_{k:02d}")
        _judge(path, truth, tallies, seconds)
        ours = tallies[OURS]
        print(f"{path.name}: so far purity {ours.purity:.3f}, coverage {ours.coverage:.3f}", flush=True)
    rows = [_row(name, tally, seconds) for name, tally in tallies.items()]
    figures = _figures(tallies, seconds)
    headings = ("detector", "purity", "coverage", "/".join(KINDS), f"{'/'.join(DISTRACTORS)} cut", "ms/frame")
    name = (
        "shots"
        if options == {"size": "full", "split": "held_out"}
        else f"shots_{options['split']}_{options['size']}"
    )
    report(name, figures, rows, headings)


def _judge(path: Path, truth: Truth, tallies: dict[str, Tally], seconds: dict[str, float]) -> None:
    clock = read_clock(path)
    total, least = len(clock.pts), len(clock.pts) / clock.duration_s
    started = time.process_time()
    pictures = list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts))
    seconds["decode"] += time.process_time() - started
    started = time.process_time()
    signals = measure(
        enumerate(pictures), clock, (0, total), SignalConfig(), ShotConfig(detector="content"), PRECISION
    )
    seconds["other signals"] += time.process_time() - started
    started = time.process_time()
    tiny = np.stack([_tiny(picture) for picture in pictures])
    seconds["shrink"] += time.process_time() - started
    del pictures

    started = time.process_time()
    look = DETECTORS[OURS].inference_plan.for_fps(total / clock.duration_s)
    columns = observation.evidence_columns(tiny, 0, (0, total), (0, total), look, PRECISION)
    shots = find_shots(_with(signals, columns), clock.end_pts, clock.time_base, ShotConfig(detector=OURS))
    seconds[OURS] += time.process_time() - started
    _count(OURS, shots, clock, truth, tallies)

    started = time.process_time()
    one, many = peers.probabilities(tiny)
    seconds["TransNetV2"] += time.process_time() - started
    signals = _with(signals, {"transition": many})  # a test holds our network's to these
    for name in (name for name in DETECTORS if name != OURS):
        shots = find_shots(signals, clock.end_pts, clock.time_base, ShotConfig(detector=name))
        _count(name, shots, clock, truth, tallies)
    tallies["TransNetV2 > 0.5"].add(peers.one_hot_shots(one), truth, least)
    tallies["many-hot > 0.3, stitched"].add(peers.stitched_shots(many, tiny), truth, least)
    seconds["frames"] += total


def _tiny(picture) -> np.ndarray:
    small = upright_small(picture, SignalConfig().small_side)
    return cv2.resize(small, (transnet.WIDTH, transnet.HEIGHT), interpolation=cv2.INTER_AREA)


def _with(signals: pa.Table, columns: Mapping[str, np.ndarray]) -> pa.Table:
    for name, values in columns.items():
        signals = signals.set_column(
            SCHEMA.get_field_index(name), SCHEMA.field(name), pa.array(values, from_pandas=True)
        )
    return signals


def _count(name: str, shots: list[Shot], clock: Clock, truth: Truth, tallies: dict[str, Tally]) -> None:
    clips = cut_clips("video", shots, clock.pts, ClipConfig())
    starts = [clock.index_of(clip.span.start_pts) for clip in clips]
    found = [(start, start + clip.num_frames) for start, clip in zip(starts, clips, strict=True)]
    tallies[name].add(found, truth, least=len(clock.pts) / clock.duration_s)


def _row(name: str, tally: Tally, seconds: dict[str, float]) -> list[str]:
    took = seconds[OURS if name == OURS else "TransNetV2"]
    cut = " ".join(f"{tally.found[kind]}/{tally.events[kind]}" for kind in DISTRACTORS)
    recalls = " ".join(f"{tally.recall(kind):.2f}" for kind in KINDS)
    ms = "" if name in ("content", "adaptive") else f"{1000 * took / seconds['frames']:.1f}"
    return [name, f"{tally.purity:.3f}", f"{tally.coverage:.3f}", recalls, cut, ms]


def _figures(tallies: dict[str, Tally], seconds: dict[str, float]) -> dict[str, float]:
    ours = tallies[OURS]
    before = seconds["decode"] + seconds["shrink"]
    figures = {"purity": ours.purity, "coverage": ours.coverage}
    figures |= {f"recall_{kind}": ours.recall(kind) for kind in KINDS}
    figures |= {f"{kind}_cut_share": ours.recall(kind) for kind in DISTRACTORS}
    figures |= {"clips": ours.clips, "frames": seconds["frames"], "cut_where_nothing_is": ours.spurious}
    figures["speedup_vs_transnet"] = seconds["TransNetV2"] / seconds[OURS]
    figures["speedup_with_decoding"] = (seconds["TransNetV2"] + before) / (seconds[OURS] + before)
    figures["shots_ms_per_frame"] = 1000 * seconds[OURS] / seconds["frames"]
    figures["other_signals_ms_per_frame"] = 1000 * seconds["other signals"] / seconds["frames"]
    figures["decode_ms_per_frame"] = 1000 * seconds["decode"] / seconds["frames"]
    for name, tally in tallies.items():
        if name != OURS:
            key = "_".join(word for word in "".join(c if c.isalnum() else " " for c in name.lower()).split())
            figures |= {f"{key}_purity": tally.purity, f"{key}_coverage": tally.coverage}
    return figures


if __name__ == "__main__":
    main()
