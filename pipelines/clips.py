"""Shots → clips: each shot whole, or in equal pieces if it is longer than the longest clip.

In: the shots of a video and the PTS of its frames. Out: clips that start and end on frames and lie in one shot each.
Short ones are clips too: whether to keep them is decided later, with everything else.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipelines.config import ClipConfig
from pipelines.ids import clip_id
from pipelines.records import Clip, Shot, Span

VERSION = 1


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
            clips.append(Clip(identity, video_id, span, num_frames, index, start_kind, end_kind, start_sure, end_sure))
    return clips


def _divide(shot: Shot, pts: np.ndarray, max_s: float) -> list[int]:
    """Bounds of as few equal pieces as fit, each on the first frame at or after its exact place."""
    span = shot.span
    pieces = max(1, math.ceil(round(span.duration_s / max_s, 9)))
    frames = pts[(pts >= span.start_pts) & (pts < span.end_pts)]
    ideal = [span.start_pts + (span.end_pts - span.start_pts) * k / pieces for k in range(1, pieces)]
    inner = {int(frames[i]) for i in np.searchsorted(frames, ideal) if i < len(frames)}
    return sorted({span.start_pts, span.end_pts} | inner)
