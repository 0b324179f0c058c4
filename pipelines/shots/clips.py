"""Shots → clips: each shot whole, or in pieces if it is longer than the longest clip.

In: the shots of a video and the PTS of its frames. Out: clips that start and end on frames and lie in one
shot each. None is longer than the longest clip, unless it is one picture that stands for so long. Short ones
are clips too: whether to keep them is decided later, with everything else.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from pipelines.ids import clip_id
from pipelines.records import Clip, Shot, Span
from pipelines.shots.config import ClipConfig

VERSION = 2


def cut_clips(video_id: str, shots: Sequence[Shot], pts: np.ndarray, cfg: ClipConfig) -> list[Clip]:
    """Clips of a video, in order.

    Args:
        video_id: of the video.
        shots: of the video, in order.
        pts: of all its frames, ascending.
    """
    clips: list[Clip] = []
    for index, shot in enumerate(shots):
        bounds = _divide(shot, pts, cfg.max_s)
        ends = [(shot.start_kind, shot.start_confidence), *(("divided", 1.0) for _ in bounds[1:-1])]
        ends.append((shot.end_kind, shot.end_confidence))
        for k, (start, end) in enumerate(pairwise(bounds)):
            num_frames = int(np.searchsorted(pts, end) - np.searchsorted(pts, start))
            span = Span(start, end, shot.span.time_base)
            (start_kind, start_sure), (end_kind, end_sure) = ends[k], ends[k + 1]
            identity = clip_id(video_id, start, end)
            clips.append(
                Clip(identity, video_id, span, num_frames, index, start_kind, end_kind, start_sure, end_sure)
            )
    return clips


def _divide(shot: Shot, pts: np.ndarray, max_s: float) -> list[int]:
    """Where its pieces begin, each on a frame, and where the last one ends. A picture that stands longer than
    a clip may last is a piece.
    """
    span = shot.span
    most = Fraction(str(max_s)) / span.time_base
    starts = pts[(pts >= span.start_pts) & (pts < span.end_pts)]
    stands = np.diff(starts, append=span.end_pts) > float(most)
    ends = {span.start_pts, span.end_pts, *starts[stands].tolist(), *starts[1:][stands[:-1]].tolist()}
    bounds = [span.start_pts]
    for start, end in pairwise(sorted(ends)):
        inside = starts[(starts >= start) & (starts < end)]
        fewest = max(1, math.ceil((end - start) / most))
        equal = (_equal(inside, start, end, pieces, most) for pieces in (fewest, fewest + 1))
        fits = next((bounds_of for bounds_of in equal if bounds_of), None)
        bounds += fits or _fitting(inside, start, end, most)
    return bounds


def _equal(starts: np.ndarray, start: int, end: int, pieces: int, most: Fraction) -> list[int] | None:
    """Ends of equal pieces of a stretch, each on the first frame at or after its exact place; None if one
    would be longer than it may.
    """
    ideal = [start + (end - start) * k / pieces for k in range(1, pieces)]
    inner = {int(starts[i]) for i in np.searchsorted(starts, ideal) if i < len(starts)}
    bounds = sorted({start, end} | inner)
    fits = len(starts) == 1 or all(b - a <= most for a, b in pairwise(bounds))
    return bounds[1:] if fits else None


def _fitting(starts: np.ndarray, start: int, end: int, most: Fraction) -> list[int]:
    """The same where frames don't lie so that equal pieces fit: each ends on the first frame at or after its
    share of what is left, or on the last that fits.
    """
    bounds = []
    while end - start > most:
        share = start + (end - start) / Fraction(math.ceil((end - start) / most))
        wanted = int(starts[np.searchsorted(starts, math.ceil(share))]) if share <= starts[-1] else end
        if wanted - start > most:
            wanted = int(starts[np.searchsorted(starts, math.floor(start + most), side="right") - 1])
        bounds.append(wanted)
        start = wanted
    return [*bounds, end]
