"""Backward passes that are written by hand give what autograd gives, and the formulas are what they say."""

import pytest
import torch
import torch.nn.functional as F

from model.dit.norms import EPS, gated_add, modulated_norm, qk_norm
from model.dit.rope import rope_table, rotate


def rows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def same_values_and_gradients(ours, plain, *inputs: torch.Tensor, atol: float = 1e-5) -> None:
    made, expected = ours(*inputs), plain(*inputs)
    torch.testing.assert_close(made, expected, atol=atol, rtol=1e-4, check_dtype=False)
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(9))
    got = torch.autograd.grad((made.float() * weights).sum(), inputs)
    wanted = torch.autograd.grad((expected.float() * weights).sum(), inputs)
    for a, b in zip(got, wanted, strict=True):
        assert b.any()
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-3)


@pytest.mark.parametrize("times", [1, 3])
def test_modulated_norm(times):
    index = torch.arange(12) % times
    same_values_and_gradients(
        lambda x, shift, scale: modulated_norm(x, shift, scale, index, torch.float32),
        lambda x, shift, scale: F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale[index]) + shift[index],
        rows(12, 16),
        rows(times, 16, seed=1),
        rows(times, 16, seed=2),
    )
    out = modulated_norm(rows(12, 16), rows(times, 16), rows(times, 16), index, torch.bfloat16)
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("times", [1, 3])
def test_gated_add(times):
    index = torch.arange(12) % times
    inputs = rows(12, 16), rows(times, 16, seed=1), rows(12, 16, seed=2)
    same_values_and_gradients(
        lambda x, gate, y: gated_add(x, gate, index, y), lambda x, gate, y: x + gate[index] * y, *inputs
    )
    assert gated_add(inputs[0], inputs[1], index, inputs[2].bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("turned", [False, True])
def test_head_norm(turned):
    rope = rope_table(torch.rand(10, 3) * 20, 12, 6.0, 10000.0) if turned else None

    def plain(x, weight):
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight
        return rotate(y, rope) if turned else y

    same_values_and_gradients(
        lambda x, weight: qk_norm(x, weight, rope), plain, rows(10, 3, 12), rows(12, seed=1)
    )


def test_a_head_is_normalised_whatever_its_size_and_keeps_its_dtype():
    x = (rows(5, 2, 8) * 1e3).bfloat16()
    out = qk_norm(x, torch.ones(8))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float().square().mean(-1), torch.ones(5, 2), atol=0.02, rtol=0)
    torch.testing.assert_close(qk_norm(x * 8, torch.ones(8)), out)


def test_tokens_of_a_time_are_added_up_the_same_way_every_time():
    index = torch.randint(0, 3, (500,), generator=torch.Generator().manual_seed(0))
    runs = []
    for _ in range(3):
        x, shift, scale = rows(500, 16), rows(3, 16, seed=1), rows(3, 16, seed=2)
        modulated_norm(x, shift, scale, index, torch.float32).square().sum().backward()
        runs.append(torch.cat([shift.grad, scale.grad]))
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])
