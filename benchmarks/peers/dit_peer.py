"""Our DiT and diffusers' Wan transformer of the same width, depth, heads, feed-forward, tokens and text, each
in a process of its own.

In: a `Pair`. Out: seconds and memory of a forward and a backward pass, by side and precision. Alike: the
kinds of layers (adaptive norms from one time MLP, normalised queries and keys, 3D rotation, attention to the
text, GELU feed-forward), their sizes, the patches, the loss. What stays unlike:

- Theirs normalises queries and keys over all heads, ours over each.
- Theirs maps the text at its width in every block as ours does, but queries, keys and values by three
  matrices.
- Theirs takes a batch of equal videos, ours a row of tokens with segments.

"ours" is trained as our trainer does it: fp32 weights, bf16 products by autocast. Theirs is measured in every
way that it runs in (autocast, and all its weights in bf16), and the fastest counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = ("ours fp32", "ours bf16")
THEIRS = ("theirs fp32", "theirs bf16 autocast", "theirs bf16 weights")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two networks to compare, and what goes through them: `videos` of latents (16, T, H, W) with
    `text_tokens` each."""

    width: int = 384
    depth: int = 12
    heads: int = 6
    ffn_width: int = 1536
    text_dim: int = 384
    text_tokens: int = 64
    videos: int = 1
    latents_THW: tuple[int, int, int] = (5, 32, 32)
    channels: int = 16

    @property
    def tokens(self) -> int:
        t, h, w = self.latents_THW
        return self.videos * t * (h // 2) * (w // 2)


def measure(
    side: str, pair: Pair, device: str = "cpu", steps: int = 6, threads: int = 2
) -> Mapping[str, float]:
    """Figures of one process: `step_s` (median of forward + backward, the first two not counted), `mib` at
    its peak above what the libraries took, `gflop` of the products, `parameters`.

    Raises:
        RuntimeError: the process failed; with what it said.
    """
    asked = json.dumps(
        {"side": side, "pair": asdict(pair), "device": device, "steps": steps, "threads": threads}
    )
    command = [sys.executable, "-c", "from benchmarks.peers.dit_peer import child; child()", asked]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def child() -> None:
    """What a process of `measure` does: prints its figures as the last line."""
    import torch

    from benchmarks.peers.vae_peer import Peak

    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    settings = asked["pair"]
    pair = Pair(**{**settings, "latents_THW": tuple(settings["latents_THW"])})
    side, precision = asked["side"].split(" ", 1)
    Step(
        side,
        precision,
        Pair(width=48, depth=1, heads=1, ffn_width=48, latents_THW=(1, 2, 2)),
        asked["device"],
    )()
    with Peak() as peak:
        step = Step(side, precision, pair, asked["device"])
        seconds = [step() for _ in range(asked["steps"])]
    figures = {
        "step_s": median(seconds[2:]),
        "mib": peak.mib,
        "gflop": step.gflop(),
        "parameters": sum(p.numel() for p in step.network.parameters()),
    }
    print(json.dumps(figures))


class Step:
    """A network with fresh weights and one batch; calling it does a forward and a backward pass and says how
    long they took."""

    def __init__(self, side: str, precision: str, pair: Pair, device: str) -> None:
        import torch

        self.device, self.autocast = torch.device(device), precision in ("bf16", "bf16 autocast")
        torch.manual_seed(0)
        build = _ours if side == "ours" else _theirs
        self.network, self.inputs = build(
            pair, self.device, torch.bfloat16 if precision == "bf16 weights" else None
        )

    def __call__(self) -> float:
        self.network.zero_grad(set_to_none=True)
        self._wait()
        start_s = time.perf_counter()
        self._passes()
        self._wait()
        return time.perf_counter() - start_s

    def _passes(self) -> None:
        import torch

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            out = self.network(**self.inputs)
        out = out if isinstance(out, torch.Tensor) else out[0]
        out.float().square().mean().backward()

    def gflop(self) -> float:
        """Of the matrix products and attention of a call, as torch counts them."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self._passes()
        return counter.get_total_flops() / 1e9

    def _wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _ours(pair: Pair, device: Any, dtype: Any) -> tuple[Any, dict[str, Any]]:
    import torch

    from model.config import DiTConfig
    from model.dit.network import DiT
    from model.dit.tokens import Sample, pack

    cfg = DiTConfig(
        width=pair.width,
        depth=pair.depth,
        heads=pair.heads,
        ffn_ratio=pair.ffn_width / pair.width,
        latent_channels=pair.channels,
        text_dim=pair.text_dim,
    )
    samples = [
        Sample(
            torch.randn(pair.channels, *pair.latents_THW), 24.0, torch.randn(pair.text_tokens, pair.text_dim)
        )
        for _ in range(pair.videos)
    ]
    packed = pack(samples, cfg.patch).to(device)
    network = _awake(DiT(cfg)).to(device)
    return network, packed.model_inputs(torch.full((pair.videos,), 0.5, device=device))


def _theirs(pair: Pair, device: Any, dtype: Any) -> tuple[Any, dict[str, Any]]:
    import torch
    from diffusers import WanTransformer3DModel

    network = WanTransformer3DModel(
        num_attention_heads=pair.heads,
        attention_head_dim=pair.width // pair.heads,
        in_channels=pair.channels,
        out_channels=pair.channels,
        text_dim=pair.text_dim,
        ffn_dim=pair.ffn_width,
        num_layers=pair.depth,
    ).to(device, dtype)
    inputs = {
        "hidden_states": torch.randn(
            pair.videos, pair.channels, *pair.latents_THW, device=device, dtype=dtype
        ),
        "timestep": torch.full((pair.videos,), 500, device=device),
        "encoder_hidden_states": torch.randn(
            pair.videos, pair.text_tokens, pair.text_dim, device=device, dtype=dtype
        ),
        "return_dict": False,
    }
    return network, inputs


def _awake(network: Any) -> Any:
    """What starts at zero, started at random: a product with zeros takes as long, but gradients of zeros may
    not be made."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network
