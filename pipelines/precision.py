"""The precision of matrix products: bfloat16 where the device supports it at full speed, else float32.

In: what the user asked for, and what an earlier part of the same work was done in. Out: one choice, made once
by whoever starts the work and handed to all workers. No timing decides. Light: torch is imported only to ask
what the processor can.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

AUTO, BF16, FP32 = "auto", "bf16", "fp32"
CHOICES = (AUTO, BF16, FP32)
DOC = "numbers of matrix products: auto is bf16 where the device multiplies it fast, else fp32"

# oneDNN multiplies, and may be told to leave instructions out: the values of ONEDNN_MAX_CPU_ISA under which
# it has none for bfloat16 and converts every number instead, up to 37 × slower than float32.
_WITHOUT = frozenset(
    ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX10_1_256")
)
_MULTIPLY = ("avx512_bf16", "amx_bf16", "bf16")  # the last on ARM


@dataclass(frozen=True, slots=True)
class Precision:
    """What was chosen. `name` is bf16 or fp32; `why` is for people; `slow` if the device is known to take far
    longer for it."""

    name: str
    why: str
    slow: bool = False

    def __str__(self) -> str:
        return f"computes in {self.name} ({self.why})" + (
            "; this is slow, fp32 is many times faster here" if self.slow else ""
        )


def decide(requested: str, gpu: bool = False, previous: str | None = None) -> Precision:
    """The precision of a piece of work.

    Args:
        requested: one of `CHOICES`.
        gpu: whether the work runs on GPUs; the deciding process (the driver) need not have one.
        previous: what the work that is gone on with was done in, if there is any; `auto` keeps it.
    """
    lacking = lacks_bfloat16(gpu)
    if requested == AUTO and previous not in (BF16, FP32):
        fast = f"the {'GPU' if gpu else 'processor'} multiplies it fast"
        return Precision(FP32, lacking) if lacking else Precision(BF16, fast)
    name = previous if requested == AUTO else requested
    assert name is not None
    why = "as it began" if name == previous else "as asked"
    if name == BF16 and lacking:
        return Precision(name, f"{why}, but {lacking}", slow=True)
    return Precision(name, why)


def lacks_bfloat16(gpu: bool = False) -> str | None:
    """Why the device doesn't multiply bfloat16 fast; None if it does."""
    import torch

    if gpu:
        old = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
        return "this GPU has no bfloat16 units" if old else None
    return lacks_instructions(torch.cpu.get_capabilities(), os.environ)


def lacks_instructions(capabilities: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Why a processor of these capabilities doesn't multiply bfloat16 fast in this environment; None if it
    does."""
    if not any(capabilities.get(name) for name in _MULTIPLY):
        return "this processor has no instructions for bfloat16"
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):  # the first that is set counts, as oneDNN has it
        if (limit := environ.get(name)) is not None:
            return f"{name}={limit} leaves bfloat16 out" if limit.upper() in _WITHOUT else None
    return None


def autocast(device: str, name: str) -> torch.autocast:
    """A block in which a device multiplies in bf16, or in fp32."""
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=name == BF16)


def torch_dtype(name: str) -> torch.dtype:
    """torch's own name of bf16 or fp32."""
    import torch

    return {BF16: torch.bfloat16, FP32: torch.float32}[name]
