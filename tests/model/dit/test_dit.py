"""One network for videos of all shapes: what else is in the batch, and in which order, changes nothing."""

from dataclasses import replace

import pytest
import torch

from model.config import dit_config
from model.dit.network import DiT
from model.dit.tokens import Sample, pack
from model.flow.path import add_noise, flow_loss, token_weights, velocity


def tiny(**overrides) -> DiT:
    """An untrained DiT with all zero-initialised parts opened, so that everything that is put in comes
    out."""
    dit = DiT(
        dit_config(
            "tiny", **{"width": 48, "depth": 2, "heads": 2, "latent_channels": 4, "text_dim": 16, **overrides}
        )
    )
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in dit.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2, generator=generator)
    return dit.eval()


def made(*shapes: tuple[int, int, int], texts: tuple[int, ...] = (), fps: float = 12.0) -> list[Sample]:
    g = torch.Generator().manual_seed(0)
    lengths = texts or [3] * len(shapes)
    return [
        Sample(
            torch.randn(4, *shape, generator=g), fps, torch.randn(length, 16, generator=g), start_s=0.5 * i
        )
        for i, (shape, length) in enumerate(zip(shapes, lengths, strict=True))
    ]


MIXED = made((1, 4, 4), (3, 4, 6), (2, 6, 4), (3, 4, 6), texts=(3, 0, 5, 2))
TIMES = torch.tensor([0.1, 0.4, 0.7, 0.95])


def run(dit: DiT, samples: list[Sample], times: torch.Tensor) -> list[torch.Tensor]:
    packed = pack(samples)
    with torch.no_grad():
        return packed.unpack(dit(**packed.model_inputs(times)))


@pytest.mark.parametrize("ffn", ["gelu", "swiglu"])
def test_a_batch_of_different_shapes_is_each_alone(ffn):
    dit = tiny(ffn=ffn)
    together = run(dit, MIXED, TIMES)
    for sample, time, got in zip(MIXED, TIMES, together, strict=True):
        (alone,) = run(dit, [sample], time[None])
        assert alone.std() > 0.1
        torch.testing.assert_close(got, alone, atol=1e-5, rtol=0)


def test_dense_is_packed():
    dit, samples = tiny(), made((2, 4, 4), (2, 4, 4))
    stranger = made((1, 2, 2))
    dense = run(dit, samples, TIMES[:2])
    packed = run(dit, [*samples, *stranger], TIMES[:3])
    for a, b in zip(dense, packed, strict=False):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_segments_and_even_tokens_may_come_in_any_order():
    dit, packed = tiny(), pack(MIXED)
    order = torch.randperm(len(packed.tokens_ND), generator=torch.Generator().manual_seed(1))
    inputs = packed.model_inputs(TIMES)
    mixed = {name: value[order] if len(value) == len(order) else value for name, value in inputs.items()}
    with torch.no_grad():
        torch.testing.assert_close(dit(**mixed), dit(**inputs)[order], atol=1e-5, rtol=0)
    reversed_outputs = run(dit, MIXED[::-1], TIMES.flip(0))[::-1]
    for a, b in zip(reversed_outputs, run(dit, MIXED, TIMES), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_all_times_equal_is_one_time():
    dit, packed = tiny(), pack(MIXED)
    inputs = packed.model_inputs(torch.full((4,), 0.3))
    one = {**inputs, "times_K": torch.tensor([0.3]), "time_index_N": torch.zeros_like(packed.time_index_N)}
    with torch.no_grad():
        torch.testing.assert_close(dit(**inputs), dit(**one), atol=1e-5, rtol=0)


def test_each_token_may_have_its_own_time():
    dit, (sample,) = tiny(), made((2, 4, 4))
    packed = pack([sample])
    first_frame = torch.arange(8) < 4
    inputs = packed.model_inputs(torch.tensor([0.0, 0.8]))
    with torch.no_grad():
        split = dit(**{**inputs, "time_index_N": (~first_frame).long()})
        late = dit(**packed.model_inputs(torch.tensor([0.8])))
        swapped = dit(**{**inputs, "times_K": torch.tensor([0.8, 0.0]), "time_index_N": first_frame.long()})
    assert (split - late).abs().max() > 1e-3
    torch.testing.assert_close(split, swapped, atol=1e-5, rtol=0)


def test_time_is_in_seconds_and_only_differences_count():
    dit = tiny()
    (slow,) = run(dit, made((3, 4, 4), fps=12.0), TIMES[:1])
    twice_as_fast = replace(made((3, 4, 4))[0], fps=24.0)
    later = replace(made((3, 4, 4))[0], start_s=100.0)
    assert (run(dit, [twice_as_fast], TIMES[:1])[0] - slow).abs().max() > 1e-3
    torch.testing.assert_close(run(dit, [later], TIMES[:1])[0], slow, atol=1e-4, rtol=0)


def test_text_and_the_mark_of_known_tokens_reach_the_output():
    dit, (sample,) = tiny(), made((2, 4, 4))
    packed = pack([sample])
    plain = run(dit, [sample], TIMES[:1])[0]
    other = replace(sample, text_LE=sample.text_LE + 1)
    assert (run(dit, [other], TIMES[:1])[0] - plain).abs().max() > 1e-3
    with torch.no_grad():
        marked = dit(**{**packed.model_inputs(TIMES[:1]), "known_N": torch.arange(8) < 4})
    assert (packed.unpack(marked)[0] - plain).abs().max() > 1e-3


def test_without_text_only_the_null_token_speaks():
    dit, (sample,) = tiny(), made((2, 4, 4), texts=(0,))
    before = run(dit, [sample], TIMES[:1])[0]
    with torch.no_grad():
        dit.condition.text_leave.bias += torch.linspace(-1, 1, dit.cfg.width)
    torch.testing.assert_close(run(dit, [sample], TIMES[:1])[0], before, atol=0, rtol=0)
    with torch.no_grad():
        dit.condition.null_D += torch.linspace(-1, 1, dit.cfg.width)
    assert (run(dit, [sample], TIMES[:1])[0] - before).abs().max() > 1e-3


def test_it_starts_at_zero_and_its_weights_follow_from_the_seed():
    cfg = dit_config("tiny", width=48, depth=1, heads=2)
    before = torch.get_rng_state()
    a, b, c = DiT(cfg, seed=1), DiT(cfg, seed=1), DiT(cfg, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    packed = pack([Sample(torch.ones(8, 1, 4, 4), 12.0, torch.ones(2, 384))])
    assert not a(**packed.model_inputs(torch.tensor([0.5]))).any()
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.enter.weight, c.enter.weight)


def test_bf16_weights_and_autocast_agree_with_fp32():
    dit = tiny()
    full = torch.cat([v.flatten() for v in run(dit, MIXED, TIMES)])
    with torch.autocast("cpu", torch.bfloat16):
        auto = torch.cat([v.flatten() for v in run(dit, MIXED, TIMES)])
    half = torch.cat([v.flatten() for v in run(dit.bfloat16(), MIXED, TIMES)])
    for approximate in (auto, half):
        assert approximate.dtype == torch.float32
        assert (approximate - full).norm() / full.norm() < 0.03


def test_every_parameter_learns():
    dit, packed = tiny().train(), pack(MIXED)
    v = dit(**{**packed.model_inputs(TIMES), "known_N": packed.segment_N == 0})
    v.square().mean().backward()
    assert [name for name, p in dit.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_tiny_dit_overfits_one_sample():
    dit = DiT(dit_config("tiny", width=64, depth=2, heads=2, latent_channels=4, text_dim=16))
    (sample,) = made((2, 4, 4))
    clean, g = pack([sample]), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(dit.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        packed, t = pack([sample] * 8), torch.rand(8, generator=g)
        x0 = clean.tokens_ND.repeat(8, 1)
        noise = torch.randn(x0.shape, generator=g)
        packed.tokens_ND = add_noise(x0, noise, t[packed.segment_N, None])
        loss = flow_loss(dit(**packed.model_inputs(t)), velocity(x0, noise), token_weights(packed.segment_N))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < losses[0] / 3
