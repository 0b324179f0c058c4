"""Settings of what is measured of every frame. Light."""

from dataclasses import dataclass, field


@dataclass
class SignalConfig:
    """What is measured on every frame while a video is decoded, once."""

    small_side: int = field(
        default=256,
        metadata={
            "doc": "longer side of the small frames all dense signals see",
            "unit": "px",
            "min": 32,
            "max": 1024,
        },
    )
    thumbs_per_s: float = field(
        default=8.0,
        metadata={
            "doc": "thumbnails kept of every second, which copies are found by",
            "unit": "1/s",
            "min": 1,
            "max": 30,
        },
    )
    native_every_s: float = field(
        default=2.0,
        metadata={
            "doc": "longest time between native frames, which sharpness, text, tags … are measured on",
            "unit": "s",
            "min": 0.04,
            "max": 2.0,
        },
    )
