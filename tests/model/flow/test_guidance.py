"""Guidance is what its formula says, for every sample on its own."""

from dataclasses import replace

import pytest
import torch

from model.config import SampleConfig
from model.dit.tokens import Piece, pack
from model.flow.guidance import GuidedVelocity, branch_weights
from model.flow.path import add_noise
from tests.model.dit.test_dit import made, tiny

TIMES = torch.tensor([0.2, 0.5, 0.9])
SAMPLES = made((1, 4, 4), (3, 4, 6), (2, 6, 4))
SAMPLES[1] = replace(SAMPLES[1], head=1)
SAMPLES[2] = replace(SAMPLES[2], pieces=[Piece(torch.ones(4, 1, 6, 4), 0.4)])
VIDEO = pack([replace(s, pieces=()) for s in SAMPLES])
NOISE = torch.randn(VIDEO.tokens_ND.shape, generator=torch.Generator().manual_seed(3))


def renoised(t_N1: torch.Tensor) -> torch.Tensor:
    return add_noise(VIDEO.tokens_ND, NOISE, t_N1)


@torch.no_grad()
def guided(**settings: object) -> torch.Tensor:
    velocity = GuidedVelocity(tiny(), SAMPLES, SampleConfig(**settings), 4, renoised)
    return velocity(VIDEO.tokens_ND, TIMES)


@torch.no_grad()
def answer(text: bool, visual: bool) -> torch.Tensor:
    """The network's answer, asked for plainly."""
    samples = SAMPLES if text else [replace(s, text_LE=s.text_LE[:0]) for s in SAMPLES]
    samples = samples if visual else [replace(s, head=0, pieces=()) for s in samples]
    packed = pack(samples)
    tokens = packed.tokens_ND.clone()
    if not visual:
        tokens = torch.where(VIDEO.known_N[:, None], renoised(TIMES[VIDEO.segment_N, None]), tokens)
    return tiny()(**{**packed.model_inputs(packed.times(TIMES)), "tokens_ND": tokens})[~packed.piece_N]


ALL, VISUAL, NONE = answer(True, True), answer(False, True), answer(False, False)


@pytest.mark.parametrize(
    ("text", "visual"), [(1.0, 1.0), (3.0, 1.0), (3.0, 2.0), (0.0, 1.0), (0.0, 0.0), (1.0, 2.5)]
)
def test_guidance_algebra(text, visual):
    expected = NONE + visual * (VISUAL - NONE) + text * (ALL - VISUAL)
    first = VIDEO.segment_N == 0  # nothing is given of it: no frames to be guided by
    expected[first] = (NONE + text * (ALL - NONE))[first]
    torch.testing.assert_close(guided(guidance=text, visual_guidance=visual), expected, atol=1e-4, rtol=0)


def test_the_three_answers_differ():
    later = VIDEO.segment_N > 0
    for a, b in ((ALL, VISUAL), (VISUAL, NONE)):
        assert (a - b)[later].abs().max() > 1e-3


def test_weights_add_up_to_one():
    for has_visual in (True, False):
        assert sum(branch_weights(4.0, 2.5, has_visual)) == pytest.approx(1.0)
    assert branch_weights(4.0, 2.5, False) == (4.0, 0.0, -3.0)


def test_outside_the_interval_nothing_guides():
    got = guided(guidance=3.0, guidance_interval=[0.4, 0.8])
    everywhere = guided(guidance=3.0)
    inside = VIDEO.segment_N == 1  # at time 0.5
    torch.testing.assert_close(got[inside], everywhere[inside], atol=1e-4, rtol=0)
    torch.testing.assert_close(got[~inside], ALL[~inside], atol=1e-4, rtol=0)


def test_rescaling_brings_back_the_spread_of_the_answer_with_everything():
    free = ~VIDEO.known_N
    for segment in range(3):
        tokens = free & (VIDEO.segment_N == segment)
        spread = [
            guided(guidance=5.0, guidance_rescale=share)[tokens].std(correction=0).item()
            for share in (0.0, 0.5, 1.0)
        ]
        assert spread[2] == pytest.approx(ALL[tokens].std(correction=0).item(), rel=1e-3)
        assert spread[1] == pytest.approx((spread[0] + spread[2]) / 2, rel=1e-3)
