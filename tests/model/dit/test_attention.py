"""Attention within segments: dense, packed and by definition are one thing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.dit import attention_kernels
from model.dit.attention import attend, make_layout
from model.dit.attention_blocks import attend_blocks
from model.dit.attention_kernels import attend_masked, attend_packed, kernel_for, set_attention_kernel

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
    texts = make_layout(
        equal, torch.tensor([0, 0, 1, 2, 2, 2])
    )  # as many queries, texts of different lengths: one batch, masked
    assert [(g.count, g.key_mask.sum().item()) for g in texts.groups] == [(3, 6)]
    mixed = torch.cat([equal, torch.tensor([3, 3, 4, 4])])
    assert [g.count for g in make_layout(mixed, mixed).groups] == [3, 2]


def test_keys_of_a_segment_without_queries_are_seen_by_nobody():
    check(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1, 2]))


def test_a_segment_without_keys_is_refused():
    with pytest.raises(ValueError, match="segment 1 has 2 queries but no keys"):
        make_layout(torch.tensor([0, 1, 1]), torch.tensor([0, 0]))


def gradients(attention, *inputs: torch.Tensor) -> list[torch.Tensor]:
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    out = attention(*inputs)
    return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (300, 300), (300, 5)])
def test_blocks_of_queries_are_attention(queries, keys):
    """In float64, where rounding can't hide a wrong formula, and in bfloat16, for which they are made."""
    g = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, n, 8, generator=g, dtype=torch.float64) for n in (queries, keys, keys)]
    exact = gradients(torch.nn.functional.scaled_dot_product_attention, *inputs)
    for a, b in zip(gradients(attend_blocks, *inputs), exact, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    for a, b in zip(gradients(attend_blocks, *(x.bfloat16() for x in inputs)), exact, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.double() - b).norm() / b.norm() < 0.02


def test_bfloat16_packs_attend_as_the_definition_says():
    segment = torch.tensor([0] * 5 + [1] * 9 + [2] * 5)
    q, k, v = rows(19, 0), rows(19, 1), rows(19, 2)
    got = attend(*(x.bfloat16() for x in (q, k, v)), make_layout(segment, segment))
    assert (got.float() - attend_masked(q, k, v, segment, segment)).norm() < 0.02 * got.float().norm()


def test_flex_attends_as_the_definition_says():
    segments = torch.tensor([1, 0, 0, 1, 2, 2, 2]), torch.tensor([2, 0, 1, 1, 0])
    q, k, v = rows(7, 0), rows(5, 1), rows(5, 2)
    kept = {}
    for _ in range(2):
        got = attend_packed("flex", q, k, v, segments, kept)
        torch.testing.assert_close(got, attend_masked(q, k, v, *segments), atol=1e-5, rtol=0)
    assert list(kept) == ["flex"]


@pytest.fixture
def kernel(monkeypatch):
    """Puts a kernel made of the definition in flex's place, whose own has no backward pass on a CPU, and asks
    for it."""

    def put(factor: float) -> None:
        kernels = {"flex": lambda q, k, v, segments: attend_masked(q, k, v, *segments) * factor}
        monkeypatch.setattr(attention_kernels, "KERNELS", kernels)
        monkeypatch.setattr(attention_kernels, "_PREPARE", {"flex": lambda *segments: segments})
        set_attention_kernel("flex")

    attention_kernels._fault.cache_clear()
    yield put
    attention_kernels._fault.cache_clear()
    set_attention_kernel("auto")


def test_a_kernel_that_was_asked_for_is_used_for_packs(kernel):
    kernel(1.0)
    segment = torch.tensor([0, 0, 1, 1, 1])
    layout = make_layout(segment, segment)
    q, k, v = rows(5, 0), rows(5, 1), rows(5, 2)
    got = attend(q, k, v, layout)
    assert "flex" in layout.kernel_cache
    torch.testing.assert_close(got, attend_masked(q, k, v, segment, segment), atol=1e-5, rtol=0)


def test_a_kernel_that_gives_wrong_values_is_found_out(kernel):
    kernel(1.05)
    with pytest.raises(RuntimeError, match="differs from the definition"):
        kernel_for(rows(5, 0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it can be used")
def test_a_kernel_that_this_machine_lacks_is_refused_and_auto_does_without():
    q = rows(5, 0)
    assert kernel_for(q) is None
    set_attention_kernel("flash")
    try:
        with pytest.raises(RuntimeError, match=r"attention=flash can't be used here: .*; attention=auto"):
            kernel_for(q)
    finally:
        set_attention_kernel("auto")
    with pytest.raises(ValueError, match="did you mean 'flash'"):
        set_attention_kernel("flesh")
