"""Solvers reach their order, guidance is what it says, and a sample doesn't know its neighbours."""

from dataclasses import replace

import pytest
import torch

from model.config import SOLVERS, FlowConfig, SampleConfig
from model.dit.tokens import Piece
from model.flow.conditions import KnownLatents
from model.flow.sampler import TokenTimes, VideoRequest, sample, seeded_noise, solve, time_grid
from tests.model.dit.test_dit import tiny

SHAPES = [(4, 1, 4, 4), (4, 3, 4, 6), (4, 2, 6, 4)]


def error_of(solver: str, steps: int) -> float:
    """Distance to the known end of dx/dt = x from x(1) = 1 back to t = 0, where it is 1/e."""
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:, None]
    end = solve(
        lambda x, t: x,
        torch.ones(1, 1, dtype=torch.float64),
        TokenTimes(grid, torch.zeros(1, dtype=torch.long)),
        solver,
    )
    return abs(end.item() - torch.exp(torch.tensor(-1.0, dtype=torch.float64)).item())


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(solver, order):
    ratio = error_of(solver, 64) / error_of(solver, 128)
    assert torch.log2(torch.tensor(ratio)).item() == pytest.approx(order, abs=0.05)


def test_a_straight_flow_is_solved_in_one_step():
    x0, noise = torch.randn(5, 3), torch.randn(5, 3)
    grid = torch.tensor([[1.0], [0.0]])
    torch.testing.assert_close(
        solve(lambda x, t: noise - x0, noise, TokenTimes(grid, torch.zeros(5, dtype=torch.long))), x0
    )


def test_each_sample_has_its_own_steps():
    grid = torch.tensor([[1.0, 1.0], [0.5, 0.9], [0.0, 0.0]])
    x = torch.tensor([[0.0], [0.0]])
    seen = []
    end = solve(lambda x, t: seen.append(t.tolist()) or t[:, None], x, TokenTimes(grid, torch.tensor([0, 1])))
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


def test_a_multistep_keeps_its_order_when_steps_differ_in_length():
    def error(steps: int) -> float:
        grid = (torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 1.5)[:, None]
        x = torch.ones(1, 1, dtype=torch.float64)
        end = solve(lambda x, t: x, x, TokenTimes(grid, torch.zeros(1, dtype=torch.long)), "multistep")
        return abs(end.item() - torch.exp(torch.tensor(-1.0, dtype=torch.float64)).item())

    assert torch.log2(torch.tensor(error(64) / error(128))).item() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_given_tokens_stay_and_are_no_part_of_the_history(solver):
    x, fixed = torch.tensor([[1.0], [5.0]], dtype=torch.float64), torch.tensor([False, True])
    grid, segment = torch.linspace(1, 0, 9, dtype=torch.float64)[:, None], torch.zeros(2, dtype=torch.long)

    def wild_on_what_is_given(x, t):
        assert x[1].item() == 5.0
        return torch.stack([x[0], x[1] + 1e6 * t])

    end = solve(wild_on_what_is_given, x, TokenTimes(grid, segment, fixed), solver)
    alone = solve(lambda x, t: x, x[:1], TokenTimes(grid, segment[:1]), solver)
    assert end[1].item() == 5.0
    assert end[0].item() == alone[0].item()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_does_not_depend_on_what_else_is_drawn(solver):
    dit, cfg, flow = tiny(), SampleConfig(steps=3, guidance=2.0, solver=solver), FlowConfig()
    texts = [torch.randn(n, 16, generator=torch.Generator().manual_seed(n)) for n in (2, 0, 4)]
    seen = []
    requests = [VideoRequest(*one, 12.0) for one in zip(SHAPES, texts, [5, 6, 7], strict=True)]
    together = sample(dit, requests, cfg, flow, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for i, shape in enumerate(SHAPES):
        (alone,) = sample(dit, [requests[i]], cfg, flow)
        assert alone.shape == shape
        torch.testing.assert_close(alone, together[i], atol=1e-4, rtol=0)
    (again,) = sample(dit, [replace(requests[0], seed=8)], cfg, flow)
    assert (again - together[0]).abs().max() > 0.1


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_what_is_given_reaches_its_own_sample_and_no_other():
    dit, cfg, flow = tiny(), SampleConfig(steps=3, guidance=2.0, visual_guidance=1.5), FlowConfig()
    texts = [latents(3, 16)] * 3
    known = [
        KnownLatents(),
        KnownLatents(head_CTHW=latents(4, 1, 4, 6)),
        KnownLatents(pieces=[Piece(latents(4, 1, 6, 4), 1 / 3)]),
    ]
    plain_requests = [VideoRequest(*one, 12.0) for one in zip(SHAPES, texts, [5, 6, 7], strict=True)]
    requests = [replace(one, known=given) for one, given in zip(plain_requests, known, strict=True)]
    made, plain = sample(dit, requests, cfg, flow), sample(dit, plain_requests, cfg, flow)
    torch.testing.assert_close(made[0], plain[0], atol=1e-4, rtol=0)
    assert torch.equal(made[1][:, :1], known[1].head_CTHW)
    assert (made[1][:, 1:] - plain[1][:, 1:]).abs().max() > 1e-2
    assert (made[2] - plain[2]).abs().max() > 1e-2
    for i in (1, 2):
        (alone,) = sample(dit, [requests[i]], cfg, flow)
        torch.testing.assert_close(alone, made[i], atol=1e-4, rtol=0)


def test_noise_on_what_is_given_is_told_and_the_head_comes_back_clean():
    dit, flow, known = tiny(), FlowConfig(), KnownLatents(head_CTHW=latents(4, 1, 4, 6))

    def drawn(noise: float) -> torch.Tensor:
        cfg = SampleConfig(steps=2, guidance=1.0, known_noise=noise)
        return sample(dit, [VideoRequest(SHAPES[1], latents(3, 16), 6, 12.0, known)], cfg, flow)[0]

    assert torch.equal(drawn(0.2)[:, :1], known.head_CTHW)
    assert (drawn(0.2) - drawn(0.0)).abs().max() > 1e-3


def test_heads_and_pieces_that_do_not_fit_are_refused():
    def drawn(known: KnownLatents) -> None:
        request = VideoRequest(SHAPES[1], latents(3, 16), 6, 12.0, known)
        sample(tiny(), [request], SampleConfig(steps=1), FlowConfig())

    with pytest.raises(ValueError, match=r"head of latents \(4, 1, 4, 4\)"):
        drawn(KnownLatents(head_CTHW=latents(4, 1, 4, 4)))
    with pytest.raises(ValueError, match="head of 4 latent frames was given for a video of 3"):
        drawn(KnownLatents(head_CTHW=latents(4, 4, 4, 6)))
    with pytest.raises(ValueError, match="piece of 4 channels and 4×4 latents"):
        drawn(KnownLatents(pieces=[Piece(latents(4, 1, 4, 4), 0.1)]))


def test_noise_follows_from_its_seed_alone():
    before = torch.get_rng_state()
    assert torch.equal(seeded_noise((2, 3), 1), seeded_noise((2, 3), 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_solvers_are_refused():
    times = TokenTimes(torch.ones(2, 1), torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        solve(lambda x, t: x, torch.ones(1, 1), times, "huen")
