"""Settings of how clips are cut. Light."""

from dataclasses import dataclass, field


@dataclass
class CutConfig:
    """How a clip's mp4 is made from its source."""

    method: str = field(
        default="auto",
        metadata={
            "doc": (
                "auto (the source's own packets, bit for bit; re-encoded only where that can't work) or "
                "encode (always)"
            ),
            "choices": ("auto", "encode"),
        },
    )
    max_lead_share: float = field(
        default=0.75,
        metadata={
            "doc": (
                "a clip is re-encoded if a larger share of its copy would be hidden frames, which a reader "
                "must decode; below, a copy takes fewer bytes and less time to make"
            ),
            "unit": "share of the file's frames",
            "min": 0,
            "max": 1,
        },
    )
    min_db: float = field(
        default=40.0,
        metadata={
            "doc": (
                "the worst frame of a re-encoded clip; below it the clip is encoded again, finer, at last "
                "without loss"
            ),
            "unit": "dB of PSNR",
            "min": 20,
            "max": 60,
        },
    )
    audio: str = field(
        default="drop",
        metadata={"doc": "whether clips keep their source's sound", "choices": ("drop", "keep")},
    )


@dataclass
class ReencodeConfig:
    """How clips are written when they are re-encoded: native size, native aspect, near-lossless."""

    crf: int = field(
        default=16,
        metadata={"doc": "x264's constant rate factor to begin with; lower is better", "min": 0, "max": 51},
    )
    preset: str = field(
        default="veryfast",
        metadata={
            "doc": "x264's preset: slower makes smaller files",
            "choices": (
                "ultrafast",
                "superfast",
                "veryfast",
                "faster",
                "fast",
                "medium",
                "slow",
                "slower",
                "veryslow",
            ),
        },
    )
    keyframe_every_s: float = field(
        default=1.0,
        metadata={
            "doc": "longest time between keyframes, so that training can start anywhere cheaply",
            "unit": "s",
        },
    )
