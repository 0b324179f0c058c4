"""Our VAE and diffusers' AutoencoderKLWan at equal channel counts and compression, measured each in a process
of its own.

In: a `Pair`, and crops. Out: seconds, memory, decibels, by side ("ours", "theirs"). Both compress 4 × 8 × 8,
have the same channels at every resolution that both work at, as many residual blocks there, and as many
latent channels. What stays unlike:

- Theirs works at full resolution; with `patch` ours begins at 1/patch, and has no layers above.
- Between resolutions theirs has a 3 × 3 convolution (and a causal one over time), ours one matrix over folded
  blocks.
- Theirs has two more residual blocks and a self-attention per frame at the coarsest resolution, in encoder
  and decoder.
- Theirs goes through time a latent frame at a time even in training; ours takes the whole, and chunks only
  where asked to.
- Theirs clamps what it decodes, also in training, so what is out of range has no gradient.
- Ours starts from a cosine transform of its blocks, theirs from nothing: after few steps decibels tell that
  above all.

`sizes` tells by how much the two differ in parameters and operations: with 96 channels as published, ours has
0.76 of their parameters and 0.96 of their operations, and with `patch=2` 0.74 and 0.59.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("ours", "theirs")
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Pair:
    """Two networks to compare.

    Attributes:
        channels: of the finest level of theirs; ours has as many there if it has that level.
        multipliers: channels over `channels` at full, 1/2, 1/4 and 1/8 resolution.
        patch: pixels that ours folds at its door, each way: the levels finer than that are left out.
        blocks: residual blocks per encoder level; a decoder level has one more, as theirs has.
    """

    channels: int
    multipliers: tuple[int, int, int, int] = (1, 2, 4, 4)
    latent_channels: int = 16
    patch: int = 1
    blocks: int = 2


@dataclass(frozen=True, slots=True)
class Training:
    """How both are trained: L1 + KL with AdamW, fp32, one thread. A step takes the crops that `seed`
    draws."""

    steps: int
    batch: int = 2
    lr: float = 1e-3
    kl_weight: float = 1e-6
    seed: int = 0


@dataclass
class Measured:
    """Of both sides, by side: a number per turn; decibels once."""

    step_s: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    step_mib: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    decode_s_per_mp: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    decode_mib: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    psnr_db: dict[str, float] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Ours over theirs, of medians; decibels as a difference."""
        names = ("step_s", "step_mib", "decode_s_per_mp", "decode_mib")
        ratios = {
            f"{n}_ratio": median(getattr(self, n)["ours"]) / median(getattr(self, n)["theirs"]) for n in names
        }
        return ratios | {"psnr_db_difference": self.psnr_db["ours"] - self.psnr_db["theirs"]}


def compare(
    pair: Pair,
    crops_NCTHW: np.ndarray,
    held_out_NCTHW: np.ndarray,
    training: Training,
    decoded_CTHW: tuple[int, int, int, int],
    turns: int = 3,
    turn_steps: int = 4,
) -> Measured:
    """Time and memory in turns, in which the sides alternate; then one training of each for the decibels.

    Args:
        crops_NCTHW: float32 in [-1, 1], as (N, 3, 17, 64, 64).
        held_out_NCTHW: the same, of moments that are not in `crops_NCTHW`.
        decoded_CTHW: shape of the latents whose decoding is measured.
        turn_steps: training steps of a turn; the first warms up and is not counted.
    """
    measured = Measured()
    short = Training(**{**asdict(training), "steps": turn_steps})
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, crops in (("crops", crops_NCTHW), ("held_out", held_out_NCTHW)):
            paths.append(str(Path(folder, f"{name}.npy")))
            np.save(paths[-1], np.ascontiguousarray(crops, dtype=np.float32))
        for turn in range(turns):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                step = _child("train", side, pair, training=asdict(short), paths=[paths[0]])
                decode = _child("decode", side, pair, latents=[1, *decoded_CTHW])
                measured.step_s[side].append(step["step_s"])
                measured.step_mib[side].append(step["mib"])
                measured.decode_s_per_mp[side].append(decode["s_per_mp"])
                measured.decode_mib[side].append(decode["mib"])
        for side in SIDES:
            trained = _child("train", side, pair, training=asdict(training), paths=paths)
            measured.psnr_db[side] = trained["psnr_db"]
    return measured


def sizes(pair: Pair, frames: int = 17, side_px: int = 64) -> dict[str, dict[str, float]]:
    """By side: parameters in millions, and billions of floating-point operations to encode and to decode one
    crop."""
    import torch

    found = {}
    for side in SIDES:
        with torch.device("meta"), torch.no_grad():  # shapes are all it takes
            network = build(side, pair)
            x = torch.empty(1, 3, frames, side_px, side_px)
            z = torch.empty(1, pair.latent_channels, (frames - 1) // 4 + 1, side_px // 8, side_px // 8)
            found[side] = {
                "parameters_m": sum(p.numel() for p in network.parameters()) / 1e6,
                "encode_gflop": _gflop(network.encode, x),
                "decode_gflop": _gflop(network.decode, z),
            }
    return found


def _gflop(work: Callable[[Any], Any], x: Any) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work(x)
    return counter.get_total_flops() / 1e9


def build(side: str, pair: Pair) -> Any:
    """A network with fresh weights."""
    if side == "ours":
        from model.config import VAEConfig
        from model.vae.network import VAE

        multipliers = list(pair.multipliers[int(math.log2(pair.patch)) :])
        while len(multipliers) < 3:  # time is halved twice, if need be where space is halved no more
            multipliers.append(multipliers[-1])
        return VAE(
            VAEConfig(
                latent_channels=pair.latent_channels,
                stride_time=4,
                stride_space=8,
                patch=pair.patch,
                base_channels=pair.channels,
                multipliers=multipliers,
                encoder_blocks=pair.blocks,
                decoder_blocks=pair.blocks + 1,
            )
        )
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=pair.channels,
        z_dim=pair.latent_channels,
        dim_mult=list(pair.multipliers),
        num_res_blocks=pair.blocks,
        latents_mean=[0.0] * pair.latent_channels,
        latents_std=[1.0] * pair.latent_channels,
    )


def encode(network: Any, x_BCTHW: Any) -> Any:
    """The posterior of either."""
    from model.vae.network import VAE, Posterior

    if isinstance(network, VAE):
        return network.encode(x_BCTHW)
    gaussian = network.encode(x_BCTHW).latent_dist
    return Posterior(gaussian.mean, gaussian.logvar)


def decode(network: Any, z_BCTHW: Any) -> Any:
    """Pixels of either, as it is trained."""
    from model.vae.network import VAE

    return network.decode(z_BCTHW) if isinstance(network, VAE) else network.decode(z_BCTHW).sample


def decode_bounded(network: Any, z_BCTHW: Any) -> Any:
    """Pixels of either, a latent frame at a time, which is the only way that theirs has."""
    from model.vae.network import VAE

    return network.decode_chunked(z_BCTHW, 1) if isinstance(network, VAE) else network.decode(z_BCTHW).sample


def child() -> None:
    """What a process of `_child` does: prints its figures as the last line."""
    import torch

    asked = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    pair = Pair(**{**asked["pair"], "multipliers": tuple(asked["pair"]["multipliers"])})
    with torch.device("meta"):  # what building and stepping import is part of the baseline
        parameters = build(asked["side"], pair).parameters()
        torch.optim.AdamW(parameters)
    torch.manual_seed(0)
    with Peak() as peak:
        network = build(asked["side"], pair)
        if asked["what"] == "decode":
            figures = _decode(network, asked["latents"])
        else:
            figures = _train(network, Training(**asked["training"]), asked["paths"][0])
    figures["mib"] = peak.mib
    if len(asked.get("paths", ())) > 1:
        figures["psnr_db"] = _psnr_db(network, asked["paths"][1])
    print(json.dumps(figures))


def _child(what: str, side: str, pair: Pair, **more: Any) -> Mapping[str, float]:
    asked = json.dumps({"what": what, "side": side, "pair": asdict(pair), **more})
    command = [sys.executable, "-c", "from benchmarks.peers.vae_peer import child; child()", asked]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} of {side} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _train(network: Any, training: Training, crops_path: str) -> dict[str, float]:
    import torch

    from model.vae.loss import vae_loss

    crops = np.load(crops_path, mmap_mode="r")
    draws = np.random.default_rng(training.seed)
    noise = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.lr, betas=(0.9, 0.99), weight_decay=0.0)
    network.train()
    seconds = []
    for _ in range(training.steps):
        x = torch.from_numpy(crops[draws.choice(len(crops), training.batch, replace=False)])
        start_s = time.perf_counter()
        posterior = encode(network, x)
        loss, _ = vae_loss(x, posterior, decode(network, posterior.sample(noise)), training.kl_weight)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start_s)
    return {"step_s": median(seconds[1:] or seconds), "loss": float(loss)}


def _decode(network: Any, latents: Sequence[int]) -> dict[str, float]:
    import torch

    z = torch.randn(*latents, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.no_grad():
        decode_bounded(network, z[:, :, :2, :8, :8])  # what is made once is made here
        start_s = time.perf_counter()
        x = decode_bounded(network, z)
    return {"s_per_mp": (time.perf_counter() - start_s) / (x.numel() / 3 / 1e6)}


def _psnr_db(network: Any, held_out_path: str) -> float:
    import torch

    from model.vae.loss import psnr_db

    network.eval()
    with torch.no_grad():
        decibels = [
            float(psnr_db(x, decode(network, encode(network, x).mean)))
            for x in torch.from_numpy(np.load(held_out_path)).split(1)
        ]
    return sum(decibels) / len(decibels)


class Peak:
    """The most memory that this process held inside a `with`, above what it held before, MiB."""

    mib: float

    def __enter__(self) -> Peak:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's high-water mark begins anew
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.mib = (_status("VmHWM") - self._before) / MIB


def _status(name: str) -> int:
    """A line of this process' status, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
