"""Attention within segments: the one door through which tokens see tokens.

In: queries, keys and values in rows of tokens, and a `Layout` that says which of them belong together. Out: a row of
values. Segments of equal length are one dense batch; a pack of different lengths is a few such batches, so nothing is
padded and both give the same results. Shapes: N queries, M keys, H heads, d channels of a head.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Group:
    """Segments of the same lengths, attended as one dense batch of `count`."""

    count: int
    query_index: Tensor | None
    key_index: Tensor | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Which query rows see which key rows. Made once per forward pass and used by every block.

    groups: the work. inverse_N: puts the groups' rows, one after the other, back in order; None when they are in order.
    """

    groups: list[Group]
    inverse_N: Tensor | None


def make_layout(query_segment_N: Tensor, key_segment_M: Tensor) -> Layout:
    """The layout of rows with these segment ids, in any order.

    Raises:
        ValueError: when a segment has queries but no keys.
    """
    queries, keys = _rows_by_segment(query_segment_N), _rows_by_segment(key_segment_M)
    lengths: dict[tuple[int, int], list[int]] = {}
    for segment, rows in queries.items():
        if segment not in keys:
            raise ValueError(f"segment {segment} has {len(rows)} queries but no keys; give it at least a null token")
        lengths.setdefault((len(rows), len(keys[segment])), []).append(segment)
    order_N = torch.cat([queries[s] for group in lengths.values() for s in group])
    order_M = torch.cat([keys[s] for group in lengths.values() for s in group])
    in_order = len(lengths) == 1 and _is_range(order_N) and _is_range(order_M) and len(order_M) == len(key_segment_M)
    if in_order:
        (group,) = lengths.values()
        return Layout([Group(len(group), None, None)], None)
    groups = [
        Group(len(group), torch.cat([queries[s] for s in group]), torch.cat([keys[s] for s in group]))
        for group in lengths.values()
    ]
    return Layout(groups, torch.argsort(order_N))


def attend(q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, layout: Layout) -> Tensor:
    """softmax(q·kᵀ/√d)·v inside each segment, (N, H, d)."""
    parts = [
        _dense(
            _take(q_NHd, group.query_index), _take(k_MHd, group.key_index), _take(v_MHd, group.key_index), group.count
        )
        for group in layout.groups
    ]
    if layout.inverse_N is None:
        return parts[0]
    return torch.cat(parts).index_select(0, layout.inverse_N)


def attend_masked(
    q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, query_segment_N: Tensor, key_segment_M: Tensor
) -> Tensor:
    """The same by definition: all pairs, those of different segments masked. Slow; what `attend` is tested against."""
    mask_NM = query_segment_N[:, None] == key_segment_M[None]
    q, k, v = (x.transpose(0, 1)[None] for x in (q_NHd, k_MHd, v_MHd))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_NM)[0].transpose(0, 1)


def _dense(q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, count: int) -> Tensor:
    q, k, v = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in (q_NHd, k_MHd, v_MHd))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1)


def _take(x: Tensor, index: Tensor | None) -> Tensor:
    return x if index is None else x.index_select(0, index)


def _rows_by_segment(segment_N: Tensor) -> dict[int, Tensor]:
    segments, counts = segment_N.unique(return_counts=True)
    rows = torch.argsort(segment_N, stable=True).split(counts.tolist())
    return dict(zip(segments.tolist(), rows, strict=True))


def _is_range(index: Tensor) -> bool:
    return bool((index == torch.arange(len(index), device=index.device)).all())
