"""Which numbers a network computes in on this processor."""


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; it takes half the time of float32 then, and moves a probability by
    a few hundredths at most.
    """
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
