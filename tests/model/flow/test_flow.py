"""The path, its loss and its times against values worked out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import FlowConfig
from model.flow.path import (
    add_noise,
    flow_loss,
    sample_times,
    segment_means,
    shift_alpha,
    shift_time,
    shift_times,
    token_weights,
    velocity,
)


def test_path_and_velocity_by_hand():
    x0, noise = torch.tensor([2.0, -1.0]), torch.tensor([0.0, 3.0])
    assert add_noise(x0, noise, 0.25).tolist() == [1.5, 0.0]
    assert velocity(x0, noise).tolist() == [-2.0, 4.0]
    t, dt = 0.3, 0.4
    torch.testing.assert_close(
        add_noise(x0, noise, t) + dt * velocity(x0, noise), add_noise(x0, noise, t + dt)
    )
    assert torch.equal(add_noise(x0, noise, 0.0), x0)
    assert torch.equal(add_noise(x0, noise, 1.0), noise)


def test_shift_by_hand():
    cfg = FlowConfig()
    assert shift_alpha(256, 1, cfg) == 1.0
    assert shift_alpha(4096, 1, cfg) == 3.0
    assert shift_alpha(2176, 1, cfg) == 2.0
    assert shift_alpha(2176, 4, cfg) == 4.0  # × √4
    assert shift_alpha(16, 1, cfg) == 1.0  # small videos are not shifted towards data
    assert shift_alpha(65536, 100, cfg) == cfg.alpha_max
    t = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(shift_time(t, 4096, 1, cfg), torch.tensor([0.0, 0.75, 1.0]))
    shapes = [(8, 1, 128, 128), (8, 4, 8, 8)]
    torch.testing.assert_close(
        shift_times(torch.tensor([0.5, 0.5]), shapes, (1, 2, 2), cfg), torch.tensor([0.75, 2 / 3])
    )


@given(st.integers(1, 20000), st.integers(1, 64), st.floats(0, 1))
def test_shift_stays_in_range_and_never_moves_towards_data(tokens, frames, t):
    shifted = shift_time(torch.tensor(t, dtype=torch.float64), tokens, frames, FlowConfig()).item()
    assert t - 1e-9 <= shifted <= 1 + 1e-9


def test_loss_by_hand_per_token_and_per_sample():
    segment = torch.tensor([0, 0, 0, 1])
    pred = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 2.0], [3.0, 0.0]], dtype=torch.bfloat16)
    target = torch.zeros(4, 2)  # token errors 1, 0, 2, 4.5
    per_token, per_sample = token_weights(segment, "token"), token_weights(segment, "sample")
    assert flow_loss(pred, target, per_token).item() == pytest.approx(7.5 / 4)
    assert flow_loss(pred, target, per_sample).item() == pytest.approx((1.0 + 4.5) / 2)
    assert flow_loss(pred, target, per_token, total=10).item() == pytest.approx(0.75)
    known = torch.tensor([False, True, True, False])
    assert flow_loss(pred, target, token_weights(segment, "sample", known)).item() == pytest.approx(
        (1.0 + 4.5) / 2
    )
    assert flow_loss(pred, target, token_weights(segment, "token", known)).item() == pytest.approx(5.5 / 2)
    assert segment_means(torch.tensor([1.0, 0.0, 2.0, 4.5]), segment).tolist() == [1.0, 4.5]
    with pytest.raises(ValueError, match="per frame"):
        token_weights(segment, "per frame")


def test_two_micro_batches_weigh_as_one_when_they_share_the_total():
    g = torch.Generator().manual_seed(0)
    pred, target, segment = (
        torch.randn(7, 3, generator=g),
        torch.randn(7, 3, generator=g),
        torch.tensor([0, 0, 0, 0, 0, 1, 2]),
    )
    weights = token_weights(segment)
    parts = [
        flow_loss(pred[s], target[s], weights[s], total=weights.sum()) for s in (slice(0, 5), slice(5, 7))
    ]
    torch.testing.assert_close(sum(parts), flow_loss(pred, target, weights))


def test_times_are_logit_normal_with_a_uniform_share_and_follow_the_generator():
    def draw(n, **settings):
        return sample_times(n, FlowConfig(**settings), torch.Generator().manual_seed(3))

    t = draw(200_000)
    assert torch.equal(t, draw(200_000))
    assert 0 < t.min() < t.max() < 1
    # P(t < 0.1) = 0.9·Φ(logit 0.1) + 0.1·0.1 = 0.9·0.01399 + 0.01
    assert (t < 0.1).float().mean().item() == pytest.approx(0.02259, abs=0.002)
    assert draw(200_000, uniform_share=1.0).var().item() == pytest.approx(1 / 12, abs=0.002)
    logit = torch.logit(draw(200_000, uniform_share=0.0, logit_mean=0.5, logit_std=2.0).double())
    assert logit.mean().item() == pytest.approx(0.5, abs=0.02)
    assert logit.std().item() == pytest.approx(2.0, abs=0.02)
