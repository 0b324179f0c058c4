"""Evidence and TransNetV2's probabilities → hard cuts, fades and dissolves.

In: the signals of a video. Out: its transitions in order, apart from each other. Hard cuts come from
evidence; gradual ones, and cuts that evidence doubts, from the network, unless both sides turn out to show
the same.
"""

from fractions import Fraction

import numpy as np
import pyarrow as pa

from pipelines.mask_runs import mask_runs
from pipelines.shots import evidence
from pipelines.shots.config import ShotConfig
from pipelines.shots.thresholds import content_change
from pipelines.shots.transition import Transition

_SEEDED = 0.5  # a frame belongs to a transition from this share of the threshold on, next to one above it
_SHORT = 3  # frames that a marked stretch has at most if it may be a hard cut
_DIP = 0.85  # alike_0 below which a short marked stretch is a hard cut at its lowest frame
_FLASH_FRAMES = 6  # longest stretch that can be a flash
_SHAKE_FRAMES = 12  # or a shake
_SAME = 0.9  # alike across such a stretch above which it is none but that
_SAME_LIT = 0.6  # the same when light comes and goes in it
_LIT = 12.0  # step of luma that it makes
_STEP_BACK = 0.5  # share of the step that one frame takes back
_TAKEN_BACK = 0.3  # share of a step of light that may stay if it is a flash
_EVEN = 4.0  # contrast of a frame that shows nothing but a colour
_RAMP_FRAMES = 3  # frames over which a fade's contrast must grow, going outwards
_RAMP_GROWTH = 1.03  # by so much, for the fade to go on
_DARK = 0.5  # the same as a share of the spread on both sides: text stays when the picture fades
_SIDE_FRAMES = 20  # which are so long
_FLOOR = 1.15  # of the least spread of a fade: below it the picture has not begun to come back


def find_transitions(signals: pa.Table, time_base: Fraction, cfg: ShotConfig) -> list[Transition]:
    """Of the default detector."""
    alike = np.stack([_column(signals, f"alike_{reach}") for reach in evidence.REACHES], axis=1)
    probability = np.nan_to_num(_column(signals, "transition"))
    luma, spread = _column(signals, "luma_mean"), _column(signals, "contrast")
    lit = _flashes(luma)
    change = content_change(signals)
    spikes = evidence.spikes(change) * ~lit
    cuts = np.flatnonzero(
        evidence.clear_cuts(alike) | (evidence.jump_cuts(alike, change) & ~lit) | (spikes > 0)
    )
    cuts = cuts[cuts > 0]
    found = [_cut(int(i), max(_sure(alike[i, 0]), float(spikes[i])), spread, cfg) for i in cuts]
    for start, end in _marked(probability, cfg):
        if ((cuts >= start - 2) & (cuts <= end + 2)).any() and end - start <= 2 * _SHORT:
            continue  # what the network saw is that cut
        if _is_same(alike, lit, start, end):
            continue
        sure = float(probability[start:end].max())
        lowest = max(start - 2, 0) + int(np.argmin(alike[max(start - 2, 0) : end + 2, 0]))
        if (
            end - start <= _SHORT
            and alike[lowest, 0] < _DIP
            and not _is_faded(spread, lowest - 1, lowest + 1)
        ):
            if not lit[lowest]:
                found.append(Transition("hard", lowest, lowest, sure))
        else:
            found.append(_gradual(start, end, sure, spread, cfg))
    return _without_empty(_apart(found, len(signals)), spread)


def _cut(i: int, sure: float, spread: np.ndarray, cfg: ShotConfig) -> Transition:
    """A hard cut, unless the picture was all but gone there: noise is like no other noise."""
    if _is_faded(spread, i - 1, i + 1):
        return _gradual(i - 1, i + 1, sure, spread, cfg)
    return Transition("hard", i, i, sure)


def _flashes(luma: np.ndarray) -> np.ndarray:
    """Frames that begin or end a flash: a step of light that another step takes back within a few frames."""
    steps = np.diff(luma, prepend=luma[0])
    found = np.zeros(len(luma), bool)
    for i in np.flatnonzero(np.abs(steps) > _LIT).tolist():
        for j in range(i + 1, min(i + 1 + _SHAKE_FRAMES, len(luma))):
            opposite = steps[j] * steps[i] < 0 and abs(steps[j]) >= _STEP_BACK * abs(steps[i])
            if opposite and abs(luma[j] - luma[i - 1]) < _TAKEN_BACK * abs(steps[i]):
                found[[i, j]] = True
    return found


def network_alone(signals: pa.Table, time_base: Fraction, cfg: ShotConfig) -> list[Transition]:
    """Of the detector that looks at every frame and believes what it sees: the many-hot head, as it is."""
    change = content_change(signals)
    probability, spread = np.nan_to_num(_column(signals, "transition")), _column(signals, "contrast")
    found = []
    for start, end in mask_runs(probability >= cfg.transition_threshold):
        sure = float(probability[start:end].max())
        if end - start <= 2:  # it marks the frame before the cut, the one after it, or both
            cut = start + int(np.argmax(change[start : end + 1]))
            found.append(Transition("hard", cut, cut, sure))
        else:
            found.append(_gradual(start, end, sure, spread, cfg))
    return _apart(found, len(signals))


def _column(signals: pa.Table, name: str) -> np.ndarray:
    return signals[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _marked(probability: np.ndarray, cfg: ShotConfig) -> list[tuple[int, int]]:
    """Stretches in which the network sees a transition, with their weak beginnings and ends."""
    weak = mask_runs(probability >= _SEEDED * cfg.transition_threshold)
    return [(a, b) for a, b in weak if probability[a:b].max() >= cfg.transition_threshold]


def _is_same(alike: np.ndarray, lit: np.ndarray, start: int, end: int) -> bool:
    """Whether a short stretch is a flash or a shake: what lies before it comes back after it."""
    if end - start > _SHAKE_FRAMES:
        return False
    middle, half = (start + end) // 2, (end - start + 1) // 2 + 1
    wide = [k for k, reach in enumerate(evidence.REACHES) if reach >= half]
    across = np.nan_to_num(alike[max(middle - 2, 0) : middle + 3, wide]).max(initial=0.0)
    flash = end - start <= _FLASH_FRAMES and lit[max(start - 3, 0) : end + 3].any()
    return bool(across >= (_SAME_LIT if flash else _SAME))


def _gradual(start: int, end: int, sure: float, spread: np.ndarray, cfg: ShotConfig) -> Transition:
    """A fade if a frame of it shows next to nothing; with the faint frames at its beginning and end."""
    if _is_faded(spread, start, end):
        floor = max(_EVEN, _FLOOR * spread[start:end].min())
        start, end = _ramp(spread, start, -1, floor), _ramp(spread, end - 1, 1, floor) + 1
        return Transition("fade", start - cfg.margin_frames, end + cfg.margin_frames, sure)
    longest = end - start  # two pictures that cross have less contrast than either, but so has many a motion
    start = max(_ramp(spread, start, -1, 0.0), start - longest)
    end = min(_ramp(spread, end - 1, 1, 0.0) + 1, end + longest)
    faint = cfg.margin_frames + round(cfg.margin_share * (end - start))
    return Transition("dissolve", start - faint, end + faint, sure)


def _is_faded(spread: np.ndarray, start: int, end: int) -> bool:
    """Whether a frame of a stretch shows next to nothing, while there is something on both sides."""
    start = max(0, start)
    before, after = spread[max(0, start - _SIDE_FRAMES) : start], spread[end : end + _SIDE_FRAMES]
    sides = min(before.max(initial=0.0), after.max(initial=0.0))
    return spread[start:end].min() < max(min(_EVEN, sides), _DARK * sides)


def _ramp(spread: np.ndarray, frame: int, step: int, floor: float) -> int:
    """The last frame, going outwards, at which the picture is still on its way: its contrast still grows."""
    while 0 <= frame + step * _RAMP_FRAMES < len(spread):
        grown = spread[frame + step * _RAMP_FRAMES] >= _RAMP_GROWTH * spread[frame]
        if not grown and spread[frame] >= floor:
            break
        frame += step
    return frame


def _without_empty(found: list[Transition], spread: np.ndarray) -> list[Transition]:
    """Neighbours with nothing but a colour between them are one fade."""
    joined: list[Transition] = []
    for now in found:
        if joined and spread[joined[-1].end : now.start].max(initial=0.0) < _EVEN:
            before = joined.pop()
            now = Transition("fade", before.start, now.end, max(before.confidence, now.confidence))
        joined.append(now)
    return joined


def _sure(alike: float) -> float:
    return float(1.0 - alike)


def _apart(found: list[Transition], total: int) -> list[Transition]:
    """In order; what overlaps becomes one, of the kind of the longer. A video may begin and end with a fade,
    but what dissolves has a shot on either side: at the edges it is a camera that moves fast.
    """
    merged: list[Transition] = []
    for now in sorted(found, key=lambda t: (t.start, t.end)):
        if merged and now.start <= merged[-1].end:
            before = merged.pop()
            longer = max(before, now, key=lambda t: t.end - t.start)
            sure = max(before.confidence, now.confidence)
            now = Transition(longer.kind, before.start, max(before.end, now.end), sure)
        merged.append(now)
    return [
        Transition(t.kind, max(t.start, 0), min(t.end, total), t.confidence)
        for t in merged
        if (t.end > 0 and t.start < total) and (t.kind == "fade" or (t.start > 0 and t.end < total))
    ]
