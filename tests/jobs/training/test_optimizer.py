"""The optimiser's moving average and the learning rate, by hand."""

import math

import pytest
import torch

from jobs.training.config import OptimConfig
from jobs.training.optimizer import EMA, AdamWEma, learning_rate


def test_the_average_follows_the_weights_as_written_down():
    p = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = AdamWEma([p], ema_decay=0.5, lr=0.1)
    expected = None
    for k in range(1, 5):
        p.grad = torch.tensor([1.0])
        before = p.item()
        optimizer.step()
        assert p.item() < before
        decay = min(0.5, (1 + k) / (10 + k))
        expected = p.item() if expected is None else decay * expected + (1 - decay) * p.item()
        assert optimizer.state[p][EMA].item() == pytest.approx(expected)


def test_the_learning_rate_by_hand():
    cfg = OptimConfig(lr=1.0, warmup_steps=4, schedule="cosine", final_lr_share=0.1)
    assert [learning_rate(s, 104, cfg) for s in (0, 1, 3)] == [0.25, 0.5, 1.0]
    assert learning_rate(4, 104, cfg) == pytest.approx(1.0)
    assert learning_rate(54, 104, cfg) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert learning_rate(104, 104, cfg) == pytest.approx(0.1)
    assert learning_rate(1000, 104, OptimConfig(lr=1.0, warmup_steps=4, schedule="constant")) == 1.0
