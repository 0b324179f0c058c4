"""The video compression network: against diffusers' Wan VAE, in chunks and tiles against the whole, and its
memory.

Goals: time per training step and per decoded megapixel at most 0.8 × the peer's, peak memory at most 0.8 ×,
PSNR no lower; chunks within 1e-5 of the whole, no seam between tiles, memory flat in length and size.

    python -m benchmarks.vae [channels=16] [patch=2] [steps=150] [turns=3] [minutes=30] [footage=<folder>]
    [folder=<folder>]

Both networks start from scratch, on the same crops of real clips (those of Python packages, or of a folder),
for the same number of steps, each in processes of its own that take turns; what is alike between them and
what is not is in benchmarks/peers/vae_peer.py. Decibels are on crops of the last fifth of each clip, which
neither was trained on. What half an hour gives is benchmarks/measure/vae_recipe.py's (`folder` keeps it, or
has it already; minutes=0 leaves it out). Chunks, tiles and seams are of that VAE, on pictures of the first
clip.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch
from torch import Tensor

from benchmarks.measure.options import given
from benchmarks.measure.results_file import report
from benchmarks.measure.vae_memory import by_length_and_size
from benchmarks.measure.vae_recipe import listed, train
from benchmarks.peers.vae_peer import Pair, Training, compare, sizes
from model.checkpoint.weights import load_vae
from model.config import vae_config
from model.vae.network import VAE
from model.vae.pixels import to_tensor
from model.vae.tiles import Tiling, decode_tiled, encode_tiled, plan_axis
from pipelines.footage.listing import find_footage
from tests.support.footage import real_clips

FRAMES, CROP_PX, HEIGHT_PX = 17, 64, 144
CROPS, HELD_OUT_CROPS, HELD_OUT_SHARE = 256, 24, 0.2
DECODED = (4, 24, 40)  # latents: 13 frames of 320 × 192
SEAM_PX = 128
RECIPE = "small_half_hour"
GPU_VIDEO_THW = (17, 512, 512)


def main() -> None:
    options = given(
        {
            "channels": "16",
            "patch": "2",
            "steps": "150",
            "turns": "3",
            "minutes": "30",
            "footage": "",
            "folder": "",
        }
    )
    clips = [_frames(path) for path in _videos(options["footage"])]
    pair = Pair(int(options["channels"]), patch=int(options["patch"]))
    figures: dict[str, float] = by_length_and_size()
    with tempfile.TemporaryDirectory() as scratch:
        if float(options["minutes"]):
            folder = Path(options["folder"] or scratch)
            trained = train(listed(options["footage"], folder), folder, RECIPE, float(options["minutes"]))
            figures |= trained.figures | _exactness(load_vae(trained.vae, torch.device("cpu")), clips[0])
    measured = compare(
        pair,
        _crops(clips, CROPS, held_out=False),
        _crops(clips, HELD_OUT_CROPS, held_out=True),
        Training(int(options["steps"])),
        (pair.latent_channels, *DECODED),
        int(options["turns"]),
    )
    ratios = measured.ratios()
    figures |= {
        "time_ratio": ratios["step_s_ratio"],
        "decode_time_ratio": ratios["decode_s_per_mp_ratio"],
        "memory_ratio": ratios["step_mib_ratio"],
        "decode_memory_ratio": ratios["decode_mib_ratio"],
        "psnr_db": measured.psnr_db["ours"],
        "psnr_db_peer": measured.psnr_db["theirs"],
        "steps": int(options["steps"]),
        "channels": pair.channels,
        "patch": pair.patch,
    }
    for side, numbers in sizes(pair).items():
        figures |= {f"{name}_{side}": value for name, value in numbers.items()}
    for name in ("step_s", "decode_s_per_mp", "step_mib", "decode_mib"):
        figures |= {f"{name}_{side}": median(values) for side, values in getattr(measured, name).items()}
    if torch.cuda.is_available():
        figures |= throughput("base", torch.device("cuda"), GPU_VIDEO_THW)
    report("vae", figures)


def throughput(
    size: str, device: torch.device, video_THW: tuple[int, int, int], turns: int = 5
) -> dict[str, float]:
    """Megapixels per second that a device encodes and decodes in bfloat16, the median turn after one to warm
    up."""
    vae = VAE(vae_config(size)).to(device, torch.bfloat16).eval()
    video = torch.zeros(1, 3, *video_THW, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        z = vae.encode(video).mean.to(torch.bfloat16)
        runs = {"encode": lambda: vae.encode(video), "decode": lambda: vae.decode(z)}
        return {
            f"{what}_mp_per_s_{size}": math.prod(video_THW) / 1e6 / _seconds(do, turns)
            for what, do in runs.items()
        }


def _seconds(do: Callable[[], object], turns: int) -> float:
    taken = []
    for _ in range(turns + 1):
        _wait()
        began_s = time.perf_counter()
        do()
        _wait()
        taken.append(time.perf_counter() - began_s)
    return median(taken[1:])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _videos(folder: str) -> Sequence[Path]:
    return (
        [Path(source.uri) for source in find_footage(folder).sources]
        if folder
        else sorted(real_clips().values())
    )


def _frames(path: Path) -> np.ndarray:
    """A video's frames, small: uint8 (T, H, W, 3)."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        height = min(HEIGHT_PX, stream.height)
        width = round(stream.width * height / stream.height / 8) * 8
        for picture in container.decode(stream):
            frames.append(picture.reformat(width, height, interpolation="AREA").to_ndarray(format="rgb24"))
    return np.stack(frames)


def _crops(clips: Sequence[np.ndarray], count: int, held_out: bool) -> np.ndarray:
    """Random stretches and places, float32 (N, 3, T, H, W) in [-1, 1]."""
    rng = np.random.default_rng(1 if held_out else 0)
    crops = []
    for number in range(count):
        clip = clips[number % len(clips)]
        border = min(int(len(clip) * (1 - HELD_OUT_SHARE)), len(clip) - FRAMES)
        clip = clip[border:] if held_out else clip[:border]
        first, top, left = (
            int(rng.integers(0, length - want + 1))
            for length, want in zip(clip.shape[:3], (FRAMES, CROP_PX, CROP_PX), strict=True)
        )
        crops.append(clip[first : first + FRAMES, top : top + CROP_PX, left : left + CROP_PX])
    return np.stack(crops).transpose(0, 4, 1, 2, 3).astype(np.float32) / 127.5 - 1


def _exactness(vae: VAE, frames_THWC: np.ndarray) -> dict[str, float]:
    """Largest difference between pieces and the whole, encoded and decoded; and the jump across an edge of
    tiles over the median jump, the median of all edges, in the tiled reconstruction and at the same places of
    the whole and of the original."""
    errors: dict[str, list[float]] = {"chunk_error": [], "tile_error": []}
    at_edges: dict[str, list[float]] = {
        "seam_ratio": [],
        "seam_ratio_of_whole": [],
        "seam_ratio_of_original": [],
    }
    with torch.no_grad():
        for left in range(0, SEAM_PX // 2, SEAM_PX // 16):  # the same edges over other places of the picture
            video = to_tensor(frames_THWC[None, :FRAMES, :, left : left + 3 * SEAM_PX // 2])
            z = vae.encode(video).mean
            whole = vae.decode(z)
            parts = vae.encode_chunked(video, 4).mean, vae.decode_chunked(z, 1)
            tiles = encode_tiled(vae, video, SEAM_PX, 8).mean, decode_tiled(vae, z, Tiling(SEAM_PX // 8, 2))
            errors["chunk_error"] += [_error(a, b) for a, b in zip(parts, (z, whole), strict=True)]
            errors["tile_error"] += [_error(a, b) for a, b in zip(tiles, (z, whole), strict=True)]
            for values, shown in zip(at_edges.values(), (tiles[1], whole, video), strict=True):
                values += _jumps(shown)
    return {name: max(values) for name, values in errors.items()} | {
        name: median(values) for name, values in at_edges.items()
    }


def _error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _jumps(x_BCTHW: Tensor) -> list[float]:
    """Mean jumps across the edges of tiles, between rows and between columns, each over the median of all
    such jumps."""
    ratios = []
    for dim in (-2, -1):
        length = x_BCTHW.shape[dim]
        jumps = x_BCTHW.diff(dim=dim).abs().transpose(dim, -1).mean(dim=(0, 1, 2, 3))
        edges = [part.core.start * 8 for part in plan_axis(length // 8, SEAM_PX // 8, 0)[1:]]
        ratios += [float(jumps[edge - 1] / jumps.median()) for edge in edges]
    return ratios


if __name__ == "__main__":
    main()
