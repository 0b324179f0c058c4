"""A source and a time → the clip that shows it, or which clips are before and behind and what lies between.

In: a source of a dataset as a person names it, and seconds of its own clock. Out: the id of a clip, kept or
rejected; or one line that says why no clip is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from jobs.listing.account import in_words
from jobs.listing.ids import ids_of, short_length
from jobs.listing.single_line import single_line
from jobs.listing.sources import name_of, the_video
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import KEPT, Row, is_gap

_COLUMNS = ("clip_id", "source_uri", "start_s", "end_s", "start_kind", "end_kind", "status", "reject_reasons")
_EDGE = "edge"
_SOFT = ("fade", "dissolve")
_JOINED_S = 1e-6  # nearer than any two frames: one clip ends where the next begins


def clip_at(dataset: Dataset, source: str, at_s: float | None) -> str:
    """The clip of a source that is shown at a time; its only clip, if no time is given.

    Raises:
        ValueError: no source, or more than one, is called so; no clip is there, and what is; it has several
            clips, and no time is given.
    """
    uri = the_video(dataset, source)
    size = short_length(ids_of(dataset))
    of_source = dataset.index(_COLUMNS).where(lambda batch: pc.equal(batch["source_uri"], uri))
    clips = of_source.sort_by("start_s").to_pylist()
    if at_s is None:
        if len(clips) == 1:
            return clips[0]["clip_id"]
        raise ValueError(_which(uri, clips, size))
    for clip in clips:
        if clip["start_s"] - _JOINED_S / 2 <= at_s < clip["end_s"] - _JOINED_S / 2:
            return clip["clip_id"]
    raise ValueError(
        f"{name_of(uri)} at {at_s:g} s is in no clip: {_around(dataset, uri, clips, at_s, size)}"
    )


def _which(uri: str, clips: Sequence[Row], size: int) -> str:
    if not clips:
        return f"{name_of(uri)} has no clips"
    some = ", ".join(_named(clip, size) for clip in clips[:5]) + (" …" if len(clips) > 5 else "")
    return f"{name_of(uri)} has {len(clips)} clips ({some}); give at_s= or clip="


def _around(dataset: Dataset, uri: str, clips: Sequence[Row], at_s: float, size: int) -> str:
    before = next((clip for clip in reversed(clips) if clip["end_s"] <= at_s + _JOINED_S), None)
    behind = next((clip for clip in clips if clip["start_s"] > at_s), None)
    if before is None and behind is None:
        return "it has no clips"
    lost = _gap_at(dataset, uri, at_s)
    if before is None or behind is None:
        return _outside(dataset, uri, before, behind, lost, size)
    where = lost or _between(dataset, uri, before, behind)
    return f"{where} between {_named(before, size)} and {_named(behind, size)}"


def _outside(dataset: Dataset, uri: str, before: Row | None, behind: Row | None, lost: str, size: int) -> str:
    """Before the first clip or behind the last."""
    if behind is not None:
        where = lost or (
            "before the video begins" if behind["start_kind"] == _EDGE else _in_quarantine(dataset, uri)
        )
        return f"{where or 'left out as part of a transition'}; its first clip is {_named(behind, size)}"
    assert before is not None
    where = lost or (
        "behind the video's end" if before["end_kind"] == _EDGE else _in_quarantine(dataset, uri)
    )
    return f"{where or 'left out as part of a transition'}; its last clip is {_named(before, size)}"


def _between(dataset: Dataset, uri: str, before: Row, behind: Row) -> str:
    kinds = [kind for kind in (before["end_kind"], behind["start_kind"]) if kind in _SOFT]
    if kinds:
        return f"in a transition (a {kinds[0]})"
    return _in_quarantine(dataset, uri) or "left out as part of a transition"


def _gap_at(dataset: Dataset, uri: str, at_s: float) -> str:
    """The stretch of a video that is lost to damage, and has the time in it; empty if none has."""
    for row in dataset.quarantine().rows():
        here = row["source_uri"] == uri and is_gap(row) and row["start_s"] <= at_s
        if here and (row["end_s"] is None or at_s < row["end_s"]):
            return single_line(f"lost to damage ({row['reason']}: {row['message']})")
    return ""


def _in_quarantine(dataset: Dataset, uri: str) -> str:
    """What of a video is lost, by its rows in the quarantine; empty if nothing is."""
    bad = [row for row in dataset.quarantine().rows() if row["source_uri"] == uri and not is_gap(row)]
    if not bad:
        return ""
    lost = single_line(f"lost ({bad[0]['stage']}: {bad[0]['reason']}: {bad[0]['message']})")
    return lost + (f" or {len(bad) - 1} more" if len(bad) > 1 else "")


def _named(clip: Row, size: int) -> str:
    why = ", ".join(in_words(reason) for reason in clip["reject_reasons"] or ())
    status = "kept" if clip["status"] == KEPT else f"rejected: {why}"
    return f"{clip['clip_id'][:size]} ({clip['start_s']:.2f}–{clip['end_s']:.2f} s, {status})"
