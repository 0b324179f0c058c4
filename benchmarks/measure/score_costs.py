"""What each score costs: processor seconds per clip of five seconds, on the embedded real clips, one core.

In: nothing. Out: by what measures, the processor seconds of a clip, decoding apart. Each is measured in a
decode of its own, the decode's own time taken off; models are loaded before.
"""

import time
from collections.abc import Collection

import numpy as np

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, measure, preload
from pipelines.media.decode import iterate_pictures
from pipelines.media.read_clock import read_clock
from pipelines.precision import AUTO, decide
from pipelines.scores.base import SIGNALS
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import configured_meters
from pipelines.shots.config import ShotConfig
from tests.support.footage import real_clips

CLIP_S = 5.0
PRECISION = decide(AUTO).name
SCORES, SHOTS, SIGNAL = ScoreConfig(), ShotConfig(), SignalConfig()


def _of(outputs: Collection[str]) -> Measurements:
    return Measurements(SIGNAL, SHOTS, SCORES, tuple(outputs), PRECISION)


def _seconds(path, wanted: Collection[str]) -> float:
    """Of decoding a film whole and measuring what is wanted."""
    clock = read_clock(path)
    started = time.process_time()
    pictures = enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
    if wanted:
        measure(pictures, clock, (0, len(clock.pts)), _of(wanted))
    else:
        for _ in pictures:
            pass
    return time.process_time() - started


def measure_costs(repeats: int = 3) -> dict[str, dict[str, float]]:
    """By film, by what measures: processor seconds per clip."""
    names = (SIGNALS, *configured_meters(SCORES))
    preload(_of(names))()
    costs: dict[str, dict[str, float]] = {}
    for name, path in real_clips().items():
        clock = read_clock(path)
        share = CLIP_S / clock.duration_s

        def best(wanted, path=path):
            return float(np.min([_seconds(path, wanted) for _ in range(repeats)]))

        decoding = best(())
        each = {what: max(0.0, best((what,)) - decoding) * share for what in names}
        costs[name] = {"decoding": decoding * share, **each, "all in one decode": best(names) * share}
    return costs


if __name__ == "__main__":
    for film, parts in measure_costs().items():
        print(film, {what: round(seconds, 3) for what, seconds in parts.items()})
