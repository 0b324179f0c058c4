"""Both sides of the comparison do the same work, or the ratio means nothing."""

import pytest
import torch

from benchmarks.dit import matrix_peak
from benchmarks.peers.dit_peer import OURS, THEIRS, Pair, Step

SMALL = Pair(width=48, depth=2, heads=2, ffn_width=96, text_dim=32, text_tokens=5, latents_THW=(2, 4, 4))


@pytest.mark.parametrize("side", [*OURS, *THEIRS])
def test_every_way_runs_and_all_need_the_same_products(side):
    step = Step(*side.split(" ", 1), SMALL, "cpu")
    assert step() > 0
    gradients = [p.grad for p in step.network.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    theirs = Step("theirs", "fp32", SMALL, "cpu")
    assert Step("ours", "fp32", SMALL, "cpu").gflop() == pytest.approx(theirs.gflop(), rel=0.02)
    sizes = [sum(p.numel() for p in one.network.parameters()) for one in (step, theirs)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_a_peak_is_a_rate():
    assert 0.01 < matrix_peak(torch.float32, side=128, turns=2) < 1e6
