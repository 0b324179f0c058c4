"""Settings of shots and clips. Light."""

from dataclasses import dataclass, field


@dataclass
class ShotConfig:
    """How transitions are found: which detector, and its thresholds, over exact time. docs/shots.md helps to
    choose."""

    detector: str = field(
        default="cascade",
        metadata={
            "doc": (
                "cascade (cheap differences propose, TransNetV2 looks there), transnet (TransNetV2 looks "
                "everywhere), content (change above a threshold) or adaptive (change above its "
                "surroundings)"
            ),
            "choices": ("cascade", "transnet", "content", "adaptive"),
        },
    )
    transition_threshold: float = field(
        default=0.2, metadata={"doc": "TransNetV2's probability of a transition's frames", "min": 0, "max": 1}
    )
    margin_frames: int = field(
        default=3,
        metadata={
            "doc": "further frames left out at both ends of a fade or dissolve",
            "unit": "frames",
            "min": 0,
        },
    )
    margin_share: float = field(
        default=0.12,
        metadata={
            "doc": "the same in shares of its length: the longer, the fainter it begins and ends",
            "min": 0,
            "max": 1,
        },
    )
    content_threshold: float = field(
        default=27.0,
        metadata={"doc": "mean change of hue, saturation and luma that is a cut", "min": 0, "max": 255},
    )
    adaptive_threshold: float = field(
        default=3.0, metadata={"doc": "ratio of a frame's change to its neighbours' that is a cut", "min": 1}
    )
    adaptive_window: int = field(
        default=2, metadata={"doc": "neighbours on each side", "unit": "frames", "min": 1, "max": 64}
    )
    adaptive_min_change: float = field(
        default=15.0, metadata={"doc": "least change that can be an adaptive cut", "min": 0, "max": 255}
    )
    min_shot_s: float = field(
        default=0.6, metadata={"doc": "cuts nearer to each other than this are merged", "unit": "s", "min": 0}
    )


@dataclass
class ClipConfig:
    """How shots become clips."""

    max_s: float = field(
        default=20.0,
        metadata={
            "doc": "longer shots are divided into equal pieces; only a single picture may stand for longer",
            "unit": "s",
            "min": 0.1,
        },
    )
