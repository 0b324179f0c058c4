"""Settings of curation, stage by stage. Light: read by `rushes --help`.

What enters a stage's fingerprint is the config of that stage, so a key belongs to the first stage that it changes.
"""

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
        default=480.0, metadata={"doc": "videos with more frames per second are quarantined", "unit": "1/s", "min": 1}
    )
    max_frames: int = field(
        default=6 * 3600 * 120, metadata={"doc": "videos with more frames are quarantined", "unit": "frames", "min": 1}
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
    """What the child process that decodes a file may use. A file that needs more is quarantined, and nothing else is harmed."""

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
        metadata={"doc": "memory beyond what the libraries take", "unit": "bytes", "min": 64 * 1024**2, "max": 1024**4},
    )


@dataclass
class SignalConfig:
    """What is measured on every frame while a video is decoded, once."""

    small_side: int = field(
        default=256,
        metadata={"doc": "longer side of the small frames all dense signals see", "unit": "px", "min": 32, "max": 1024},
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


@dataclass
class ShotConfig:
    """How transitions are found: which detector, and its thresholds, over exact time. docs/shots.md helps to choose."""

    detector: str = field(
        default="cascade",
        metadata={
            "doc": "cascade (cheap differences propose, TransNetV2 looks there), transnet (TransNetV2 looks everywhere), "
            "content (change above a threshold) or adaptive (change above its surroundings)",
            "choices": ("cascade", "transnet", "content", "adaptive"),
        },
    )
    transition_threshold: float = field(
        default=0.2, metadata={"doc": "TransNetV2's probability of a transition's frames", "min": 0, "max": 1}
    )
    margin_frames: int = field(
        default=3,
        metadata={"doc": "further frames left out at both ends of a fade or dissolve", "unit": "frames", "min": 0},
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
        default=27.0, metadata={"doc": "mean change of hue, saturation and luma that is a cut", "min": 0, "max": 255}
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


@dataclass
class ScoreConfig:
    """How measurements of a clip become labels, and which models measure. A score without its model is null, and says why."""

    camera_pan: float = field(
        default=0.02,
        metadata={
            "doc": "slowest pan or tilt that counts as one",
            "unit": "share of the frame diagonal per s",
            "min": 0,
        },
    )
    camera_zoom: float = field(
        default=0.02, metadata={"doc": "slowest zoom that counts as one", "unit": "share of the size per s", "min": 0}
    )
    camera_roll: float = field(
        default=0.05, metadata={"doc": "slowest roll that counts as one", "unit": "rad per s", "min": 0}
    )
    text: bool = field(default=True, metadata={"doc": "look for text in the picture (RapidOCR)"})
    text_side_px: int = field(
        default=736,
        metadata={
            "doc": "longer side of the frames that text is looked for in; larger finds smaller text, and takes longer "
            "(1,280 × 720: 102 ms a frame at 736, 174 at 960)",
            "unit": "px",
            "min": 320,
            "max": 4096,
        },
    )
    nsfw: bool | None = field(
        default=None,
        metadata={"doc": "look for nudity (NudeNet, AGPL-3.0, the extra rushes[nsfw]); null: if it is installed"},
    )
    tags: bool = field(
        default=True, metadata={"doc": "ImageNet tags, and the embedding that finds look-alikes (EfficientNet)"}
    )
    clip_model: str | None = field(
        default=None,
        metadata={
            "doc": "an open_clip model, for aesthetic, watermark and text_match: a name like ViT-B-32, or local-dir:<folder>"
        },
    )
    clip_pretrained: str | None = field(
        default=None, metadata={"doc": "its weights: open_clip's tag like laion2b_s34b_b79k, or a file"}
    )
    clip_aesthetic: str | None = field(
        default=None,
        metadata={"doc": "file of a LAION aesthetic head (linear or MLP) on that model's embedding", "path": True},
    )
    dover: str | None = field(
        default=None, metadata={"doc": "file of DOVER as ONNX, for the score technical", "path": True}
    )


@dataclass
class RecipeConfig:
    """What is kept: thresholds over scores. Tightening or loosening them touches no footage."""

    name: str = field(
        default="default",
        metadata={
            "doc": "a preset (default, opensora, cosmos, panda70m, permissive), the path of a recipe's .yaml, or current: what "
            "the dataset was last decided by"
        },
    )
    min: dict[str, float] = field(
        default_factory=dict,
        metadata={"doc": "further lower bounds by score, e.g. recipe.min.motion_mean=0.01; -inf removes one"},
    )
    max: dict[str, float] = field(
        default_factory=dict,
        metadata={"doc": "further upper bounds by score, e.g. recipe.max.luma_mean=230; inf removes one"},
    )


@dataclass
class CutConfig:
    """How a clip's mp4 is made from its source."""

    method: str = field(
        default="auto",
        metadata={
            "doc": "auto (the source's own packets, bit for bit; re-encoded only where that can't work) or encode (always)",
            "choices": ("auto", "encode"),
        },
    )
    max_lead_share: float = field(
        default=0.75,
        metadata={
            "doc": "a clip is re-encoded if a larger share of its copy would be hidden frames, which a reader must "
            "decode; below, a copy takes fewer bytes and less time to make",
            "unit": "share of the file's frames",
            "min": 0,
            "max": 1,
        },
    )
    min_db: float = field(
        default=40.0,
        metadata={
            "doc": "the worst frame of a re-encoded clip; below it the clip is encoded again, finer, at last without loss",
            "unit": "dB of PSNR",
            "min": 20,
            "max": 60,
        },
    )
    audio: str = field(
        default="drop", metadata={"doc": "whether clips keep their source's sound", "choices": ("drop", "keep")}
    )


@dataclass
class EncodeConfig:
    """How clips are written when they are re-encoded: native size, native aspect, near-lossless."""

    crf: int = field(
        default=16, metadata={"doc": "x264's constant rate factor to begin with; lower is better", "min": 0, "max": 51}
    )
    preset: str = field(
        default="veryfast",
        metadata={
            "doc": "x264's preset: slower makes smaller files",
            "choices": ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
        },
    )
    keyframe_every_s: float = field(
        default=1.0,
        metadata={"doc": "longest time between keyframes, so that training can start anywhere cheaply", "unit": "s"},
    )


@dataclass
class ShardConfig:
    """How kept clips of a bucket are packed into tars."""

    max_clips: int = field(default=1000, metadata={"doc": "most clips of a shard", "unit": "clips", "min": 1})
    max_bytes: int = field(
        default=512 * 1024**2,
        metadata={"doc": "size at which a shard is full, estimated from pixels and frames", "unit": "bytes", "min": 1},
    )


@dataclass
class DedupConfig:
    """Which clips are copies of others. Exact ones, the same samples in every frame, always are."""

    perceptual: bool = field(
        default=True,
        metadata={"doc": "find the same pictures re-encoded, resized, cropped, at another frame rate, shifted in time"},
    )
    min_similarity: float = field(
        default=0.9,
        metadata={
            "doc": "least correlation of what changes in two clips of which one shows all of the other; if they share half, "
            "it may fall short of 1 by half as much",
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
            "doc": "least cosine of embeddings of clips that show the same kind of thing, which count as duplicates then; "
            "no value tells copies from look-alikes: single frames of one film at different times have a median of 0.81 and "
            "reach 0.98, frames and the same at half size 0.67 to 0.99. Null: none do",
            "min": 0.5,
            "max": 1,
        },
    )
