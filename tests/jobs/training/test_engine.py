"""A model under DeepSpeed ZeRO: it steps, and its state moves between ZeRO stages and numbers of ranks as if
nothing had happened.

Each group of ranks is real processes over gloo, because DeepSpeed keeps global state.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RANK = """
import json, sys
import torch, torch.distributed as dist
rank, world, stage, start, stop, folder = int(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6]
from jobs.cluster.deepspeed_build import build
build()
import deepspeed
from pathlib import Path
from jobs.training import checkpoint, checkpoint_files
from jobs.training.config import OptimConfig, ZeroConfig
from jobs.training.engine import Engine
from model.config import DiTConfig
from model.dit.network import DiT
from model.dit.tokens import Sample, pack

torch.set_num_threads(1)
meeting = f"file://{folder}/rendezvous-{world}-{stage}-{start}"
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
model = DiT(DiTConfig(width=32, depth=2, heads=2, latent_channels=4, text_dim=8), seed=0)
engine = Engine(model, OptimConfig(lr=1e-2, ema_decay=0.9), ZeroConfig(stage=stage), world)
if start:
    assert checkpoint.load(engine, checkpoint_files.latest_checkpoint(Path(folder))) == start
SAMPLES = 4
losses = []
for step in range(start, stop):
    total = 0.0
    for i in range(rank, SAMPLES, world):
        g = torch.Generator().manual_seed(step * SAMPLES + i)
        x = torch.randn(4, 1 + i % 2, 4, 4, generator=g)
        packed = pack([Sample(x, 8.0, torch.randn(3, 8, generator=g))])
        predicted = engine(**packed.model_inputs(torch.tensor([0.5])))
        loss = (predicted + packed.tokens_ND).square().mean()
        engine.backward(loss * world / SAMPLES)
        total += float(loss) / SAMPLES
    everywhere = torch.tensor(total)
    dist.all_reduce(everywhere)
    losses.append(float(everywhere))
    engine.step(1e-2)
checkpoint.save(engine, Path(folder), stop, {}, keep=9)
average = sum(float(t.double().abs().sum()) for _, t in engine.ema())
if rank == 0:
    print("RESULT", json.dumps({"losses": losses, "average": average}))
"""


def train(world: int, stage: int, start: int, stop: int, folder: Path) -> dict:
    """Run the ranks of one group to their end; what rank 0 says."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, *map(str, (rank, world, stage, start, stop, folder))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "LOCAL_RANK": str(rank)},
        )
        for rank in range(world)
    ]  # fmt: skip
    outputs = [rank.communicate(timeout=180)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), outputs
    line = next(line for line in outputs[0].splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Six steps on two ranks at ZeRO 2."""
    return train(2, 2, 0, 6, tmp_path_factory.mktemp("whole"))


def test_steps_through_deepspeed_make_the_loss_fall(uninterrupted):
    losses = uninterrupted["losses"]
    assert losses[-1] < 0.9 * losses[0]


def test_a_saved_state_goes_on_at_other_zero_stages_and_numbers_of_ranks(uninterrupted, tmp_path):
    parts = [train(2, 2, 0, 2, tmp_path), train(1, 3, 2, 4, tmp_path), train(2, 1, 4, 6, tmp_path)]
    losses = [loss for part in parts for loss in part["losses"]]
    assert losses == pytest.approx(uninterrupted["losses"], rel=1e-5)
    assert parts[-1]["average"] == pytest.approx(uninterrupted["average"], rel=1e-5)
