"""A source → its clips with their scores: hash, header, signals unit by unit, shots, clips. One decode, or
none if it was done.

In: one source, or one unit of a video. Out: its video and clips, or why it is quarantined. Each step looks
first whether its stage has the work already; what it finds out it commits before it goes on. Whoever commits
a video's last unit finds its shots: no worker waits for another. Runs inside a Ray task, and without Ray in
tests.
"""

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from jobs.cluster.worker_progress import MeasuredFootage, ProgressReporter, WorkerLostError
from jobs.curation.clip_rows import clip_rows
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from pipelines.dataset.stages import Stage
from pipelines.errors import MediaError, Reason, is_host_error
from pipelines.footage.source_file import read_video_id, source_file
from pipelines.ids import fingerprint
from pipelines.measure import sandboxed
from pipelines.measure.segments import MAX_REPORTED_GAPS, gaps, lost_s
from pipelines.measure.units import Unit, plan_units, unit_name
from pipelines.media.clock import Clock, Gap
from pipelines.media.ranged import File
from pipelines.records import Quarantined, Source
from pipelines.sandbox import child
from pipelines.scores.base import SIGNALS
from pipelines.storage.open_store import open_store

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Analysis:
    """What is known of a source so far.

    `as_listed` is (size, ETag) of the source when it was listed; results for another version are
    discarded. `lost` are rows of stretches that are lost, with reason, message, start_s and end_s, `lost_s`
    how long they are together: None where nobody knows; `others` says which other films its file has. `units`
    is how many its video was divided into, `unit` the one this is about; `finished` tells that `clips` are
    all there are; `decoded_s` is how many seconds of footage were decoded for it now.
    """

    source_uri: str
    video_id: str | None = None
    duration_s: float | None = None
    clips: list[dict[str, Any]] = field(default_factory=list)
    quarantined: Quarantined | None = None
    lost: list[dict[str, Any]] = field(default_factory=list)
    lost_s: float | None = None
    others: str | None = None
    units: int = 0
    unit: Unit | None = None
    finished: bool = False
    hashed: bool = False
    decoded_s: float = 0.0
    as_listed: tuple[int, str] | None = None

    @property
    def identity(self) -> str:
        """The id of the video of a source that is identified."""
        assert self.video_id is not None, f"{self.source_uri} is not identified"
        return self.video_id

    @property
    def span(self) -> Unit:
        """The unit of an analysis that is about one: first frame, and behind the last."""
        assert self.unit is not None, f"no unit of {self.source_uri} is meant"
        return self.unit

    @property
    def listed(self) -> tuple[int, str]:
        """Size and etag of a source that came from a listing."""
        assert self.as_listed is not None, f"{self.source_uri} was not listed"
        return self.as_listed


_LOST, _NOTHING_LOST = b"lost", '{"gaps": [], "lost_s": 0.0}'
_WHOSE_FAULT = (Reason.TIMED_OUT, Reason.OUT_OF_MEMORY, Reason.CRASHED)


class StepNotFinished(Exception):
    """A step is not committed yet, and computing it is not allowed in this call."""


class SourceAnalyzer:
    """Takes sources through the first half of curation.

    Args:
        dataset: URI.
        cfg: of the run.
        prints: fingerprints of the stages.
        watch: learns what is begun and ended.
    """

    def __init__(
        self, dataset: str, cfg: CurateConfig, prints: Fingerprints, watch: ProgressReporter | None = None
    ):
        self._cfg, self._prints, self._watch = cfg, prints, watch or ProgressReporter()
        store = open_store(dataset)
        self._identities = Stage(store, "identify", prints.identify)
        self._headers = Stage(store, "probe", prints.probe)
        self._measured = {name: Stage(store, name, print_) for name, print_ in prints.measured.items()}
        self._looks = Stage(store, "looks", prints.clips)
        self._clips = Stage(store, "clips", prints.clips)

    def finished(self, source: Source) -> Analysis | None:
        """The analysis of a source if every step of it was committed before; nothing is hashed or decoded."""
        try:
            found = self.identify(source, work=False)
        except StepNotFinished:
            return None
        return found if found.finished else None

    def identify(self, source: Source, work: bool = True) -> Analysis:
        """Hash, and read the header; with the clips if they are known. What begins like no video is refused
        before its bytes are read, and has no video_id.
        """
        found = Analysis(source.uri, as_listed=(source.size_bytes, source.etag))
        most = self._cfg.footage_options.max_bytes
        if source.size_bytes > most:  # said before its bytes are read, or fetched
            message = f"{source.size_bytes} bytes are more than footage_options.max_bytes={most}"
            self._take(found, Quarantined(source.uri, "identify", Reason.TOO_LARGE, message))
            return found

        def hash_bytes() -> pa.Table:
            with self._watch.working_on("hashing", source.uri):
                video_id = read_video_id(source.uri, found.as_listed, self._cfg.limits)
            found.hashed = True
            return pa.table({"video_id": [video_id]})

        unit = fingerprint([source.uri, source.size_bytes, source.etag])
        identity = self._step(self._identities, unit, found, hash_bytes, work)
        if identity is not None:
            found.video_id = identity["video_id"][0].as_py()
            header = self._step(self._headers, found.identity, found, lambda: self._read_header(found), work)
            if header is not None:
                found.duration_s = sandboxed.header_clock(header).duration_s
                found.others = sandboxed.header_video(header).others
                self._take(found, self._clips.lookup(found.identity))
        return found

    def split_units(self, analysis: Analysis) -> list[Analysis]:
        """A copy of an identified source for each unit of its video; the source itself if nothing is left to
        measure."""
        if analysis.finished:
            self._watch.add_measured(MeasuredFootage(num_sources=1))
            return [analysis]
        clock = sandboxed.header_clock(self._headers.lookup(analysis.identity))
        units = plan_units(clock.pts, clock.time_base, self._cfg.unit_s)
        self._watch.add_measured(
            MeasuredFootage(num_sources=1, total_s=sum(_length_s(clock, unit) for unit in units))
        )
        return [
            Analysis(
                analysis.source_uri,
                analysis.video_id,
                analysis.duration_s,
                units=len(units),
                unit=unit,
                others=analysis.others,
                hashed=analysis.hashed and not number,
                as_listed=analysis.as_listed,
            )
            for number, unit in enumerate(units)
        ]

    def measure(self, analysis: Analysis) -> Analysis:
        """Signals of the unit that an analysis names; with the video's clips if it was the last one
        missing."""
        if analysis.finished:
            return analysis
        header = self._headers.lookup(analysis.identity)
        length_s = _length_s(sandboxed.header_clock(header), analysis.span)
        analysis = self._measured_unit(analysis, header)
        # What was measured before is no work of this run.
        self._watch.add_measured(
            MeasuredFootage(done_s=length_s) if analysis.decoded_s else MeasuredFootage(total_s=-length_s)
        )
        return analysis

    def _measured_unit(self, found: Analysis, header: pa.Table) -> Analysis:
        if self._take(found, self._clips.lookup(found.identity)):
            return found
        name = unit_name(found.identity, found.span)
        outcomes = {what: stage.lookup(name) for what, stage in self._measured.items()}
        wanted = tuple(what for what, outcome in outcomes.items() if outcome is None)
        bad = next((outcome for outcome in outcomes.values() if isinstance(outcome, Quarantined)), None)
        if wanted:
            try:
                with self._watch.working_on("measuring", _named(found)):
                    bad = self._attempt_unit(name, found, header, wanted, bad)
            except WorkerLostError as error:
                lost = Quarantined(found.source_uri, wanted[0], error.reason, error.message, found.video_id)
                bad = self._attempt_unit(name, found, header, wanted, lost)
        if bad is not None and not Reason(bad.reason).permanent:
            found.quarantined = bad  # tried again by the next run
            return found
        clock = sandboxed.header_clock(header)
        names = [
            unit_name(found.identity, unit)
            for unit in plan_units(clock.pts, clock.time_base, self._cfg.unit_s)
        ]
        units = [stage.units(f"{found.video_id}/") for stage in self._measured.values()]
        if set.intersection(*units) >= set(names):
            self._take(
                found,
                _attempt(self._clips, found.identity, found, lambda: self._find_clips(found, header, names)),
            )
        return found

    def _attempt_unit(
        self, name: str, found: Analysis, header: pa.Table, wanted: tuple[str, ...], bad: Quarantined | None
    ) -> Quarantined | None:
        """Measure what is wanted of a unit in one decode, and commit it, or why it can't be; the latter, if
        it is so.

        Args:
            bad: why the unit can't be measured, if that is known already: others need not try.
        """
        made = bad or _tried(wanted[0], found, lambda: self._measure(found, header, wanted))
        if isinstance(made, Quarantined):
            if not Reason(made.reason).permanent:
                return made
            if bad is None and len(wanted) > 1 and made.reason in _WHOSE_FAULT:
                # One of them was too much: each alone, so that it is known which, and can be switched off.
                outcomes = [self._attempt_unit(name, found, header, (what,), None) for what in wanted]
                return next((outcome for outcome in outcomes if outcome), None)
            made = dict.fromkeys(wanted, made)
        first_bad = None
        for what, outcome in made.items():
            if isinstance(outcome, Quarantined):
                outcome = first_bad = replace(outcome, stage=what)
            self._measured[what].commit(name, outcome)
        return first_bad

    def _step(
        self, stage: Stage, unit: str, found: Analysis, make: Callable[[], pa.Table], work: bool
    ) -> pa.Table | None:
        """The committed rows of a step, made now if need be; None and a quarantine if they can't be made."""
        outcome = stage.lookup(unit)
        if outcome is None:
            if not work:
                raise StepNotFinished
            outcome = _attempt(stage, unit, found, make)
        if isinstance(outcome, Quarantined):
            self._take(found, outcome)
            return None
        return outcome

    def _take(self, found: Analysis, outcome: pa.Table | Quarantined | None) -> bool:
        """Put a final outcome into an analysis; False if there is none yet."""
        if isinstance(outcome, Quarantined):
            # The same bytes may have come from another URI then.
            found.quarantined = Quarantined(
                found.source_uri, outcome.stage, outcome.reason, outcome.message, found.video_id
            )
        elif outcome is not None:
            found.clips = outcome.to_pylist()
            said = json.loads((outcome.schema.metadata or {}).get(_LOST, _NOTHING_LOST))
            found.lost, found.lost_s = said["gaps"], said["lost_s"]
        found.finished = outcome is not None
        return found.finished

    def _file(self, found: Analysis) -> AbstractContextManager[File]:
        return source_file(found.source_uri, found.as_listed, self._cfg.limits)

    def _read_header(self, found: Analysis) -> pa.Table:
        with self._watch.working_on("probing", found.source_uri), self._file(found) as file:
            limits = sandboxed.header_limits(self._cfg.limits, found.listed[0])
            return child.call(
                sandboxed.read_header, file, found.video_id, self._cfg.footage_options, limits=limits
            )

    def _measure(self, found: Analysis, header: pa.Table, wanted: tuple[str, ...]) -> dict[str, pa.Table]:
        from pipelines.measure.measure import Measurements, preload

        clock, cfg = sandboxed.header_clock(header), self._cfg
        what = Measurements(cfg.signals, cfg.shots, cfg.scores, wanted, cfg.precision)
        found.decoded_s = _length_s(clock, found.span)
        with self._file(found) as file:
            return child.call(
                sandboxed.measure_unit,
                file,
                clock,
                found.span,
                what,
                limits=sandboxed.decode_limits(cfg.limits, found.decoded_s),
                preload=preload(what),
                on_progress=lambda far_s: self._watch.update(
                    "measuring", _named(found), min(far_s, found.decoded_s)
                ),
            )

    def _find_clips(self, found: Analysis, header: pa.Table, names: list[str]) -> pa.Table:
        # Several who measured the last units may come here at once: each is at work of its own.
        with self._watch.working_on(
            "finding the shots of", f"{found.source_uri}, after frame {found.span[0]}"
        ):
            return self._make_clips(header, names)

    def _make_clips(self, header: pa.Table, names: list[str]) -> pa.Table:
        outcomes = {what: [stage.lookup(name) for name in names] for what, stage in self._measured.items()}
        # of several bad units the first in time, whoever was first
        for unit in zip(*outcomes.values(), strict=True):
            if bad := next((outcome for outcome in unit if isinstance(outcome, Quarantined)), None):
                raise MediaError(Reason(bad.reason), bad.message)
        measured = {what: pa.concat_tables(tables) for what, tables in outcomes.items()}
        video, clock = sandboxed.header_video(header), sandboxed.header_clock(header)
        whole = measured[SIGNALS]["pts"].to_numpy()
        if not len(whole):
            raise MediaError(Reason.UNDECODABLE, f"none of its {len(clock.pts)} frames is whole")
        rows, looks = clip_rows(video, clock, measured.pop(SIGNALS), measured, self._cfg)
        looks = looks.set_column(
            looks.schema.get_field_index("clip_fingerprint"),
            "clip_fingerprint",
            pa.array([self._prints.measured.get("clip")] * len(looks), pa.string()),
        )
        self._looks.commit(video.video_id, looks)  # before the clips: where those are, these are
        found = gaps(clock, whole)
        return rows.replace_schema_metadata({_LOST: json.dumps(lost_rows(clock, found))}) if found else rows


def lost_rows(clock: Clock, gaps: list[Gap]) -> dict[str, Any]:
    """The record of a video's gaps: rows, and the total of lost seconds.

    Times are those of the clips: of the container's own clock. Of very many gaps the first have rows of their
    own.
    """

    def seconds(pts: int | None) -> float | None:
        return None if pts is None else float(pts * clock.time_base)

    rows: list[dict[str, Any]] = [
        {
            "start_s": seconds(gap.start_pts),
            "end_s": seconds(gap.end_pts),
            "reason": str(gap.reason),
            "message": _told(gap, clock),
        }
        for gap in gaps[:MAX_REPORTED_GAPS]
    ]
    if rest := gaps[MAX_REPORTED_GAPS:]:
        rows[-1]["message"] += f"; and {len(rest)} further gaps behind it"
    return {"gaps": rows, "lost_s": lost_s(clock, gaps)}


def _told(gap: Gap, clock: Clock) -> str:
    frames = f", {gap.num_frames} frame{'s' if gap.num_frames > 1 else ''}" if gap.num_frames else ""
    start_s = float(gap.start_pts * clock.time_base)
    if gap.end_pts is None:
        return f"all from {start_s:.3f} s on is lost{frames}: {gap.message}"
    return f"{start_s:.3f} to {float(gap.end_pts * clock.time_base):.3f} s is lost{frames}: {gap.message}"


def _named(found: Analysis) -> str:
    return f"{found.source_uri}, frames {found.span[0]} to {found.span[1]}"


def _length_s(clock: Clock, unit: Unit) -> float:
    first, last = unit
    end_pts = clock.end_pts if last == len(clock.pts) else int(clock.pts[last])
    return float((end_pts - int(clock.pts[first])) * clock.time_base)


def _attempt(
    stage: Stage, unit: str, found: Analysis, make: Callable[[], pa.Table]
) -> pa.Table | Quarantined:
    made = _tried(stage.name, found, make)
    passing = isinstance(made, Quarantined) and not Reason(made.reason).permanent
    return made if passing else stage.commit(unit, made)


def _tried(stage: str, found: Analysis, make: Callable[[], Any]) -> Any | Quarantined:
    """What was made, or why it could not be."""
    try:
        return make()
    except MediaError as error:
        return Quarantined(found.source_uri, stage, error.reason, error.message, found.video_id)
    except Exception as error:  # one file must not end the run; the row says that the fault is ours
        if is_host_error(error):  # nor be blamed for a full disk
            raise
        logger.exception("%s of %s failed", stage, found.source_uri)
        message = f"{type(error).__name__}: {error}"
        return Quarantined(found.source_uri, stage, Reason.INTERNAL, message, found.video_id)
