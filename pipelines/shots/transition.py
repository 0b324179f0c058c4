"""What lies between two shots."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transition:
    """Frames [start, end) show two shots, or none; a hard cut has no frames: it lies before frame start =
    end.

    `kind` is hard, fade or dissolve; `confidence` is in 0…1.
    """

    kind: str
    start: int
    end: int
    confidence: float
