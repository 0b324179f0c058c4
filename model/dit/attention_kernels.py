"""Variable-length attention kernels, and which of them are available and correct on this machine.

In: rows of tokens with segment ids. Out: rows of values. FlashAttention (torch's own, or the package
flash-attn) takes half precision on a GPU, FlexAttention anything on a GPU. Before a kernel is used it is
tried once on a small pack, forward and backward, and compared with the definition: one that fails or differs
is left out, and the log says why. Without any, `attention` makes dense batches. Shapes: N queries, M keys, H
heads, d channels of a head.
"""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import ATTENTION, unknown_name_message
from model.dit.compile_cache import use_private_compile_cache

log = logging.getLogger(__name__)

DENSE = "sdpa"
AUTO = "auto"
_TOLERANCE = {torch.float32: 1e-3}  # of the largest value; half precision 2e-2
_wanted = AUTO


def set_attention_kernel(name: str) -> None:
    """Choose for this process: "auto", "sdpa" (dense batches), "flash", "flash-attn" or "flex".

    Raises:
        ValueError: for another name, with the near miss.
    """
    global _wanted
    if name not in ATTENTION:
        raise ValueError(unknown_name_message("attention", name, ATTENTION))
    _wanted = name


def kernel_for(q_NHd: Tensor) -> str | None:
    """The kernel for a pack of such queries; None for dense batches.

    Raises:
        RuntimeError: the one that was chosen by `set_attention_kernel` can't do it here, or does it wrong.
    """
    kind = (q_NHd.device.type, q_NHd.dtype, q_NHd.shape[1], q_NHd.shape[2])
    if _wanted == DENSE:
        return None
    if _wanted != AUTO:
        reason = _fault(_wanted, *kind)
        if reason:
            raise RuntimeError(
                f"attention={_wanted} can't be used here: {reason}; attention=auto takes what can"
            )
        return _wanted
    return _first(*kind)


@cache
def _first(device: str, dtype: torch.dtype, heads: int, head_dim: int) -> str | None:
    if device != "cuda":
        return None  # flex is compiled for a GPU; on a CPU dense batches are the fastest there is
    for name in KERNELS:
        reason = _fault(name, device, dtype, heads, head_dim)
        if not reason:
            log.info("attention of packs: %s", name)
            return name
        log.warning("attention of packs: %s is left out: %s", name, reason)
    return None


@cache
def _fault(name: str, device: str, dtype: torch.dtype, heads: int, head_dim: int) -> str:
    """What is wrong with a kernel on this machine; empty if it gives what the definition gives."""
    g = torch.Generator().manual_seed(0)
    query_segment = torch.tensor([0] * 37 + [1] * 150 + [2] * 5)
    key_segment = torch.tensor([0] * 9 + [1] * 150 + [2])
    rows = [
        torch.randn(len(s), heads, head_dim, generator=g) for s in (query_segment, key_segment, key_segment)
    ]
    segments = query_segment.to(device), key_segment.to(device)
    try:
        got = _with_gradients(
            lambda q, k, v: attend_packed(name, q, k, v, segments, {}), [x.to(device, dtype) for x in rows]
        )
    # whatever a foreign kernel raises: the reason is reported, another kernel is taken
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    wanted = _with_gradients(
        lambda q, k, v: attend_masked(q, k, v, *segments), [x.to(device, dtype).float() for x in rows]
    )
    worst = max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(got, wanted, strict=True))
    limit = _TOLERANCE.get(dtype, 2e-2)
    return "" if worst <= limit else f"it differs from the definition by {worst:.2g} of the largest value"


def _with_gradients(attention: Callable[..., Tensor], rows: list[Tensor]) -> list[Tensor]:
    rows = [x.detach().clone().requires_grad_() for x in rows]
    with torch.enable_grad(), torch.autocast(rows[0].device.type, enabled=False):
        out = attention(*rows)
        return [out, *torch.autograd.grad(out.float().square().sum(), rows)]


def attend_masked(
    q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, query_segment_N: Tensor, key_segment_M: Tensor
) -> Tensor:
    """Reference attention: all pairs, with different segments masked. Slow; the other kernels are tested
    against it."""
    mask_NM = query_segment_N[:, None] == key_segment_M[None]
    q, k, v = (x.transpose(0, 1)[None] for x in (q_NHd, k_MHd, v_MHd))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_NM)[0].transpose(0, 1)


def attend_packed(
    name: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segments: tuple[Tensor, Tensor],
    kernel_cache: dict[str, Any],
) -> Tensor:
    """softmax(q·kᵀ/√d)·v inside each segment by that kernel, (N, H, d); rows in any order.

    Args:
        segments: of the queries (N,) and of the keys (M,).
        kernel_cache: where the kernel keeps what it makes of the segments; the same for all calls with these
        segments.
    """
    if name not in kernel_cache:
        kernel_cache[name] = _PREPARE[name](*segments)
    return KERNELS[name](q, k, v, kernel_cache[name])


def _lengths(query_segment: Tensor, key_segment: Tensor) -> dict[str, Any]:
    """Rows sorted by segment, and where segments begin, int32, as FlashAttention wants them. All segments
    with queries have keys."""
    segments, query_counts = query_segment.unique(return_counts=True)
    mine = torch.isin(key_segment, segments)
    key_counts = key_segment[mine].unique(return_counts=True)[1]
    query_order = torch.argsort(query_segment, stable=True)
    key_rows = mine.nonzero()[:, 0]
    return {
        "query_order": query_order,
        "key_order": key_rows[torch.argsort(key_segment[mine], stable=True)],
        "inverse": torch.argsort(query_order),
        "starts_q": F.pad(query_counts.cumsum(0), (1, 0)).int(),
        "starts_k": F.pad(key_counts.cumsum(0), (1, 0)).int(),
        "longest_q": int(query_counts.max()),
        "longest_k": int(key_counts.max()),
    }


def _flash(q: Tensor, k: Tensor, v: Tensor, lengths: dict[str, Any]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    attend: Callable[..., Tensor] = varlen_attn  # type: ignore[assignment]  # a tuple only with return_aux
    return _sorted(attend, q, k, v, lengths)


def _flash_attn(q: Tensor, k: Tensor, v: Tensor, lengths: dict[str, Any]) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    return _sorted(flash_attn_varlen_func, q, k, v, lengths)


def _sorted(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, lengths: dict[str, Any]
) -> Tensor:
    """FlashAttention's call, which both packages share, on rows sorted by segment, and the rows in order
    again."""
    rows = q[lengths["query_order"]], k[lengths["key_order"]], v[lengths["key_order"]]
    starts = lengths["starts_q"], lengths["starts_k"], lengths["longest_q"], lengths["longest_k"]
    return attention(*rows, *starts)[lengths["inverse"]]


def _block_mask(query_segment: Tensor, key_segment: Tensor) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def same(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query_segment[query] == key_segment[key]

    return create_block_mask(
        same, None, None, len(query_segment), len(key_segment), device=query_segment.device.type
    )


def _flex(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Tensor:
    attention = _flex_attention(q.device.type)
    return attention(*(x.transpose(0, 1)[None] for x in (q, k, v)), block_mask=mask)[0].transpose(0, 1)


@cache
def _flex_attention(device: str) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    # compiled it is a kernel; as it comes it makes all scores, which is no use but for tests on a CPU
    if device != "cuda":
        return flex_attention
    use_private_compile_cache()
    return torch.compile(flex_attention, dynamic=True)


KERNELS: Mapping[str, Callable[..., Tensor]] = {"flash": _flash, "flash-attn": _flash_attn, "flex": _flex}
_PREPARE: Mapping[str, Callable[..., Any]] = {"flash": _lengths, "flash-attn": _lengths, "flex": _block_mask}
