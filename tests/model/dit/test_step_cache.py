"""The cache skips what hardly changes, computes what does, and is exact when it is off."""

import pytest
import torch

from model.config import FlowConfig, SampleConfig
from model.dit.step_cache import StepCache
from model.flow.sampler import VideoRequest, sample
from tests.model.dit.test_dit import tiny


def test_changes_add_up_until_a_step_is_computed():
    cache, ran = StepCache(0.25), []
    # changes of a tenth: two may be skipped, the third is one too many
    for value in (1.0, 1.1, 1.2, 1.3, 1.31):
        cache.remaining_residual(
            torch.full((3, 2), value), lambda value=value: ran.append(value) or torch.zeros(3, 2)
        )
    assert ran == [1.0, 1.3]
    assert (cache.computed, cache.skipped) == (2, 3)


def test_another_row_is_computed():
    cache = StepCache(10.0)
    assert cache.remaining_residual(torch.ones(3, 2), lambda: torch.ones(3, 2)).shape == (3, 2)
    assert cache.remaining_residual(torch.ones(5, 2), lambda: torch.ones(5, 2)).shape == (5, 2)


def drawn(threshold: float, dit: torch.nn.Module) -> torch.Tensor:
    cfg = SampleConfig(steps=40, guidance=2.0, cache=threshold)
    request = VideoRequest((4, 2, 4, 4), torch.ones(3, 16), 1, 12.0)
    return sample(dit, [request], cfg, FlowConfig())[0]


def test_a_cache_that_skips_nothing_changes_nothing_and_one_that_skips_saves_blocks():
    dit, calls = tiny(), []
    dit.blocks[1].register_forward_hook(lambda *_: calls.append(1))
    exact = drawn(0.0, dit)
    assert len(calls) == 40
    torch.testing.assert_close(drawn(1e-9, dit), exact, atol=1e-4, rtol=0)
    assert len(calls) == 80
    near = drawn(0.8, dit)
    assert 80 < len(calls) < 120
    assert 0 < (near - exact).norm() / exact.norm() < 0.3


def test_a_threshold_below_zero_is_refused_where_it_is_configured():
    from jobs.cli.compose import ConfigError, compose
    from jobs.cli.registry import job_named

    with pytest.raises(ConfigError, match="cache"):
        compose(job_named("train"), ["dataset=d", "out=o", "sample.cache=-1"])
