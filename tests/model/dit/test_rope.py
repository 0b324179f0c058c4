"""RoPE depends on differences of positions, and its time is in seconds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.dit.rope import axis_split, rope_table, rotate
from model.dit.tokens import positions


def rotated(x: torch.Tensor, positions_N3: torch.Tensor) -> torch.Tensor:
    return rotate(x, rope_table(positions_N3, x.shape[-1], latent_rate_hz=6.0, theta=10000.0))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_split_of_a_head_is_even_and_complete():
    assert axis_split(128) == (44, 42, 42)
    for head_dim in range(6, 258, 2):
        split = axis_split(head_dim)
        assert sum(split) == head_dim
        assert all(part % 2 == 0 for part in split)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.floats(-600, 600), st.integers(-256, 256), st.integers(-256, 256)))
def test_moving_everything_changes_no_dot_product(offset):
    q, k = normal(7, 2, 32), normal(7, 2, 32, seed=1)
    at = torch.cat([normal(7, 1, seed=2) * 3, torch.arange(14.0).reshape(7, 2)], dim=1)
    moved = at.double() + torch.tensor(offset, dtype=torch.float64)
    here = torch.einsum("nhd,mhd->hnm", rotated(q, at), rotated(k, at))
    there = torch.einsum("nhd,mhd->hnm", rotated(q, moved), rotated(k, moved))
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)


def test_each_axis_matters_and_rotation_keeps_length():
    q = normal(1, 1, 32).expand(2, -1, -1)
    for axis in range(3):
        at = torch.zeros(2, 3)
        at[1, axis] = 1.0
        turned = rotated(q, at)
        assert (turned[0] - turned[1]).abs().max() > 0.1
        torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))


def test_a_quarter_turn_by_hand():
    # head size 6 has one pair per axis, channels (i, i + 3), at frequency 1; at 2π Hz a quarter second turns
    # a quarter
    table = rope_table(torch.tensor([[0.25, 0.0, 0.0]]), 6, latent_rate_hz=2 * torch.pi, theta=10000.0)
    turned = rotate(torch.tensor([[[1.0, 2.0, 3.0, 0.0, 5.0, 6.0]]]), table)
    torch.testing.assert_close(turned[0, 0], torch.tensor([0.0, 2.0, 3.0, 1.0, 5.0, 6.0]), atol=1e-6, rtol=0)


def test_the_same_motion_at_another_frame_rate_has_the_same_coordinates():
    slow = positions((2, 3, 2, 2), fps=12.0, start_s=0.0)
    fast = positions((2, 5, 2, 2), fps=24.0, start_s=0.0)
    torch.testing.assert_close(slow, fast[::2])
    later = positions((2, 1, 2, 2), fps=30.0, start_s=2 / 3)
    torch.testing.assert_close(later, slow[2:])  # frame 8 at 12 fps, encoded alone, stands at its own time
