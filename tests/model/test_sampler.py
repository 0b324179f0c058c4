"""Solvers reach their order, guidance is what it says, and a sample doesn't know its neighbours."""

import pytest
import torch

from model.config import FlowConfig, SampleConfig
from model.sampler import guided_velocity, sample, seeded_noise, solve, time_grid
from model.tokens import pack
from tests.model.test_dit import made, tiny

SHAPES = [(4, 1, 4, 4), (4, 3, 4, 6), (4, 2, 6, 4)]


def error_of(solver: str, steps: int) -> float:
    """Distance to the known end of dx/dt = x from x(1) = 1 back to t = 0, where it is 1/e."""
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:, None]
    end = solve(lambda x, t: x, torch.ones(1, 1, dtype=torch.float64), grid, torch.zeros(1, dtype=torch.long), solver)
    return abs(end.item() - torch.exp(torch.tensor(-1.0, dtype=torch.float64)).item())


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(solver, order):
    ratio = error_of(solver, 64) / error_of(solver, 128)
    assert torch.log2(torch.tensor(ratio)).item() == pytest.approx(order, abs=0.05)


def test_a_straight_flow_is_solved_in_one_step():
    x0, noise = torch.randn(5, 3), torch.randn(5, 3)
    grid = torch.tensor([[1.0], [0.0]])
    torch.testing.assert_close(solve(lambda x, t: noise - x0, noise, grid, torch.zeros(5, dtype=torch.long)), x0)


def test_each_sample_has_its_own_steps():
    grid = torch.tensor([[1.0, 1.0], [0.5, 0.9], [0.0, 0.0]])
    x = torch.tensor([[0.0], [0.0]])
    seen = []
    end = solve(lambda x, t: seen.append(t.tolist()) or t[:, None], x, grid, torch.tensor([0, 1]))
    torch.testing.assert_close(end, torch.tensor([[-0.5 - 0.25], [-0.1 - 0.81]]))
    assert seen[0] == [1.0, 1.0]


def test_the_grid_runs_from_noise_to_data_and_is_shifted_by_size():
    grid = time_grid(4, SHAPES, (1, 2, 2), FlowConfig())
    assert grid.shape == (5, 3)
    torch.testing.assert_close(grid[0], torch.ones(3))
    assert not grid[-1].any()
    assert (grid.diff(dim=0) < 0).all()
    torch.testing.assert_close(grid[:, 0], torch.linspace(1, 0, 5))
    assert (grid[1:-1, 1] > grid[1:-1, 0]).all()  # three latent frames are kept noisier than one


def test_guidance_algebra():
    dit, samples = tiny(), made(*[shape[1:] for shape in SHAPES])
    x, times = pack(samples).tokens_ND, torch.tensor([0.2, 0.5, 0.9])
    with torch.no_grad():
        null, text, three = (guided_velocity(dit, samples, w, 4)(x, times) for w in (0.0, 1.0, 3.0))
        nearly_one = guided_velocity(dit, samples, 1.0 + 1e-7, 4)(x, times)
        conditional = dit(**pack(samples).inputs(times))
    assert (text - null).abs().max() > 1e-3
    torch.testing.assert_close(text, conditional, atol=0, rtol=0)
    torch.testing.assert_close(nearly_one, text, atol=1e-4, rtol=0)
    torch.testing.assert_close(three, null + 3 * (text - null), atol=1e-4, rtol=0)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_sample_does_not_depend_on_what_else_is_drawn(solver):
    dit, cfg, flow = tiny(), SampleConfig(steps=3, guidance=2.0, solver=solver), FlowConfig()
    texts = [torch.randn(n, 16, generator=torch.Generator().manual_seed(n)) for n in (2, 0, 4)]
    seen = []
    together = sample(
        dit, SHAPES, texts, cfg, flow, seeds=[5, 6, 7], fps=12.0, progress=lambda *step: seen.append(step)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for i, shape in enumerate(SHAPES):
        (alone,) = sample(dit, [shape], [texts[i]], cfg, flow, seeds=[5 + i], fps=[12.0])
        assert alone.shape == shape
        torch.testing.assert_close(alone, together[i], atol=1e-4, rtol=0)
    (again,) = sample(dit, SHAPES[:1], texts[:1], cfg, flow, seeds=[8], fps=12.0)
    assert (again - together[0]).abs().max() > 0.1


def test_noise_follows_from_its_seed_alone():
    before = torch.get_rng_state()
    assert torch.equal(seeded_noise((2, 3), 1), seeded_noise((2, 3), 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_lists_and_solvers_are_refused():
    with pytest.raises(ValueError, match="3 shapes, 0 texts, 1 seeds"):
        sample(tiny(), SHAPES, [], SampleConfig(), FlowConfig(), [1], 12.0)
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        solve(lambda x, t: x, torch.ones(1, 1), torch.ones(2, 1), torch.zeros(1, dtype=torch.long), "huen")
