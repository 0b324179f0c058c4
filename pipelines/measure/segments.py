"""A clock and its intact frames → contiguous segments, and the gaps between them.

In: the clock of a video, and the times of the frames that were measured. Out: stretches of those, in which
shots are found; and what is lost, in exact time. Pure.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import Reason
from pipelines.mask_runs import mask_runs
from pipelines.media.clock import DAMAGED, Clock, Gap

MAX_REPORTED_GAPS = 100  # gaps of a video that have a row each


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows first … last − 1 of the frames that are whole; the last of them is shown until end_pts."""

    first: int
    last: int
    end_pts: int


def contiguous_segments(clock: Clock, pts: np.ndarray) -> list[Segment]:
    """Stretches of frames that follow each other without a gap, in order.

    Args:
        pts: of the frames that are whole, ascending; all are on the clock.
    """
    if not len(pts):
        return []
    numbers = np.searchsorted(clock.pts, pts)
    breaks = (np.diff(numbers) > 1) | np.isin(numbers[1:], clock.frames_after_gaps)
    starts = [0, *(np.flatnonzero(breaks) + 1).tolist()]
    ends = [*starts[1:], len(pts)]
    return [
        Segment(a, b, _shown_until(clock, int(numbers[b - 1]))) for a, b in zip(starts, ends, strict=True)
    ]


def gaps(clock: Clock, pts: np.ndarray) -> list[Gap]:
    """The gaps of a video in order of time; gaps of unknown length come last.

    Args:
        pts: see `contiguous_segments`; at least one.
    """
    found, total = list(clock.gaps), len(clock.pts)
    lost = ~np.isin(clock.pts, pts)
    for first, last in mask_runs(lost):
        start = _shown_until(clock, first - 1) if first else int(clock.pts[0])
        end = clock.end_pts if last == total else int(clock.pts[last])
        reason = Reason.TRUNCATED if last == total else Reason.UNDECODABLE
        found.append(Gap(start, end, last - first, reason, DAMAGED))
    known = [(gap.start_pts, gap.end_pts) for gap in found]
    for number in clock.frames_after_gaps:
        start, end = _shown_until(clock, number - 1), int(clock.pts[number])
        if start < end and not any(a <= start and (b is None or b >= end) for a, b in known):
            found.append(Gap(start, end, 0, Reason.UNDECODABLE, "the container is damaged there"))
    found.sort(key=lambda gap: (gap.start_pts, gap.end_pts is None))
    return _joined(found)


def lost_s(clock: Clock, found: list[Gap]) -> float | None:
    """Seconds lost in gaps; None if one's length is not known."""
    ends = [gap.end_pts for gap in found if gap.end_pts is not None]
    if len(ends) < len(found):
        return None
    return float((sum(ends) - sum(gap.start_pts for gap in found)) * clock.time_base)


def _joined(found: list[Gap]) -> list[Gap]:
    """Gaps that follow upon each other are one."""
    joined: list[Gap] = []
    for gap in found:
        before = joined[-1] if joined else None
        if before is not None and before.end_pts is not None and gap.start_pts <= before.end_pts:
            end = None if gap.end_pts is None else max(gap.end_pts, before.end_pts)
            joined[-1] = replace(
                gap, start_pts=before.start_pts, end_pts=end, num_frames=before.num_frames + gap.num_frames
            )
        else:
            joined.append(gap)
    return joined


def _shown_until(clock: Clock, number: int) -> int:
    """When a frame ends: as the next one begins, or after the usual time, if what comes next is lost."""
    if number + 1 == len(clock.pts):
        return clock.end_pts
    return min(int(clock.pts[number + 1]), int(clock.pts[number]) + clock.median_step)
