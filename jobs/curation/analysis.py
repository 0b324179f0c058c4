"""A source → its clips with their scores: hash, probe, signals, shots, clips. One decode, or none if it was done.

In: one source. Out: its video and clips, or why it is quarantined. Each step looks first whether its stage has the unit
already; what it finds out it commits before it goes on. Runs inside a Ray task, and without Ray in tests.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pyarrow as pa

from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from pipelines.buckets import bucket
from pipelines.clips import cut_clips
from pipelines.errors import MediaError, Reason
from pipelines.ids import fingerprint, video_id
from pipelines.records import Clip, Quarantined, Source, Video
from pipelines.schema import CLIPS, table
from pipelines.scores import score_clip
from pipelines.shots import find_shots
from pipelines.stages import Stage
from pipelines.store import local_copy, open_store

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Analysis:
    """What is known of a source so far; `decoded` tells whether frames had to be decoded for it now."""

    source_uri: str
    video_id: str | None = None
    duration_s: float | None = None
    clips: list[dict[str, Any]] = field(default_factory=list)
    quarantined: Quarantined | None = None
    decoded: bool = False
    hashed: bool = False


class NotDone(Exception):
    """A step is not finished, and working is not allowed."""


class Analyst:
    """Takes sources through the first half of curation.

    Args:
        dataset: URI.
        cfg: of the run.
        prints: fingerprints of the stages.
    """

    def __init__(self, dataset: str, cfg: CurateConfig, prints: Fingerprints):
        self._cfg = cfg
        store = open_store(dataset)
        self._identities = Stage(store, "identify", prints.identify)
        self._probes = Stage(store, "probe", prints.probe)
        self._signals = Stage(store, "signals", prints.signals)
        self._clips = Stage(store, "clips", prints.clips)

    def finished(self, source: Source) -> Analysis | None:
        """The analysis of a source if every step of it was committed before; nothing is hashed or decoded."""
        try:
            return self.measure(self.identify(source, work=False), work=False)
        except NotDone:
            return None

    def identify(self, source: Source, work: bool = True) -> Analysis:
        """Hash and probe."""
        found = Analysis(source.uri)

        def hash_bytes() -> pa.Table:
            found.hashed = True
            with local_copy(source.uri) as path:
                try:
                    return pa.table({"video_id": [video_id(path)]})
                except OSError as error:
                    raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error

        unit = fingerprint([source.uri, source.size_bytes, source.etag])
        identity = self._step(self._identities, unit, found, hash_bytes, work)
        if identity is not None:
            found.video_id = identity["video_id"][0].as_py()
            header = self._step(self._probes, found.video_id, found, lambda: self._probe(found), work)
            if header is not None:
                found.duration_s = header["duration_s"][0].as_py()
        return found

    def measure(self, found: Analysis, work: bool = True) -> Analysis:
        """Signals, shots, clips and scores of what was identified."""
        if found.quarantined is not None:
            return found
        video, signals = found.video_id, None
        if self._clips.lookup(video) is None:
            signals = self._step(self._signals, video, found, lambda: self._measure(found), work)
            if signals is None:
                return found
        rows = self._step(self._clips, video, found, lambda: self._make_clips(video, signals), work)
        found.clips = rows.to_pylist() if rows is not None else []
        return found

    def _step(
        self, stage: Stage, unit: str, found: Analysis, make: Callable[[], pa.Table], work: bool
    ) -> pa.Table | None:
        """The committed rows of a step, made now if need be; None and a quarantine if they can't be made."""
        outcome = stage.lookup(unit)
        if outcome is None:
            if not work:
                raise NotDone
            outcome = _attempt(stage, unit, found, make)
        if isinstance(outcome, Quarantined):
            # The same bytes may have come from another URI then.
            found.quarantined = Quarantined(
                found.source_uri, outcome.stage, outcome.reason, outcome.message, found.video_id
            )
            return None
        return outcome

    def _probe(self, found: Analysis) -> pa.Table:
        from pipelines.media.probe import probe

        with local_copy(found.source_uri) as path:
            video = probe(path, found.video_id, self._cfg.footage_options)
        return _video_table(video)

    def _measure(self, found: Analysis) -> pa.Table:
        from pipelines.media.clock import read_clock
        from pipelines.media.decode import iterate_frames
        from pipelines.signals import measure

        found.decoded = True
        with local_copy(found.source_uri) as path:
            clock = read_clock(path)
            signals = measure(iterate_frames(path, clock), clock.time_base, self._cfg.signals)
        if not len(signals):
            raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")
        return signals.replace_schema_metadata({"end_pts": str(clock.end_pts)})

    def _make_clips(self, video_id: str, signals: pa.Table) -> pa.Table:
        video = _video(self._probes.lookup(video_id))
        pts, end_pts = signals["pts"].to_numpy(), int(signals.schema.metadata[b"end_pts"])
        shots = find_shots(signals, end_pts, video.time_base, self._cfg.shots)
        clips = cut_clips(video_id, shots, pts, self._cfg.clips)
        starts = pts.searchsorted([clip.span.start_pts for clip in clips]).tolist()
        rows = [
            _clip_row(clip, video, signals.slice(start, clip.num_frames), self._cfg)
            for start, clip in zip(starts, clips, strict=True)
        ]
        return table(rows, CLIPS)


def _attempt(stage: Stage, unit: str, found: Analysis, make: Callable[[], pa.Table]) -> pa.Table | Quarantined:
    try:
        return stage.commit(unit, make())
    except MediaError as error:
        bad = Quarantined(found.source_uri, stage.name, error.reason, error.message, found.video_id)
        return stage.commit(unit, bad) if error.lasting else bad
    except Exception as error:  # one file must not end the run; the row says that the fault is ours
        logger.exception("%s of %s failed", stage.name, found.source_uri)
        message = "".join(traceback.format_exception_only(error)).strip()
        return Quarantined(found.source_uri, stage.name, Reason.INTERNAL, message, found.video_id)


def _clip_row(clip: Clip, video: Video, signals: pa.Table, cfg: CurateConfig) -> dict[str, Any]:
    span = clip.span
    return {
        "clip_id": clip.clip_id,
        "video_id": clip.video_id,
        "shot_index": clip.shot_index,
        "start_kind": clip.start_kind,
        "end_kind": clip.end_kind,
        "start_pts": span.start_pts,
        "end_pts": span.end_pts,
        "time_base": str(span.time_base),
        "start_s": span.start_s,
        "end_s": span.end_s,
        "num_frames": clip.num_frames,
        "fps": clip.num_frames / span.duration_s,
        "width": video.width,
        "height": video.height,
        "pixel_aspect": str(video.pixel_aspect),
        "codec": video.codec,
        **score_clip(signals, video.width, video.height, span.duration_s, cfg.scores),
    }


def bucket_of(row: dict[str, Any]) -> str:
    """The bucket of a clip's row."""
    return bucket(row["width"], row["height"], row["duration_s"])


def _video_table(video: Video) -> pa.Table:
    return pa.table(
        {
            "video_id": [video.video_id],
            "container": [video.container],
            "codec": [video.codec],
            "width": [video.width],
            "height": [video.height],
            "rotation_deg": [video.rotation_deg],
            "pixel_aspect": [str(video.pixel_aspect)],
            "time_base": [str(video.time_base)],
            "duration_s": [video.duration_s],
            "bit_rate": [video.bit_rate],
        }
    )


def _video(header: pa.Table) -> Video:
    row = header.to_pylist()[0]
    return Video(**row | {name: Fraction(row[name]) for name in ("pixel_aspect", "time_base")})
