"""The diffusion transformer: against diffusers' Wan transformer of the same size, and against what the
processor can multiply.

Goals on a CPU: a forward and a backward pass in at most 0.75 × the peer's time in bfloat16, 1.0 × in fp32,
and no more memory. On a GPU size 1.3B at 16k tokens or more reaches 45% of the datasheet's rate.

    python -m benchmarks.dit [turns=3] [steps=6] [threads=<all>] [gpu_tokens=16384]

Both have width 384, 12 blocks, 6 heads, 1,280 tokens and 64 text tokens; what else is alike and what is not
is in benchmarks/peers/dit_peer.py. Each measurement is a process of its own, and sides take turns. The peer
is run in every way it offers, and the best of them counts. Peaks are those of a large matrix product in the
same run. Operations are counted by torch, of products and attention alone, as both need them; what ours makes
again in the backward pass of attention is not counted in its favour.
"""

from __future__ import annotations

import os
import time
from statistics import median

import torch

from benchmarks.measure.options import given
from benchmarks.measure.results_file import report
from benchmarks.peers.dit_peer import OURS, THEIRS, Pair, measure

PEAK_SIDE = 2048
# Dense bfloat16 rates of the datasheets, TFLOP/s.
DATASHEET = {
    "H100": 989.0,
    "H200": 989.0,
    "H800": 989.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "RTX 4090": 165.0,
}


def main() -> None:
    threads = os.cpu_count() or 1
    options = given({"turns": "3", "steps": "6", "threads": str(threads), "gpu_tokens": "16384"})
    turns, steps, threads = int(options["turns"]), int(options["steps"]), int(options["threads"])
    pair, sides = Pair(), (*OURS, *THEIRS)
    seen: dict[str, list] = {side: [] for side in sides}
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    torch.set_num_threads(threads)
    for turn in range(turns):
        for precision, rates in peaks.items():
            rates.append(matrix_peak(torch.float32 if precision == "fp32" else torch.bfloat16))
        for side in sides if turn % 2 == 0 else sides[::-1]:
            seen[side].append(measure(side, pair, steps=steps, threads=threads))
    step_s = {side: median(one["step_s"] for one in seen[side]) for side in sides}
    mib = {side: median(one["mib"] for one in seen[side]) for side in sides}
    gflop = seen["ours fp32"][0]["gflop"]
    fastest = {p: min((s for s in THEIRS if p in s), key=step_s.__getitem__) for p in peaks}
    share = {side: gflop / step_s[side] / max(peaks["fp32" if "fp32" in side else "bf16"]) for side in sides}
    figures = {
        "time_ratio_fp32": step_s["ours fp32"] / step_s[fastest["fp32"]],
        "time_ratio_bf16": step_s["ours bf16"] / step_s[fastest["bf16"]],
        "memory_ratio_fp32": mib["ours fp32"] / mib["theirs fp32"],
        "memory_ratio_bf16": mib["ours bf16"] / min(mib[side] for side in THEIRS if "bf16" in side),
        "peak_share_fp32": share["ours fp32"],
        "peak_share_bf16": share["ours bf16"],
        "peak_gflops_fp32": max(peaks["fp32"]),
        "peak_gflops_bf16": max(peaks["bf16"]),
        "tokens": pair.tokens,
        "text_tokens": pair.text_tokens,
        "gflop": gflop,
        "parameters_ours": seen["ours fp32"][0]["parameters"],
        "parameters_theirs": seen["theirs fp32"][0]["parameters"],
        "threads": threads,
    }
    figures["memory_ratio"] = max(figures["memory_ratio_fp32"], figures["memory_ratio_bf16"])
    rows = [
        (side, f"{step_s[side]:.3f} s", f"{mib[side]:.0f} MiB", f"{share[side]:.0%} of the peak")
        for side in sides
    ]
    if torch.cuda.is_available():
        figures |= utilisation(int(options["gpu_tokens"]))
    rows.append(
        (
            "1.3B on a GPU, MFU",
            f"{figures['mfu_gpu']:.1%}" if "mfu_gpu" in figures else "not measured",
            "",
            "",
        )
    )
    rows += [(name, f"{value:.3g}", "", "") for name, value in figures.items() if "ratio" in name]
    figures |= {f"step_s {side}": value for side, value in step_s.items()}
    figures |= {f"mib {side}": value for side, value in mib.items()}
    report("dit", figures, rows, ("", "forward + backward", "memory at its peak", "products"))


def matrix_peak(dtype: torch.dtype, device: str = "cpu", side: int = PEAK_SIDE, turns: int = 8) -> float:
    """GFLOP/s of a large matrix product, the best of some turns."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    best_s = float("inf")
    for _ in range(turns):
        _wait()
        start_s = time.perf_counter()
        a @ b
        _wait()
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2 * side**3 / best_s / 1e9


def utilisation(tokens: int, turns: int = 5) -> dict[str, float]:
    """Model FLOP utilisation of size 1.3B on this GPU, one video of so many tokens: the operations of its
    forward and backward passes, none counted twice, over the datasheet's rate. Blocks are compiled, and all
    but attention is made again in the backward pass.

    Raises:
        KeyError: the datasheet's rate of this GPU is not known here.
    """
    from model.config import dit_config
    from model.dit.accounting import training_flops
    from model.dit.compiled import compile_phases
    from model.dit.network import DiT
    from model.dit.tokens import Sample, pack

    name = torch.cuda.get_device_name()
    rate = next((value for key, value in DATASHEET.items() if key in name), None)
    if rate is None:
        raise KeyError(f"the datasheet's rate of {name} is not known; add it to DATASHEET")
    cfg, text_tokens = dit_config("1.3B", text_dim=4096), 512
    side = 64
    frames = max(1, round(tokens / (side // 2) ** 2))
    with torch.device("cuda"):
        dit = DiT(cfg)
    dit.recompute = "selective"
    compile_phases(dit)
    sample = Sample(
        torch.randn(cfg.latent_channels, frames, side, side), 24.0, torch.randn(text_tokens, cfg.text_dim)
    )
    packed = pack([sample]).to("cuda")
    seconds = []
    for _ in range(turns + 3):
        dit.zero_grad(set_to_none=True)
        _wait()
        start_s = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            v = dit(**packed.model_inputs(torch.full((1,), 0.5, device="cuda")))
        v.square().mean().backward()
        _wait()
        seconds.append(time.perf_counter() - start_s)
    count = len(packed.tokens_ND)
    flops = training_flops(cfg, count, text_tokens)
    return {
        "mfu_gpu": flops / median(seconds[3:]) / (rate * 1e12),
        "gpu_tokens": count,
        "gpu_tokens_per_s": count / median(seconds[3:]),
        "gpu_memory_gib": torch.cuda.max_memory_allocated() / 1024**3,
    }


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
