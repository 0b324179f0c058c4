"""Settings of captioning. Light: read by `rushes --help`."""

from dataclasses import dataclass, field


@dataclass
class CaptionConfig:
    """Which captioner writes the training text, and how much of a clip it sees."""

    name: str = field(
        default="tagger",
        metadata={
            "doc": (
                "the captioner: tagger (embedded, no download) or own_text (what the footage's list says, "
                "nothing else)"
            )
        },
    )
    num_frames: int = field(
        default=5,
        metadata={
            "doc": "frames it sees, spread evenly over the clip; "
            "the tagger needs none where tags are measured",
            "unit": "frames",
            "min": 1,
            "max": 64,
        },
    )
    actors: int = field(
        default=1, metadata={"doc": "captioners that work side by side, one core each", "min": 1}
    )
