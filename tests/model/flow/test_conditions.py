"""What is given in training is what can be given later, and something is always left to be made."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import TASKS, ConditionConfig, vae_config
from model.dit.tokens import Piece, Sample, pack
from model.flow.conditions import ConditionPlan, draw_condition_plan, drop_text, plan_pieces
from model.vae.pixels import encode_frames, to_tensor
from tests.model.vae.deep_vae import deep_vae


def drawn(
    latent_frames: int, cfg: ConditionConfig, seed: int, tails=(1, 5, 9), keyframes=True
) -> ConditionPlan:
    stretches = plan_pieces(4 * (latent_frames - 1) + 1, tails, keyframes)
    return draw_condition_plan(latent_frames, stretches, cfg, torch.Generator().manual_seed(seed))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 9), st.sampled_from(TASKS), st.integers(0, 10_000))
def test_every_plan_leaves_frames_to_be_made_and_gives_what_its_task_says(latent_frames, task, seed):
    plan = drawn(latent_frames, ConditionConfig(mix={task: 1.0}, drop=0.0), seed)
    num_frames = 4 * (latent_frames - 1) + 1
    assert plan.task in (task, "text")
    assert 0 <= plan.head < latent_frames
    head_frames = 4 * (plan.head - 1) + 1 if plan.head else 0
    for first, length in plan.pieces:
        assert length % 4 == 1
        assert head_frames < first, "at least one frame lies between what is given"
        assert first + length <= num_frames
    ends = [first + length == num_frames for first, length in plan.pieces]
    match plan.task:
        case "text" | "independent":
            assert (plan.head, plan.pieces, plan.known_t) == (0, (), 0.0)
            assert plan.independent == (plan.task == "independent")
        case "first_frame":
            assert (plan.head, ends) == (1, [])
        case "first":
            assert (plan.head > 0, ends) == (True, [])
        case "last":
            assert (plan.head, ends) == (0, [True])
        case "both_ends":
            assert (plan.head > 0, ends) == (True, [True])
        case "interior":
            assert plan.head == 0
            assert ends
            assert not any(ends)
    if latent_frames > 2:
        assert plan.task == task, "a window long enough for a task gets it"


def test_the_mix_is_kept_and_conditions_are_dropped_by_their_share():
    cfg = ConditionConfig()
    tasks = [drawn(5, cfg, seed).task for seed in range(4000)]
    for task, weight in cfg.mix.items():
        share = tasks.count(task) / len(tasks)
        dropped = cfg.drop * (1 - cfg.mix["text"] - cfg.mix["independent"])
        expected = {"text": weight + dropped, "independent": weight}.get(task, weight * (1 - cfg.drop))
        assert share == pytest.approx(expected, abs=0.025), task


def test_half_of_what_is_given_is_clean_and_the_rest_has_noise_that_is_told():
    known = [
        drawn(5, ConditionConfig(mix={"first_frame": 1.0}, drop=0.0), seed).known_t for seed in range(2000)
    ]
    noisy = [t for t in known if t > 0]
    assert len(noisy) / len(known) == pytest.approx(0.5, abs=0.05)
    assert max(noisy) < 0.2
    assert np.mean(noisy) == pytest.approx(0.1, abs=0.01)


def test_draws_after_a_plan_do_not_depend_on_it():
    after = set()
    for task in TASKS:
        generator = torch.Generator().manual_seed(4)
        draw_condition_plan(5, plan_pieces(17, (1, 5), True), ConditionConfig(mix={task: 1.0}), generator)
        after.add(float(torch.rand((), generator=generator)))
    assert len(after) == 1


def test_text_and_frames_are_dropped_independently():
    both = []
    for seed in range(3000):
        generator = torch.Generator().manual_seed(seed)
        text = drop_text(torch.ones(2, 3), 0.3, generator)
        plan = draw_condition_plan(5, [], ConditionConfig(mix={"first_frame": 1.0}, drop=0.4), generator)
        both.append((len(text) == 0, plan.task == "text"))
    text, visual = np.array(both).T
    assert text.mean() == pytest.approx(0.3, abs=0.03)
    assert visual.mean() == pytest.approx(0.4, abs=0.03)
    assert (text & visual).mean() == pytest.approx(0.12, abs=0.02)


def test_stretches_of_a_window():
    assert plan_pieces(17, (1, 5, 9, 17), keyframes=False) == [(16, 1), (12, 5), (8, 9)]
    assert plan_pieces(9, (1, 5), keyframes=True) == [(8, 1), (4, 5), (4, 1)]
    assert plan_pieces(5, (1, 5), keyframes=True) == [(4, 1)]
    assert plan_pieces(1, (1, 5), keyframes=True) == []


def test_a_task_that_is_not_known_and_an_empty_mix_are_refused():
    with pytest.raises(ValueError, match="did you mean 'first_frame'"):
        ConditionConfig(mix={"first_frames": 1.0})
    with pytest.raises(ValueError, match="no task with a weight"):
        ConditionConfig(mix={"text": 0.0})
    with pytest.raises(ValueError, match="negative"):
        ConditionConfig(mix={"text": -1.0, "last": 1.0})


def moving(frames: int) -> np.ndarray:
    """A bright square that crosses a noisy picture, uint8 (T, 32, 48, 3)."""
    video = np.random.default_rng(0).integers(0, 90, (frames, 32, 48, 3), dtype=np.uint8)
    for i in range(frames):
        video[i, 8:20, 2 * i : 2 * i + 10] = 230
    return video


def test_the_leak_that_pieces_close():
    """A tail cut out of the whole's latents is not the tail encoded alone: it remembers frames that nobody
    gives later."""
    vae, frames = deep_vae(vae_config("tiny", base_channels=16)), moving(17)
    with torch.no_grad():
        whole = vae.normalise(vae.encode(to_tensor(frames[None])).mean)[0]
    cut, alone = whole[:, 3:], encode_frames(vae, frames[12:]).float()
    assert (cut[:, 0] - alone[:, 0]).abs().max() > 0.1, "the leak: or this test proves nothing"
    for head in (1, 2, 3):  # a causal head has no such memory: in place it is what it is alone
        there = encode_frames(vae, frames[: 4 * head - 3]).float()
        torch.testing.assert_close(whole[:, :head], there, atol=2e-3, rtol=2e-3)
    other_past = frames.copy()
    other_past[:12] = 0
    assert torch.equal(encode_frames(vae, other_past[12:]).float(), alone)


def test_pieces_are_known_tokens_at_their_true_time_and_no_part_of_what_is_made():
    tail = Piece(torch.ones(4, 2, 4, 4), start_s=12 / 12)
    packed = pack([Sample(torch.zeros(4, 5, 4, 4), 12.0, torch.ones(1, 8), head=2, pieces=[tail]),
        Sample(torch.zeros(4, 1, 4, 4), 12.0, torch.ones(1, 8))])  # fmt: skip
    frame = 4
    assert (
        packed.known_N.tolist()
        == [True] * 2 * frame + [False] * 3 * frame + [True] * 2 * frame + [False] * frame
    )
    assert packed.piece_N.tolist() == [False] * 5 * frame + [True] * 2 * frame + [False] * frame
    seconds = packed.positions_N3[:, 0]
    torch.testing.assert_close(seconds[packed.piece_N][::frame], torch.tensor([1.0, 16 / 12]))
    torch.testing.assert_close(seconds[: 5 * frame][::frame], torch.arange(5) * 4 / 12)
    assert packed.time_index_N.unique().tolist() == [0, 1, 2]
    assert torch.equal(packed.times(torch.tensor([0.7, 0.8]), 0.1), torch.tensor([0.7, 0.8, 0.1, 0.1]))
    assert [tuple(z.shape) for z in packed.unpack(packed.tokens_ND)] == [(4, 5, 4, 4), (4, 1, 4, 4)]


def test_every_latent_frame_may_have_a_time():
    sample = Sample(
        torch.zeros(4, 3, 4, 4), 12.0, torch.ones(1, 8), pieces=[Piece(torch.ones(4, 1, 4, 4), 0.5)]
    )
    packed, times = pack([sample]).with_frame_times([torch.tensor([0.9, 0.1, 0.5])], [0.2])
    torch.testing.assert_close(times, torch.tensor([0.1, 0.2, 0.5, 0.9]))
    assert times[packed.time_index_N][::4].tolist() == pytest.approx([0.9, 0.1, 0.5, 0.2])
