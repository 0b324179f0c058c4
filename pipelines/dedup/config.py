"""Settings of which clips are copies. Light."""

from dataclasses import dataclass, field


@dataclass
class DedupConfig:
    """Which clips are copies of others. Exact ones, the same samples in every frame, always are."""

    perceptual: bool = field(
        default=True,
        metadata={
            "doc": (
                "find the same pictures re-encoded, resized, cropped, at another frame rate, shifted in time"
            )
        },
    )
    min_similarity: float = field(
        default=0.9,
        metadata={
            "doc": (
                "least correlation of what changes in two clips of which one shows all of the other; if "
                "they share half, it may fall short of 1 by half as much"
            ),
            "min": 0.5,
            "max": 1,
        },
    )
    min_common_s: float = field(
        default=1.0, metadata={"doc": "shortest stretch that copies share", "unit": "s", "min": 0.5}
    )
    min_common_share: float = field(
        default=0.5, metadata={"doc": "the same, in shares of the shorter clip", "min": 0.1, "max": 1}
    )
    semantic: float | None = field(
        default=None,
        metadata={
            "doc": (
                "least cosine of embeddings of clips that show the same kind of thing, which count as "
                "duplicates then; no value tells copies from look-alikes: single frames of one film at "
                "different times have a median of 0.81 and reach 0.98, frames and the same at half size "
                "0.67 to 0.99. Null: none do"
            ),
            "min": 0.5,
            "max": 1,
        },
    )
