"""The video compression network: against diffusers' Wan VAE, in chunks and tiles against the whole, and its memory.

Goals: time per training step and per decoded megapixel at most 0.8 × the peer's, peak memory at most 0.8 ×, PSNR no lower;
chunks within 1e-5 of the whole, no seam between tiles, memory flat in length and size.

    python -m benchmarks.vae [channels=16] [patch=2] [steps=150] [turns=3] [footage=<folder>]

Both networks start from scratch, on the same crops of real clips (those of Python packages, or of a folder), for the same
number of steps, each in processes of its own that take turns; what is alike between them and what is not is in
benchmarks/vae_peer.py. Decibels are on crops of the last fifth of each clip, which neither was trained on.
Chunks, tiles and seams are of our sizes `tiny` and `small` with fresh weights, on the same pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch
from torch import Tensor

from benchmarks.results_file import report
from benchmarks.vae_memory import by_length_and_size
from benchmarks.vae_peer import Pair, Training, compare, sizes
from jobs.training.vae_task import to_network
from model.config import vae_config
from model.vae import VAE
from model.vae_tiles import decode_tiled, encode_tiled, plan_axis
from tests.footage import real_clips

FRAMES, CROP_PX, HEIGHT_PX = 17, 64, 144
CROPS, HELD_OUT_CROPS, HELD_OUT_SHARE = 256, 24, 0.2
DECODED = (4, 24, 40)  # latents: 13 frames of 320 × 192
SEAM_PX = 128


def main() -> None:
    options = {"channels": "16", "patch": "2", "steps": "150", "turns": "3", "footage": ""}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in options:
            raise SystemExit(f"{argument}: known are channels=16, patch=2, steps=150, turns=3, footage=<folder>")
        options[name] = value
    clips = [_frames(path) for path in _videos(options["footage"])]
    pair = Pair(int(options["channels"]), patch=int(options["patch"]))
    figures = _exactness(clips[0]) | by_length_and_size()
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
    report("vae", figures)


def _videos(folder: str) -> Sequence[Path]:
    return sorted(Path(folder).iterdir()) if folder else sorted(real_clips().values())


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
        border = int(len(clip) * (1 - HELD_OUT_SHARE))
        clip = clip[border:] if held_out else clip[:border]
        first, top, left = (
            int(rng.integers(0, length - want + 1))
            for length, want in zip(clip.shape[:3], (FRAMES, CROP_PX, CROP_PX), strict=True)
        )
        crops.append(clip[first : first + FRAMES, top : top + CROP_PX, left : left + CROP_PX])
    return np.stack(crops).transpose(0, 4, 1, 2, 3).astype(np.float32) / 127.5 - 1


def _exactness(frames_THWC: np.ndarray) -> dict[str, float]:
    """Largest difference between pieces and the whole, encoded and decoded; and the jump across an edge of tiles over the
    median jump, the median of all edges, in the tiled reconstruction and at the same places of the whole."""
    errors: dict[str, list[float]] = {"chunk_error": [], "tile_error": []}
    at_edges: dict[str, list[float]] = {"tiled": [], "whole": []}
    with torch.no_grad():
        for size in ("tiny", "small"):
            vae = VAE(vae_config(size)).eval()
            for left in range(0, SEAM_PX // 2, SEAM_PX // 8):  # the same edges over other places of the picture
                video = to_network(frames_THWC[None, :FRAMES, :, left : left + 3 * SEAM_PX // 2])
                z = vae.encode(video).mean
                whole = vae.decode(z)
                parts = vae.encode_chunked(video, 4).mean, vae.decode_chunked(z, 1)
                tiles = encode_tiled(vae, video, SEAM_PX, 8).mean, decode_tiled(vae, z, SEAM_PX // 8, 2)
                errors["chunk_error"] += [_error(a, b) for a, b in zip(parts, (z, whole), strict=True)]
                errors["tile_error"] += [_error(a, b) for a, b in zip(tiles, (z, whole), strict=True)]
                at_edges["tiled"] += _jumps(tiles[1])
                at_edges["whole"] += _jumps(whole)
    return {name: max(values) for name, values in errors.items()} | {
        "seam_ratio": median(at_edges["tiled"]),
        "seam_ratio_of_whole": median(at_edges["whole"]),
    }


def _error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _jumps(x_BCTHW: Tensor) -> list[float]:
    """Mean jumps across the edges of tiles, between rows and between columns, each over the median of all such jumps."""
    ratios = []
    for dim in (-2, -1):
        length = x_BCTHW.shape[dim]
        jumps = x_BCTHW.diff(dim=dim).abs().transpose(dim, -1).mean(dim=(0, 1, 2, 3))
        edges = [part.core.start * 8 for part in plan_axis(length // 8, SEAM_PX // 8, 0)[1:]]
        ratios += [float(jumps[edge - 1] / jumps.median()) for edge in edges]
    return ratios


if __name__ == "__main__":
    main()
