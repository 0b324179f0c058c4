"""The measurements of a whole video → its clips' rows: shots, clips, scores, and what they look like. Pure.

In: what its header says, and the measurements of all its frames. Out: rows of the schemas `CLIPS` and
`LOOKS`, in order.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.curation.config import CurateConfig
from pipelines.dataset.buckets import bucket
from pipelines.dataset.schema import CLIPS, table
from pipelines.dedup.looks import LOOKS, look_row
from pipelines.measure.segments import contiguous_segments
from pipelines.media.clock import Clock
from pipelines.media.picture import frames_hash
from pipelines.media.picture_format import columns_of, from_text
from pipelines.records import Clip, Video
from pipelines.scores.embedding import clip_embedding
from pipelines.scores.registry import score_clip
from pipelines.scores.time_weights import expand_native_rows
from pipelines.shots.clips import cut_clips
from pipelines.shots.find_shots import find_shots


def clip_rows(
    video: Video, clock: Clock, signals: pa.Table, native: Mapping[str, pa.Table], cfg: CurateConfig
) -> tuple[pa.Table, pa.Table]:
    """A row for every clip of a video, and another of what it looks like.

    Args:
        signals: a row for every frame that is whole.
        native: by meter, a row for every native frame.
    """
    pts = signals["pts"].to_numpy()
    parts = [(part.first, part.last, part.end_pts) for part in contiguous_segments(clock, pts)]
    shots = find_shots(signals, clock.end_pts, clock.time_base, cfg.shots, parts)
    clips = cut_clips(video.video_id, shots, pts, cfg.clips)
    starts = pts.searchsorted([clip.span.start_pts for clip in clips]).tolist()
    rows, looks = [], []
    for start, clip in zip(starts, clips, strict=True):
        dense, sparse = (
            signals.slice(start, clip.num_frames),
            _inside(native, clip, cfg.signals.native_every_s),
        )
        row = _row(clip, video, dense, sparse, cfg)
        rows.append(row)
        looks.append(look_row(dense, row) | _embeddings(sparse))
    return table(rows, CLIPS), table(looks, LOOKS)


def _inside(native: Mapping[str, pa.Table], clip: Clip, every_s: float) -> dict[str, pa.Table]:
    """The native rows inside a clip, each as often as it counts."""
    span, inside = clip.span, {}
    for name, rows in native.items():
        rows = rows.filter(
            pc.and_(pc.greater_equal(rows["pts"], span.start_pts), pc.less(rows["pts"], span.end_pts))
        )
        begins_s = (rows["pts"].to_numpy() - span.start_pts) * float(span.time_base)
        inside[name] = expand_native_rows(rows, begins_s, span.duration_s, every_s)
    return inside


def _embeddings(native: Mapping[str, pa.Table]) -> dict[str, Any]:
    """Of what a clip shows, by the meters that have them; None where nothing measured it."""
    columns = {"embedding": "tags", "clip_embedding": "clip"}
    return {
        name: clip_embedding(native[meter]) if meter in native else None for name, meter in columns.items()
    }


def _row(
    clip: Clip, video: Video, signals: pa.Table, native: Mapping[str, pa.Table], cfg: CurateConfig
) -> dict[str, Any]:
    # the same in all: a change begins a shot
    span, shown = clip.span, from_text(signals["picture_format"][0].as_py())
    return {
        "clip_id": clip.clip_id,
        "video_id": clip.video_id,
        "shot_index": clip.shot_index,
        "start_kind": clip.start_kind,
        "end_kind": clip.end_kind,
        "start_confidence": clip.start_confidence,
        "end_confidence": clip.end_confidence,
        "start_pts": span.start_pts,
        "end_pts": span.end_pts,
        "time_base": str(span.time_base),
        "start_s": span.start_s,
        "end_s": span.end_s,
        "num_frames": clip.num_frames,
        "frames_hash": frames_hash(signals["picture_hash"].to_pylist()),
        "fps": clip.num_frames / span.duration_s,
        **columns_of(shown),
        "interlaced": pc.any(signals["interlaced"]).as_py(),
        "codec": video.codec,
        **score_clip(signals, native, shown.width, shown.height, span, cfg.scores),
    }


def bucket_of(row: Mapping[str, Any]) -> str:
    """The bucket of a clip's row."""
    return bucket(row["width"], row["height"], row["duration_s"])
