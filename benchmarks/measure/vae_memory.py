"""How much memory the VAE takes to encode and decode, by length and by size: in chunks and tiles it should
not grow.

The C library is told to give large blocks back at once (MALLOC_MMAP_THRESHOLD_): by default it keeps some,
more of them the longer it runs, and that is not what the network needs.

In: frames and side of a video. Out: the most MiB that a fresh process held above what it held before. What
goes in takes no memory (one frame, repeated), and what comes out is thrown away piece by piece: the network's
own is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.vae_peer import Peak

ROOT = Path(__file__).resolve().parents[2]
SIZE = "tiny"
LENGTHS, LENGTH_SIDE_PX = (17, 65, 257), 256
SIDES_PX, SIDE_FRAMES = (256, 1024, 2048), 5


def by_length_and_size() -> dict[str, float]:
    """`<what>_mib_<frames>x<side>`, MiB: each in a process of its own."""
    cases = [(frames, LENGTH_SIDE_PX) for frames in LENGTHS] + [(SIDE_FRAMES, side) for side in SIDES_PX]
    return {
        f"{what}_mib_{frames}x{side}": _child(what, frames, side)
        for what in ("encode", "decode")
        for frames, side in cases
    }


def _child(what: str, frames: int, side: int) -> float:
    code = "from benchmarks.measure.vae_memory import child; child()"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", code, what, str(frames), str(side)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} of {frames} frames of {side} px failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def child() -> None:
    """What a process of `_child` does."""
    import torch

    from model.config import vae_config
    from model.vae.network import VAE
    from model.vae.tiles import CHUNK_FRAMES, TILE_PX, Tiling, decode_tiles, encode_tiled

    torch.set_num_threads(1)
    what, frames, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    vae = VAE(vae_config(SIZE)).eval()
    x = torch.rand(1, 3, 1, side, side).expand(-1, -1, frames, -1, -1)
    z = torch.randn(1, vae.cfg.latent_channels, (frames - 1) // 4 + 1, side // 8, side // 8)
    with torch.no_grad():
        vae.decode(vae.encode(x[:, :, :1, :64, :64]).mean)  # what is made once is made here
        with Peak() as peak:
            if what == "encode":
                encode_tiled(vae, x)
            else:
                for _ in decode_tiles(vae, z, Tiling(TILE_PX // 8, CHUNK_FRAMES // 4)):
                    pass
    print(peak.mib)
