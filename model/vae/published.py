"""Published video VAEs behind the interface of our own: what diffusers' classes compress, the DiT learns.

In: a folder as diffusers saves it (config.json with `_class_name`, and weights). Out: a `PublishedVAE` that
is used as a `VAE` is: video (B, 3, T, H, W) in [-1, 1] with T = stride·k + 1, latents (B, C, k + 1, h, w),
latent 0 is frame 0. diffusers is loaded only when a network is made. Shapes: B batch, T frames, H W height
and width, C channels.
"""

import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.config import unknown_name_message
from model.untrusted import read_object
from model.vae.network import LatentNormalizer, Posterior, check_video, pad_edge

WEIGHTS = "diffusion_pytorch_model.safetensors"
# Ten times and more of what any published VAE has.
_COUNTS = ("num_res_blocks", "layers_per_block")
_LEVELS = ("dim_mult", "block_out_channels", "temperal_downsample", "down_block_types", "up_block_types")
_MOST_BLOCKS, _MOST_LEVELS, _MOST_ENTRIES, _MOST_CHANNELS = 32, 12, 4096, 65536


@dataclass(frozen=True, slots=True)
class PublishedConfig:
    """What its users must know of a published VAE, and the settings that its class makes it from."""

    class_name: str
    latent_channels: int
    stride_time: int
    stride_space: int
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    settings: Mapping[str, Any]


class PublishedVAE(LatentNormalizer):
    """A frozen network of diffusers. What is cut in time is cut as its class does it, which bounds memory
    over length."""

    network: Any  # a class of diffusers

    def __init__(self, network: nn.Module, cfg: PublishedConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.network = network.requires_grad_(False)
        self.register_buffer("latent_mean", torch.tensor(cfg.latent_mean))
        self.register_buffer("latent_std", torch.tensor(cfg.latent_std))
        self.eval()

    def encode(self, x_BCTHW: Tensor) -> Posterior:
        """Pixels in [-1, 1] to the posterior over latents; sizes off the stride are padded by repeating the
        edge.

        Raises:
            ValueError: when the number of frames is not stride_time·k + 1.
        """
        check_video(x_BCTHW, self.cfg.stride_time)
        x_BCTHW = pad_edge(pad_edge(x_BCTHW, 3, self.cfg.stride_space), 4, self.cfg.stride_space)
        gaussian = self.network.encode(x_BCTHW.to(self._dtype)).latent_dist
        return Posterior(gaussian.mean.float(), gaussian.logvar.float())

    def decode(self, z_BCTHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Raw latents to pixels (B, 3, T, H, W), about [-1, 1]; `size` (height, width) crops what encode
        padded."""
        return self.decode_chunked(z_BCTHW, 1, size)

    def decode_chunked(self, z_BCTHW: Tensor, chunk: int, size: tuple[int, int] | None = None) -> Tensor:
        """The pieces of `decode_stream` in one."""
        return torch.cat(list(self.decode_stream(z_BCTHW, chunk, size)), dim=2)

    def decode_stream(
        self, z_BCTHW: Tensor, chunk: int, size: tuple[int, int] | None = None
    ) -> Iterator[Tensor]:
        """The video piece by piece, for writing a long one as it is made.

        Args:
            chunk: has no effect: how long a piece is changes what CogVideoX normalises over, so its class
            decides.
        """
        if chunk < 1:
            raise ValueError(f"chunk={chunk} must be at least 1 latent frame")
        height, width = size or (side * self.cfg.stride_space for side in z_BCTHW.shape[-2:])
        for piece in CLASSES[self.cfg.class_name].iter_decode(
            self.network, z_BCTHW.to(self._dtype), self.cfg
        ):
            yield piece[..., :height, :width].float()

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


@dataclass(frozen=True, slots=True)
class PublishedFormat:
    """What differs between diffusers' classes: how settings tell geometry and statistics, and how latents are
    decoded."""

    geometry: Callable[[Mapping[str, Any]], dict[str, Any]]
    iter_decode: Callable[[nn.Module, Tensor, PublishedConfig], Iterator[Tensor]]


def is_published(folder: Path | str) -> bool:
    """Whether a folder's config.json was written by diffusers."""
    path = Path(folder) / "config.json"
    return path.is_file() and "_class_name" in read_object(path, finite=False)


def read_published(folder: Path | str) -> PublishedConfig:
    """What a folder's config.json says. Reads no weights.

    Raises:
        ValueError: the class is not known, or the settings are not ones that it takes.
        FileNotFoundError: diffusers is not installed.
    """
    path = Path(folder) / "config.json"
    settings = read_object(path)
    name = settings["_class_name"]
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"in {path}: {unknown_name_message('published VAE', name, CLASSES)}")
    if importlib.util.find_spec("diffusers") is None:
        raise FileNotFoundError(
            f"the VAE in '{folder}' is a {name} of diffusers; run: pip install 'rushes[published]'"
        )
    _check_sizes(settings, path)
    try:
        cfg = PublishedConfig(class_name=name, settings=settings, **CLASSES[name].geometry(settings))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} describes no {name} that can be used: {what}") from error
    for key in ("latent_mean", "latent_std"):
        count = len(getattr(cfg, key))
        if count != cfg.latent_channels:
            raise ValueError(
                f"{path} has {count} numbers of {key} for {cfg.latent_channels} latent channels; "
                "were latents_mean and latents_std left at another VAE's?"
            )
    return cfg


def build_network(cfg: PublishedConfig) -> nn.Module:
    """The class's network on the current default device, with weights that mean nothing yet.

    Raises:
        FileNotFoundError: this diffusers is too old for the class.
    """
    import diffusers

    kind = getattr(diffusers, cfg.class_name, None)
    if kind is None:
        raise FileNotFoundError(
            f"diffusers {diffusers.__version__} has no {cfg.class_name}; run: pip install -U "
            "'rushes[published]'"
        )
    taken = inspect.signature(kind.__init__).parameters
    try:
        return kind.from_config({name: value for name, value in cfg.settings.items() if name in taken})
    except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise ValueError(
            f"the config of this {cfg.class_name} makes no network ({str(error).splitlines()[0][:200]}); "
            "was it edited?"
        ) from error


def download(hub_id: str, subfolder: str = "vae", revision: str | None = None) -> Path:
    """The local folder of a VAE that is named by its place in the Hugging Face hub, fetched if it is not
    there yet.

    Args:
        hub_id: like 'Wan-AI/Wan2.1-T2V-1.3B-Diffusers'.
        subfolder: of the repository; "" for its root.
        revision: commit or tag; without it what is newest today.
    """
    from huggingface_hub import hf_hub_download

    for name in (WEIGHTS, "config.json"):
        path = hf_hub_download(hub_id, name, subfolder=subfolder or None, revision=revision)
    return Path(path).parent


def _check_sizes(settings: Mapping[str, Any], path: Path) -> None:
    """Nothing is built that is far larger than any VAE: what its class makes of a number, it makes before it
    sees the weights."""
    for name, value in settings.items():
        if name.startswith("_"):
            continue
        most = _MOST_BLOCKS if name in _COUNTS else _MOST_CHANNELS
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) > _MOST_ENTRIES:
            raise ValueError(
                f"in {path}: {name} has {len(numbers)} entries; at most {_MOST_ENTRIES} are taken"
            )
        for number in numbers:
            if isinstance(number, dict | list):
                raise ValueError(f"in {path}: {name} is no number, text or list of those")
            if isinstance(number, int | float) and abs(number) > most:
                raise ValueError(f"in {path}: {name}={number} is too large: at most {most}")
    for name in _LEVELS:
        if isinstance(settings.get(name), list) and len(settings[name]) > _MOST_LEVELS:
            raise ValueError(
                f"in {path}: {name} has {len(settings[name])} entries; at most {_MOST_LEVELS} are taken"
            )


def _wan_geometry(settings: Mapping[str, Any]) -> dict[str, Any]:
    stride_time = 2 ** sum(settings["temperal_downsample"])
    if stride_time != 4:
        raise ValueError(
            f"temperal_downsample makes {stride_time} frames a latent, and the class cuts time by 4"
        )
    return {
        "latent_channels": settings["z_dim"],
        "stride_time": stride_time,
        "stride_space": 2 ** (len(settings["dim_mult"]) - 1) * (settings.get("patch_size") or 1),
        "latent_mean": tuple(map(float, settings["latents_mean"])),
        "latent_std": tuple(map(float, settings["latents_std"])),
    }


def _wan_pieces(network: Any, z_BCTHW: Tensor, cfg: PublishedConfig) -> Iterator[Tensor]:
    """What its `decode` does, a latent frame at a time, but each is handed out as it comes."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

    z_BCTHW = network.post_quant_conv(z_BCTHW)
    # its causal convolutions take the first of these
    past: list[Any] = [None] * len(list(network.decoder.modules()))
    for k, z in enumerate(z_BCTHW.split(1, dim=2)):
        x = network.decoder(z, feat_cache=past, feat_idx=[0], first_chunk=k == 0)
        yield unpatchify(x, cfg.settings.get("patch_size") or 1).clamp(-1, 1)


def _cogvideox_geometry(settings: Mapping[str, Any]) -> dict[str, Any]:
    channels = settings["latent_channels"]
    mean = settings.get("latents_mean") or [settings.get("shift_factor") or 0.0] * channels
    std = settings.get("latents_std") or [1.0] * channels
    stride_time = int(settings["temporal_compression_ratio"])
    if stride_time & (stride_time - 1) or stride_time < 1:
        raise ValueError(f"temporal_compression_ratio={stride_time} is not a power of 2")
    return {
        "latent_channels": channels,
        "stride_time": stride_time,
        "stride_space": 2 ** (len(settings["block_out_channels"]) - 1),
        "latent_mean": tuple(map(float, mean)),
        "latent_std": tuple(float(value) / settings["scaling_factor"] for value in std),
    }


def _cogvideox_pieces(network: Any, z_BCTHW: Tensor, cfg: PublishedConfig) -> Iterator[Tensor]:
    """What its `decode` does, two latent frames at a time and three at first, but each piece is handed out as
    it comes.

    In a first piece of two the class takes the image's latent for one of four frames, and the video has three
    frames too many. So an even number of latents gets a copy of the last one, whose frames are cut off.
    """
    short = z_BCTHW.shape[2] % 2 == 0
    if short:
        z_BCTHW = torch.cat([z_BCTHW, z_BCTHW[:, :, -1:]], dim=2)
    sizes = [min(3, z_BCTHW.shape[2]), *[2] * ((z_BCTHW.shape[2] - 3) // 2)]
    past = None
    for k, z in enumerate(z_BCTHW.split(sizes, dim=2), start=1):
        if network.post_quant_conv is not None:
            z = network.post_quant_conv(z)
        x, past = network.decoder(z, conv_cache=past)
        yield x[:, :, : -cfg.stride_time] if short and k == len(sizes) else x


CLASSES: Mapping[str, PublishedFormat] = {
    "AutoencoderKLWan": PublishedFormat(_wan_geometry, _wan_pieces),
    "AutoencoderKLCogVideoX": PublishedFormat(_cogvideox_geometry, _cogvideox_pieces),
}
