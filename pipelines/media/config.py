"""Settings of which footage is taken, and of what a process that decodes may use. Light."""

from dataclasses import dataclass, field


@dataclass
class FootageConfig:
    """Which footage is taken at all: limits checked before anything is decoded."""

    max_bytes: int = field(
        default=64 * 1024**3, metadata={"doc": "larger files are quarantined", "unit": "bytes", "min": 1}
    )
    max_pixels: int = field(
        default=8192 * 4320,
        metadata={
            "doc": "videos with more width × height are quarantined",
            "unit": "pixels",
            "min": 1,
            "max": 16384 * 16384,
        },
    )
    max_side: int = field(
        default=16384, metadata={"doc": "wider or higher videos are quarantined", "unit": "px", "min": 1}
    )
    max_fps: float = field(
        default=480.0,
        metadata={"doc": "videos with more frames per second are quarantined", "unit": "1/s", "min": 1},
    )
    max_frames: int = field(
        default=6 * 3600 * 120,
        metadata={"doc": "videos with more frames are quarantined", "unit": "frames", "min": 1},
    )
    max_streams: int = field(
        default=64,
        metadata={"doc": "files with more streams of pictures and sound are quarantined", "min": 1},
    )
    video_stream: int | None = field(
        default=None,
        metadata={
            "doc": "which video stream of a file to take, counted from 0; null: the one with the film in it",
            "min": 0,
        },
    )
    max_duration_s: float = field(
        default=6 * 3600.0, metadata={"doc": "longer videos are quarantined", "unit": "s", "min": 0}
    )


@dataclass
class LimitConfig:
    """What the child process that decodes a file may use. A file that needs more is quarantined, and nothing
    else is harmed."""

    deadline_s: float = field(
        default=120.0,
        metadata={
            "doc": "time that any look at a file may take; to hash it, a second more per MB",
            "unit": "s",
            "min": 1,
            "max": 86400,
        },
    )
    deadline_per_s: float = field(
        default=20.0,
        metadata={
            "doc": "further time for every second of footage it decodes",
            "unit": "s per s",
            "min": 0,
            "max": 86400,
        },
    )
    memory_bytes: int = field(
        default=4 * 1024**3,
        metadata={
            "doc": "memory beyond what the libraries take",
            "unit": "bytes",
            "min": 64 * 1024**2,
            "max": 1024**4,
        },
    )
