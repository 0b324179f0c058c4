"""What the VAE is made of: causal convolutions, residual blocks, and changes of resolution, all able to run
in chunks.

In and out: activations (B, T, H, W, C). Channels come last because then normalisation, 1×1×1 maps and the
convolution kernels of CPUs and GPUs all read memory in order. A `CausalCache` carries what a later chunk
needs of the earlier ones. Shapes: B batch, T frames, H W height and width, C channels; a chunk is a piece of
T.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import VAEConfig
from model.vae.block_transform import block_transform

_FIRST_LOGVAR = -6.0  # latents begin at about unit size, and a noise of 0.05 costs little


class CausalCache:
    """Cache for chunked causal convolution: the last frames of each layer's input. One per video; chunks go
    in order."""

    def __init__(self) -> None:
        self.past: dict[nn.Module, Tensor] = {}


class CausalConv(nn.Module):
    """A 3×3×3 convolution whose output at frame t sees frames t−2 … t. Before the first frame stand copies of
    it."""

    def __init__(self, in_channels: int, out_channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=gain * (27 * in_channels) ** -0.5)

    def forward(self, x_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        past = stream.past.get(self) if stream else None
        if past is None:
            past = x_BTHWC[:, :1].expand(-1, 2, -1, -1, -1)
        x_BTHWC = torch.cat([past, x_BTHWC], dim=1)
        if stream:
            stream.past[self] = x_BTHWC[:, -2:].clone()  # a view would keep the whole chunk alive
        y_BCTHW = F.conv3d(x_BTHWC.permute(0, 4, 1, 2, 3), self.weight, self.bias, padding=(0, 1, 1))
        return y_BCTHW.permute(0, 2, 3, 4, 1)


class ResBlock(nn.Module):
    """Two normalised causal convolutions beside a straight path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = CausalConv(channels, channels)
        self.norm2 = ChannelNorm(channels)
        self.conv2 = CausalConv(channels, channels, gain=0.1)

    def forward(self, x_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x_BTHWC)), stream)
        return x_BTHWC + self.conv2(F.silu(self.norm2(h)), stream)


class ChannelNorm(nn.LayerNorm):
    """Normalisation of each position over its channels: it knows no neighbours, so chunks and tiles can't
    differ.

    LayerNorm and not RMSNorm: the former is one fused kernel forward and backward on CPU and GPU (on a CPU 6
    × faster).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6, bias=False)


class Downsample(nn.Module):
    """Fold blocks of (time, space, space) positions into channels, then map: a strided convolution, no
    overlap.

    Args:
        map: another map than a learned matrix with a bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: tuple[int, int], map: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.stride = stride
        self.map = map or nn.Linear(in_channels * stride[0] * stride[1] ** 2, out_channels)

    def forward(self, x_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        if self.stride[0] > 1 and _is_first(self, stream):
            # frame 0 stands alone: with its copies in front it fills a group of its own
            x_BTHWC = torch.cat([x_BTHWC[:, :1].expand(-1, self.stride[0] - 1, -1, -1, -1), x_BTHWC], dim=1)
        return self.map(fold(x_BTHWC, self.stride))


class Upsample(nn.Module):
    """The way back from `Downsample`: map, then unfold channels into (time, space, space) positions."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: tuple[int, int], map: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.stride = stride
        self.map = map or nn.Linear(in_channels, out_channels * stride[0] * stride[1] ** 2)

    def forward(self, x_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        x_BTHWC = unfold(self.map(x_BTHWC), self.stride)
        return x_BTHWC[:, self.stride[0] - 1 :] if _is_first(self, stream) else x_BTHWC


class FixedLinear(nn.Module):
    """A fixed linear layer: its matrix (out, in) is a buffer, saved with the weights because they depend on
    it."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix.to(torch.get_default_device()))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix)


class Encoder(nn.Module):
    """Pixels (B, T, H, W, 3) to moments (B, t, h, w, 2C): means, then log variances.

    Beside the deep path goes a straight one, a fixed cosine transform of each block, and the deep path starts
    from nothing: it learns what the transform misses, and training starts from pictures and not from grey.
    """

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        transform, _ = block_transform(cfg.stride_time, cfg.stride_space, cfg.latent_channels)
        self.straight = Downsample(
            3, cfg.latent_channels, (cfg.stride_time, cfg.stride_space), FixedLinear(transform)
        )
        widths = [cfg.base_channels * m for m in cfg.multipliers]
        self.patch = (1, cfg.patch)
        self.enter = CausalConv(3 * cfg.patch**2, widths[0])
        layers: list[nn.Module] = []
        for level, width in enumerate(widths):
            layers += [ResBlock(width) for _ in range(cfg.encoder_blocks)]
            if level < len(cfg.level_strides):
                layers.append(Downsample(width, widths[level + 1], cfg.level_strides[level]))
        self.layers = nn.ModuleList(layers)
        self.leave = nn.Linear(widths[-1], 2 * cfg.latent_channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        nn.init.constant_(self.leave.bias[cfg.latent_channels :], _FIRST_LOGVAR)

    def forward(self, x_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        straight_BTHWC = self.straight(x_BTHWC, stream)
        x_BTHWC = self.enter(fold(x_BTHWC, self.patch), stream)
        for layer in self.layers:
            x_BTHWC = layer(x_BTHWC, stream)
        return self.leave(x_BTHWC) + F.pad(straight_BTHWC, (0, straight_BTHWC.shape[-1]))


class Decoder(nn.Module):
    """Latents (B, t, h, w, C) to pixels (B, T, H, W, 3), with a straight path beside the deep one, as in the
    encoder."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        _, transform = block_transform(cfg.stride_time, cfg.stride_space, cfg.latent_channels)
        self.straight = Upsample(
            cfg.latent_channels, 3, (cfg.stride_time, cfg.stride_space), FixedLinear(transform)
        )
        widths = [cfg.base_channels * m for m in cfg.multipliers]
        self.patch = (1, cfg.patch)
        self.enter = CausalConv(cfg.latent_channels, widths[-1])
        layers: list[nn.Module] = []
        for level in reversed(range(len(widths))):
            layers += [ResBlock(widths[level]) for _ in range(cfg.decoder_blocks)]
            if level:
                layers.append(Upsample(widths[level], widths[level - 1], cfg.level_strides[level - 1]))
        self.layers = nn.ModuleList(layers)
        self.leave = CausalConv(widths[0], 3 * cfg.patch**2, gain=0.0)

    def forward(self, z_BTHWC: Tensor, stream: CausalCache | None) -> Tensor:
        straight_BTHWC = self.straight(z_BTHWC, stream)
        x_BTHWC = self.enter(z_BTHWC, stream)
        for layer in self.layers:
            x_BTHWC = layer(x_BTHWC, stream)
        return unfold(self.leave(x_BTHWC, stream), self.patch) + straight_BTHWC


def fold(x_BTHWC: Tensor, stride: tuple[int, int]) -> Tensor:
    """Positions into channels: (B, T, H, W, C) to (B, T/s, H/p, W/p, s·p·p·C) for stride (s, p)."""
    (s, p), (b, t, h, w, c) = stride, x_BTHWC.shape
    x = x_BTHWC.reshape(b, t // s, s, h // p, p, w // p, p, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, t // s, h // p, w // p, s * p * p * c)


def unfold(x_BTHWC: Tensor, stride: tuple[int, int]) -> Tensor:
    """The inverse of `fold`."""
    (s, p), (b, t, h, w, c) = stride, x_BTHWC.shape
    x = x_BTHWC.reshape(b, t, h, w, s, p, p, c // (s * p * p)).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, t * s, h * p, w * p, c // (s * p * p))


def _is_first(layer: nn.Module, stream: CausalCache | None) -> bool:
    if stream is None:
        return True
    first = layer not in stream.past
    stream.past[layer] = torch.empty(0)
    return first
