"""Attention within segments: dense, packed and by definition are one thing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attention import attend, attend_masked, make_layout

lengths = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=5)


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 2, 8, generator=torch.Generator().manual_seed(seed))


def check(query_segment: torch.Tensor, key_segment: torch.Tensor) -> None:
    q, k, v = rows(len(query_segment), 0), rows(len(key_segment), 1), rows(len(key_segment), 2)
    got = attend(q, k, v, make_layout(query_segment, key_segment))
    torch.testing.assert_close(got, attend_masked(q, k, v, query_segment, key_segment), atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(lengths, st.randoms(use_true_random=False))
def test_any_segments_in_any_order_attend_as_the_definition_says(sizes, random):
    queries = [i for i, (n, _) in enumerate(sizes) for _ in range(n)]
    keys = [i for i, (_, m) in enumerate(sizes) for _ in range(m)]
    check(torch.tensor(queries), torch.tensor(keys))
    random.shuffle(queries)
    random.shuffle(keys)
    check(torch.tensor(queries), torch.tensor(keys))
    check(torch.tensor(queries), torch.tensor(queries))


def test_equal_segments_are_one_dense_batch_and_unequal_ones_few():
    equal = torch.arange(3).repeat_interleave(4)
    assert [(g.count, g.query_index) for g in make_layout(equal, equal).groups] == [(3, None)]
    mixed = torch.cat([equal, torch.tensor([3, 3, 4, 4])])
    assert [g.count for g in make_layout(mixed, mixed).groups] == [3, 2]


def test_keys_of_a_segment_without_queries_are_seen_by_nobody():
    check(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1, 2]))


def test_a_segment_without_keys_is_refused():
    with pytest.raises(ValueError, match="segment 1 has 2 queries but no keys"):
        make_layout(torch.tensor([0, 1, 1]), torch.tensor([0, 0]))
