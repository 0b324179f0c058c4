"""Config of batches: training shapes, training and held-out windows, and the token budget of a step. Imports
nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ShapeConfig:
    """Exact (frames, height, width) from any native size."""

    max_pixels: int = field(
        default=256 * 256,
        metadata={
            "doc": "most pixels of a frame; clips are scaled down to it at their own aspect",
            "unit": "pixels",
            "min": 256,
        },
    )
    multiple: int = field(
        default=16,
        metadata={
            "doc": "height and width are multiples of this (VAE stride × patch)",
            "unit": "pixels",
            "min": 8,
        },
    )
    fps: float = field(
        default=12.0,
        metadata={"doc": "frames per second that the model sees", "unit": "frames/s", "min": 0.1},
    )
    max_frames: int = field(default=17, metadata={"doc": "longest window, 4k+1", "unit": "frames", "min": 1})

    def __post_init__(self) -> None:
        if isinstance(self.max_frames, int) and self.max_frames % 4 != 1:
            near = 4 * ((self.max_frames - 1) // 4) + 1
            raise ValueError(
                f"shapes.max_frames={self.max_frames} is not 4k+1, which the VAE needs; try {near} or "
                f"{near + 4}"
            )
        numbers = isinstance(self.max_pixels, int) and isinstance(self.multiple, int)
        if numbers and self.max_pixels < self.multiple**2:
            raise ValueError(
                f"shapes.max_pixels={self.max_pixels} is less than one block of {self.multiple} × "
                f"{self.multiple} (shapes.multiple); raise it to at least {self.multiple**2}"
            )


@dataclass
class WindowConfig:
    """How a clip is split into training windows and held-out windows."""

    stride_s: float = field(
        default=1.0,
        metadata={"doc": "from the start of one training window to the next", "unit": "s", "min": 0.01},
    )
    min_frames: int = field(
        default=5,
        metadata={
            "doc": "windows are cut at the longest length that fits and at its halves down to this",
            "unit": "frames",
            "min": 1,
        },
    )
    holdout_share: float = field(
        default=0.2, metadata={"doc": "the end of every clip that is never trained on", "min": 0, "max": 0.9}
    )
    holdout_min_frames: int = field(
        default=5,
        metadata={
            "doc": "the held-out end is at least this long, or the clip has none",
            "unit": "frames",
            "min": 1,
        },
    )


@dataclass
class PieceConfig:
    """Which parts of a window (pieces) are also encoded alone, so that training can use them as tail and
    keyframe conditions."""

    tails: list[int] = field(
        default_factory=lambda: [1, 5, 9],
        metadata={
            "doc": "lengths of tails, 4k+1; [] for none, when the model needs to continue nothing backwards",
            "unit": "frames",
        },
    )
    keyframes: bool = field(
        default=True,
        metadata={"doc": "also single frames inside a window, one per latent; doubles what is stored"},
    )

    def __post_init__(self) -> None:
        if isinstance(self.tails, str):
            return
        for length in self.tails:
            if isinstance(length, int) and (length < 1 or length % 4 != 1):
                near = max(1, 4 * ((length - 1) // 4) + 1)
                raise ValueError(
                    f"pieces.tails has {length}, which is not 4k+1, as the VAE needs; try {near} or "
                    f"{near + 4}"
                )


@dataclass
class BudgetConfig:
    """How much a micro-batch and a step hold."""

    max_tokens: int = field(default=16384, metadata={"doc": "most tokens in a micro-batch", "min": 1})
    max_cost: float = field(
        default=float("inf"),
        metadata={"doc": "largest cost a·S + b·S² summed over a micro-batch, S tokens of a sample", "min": 0},
    )
    cost_linear: float = field(default=1.0, metadata={"doc": "a: cost of a token", "min": 0})
    cost_quadratic: float = field(
        default=0.0,
        metadata={
            "doc": "b: cost of a pair of tokens (attention), fitted from measured step times",
            "min": 0,
        },
    )
    batches_per_step: int = field(
        default=8,
        metadata={
            "doc": (
                "micro-batches of one optimiser step, over all workers; a multiple of their number leaves "
                "none idle"
            ),
            "min": 1,
        },
    )
    windows_per_clip: int | None = field(
        default=None,
        metadata={
            "doc": (
                "windows drawn of each clip in an epoch, so that long clips don't outweigh short ones; "
                "null: every window once"
            ),
            "min": 1,
        },
    )
