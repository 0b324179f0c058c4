"""Attention within segments; all attention of the DiT goes through `attend`.

In: queries, keys and values in rows of tokens, and a `SegmentLayout` that says which of them belong together.
Out: a row of values. Segments of equal length are one dense batch. A pack of different lengths goes to the
fastest kernel this machine has for it (`attention_kernels`), or is a few dense batches: nothing is padded but
texts of different lengths, whose padding is masked. All of them give the same results. Shapes: N queries, M
keys, H heads, d channels of a head, G segments of a group.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.dit.attention_blocks import attend_blocks
from model.dit.attention_kernels import attend_packed, kernel_for


@dataclass(frozen=True, slots=True)
class SegmentGroup:
    """Segments with the same number of queries, attended as one dense batch of `count`.

    key_mask: (G, 1, 1, keys) where their numbers of keys differ: which are real.
    """

    count: int
    query_index: Tensor | None
    key_index: Tensor | None
    key_mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """Which query rows see which key rows. Made once per forward pass and used by every block.

    groups: the work. inverse_N: puts the groups' rows, one after the other, back in order; None when they are
    in order. kept: a cache of what a kernel derives from the segments (cu_seqlens, block mask), shared by all
    blocks.
    """

    groups: list[SegmentGroup]
    inverse_N: Tensor | None
    query_segment_N: Tensor
    key_segment_M: Tensor
    kernel_cache: dict[str, Any] = field(default_factory=dict)

    @property
    def is_dense(self) -> bool:
        return len(self.groups) == 1 and self.groups[0].key_mask is None


def make_layout(query_segment_N: Tensor, key_segment_M: Tensor) -> SegmentLayout:
    """The layout of rows with these segment ids, in any order.

    Raises:
        ValueError: when a segment has queries but no keys.
    """
    queries = _rows_by_segment(query_segment_N)
    keys = queries if key_segment_M is query_segment_N else _rows_by_segment(key_segment_M)
    by_length: dict[int, list[int]] = {}
    for segment, rows in queries.items():
        if segment not in keys:
            raise ValueError(
                f"segment {segment} has {len(rows)} queries but no keys; give it at least a null token"
            )
        by_length.setdefault(len(rows), []).append(segment)
    order_N = torch.cat([queries[s] for group in by_length.values() for s in group])
    groups = []
    for segments in by_length.values():
        query_index = torch.cat([queries[s] for s in segments])
        key_index, key_mask = _padded([keys[s] for s in segments])
        groups.append(SegmentGroup(len(segments), query_index, key_index, key_mask))
    in_order = _is_range(order_N)
    if in_order and len(groups) == 1:
        (only,) = groups
        keys_of = only.key_index
        assert keys_of is not None
        whole = only.key_mask is None and len(keys_of) == len(key_segment_M) and _is_range(keys_of)
        groups = [SegmentGroup(only.count, None, None if whole else only.key_index, only.key_mask)]
    return SegmentLayout(groups, None if in_order else torch.argsort(order_N), query_segment_N, key_segment_M)


def attend(q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, layout: SegmentLayout) -> Tensor:
    """softmax(q·kᵀ/√d)·v inside each segment, (N, H, d)."""
    kernel = None if layout.is_dense else kernel_for(q_NHd)
    if kernel:
        segments = layout.query_segment_N, layout.key_segment_M
        return attend_packed(kernel, q_NHd, k_MHd, v_MHd, segments, layout.kernel_cache)
    parts = [
        _dense(
            _take(q_NHd, group.query_index),
            _take(k_MHd, group.key_index),
            _take(v_MHd, group.key_index),
            group,
        )
        for group in layout.groups
    ]
    row = parts[0] if len(parts) == 1 else torch.cat(parts)
    return row if layout.inverse_N is None else row.index_select(0, layout.inverse_N)


def _dense(q_NHd: Tensor, k_MHd: Tensor, v_MHd: Tensor, group: SegmentGroup) -> Tensor:
    q, k, v = (x.unflatten(0, (group.count, -1)).transpose(1, 2) for x in (q_NHd, k_MHd, v_MHd))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and group.key_mask is None:
        made = attend_blocks(*(x.flatten(0, 1) for x in (q, k, v))).unflatten(0, q.shape[:2])
    else:
        made = F.scaled_dot_product_attention(q, k, v, attn_mask=group.key_mask)
    return made.transpose(1, 2).flatten(0, 1)


def _take(x: Tensor, index: Tensor | None) -> Tensor:
    return x if index is None else x.index_select(0, index)


def _padded(rows: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Key rows of several segments, all brought to the longest one's number, and which of them are real if
    not all are."""
    counts = [len(one) for one in rows]
    if len(set(counts)) == 1:
        return torch.cat(rows), None
    most = max(counts)
    index = torch.cat([F.pad(one, (0, most - len(one)), value=int(one[0])) for one in rows])
    real_G = torch.tensor(counts, device=index.device)
    return index, (torch.arange(most, device=index.device) < real_G[:, None])[:, None, None]


def _rows_by_segment(segment_N: Tensor) -> dict[int, Tensor]:
    segments, counts = segment_N.unique(return_counts=True)
    rows = torch.argsort(segment_N, stable=True).split(counts.tolist())
    return dict(zip(segments.tolist(), rows, strict=True))


def _is_range(index: Tensor) -> bool:
    return bool((index == torch.arange(len(index), device=index.device)).all())
