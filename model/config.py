"""Configuration of everything in `model`: plain dataclasses and the named sizes.

In: nothing (read by `rushes --help`, so it imports no torch). Out: config objects, checked.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class VAEConfig:
    """The video compression network."""

    latent_channels: int = field(default=8, metadata={"doc": "channels of the latent", "min": 1, "max": 1024})
    stride_time: int = field(default=4, metadata={"doc": "frames per latent frame", "choices": (1, 2, 4, 8)})
    stride_space: int = field(
        default=8, metadata={"doc": "pixels per latent, each way", "choices": (4, 8, 16, 32)}
    )
    patch: int = field(
        default=4,
        metadata={"doc": "pixels folded into channels at the door, each way", "choices": (1, 2, 4, 8)},
    )
    base_channels: int = field(
        default=64, metadata={"doc": "channels of the finest level", "min": 8, "max": 4096}
    )
    multipliers: list[int] = field(
        default_factory=lambda: [1, 2, 2],
        metadata={
            "doc": "channels of each level over base_channels, finest first; one level more than halvings",
            "max": 64,
        },
    )
    encoder_blocks: int = field(
        default=1, metadata={"doc": "residual blocks per encoder level", "min": 1, "max": 64}
    )
    decoder_blocks: int = field(
        default=1, metadata={"doc": "residual blocks per decoder level", "min": 1, "max": 64}
    )

    def __post_init__(self) -> None:
        _check_limits(self)
        if self.patch > self.stride_space:
            raise ValueError(
                f"vae.patch={self.patch} is above vae.stride_space={self.stride_space}; "
                "lower the first or raise the second"
            )
        levels = len(self.level_strides) + 1
        if len(self.multipliers) != levels:
            raise ValueError(
                f"vae.multipliers={list(self.multipliers)} has {len(self.multipliers)} levels, but "
                f"vae.stride_time={self.stride_time}, vae.stride_space={self.stride_space} and "
                f"vae.patch={self.patch} make {levels}; give {levels} numbers"
            )

    @property
    def level_strides(self) -> list[tuple[int, int]]:
        """(time, space) stride between each level and the next coarser: space is halved first, time last."""
        halvings_time = int(math.log2(self.stride_time))
        halvings_space = int(math.log2(self.stride_space // self.patch))
        count = max(halvings_time, halvings_space)
        return [
            (2 if i >= count - halvings_time else 1, 2 if i < halvings_space else 1) for i in range(count)
        ]


@dataclass
class DiTConfig:
    """The diffusion transformer."""

    width: int = field(
        default=128, metadata={"doc": "channels of a token inside the network", "min": 16, "max": 65536}
    )
    depth: int = field(default=4, metadata={"doc": "blocks", "min": 1, "max": 256})
    heads: int = field(
        default=4, metadata={"doc": "attention heads; width / heads is the head size", "min": 1, "max": 1024}
    )
    ffn_ratio: float = field(
        default=4.0, metadata={"doc": "inner width of the feed-forward over width", "min": 0.5, "max": 64}
    )
    ffn: str = field(default="gelu", metadata={"doc": "kind of feed-forward", "choices": ("gelu", "swiglu")})
    patch: list[int] = field(
        default_factory=lambda: [1, 2, 2],
        metadata={
            "doc": "latents per token in time, height, width; time must be 1, the VAE has compressed it",
            "max": 64,
        },
    )
    latent_channels: int = field(
        default=8, metadata={"doc": "channels of the latents, as in the VAE", "min": 1, "max": 1024}
    )
    text_dim: int = field(
        default=384, metadata={"doc": "channels of the text embeddings", "min": 1, "max": 65536}
    )
    latent_rate_hz: float = field(
        default=6.0,
        metadata={
            "doc": "reference rate: seconds × this are the time coordinates of RoPE",
            "unit": "Hz",
            "min": 0.01,
            "max": 1e6,
        },
    )
    rope_theta: float = field(
        default=10000.0, metadata={"doc": "base of the RoPE frequencies", "min": 1.0, "max": 1e12}
    )
    text_drop: float = field(
        default=0.1,
        metadata={"doc": "share of training samples whose text is dropped", "min": 0.0, "max": 1.0},
    )

    def __post_init__(self) -> None:
        _check_limits(self)
        if self.width % (2 * self.heads) or self.head_dim < 6:
            raise ValueError(
                f"dit.width={self.width} over dit.heads={self.heads} must be an even head size of 6 or more; "
                f"try dit.heads={max(1, self.width // 64)}"
            )
        if len(self.patch) != 3 or self.patch[0] != 1 or min(self.patch) < 1:
            raise ValueError(f"dit.patch={list(self.patch)} must be three numbers, the first 1, like [1,2,2]")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def ffn_width(self) -> int:
        """Inner width of the feed-forward, the nearest multiple of 64 (of 8 for small networks)."""
        step = 64 if self.width >= 256 else 8
        return max(step, round(self.width * self.ffn_ratio / step) * step)


@dataclass
class FlowConfig:
    """Rectified flow: how time is drawn and shifted."""

    logit_mean: float = field(default=0.0, metadata={"doc": "mean of logit(t) in training"})
    logit_std: float = field(default=1.0, metadata={"doc": "standard deviation of logit(t)", "min": 0.01})
    uniform_share: float = field(
        default=0.1, metadata={"doc": "share of times drawn uniformly instead", "min": 0.0, "max": 1.0}
    )
    shift_tokens_low: int = field(
        default=256, metadata={"doc": "spatial tokens at which alpha is alpha_low", "min": 1}
    )
    shift_tokens_high: int = field(
        default=4096, metadata={"doc": "spatial tokens at which alpha is alpha_high", "min": 2}
    )
    alpha_low: float = field(
        default=1.0, metadata={"doc": "shift of an image at shift_tokens_low", "min": 0.01}
    )
    alpha_high: float = field(
        default=3.0, metadata={"doc": "shift of an image at shift_tokens_high", "min": 0.01}
    )
    frames_power: float = field(
        default=0.5,
        metadata={
            "doc": "alpha grows with latent frames to this power; 0 ignores length",
            "min": 0.0,
            "max": 10,
        },
    )
    alpha_max: float = field(default=12.0, metadata={"doc": "alpha is kept at or below this", "min": 0.01})

    def __post_init__(self) -> None:
        low, high = self.shift_tokens_low, self.shift_tokens_high
        if isinstance(low, int) and isinstance(high, int) and low >= high:
            raise ValueError(
                f"flow.shift_tokens_low={low} must be below flow.shift_tokens_high={high}; "
                "lower the first or raise the second"
            )


TASKS = ("text", "first_frame", "first", "last", "both_ends", "interior", "independent")


@dataclass
class ConditionConfig:
    """Which parts of its own video a training sample is conditioned on: one mix of tasks for all uses of the
    model."""

    mix: dict[str, float] = field(
        default_factory=lambda: {
            "text": 0.35, "first_frame": 0.2, "first": 0.15, "last": 0.1, "both_ends": 0.1, "interior": 0.05,
            "independent": 0.05,
        },
        metadata={
            "doc": (
                "weights of the tasks: text alone; the first frame, some first latents, a tail, head and "
                "tail, keyframes given; every latent frame noised on its own. A window too short for a "
                "task is given text alone"
            )
        },
    )  # fmt: skip
    drop: float = field(
        default=0.1,
        metadata={
            "doc": "share of samples with something given that are not given it after all",
            "min": 0.0,
            "max": 1.0,
        },
    )
    noisy_share: float = field(
        default=0.5, metadata={"doc": "share of what is given that has noise on it", "min": 0.0, "max": 1.0}
    )
    noise_max: float = field(
        default=0.2, metadata={"doc": "most noise on what is given, as a time t", "min": 0.0, "max": 1.0}
    )

    def __post_init__(self) -> None:
        if isinstance(self.mix, str):
            return
        for task, weight in self.mix.items():
            if task not in TASKS:
                raise ValueError(unknown_name_message("in conditions.mix: task", task, TASKS))
            if isinstance(weight, int | float) and weight < 0:
                raise ValueError(f"conditions.mix.{task}={weight} is negative; 0 leaves the task out")
        if not any(self.mix.values()):
            raise ValueError("conditions.mix has no task with a weight above 0; give text=1 for text alone")


RECOMPUTE = ("none", "selective", "full")
ATTENTION = ("auto", "sdpa", "flash", "flash-attn", "flex")
SOLVERS = ("euler", "heun", "multistep")


@dataclass
class SampleConfig:
    """How a video is drawn from noise."""

    steps: int = field(default=30, metadata={"doc": "solver steps", "min": 1, "max": 10000})
    guidance: float = field(
        default=4.0, metadata={"doc": "weight of the text; 1 is none, larger obeys it more", "min": 0.0}
    )
    visual_guidance: float = field(
        default=1.0,
        metadata={"doc": "weight of given frames; 1 is none, larger keeps closer to them", "min": 0.0},
    )
    guidance_interval: list[float] = field(
        default_factory=lambda: [0.0, 1.0],
        metadata={
            "doc": (
                "times, 0 data to 1 noise, between which both guidances act; a shorter one costs fewer calls"
            )
        },
    )
    guidance_rescale: float = field(
        default=0.0,
        metadata={
            "doc": "how far the guided prediction is brought back to its spread without guidance",
            "min": 0.0,
            "max": 1.0,
        },
    )
    solver: str = field(
        default="euler",
        metadata={
            "doc": (
                "euler (one network call per step), heun (two, second order) or multistep (one, second order)"
            ),
            "choices": SOLVERS,
        },
    )
    known_noise: float = field(
        default=0.0,
        metadata={
            "doc": "noise on what is given, as a time t that the network is told",
            "min": 0.0,
            "max": 1.0,
        },
    )
    cache: float = field(
        default=0.0,
        metadata={
            "doc": (
                "steps are not computed while the first block's output has changed by less than this share "
                "since; 0 is off, 0.1 saves about a third"
            ),
            "min": 0.0,
        },
    )

    def __post_init__(self) -> None:
        interval = self.guidance_interval
        numbers = not isinstance(interval, str) and all(isinstance(t, int | float) for t in interval)
        if numbers and (len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1):
            raise ValueError(
                f"guidance_interval={list(interval)} must be two times, 0 ≤ low ≤ high ≤ 1, like [0.1,0.9]"
            )


VAE_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"base_channels": 48, "multipliers": [1, 2, 2]},
    "small": {"base_channels": 96, "multipliers": [1, 2, 4], "decoder_blocks": 2, "latent_channels": 16},
    "base": {
        "base_channels": 128,
        "multipliers": [1, 2, 4],
        "patch": 2,
        "encoder_blocks": 2,
        "decoder_blocks": 3,
        "latent_channels": 16,
    },
}

DIT_SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"width": 128, "depth": 4, "heads": 4, "latent_channels": 8},
    "S": {"width": 384, "depth": 12, "heads": 6, "latent_channels": 16},
    "B": {"width": 768, "depth": 12, "heads": 12, "latent_channels": 16},
    "L": {"width": 1024, "depth": 24, "heads": 16, "latent_channels": 16},
    "XL": {"width": 1152, "depth": 28, "heads": 16, "latent_channels": 16},
    "1.3B": {"width": 1536, "depth": 30, "heads": 12, "ffn_ratio": 8960 / 1536, "latent_channels": 16},
    "5B": {"width": 3072, "depth": 30, "heads": 24, "ffn_ratio": 14336 / 3072, "latent_channels": 16},
    "8B": {"width": 4096, "depth": 30, "heads": 32, "latent_channels": 16},
    "14B": {"width": 5120, "depth": 40, "heads": 40, "ffn_ratio": 13824 / 5120, "latent_channels": 16},
}


def vae_config(size: str, **overrides: Any) -> VAEConfig:
    """The VAE of a named size, with fields overridden.

    Raises:
        ValueError: for an unknown size or field, with the near miss.
    """
    return _preset("vae", VAEConfig, VAE_SIZES, size, overrides)


def dit_config(size: str, **overrides: Any) -> DiTConfig:
    """The DiT of a named size, with fields overridden.

    Raises:
        ValueError: for an unknown size or field, with the near miss.
    """
    return _preset("dit", DiTConfig, DIT_SIZES, size, overrides)


def config_from_dict(kind: type, values: Any, where: str) -> Any:
    """Build a config dataclass from a file's values; each value is checked against its type and limits.

    Args:
        where: the file, and what of it, for errors.

    Raises:
        ValueError: a setting is not known, of another kind or out of its limits.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is no object ({{…}}) but {_shown(values)}")
    known = [field_.name for field_ in fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(unknown_name_message(f"in {where}: setting", name[:80], known))
    try:
        config = kind(**values)
        _check_limits(config)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"in {where}: {error}") from error
    return config


_MOST_ENTRIES = 64  # of a list in a config
_KINDS: Mapping[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    list[int]: ((list, tuple), "a list of whole numbers"),
    list[float]: ((list, tuple), "a list of numbers"),
    str: (str, "text"),
}


def _check_limits(config: Any) -> None:
    """Hold every field against its type and the limits in its metadata.

    Raises:
        ValueError: naming the first that is wrong, and what is allowed.
    """
    for field_ in fields(config):
        value, meta = getattr(config, field_.name), field_.metadata
        name = f"model.{field_.name}={_shown(value)}"
        kind, words = _KINDS[field_.type]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is not {words}")
        if isinstance(value, list | tuple) and len(value) > _MOST_ENTRIES:
            raise ValueError(f"{name} has {len(value)} entries: at most {_MOST_ENTRIES}")
        if "choices" in meta and value not in meta["choices"]:
            raise ValueError(f"{name} is not known; it is one of {', '.join(map(str, meta['choices']))}")
        for number in value if isinstance(value, list | tuple) else [value]:
            if field_.type == list[int] and (type(number) is not int or number < 1):
                raise ValueError(f"{name} must be whole numbers of 1 or more")
            if field_.type == list[float] and type(number) not in (int, float):
                raise ValueError(f"{name} is not {words}")
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name} is not finite")
            if "min" in meta and number < meta["min"]:
                raise ValueError(f"{name} is too small: at least {meta['min']}")
            if "max" in meta and number > meta["max"]:
                raise ValueError(f"{name} is too large: at most {meta['max']}")


def _shown(value: Any) -> str:
    text = (
        str(value)
        if not isinstance(value, int) or abs(value) < 10**30
        else f"about 10^{int(math.log10(abs(value)))}"
    )
    return text if len(text) <= 80 else f"{text[:80]}…"


def unknown_name_message(what: str, name: str, known: Any) -> str:
    """The message for a name that is not known: what it is, the near miss, and all that are."""
    known = [str(entry) for entry in known]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    close = close or [entry for entry in known if entry.lower() == str(name).lower()]
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{what} '{name}' is not known; {hint}known: {', '.join(known)}"


def _preset(
    what: str, kind: type, sizes: Mapping[str, Mapping[str, Any]], size: str, overrides: dict[str, Any]
) -> Any:
    if size not in sizes:
        raise ValueError(unknown_name_message(f"{what} size", size, sizes))
    names = [f.name for f in fields(kind)]
    for name in overrides:
        if name not in names:
            raise ValueError(unknown_name_message(f"{what} setting", name, names))
    values = {**sizes[size], **overrides}
    return kind(**{name: list(value) if isinstance(value, list) else value for name, value in values.items()})
