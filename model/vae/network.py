"""The video compression network: pixels to latents and back, causal in time.

In: video (B, 3, T, H, W) in [-1, 1] with T = stride·k + 1 frames (an image is T = 1). Out: latents (B, C, k +
1, h, w). Latent 0 is frame 0 alone; latent k ≥ 1 covers `stride_time` frames and ends on frame stride·k.
Nothing looks ahead, and normalisation is per position over channels, so a video in chunks gives what the
whole gives. Shapes: B batch, T frames, H W height and width, C channels. Public tensors are BCTHW, inside
they are BTHWC.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from model.config import VAEConfig
from model.seeding import normal_like, seeded
from model.vae.blocks import CausalCache, Decoder, Encoder


@dataclass(slots=True)
class Posterior:
    """A Gaussian over latents: mean and log variance, each (B, C, T, H, W), float32."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """A draw, (B, C, T, H, W)."""
        return self.mean + torch.exp(0.5 * self.logvar) * normal_like(self.mean, generator)

    def kl(self) -> Tensor:
        """Divergence from the standard normal in nats, per latent number, (B, C, T, H, W). Kingma & Welling
        2014."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)


class LatentNormalizer(nn.Module):
    """Base class of our VAE and published ones: normalises latents. Subclasses implement `encode` and
    `decode`."""

    latent_mean: Tensor
    latent_std: Tensor

    @abstractmethod
    def encode(self, x_BCTHW: Tensor) -> "Posterior":
        """Pixels to the posterior over latents."""

    @abstractmethod
    def decode(self, z_BCTHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Raw latents to pixels."""

    def normalise(self, z_BCTHW: Tensor) -> Tensor:
        """Raw latents to mean 0 and standard deviation 1 per channel, as the DiT sees them."""
        return (z_BCTHW - per_channel(self.latent_mean)) / per_channel(self.latent_std)

    def denormalise(self, z_BCTHW: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return z_BCTHW * per_channel(self.latent_std) + per_channel(self.latent_mean)

    def encode_latents(self, x_BCTHW: Tensor) -> Tensor:
        """Pixels to normalised latents: what is cached and what the DiT learns. No draw: the posterior's
        mean."""
        return self.normalise(self.encode(x_BCTHW).mean)

    def decode_latents(self, z_BCTHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Normalised latents to pixels."""
        return self.decode(self.denormalise(z_BCTHW), size)


class VAE(LatentNormalizer):
    """Causal 3D convolutional autoencoder; see the module's docstring for shapes. Weights follow from `seed`
    alone."""

    def __init__(self, cfg: VAEConfig, seed: int = 0) -> None:
        super().__init__()
        self.cfg = cfg
        with seeded(seed):
            self.encoder = Encoder(cfg)
            self.decoder = Decoder(cfg)
        self.register_buffer("latent_mean", torch.zeros(cfg.latent_channels))
        self.register_buffer("latent_std", torch.ones(cfg.latent_channels))

    def forward(self, x_BCTHW: Tensor, generator: torch.Generator) -> tuple[Posterior, Tensor]:
        """A training pass: the posterior, and the reconstruction of a draw from it, (B, 3, T, H, W)."""
        posterior = self.encode(x_BCTHW)
        height, width = x_BCTHW.shape[-2:]
        return posterior, self.decode(posterior.sample(generator), size=(height, width))

    def encode(self, x_BCTHW: Tensor) -> Posterior:
        """Pixels in [-1, 1] to the posterior over latents; sizes off the stride are padded by repeating the
        edge.

        Raises:
            ValueError: when the number of frames is not stride_time·k + 1.
        """
        check_video(x_BCTHW, self.cfg.stride_time)
        return self.encode_chunk(x_BCTHW, None)

    def encode_chunked(self, x_BCTHW: Tensor, chunk_frames: int) -> Posterior:
        """As `encode`, `chunk_frames` at a time (the first chunk has one more): equal results, bounded
        memory.

        Raises:
            ValueError: when chunk_frames is not a multiple of stride_time.
        """
        check_video(x_BCTHW, self.cfg.stride_time)
        stream = CausalCache()
        parts = [
            self.encode_chunk(x_BCTHW[:, :, a:b], stream)
            for a, b in self.plan_chunks(x_BCTHW.shape[2], chunk_frames)
        ]
        return Posterior(
            torch.cat([p.mean for p in parts], dim=2), torch.cat([p.logvar for p in parts], dim=2)
        )

    def encode_chunk(self, x_BCTHW: Tensor, stream: CausalCache | None) -> Posterior:
        """The next chunk of a video whose earlier chunks went through the same `stream`; None for a video in
        one."""
        x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
        x_BTHWC = pad_edge(pad_edge(x_BTHWC, 2, self.cfg.stride_space), 3, self.cfg.stride_space)
        mean, logvar = self.encoder(x_BTHWC, stream).permute(0, 4, 1, 2, 3).float().chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def plan_chunks(self, frames: int, chunk_frames: int) -> list[tuple[int, int]]:
        """First frame and end of each chunk that `encode_chunked` makes of so many frames.

        Raises:
            ValueError: when chunk_frames is not a multiple of stride_time.
        """
        if chunk_frames < 1 or chunk_frames % self.cfg.stride_time:
            raise ValueError(
                f"chunk_frames={chunk_frames} must be a multiple of stride_time={self.cfg.stride_time}"
            )
        return list(pairwise([0, *range(chunk_frames + 1, frames, chunk_frames), frames]))

    def decode(self, z_BCTHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Raw latents to pixels (B, 3, T, H, W), about [-1, 1]; `size` (height, width) crops what encode
        padded."""
        return _crop(self.decode_chunk(z_BCTHW, None), size)

    def decode_chunked(self, z_BCTHW: Tensor, chunk: int, size: tuple[int, int] | None = None) -> Tensor:
        """As `decode`, `chunk` latent frames at a time: equal results, bounded memory inside the network."""
        return torch.cat(list(self.decode_stream(z_BCTHW, chunk, size)), dim=2)

    def decode_stream(
        self, z_BCTHW: Tensor, chunk: int, size: tuple[int, int] | None = None
    ) -> Iterator[Tensor]:
        """The pieces of `decode_chunked` one after the other, for writing a long video as it is made."""
        if chunk < 1:
            raise ValueError(f"chunk={chunk} must be at least 1 latent frame")
        stream = CausalCache()
        for z in z_BCTHW.split(chunk, dim=2):
            yield _crop(self.decode_chunk(z, stream), size)

    def decode_chunk(self, z_BCTHW: Tensor, stream: CausalCache | None) -> Tensor:
        """The next latents, raw, of a video whose earlier ones went through the same `stream`; None for all
        in one."""
        return self.decoder(z_BCTHW.permute(0, 2, 3, 4, 1), stream).permute(0, 4, 1, 2, 3).float()

    def set_latent_stats(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Store what `latent_stats` measured; it travels with the weights."""
        self.latent_mean.copy_(mean_C)
        self.latent_std.copy_(std_C.clamp(min=1e-6))


def latent_stats(means: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, each (C,), over raw posterior means (…, each (B, C, T, H,
    W))."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for z in means:
        flat = z.detach().double().transpose(0, 1).flatten(1).cpu()
        count, total, squares = count + flat.shape[1], total + flat.sum(1), squares + flat.square().sum(1)
    if not count:
        raise ValueError("latent_stats got no latents: there is no video to measure them on")
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp(min=0).sqrt().float()


def check_video(x_BCTHW: Tensor, stride_time: int) -> None:
    """A VAE compresses (B, 3, T, H, W) with T = stride_time·k + 1.

    Raises:
        ValueError: for anything else, with the near misses.
    """
    if x_BCTHW.dim() != 5 or x_BCTHW.shape[1] != 3:
        raise ValueError(f"video of shape {tuple(x_BCTHW.shape)}: expected (B, 3, T, H, W)")
    frames = x_BCTHW.shape[2]
    if (frames - 1) % stride_time:
        below = (frames - 1) // stride_time * stride_time + 1
        raise ValueError(
            f"video of {frames} frames: the VAE takes {stride_time}k + 1 of them; use {below} or "
            f"{below + stride_time}"
        )


def pad_edge(x: Tensor, dim: int, multiple: int) -> Tensor:
    """Repeat the last slice of `dim` until its length is a multiple; a length that is one comes back as it
    is."""
    missing = -x.shape[dim] % multiple
    return torch.cat([x, *[x.narrow(dim, x.shape[dim] - 1, 1)] * missing], dim) if missing else x


def _crop(x_BCTHW: Tensor, size: tuple[int, int] | None) -> Tensor:
    height, width = size or x_BCTHW.shape[-2:]
    return x_BCTHW[..., :height, :width]


def per_channel(values_C: Tensor) -> Tensor:
    """So that it meets latents (B, C, T, H, W)."""
    return values_C.view(-1, 1, 1, 1)
