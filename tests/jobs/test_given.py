"""What is given at generation has the very latents that it had in training, from footage to network and not
in a unit's corner."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs.generation.pipeline import Pipeline, Size, VideoPrompt, read_facts
from jobs.training.config import TrainConfig
from jobs.training.dit_task import DitTask
from jobs.training.exports import find_export
from model.config import ConditionConfig, SampleConfig
from model.flow.conditions import ConditionFrames
from pipelines.batches.frames import FrameReader
from pipelines.batches.planner import MicroBatch
from pipelines.dataset.latents import open_latents
from pipelines.dataset.reader import open_dataset
from pipelines.storage.open_store import open_store


@pytest.fixture
def one_thread():
    """As encoders have it: over several, some processors' libraries add up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tiny_run):
    """The pipeline, the training task on its latents, and the longest training window with its frames."""
    dataset = str(tiny_run.out / "dataset")
    folder = find_export("pipeline", str(tiny_run.made("train")), "checkpoint")
    precision = open_latents(open_store(dataset), read_facts(folder)["latents"]).manifest["precision"]
    pipeline = Pipeline(folder, precision=precision)
    with torch.no_grad():  # six steps of training leave it nearly silent
        for number, parameter in enumerate(pipeline.dit.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    task = DitTask(TrainConfig(dataset=dataset, out="unused", size="tiny", latents=pipeline.facts["latents"]))
    item = max(task.items(), key=lambda item: item.shape[0])
    row = next(r for r in open_dataset(dataset).kept() if r["clip_id"] == item.clip_id)
    known = task.latents.rows[item.clip_id, item.window]
    reader = FrameReader(open_dataset(dataset), known.fps)
    frames = reader.window(row, round(known.start_s * known.fps), *item.shape)
    return pipeline, task, item, known, frames


def planned(task: DitTask, mix: str, item) -> object:
    """The first sample of a window that draws this task, clean."""
    conditions = ConditionConfig(mix={mix: 1.0}, drop=0.0, noisy_share=0.0)
    task.cfg = replace(task.cfg, conditions=conditions, captions={"short": 1.0, "dense": 1.0, "source": 1.0})
    for epoch in range(20):
        _, (draw,) = task.load(MicroBatch((item,), 1.0), epoch)
        if draw.plan.task == mix:
            return draw
    raise AssertionError(f"no sample of this window is given {mix}")


@pytest.mark.parametrize("mix", ["last", "both_ends", "interior"])
def test_pieces_are_bit_for_bit_those_of_training(trained, one_thread, mix):
    pipeline, task, item, known, frames = trained
    if mix == "interior" and item.shape[0] < 9:
        pytest.skip("the tiny run's windows have no inside")
    draw = planned(task, mix, item)
    size = Size(width=item.shape[2], height=item.shape[1], num_frames=item.shape[0])
    given = [ConditionFrames(frames[first : first + n], first / known.fps) for first, n in draw.plan.pieces]
    there = pipeline._known(given, size, tuple(draw.x0_CTHW.shape), known.fps)
    assert len(there.pieces) == len(draw.pieces) > 0
    for a, b in zip(there.pieces, draw.pieces, strict=True):
        assert torch.equal(a.latents_CTHW, b.latents_CTHW)
        assert a.start_s == b.start_s


def test_a_head_is_that_of_training(trained):
    pipeline, task, item, known, frames = trained
    draw = planned(task, "first_frame", item)
    size = Size(width=item.shape[2], height=item.shape[1], num_frames=item.shape[0])
    there = pipeline._known([ConditionFrames(frames[:1], 0.0)], size, tuple(draw.x0_CTHW.shape), known.fps)
    torch.testing.assert_close(there.head_CTHW, draw.x0_CTHW[:, :1], atol=2e-3, rtol=2e-3)


def test_given_frames_steer_what_is_made_and_nothing_is_pasted(trained):
    pipeline, _, item, known, frames = trained
    size = Size(width=item.shape[2], height=item.shape[1], num_frames=item.shape[0])
    quick = SampleConfig(steps=2, guidance=1.0)
    last = (item.shape[0] - 1) / known.fps
    cases = [[], [ConditionFrames(frames[:1], 0.0)], [ConditionFrames(frames[-1:], last)]]
    plain, headed, tailed = pipeline.generate(
        [VideoPrompt("x", 1, case) for case in cases], size, known.fps, quick
    )
    through = pipeline._decode(pipeline._known(cases[1], size, pipeline._latent_shape(size),
        known.fps).head_CTHW, Size(size.width, size.height, 1))  # fmt: skip
    assert np.abs(headed[0].astype(int) - through[0]).max() <= 1, "the head comes back as the VAE has it"
    assert np.abs(headed[0].astype(int) - frames[0]).max() > 1, "and not as it was given"
    assert (headed[1:] != plain[1:]).any()
    assert (tailed != plain).any()


def test_what_cannot_be_given_is_refused(trained):
    pipeline, _, item, known, frames = trained
    size = Size(width=item.shape[2], height=item.shape[1], num_frames=item.shape[0])

    def generate(*given: ConditionFrames) -> None:
        pipeline.generate([VideoPrompt("x", 1, given)], size, known.fps, pipeline.sampling_with(1, None))

    with pytest.raises(ValueError, match="2 frames are given from 0 s on, but the VAE takes 4k"):
        generate(ConditionFrames(frames[:2], 0.0))
    with pytest.raises(ValueError, match="not within the video's"):
        generate(ConditionFrames(frames[:1], item.shape[0] / known.fps + 1))
    with pytest.raises(ValueError, match="scale them to that"):
        generate(ConditionFrames(frames[:1, :-1], 0.0))
    with pytest.raises(ValueError, match="two stretches are given from 0 s on"):
        generate(ConditionFrames(frames[:1], 0.0), ConditionFrames(frames[:1], 0.0))
