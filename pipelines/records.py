"""The rows that travel between stages: frozen, exact in time, later facts in later records.

In: what a stage found. Out: what the next stage may rely on. Seconds are derived from PTS and time base,
never stored as the truth. What a picture looks like (size, turn, colours) is a fact of each frame, and not
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Source:
    """One footage file at a URI, known by (URI, size, etag), with what its list said about it."""

    uri: str
    size_bytes: int
    etag: str
    text: str | None = None
    license: str | None = None
    dataset: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file among the footage that does not claim to be media."""

    uri: str
    size_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Video:
    """Content: what the header of a file says of its video stream, and in words which `others` there are;
    width and height of its first picture, as displayed.
    """

    video_id: str
    container: str
    codec: str
    width: int
    height: int
    time_base: Fraction
    duration_s: float
    bit_rate: float
    others: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one video in exact time: [start_pts, end_pts) in units of time_base seconds."""

    start_pts: int
    end_pts: int
    time_base: Fraction

    @property
    def start_s(self) -> float:
        return float(self.start_pts * self.time_base)

    @property
    def end_s(self) -> float:
        return float(self.end_pts * self.time_base)

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - self.start_pts) * self.time_base)


@dataclass(frozen=True, slots=True)
class Shot:
    """A span between two transitions, whose frames belong to neither shot.

    Each end says what it is, and how surely in 0…1: `edge` of the video, or of a stretch of it that is lost,
    `hard` cut, `fade` or `dissolve`.
    """

    span: Span
    num_frames: int
    start_kind: str
    end_kind: str
    start_confidence: float
    end_confidence: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of one shot; an end may also be `divided` (a long shot was)."""

    clip_id: str
    video_id: str
    span: Span
    num_frames: int
    shot_index: int
    start_kind: str
    end_kind: str
    start_confidence: float
    end_confidence: float


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A source, or one clip of it, that could not be processed; or, if it has a start_s, a stretch of it that
    is lost."""

    source_uri: str
    stage: str
    reason: str
    message: str
    video_id: str | None = None
    clip_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missing(Quarantined):
    """A source that was listed and can't be had; with what its list says of it, for when it can."""

    text: str | None = None
    license: str | None = None
    dataset: str | None = None

    @classmethod
    def listed(cls, uri: str, reason: str, message: str, about: Mapping[str, str] | None = None) -> "Missing":
        """One that was looked for while sources are listed. about: what its list says of it, by column."""
        said = about or {}
        return cls(
            uri,
            "plan",
            reason,
            message,
            text=said.get("text"),
            license=said.get("license"),
            dataset=said.get("dataset"),
        )
