"""The bytes that DeepSpeed really holds, beside those that `rushes model` promises.

Each group of ranks is real processes over gloo, because DeepSpeed keeps global state.
"""

import json
import os
import subprocess
import sys

import pytest

from model.config import DiTConfig
from model.dit.accounting import FP32, Sharding, training_memory

CONFIG = {"width": 64, "depth": 4, "heads": 2, "latent_channels": 4, "text_dim": 8}
BUCKET = 500_000_000 * FP32

RANK = """
import gc, json, sys
import torch, torch.distributed as dist
rank, stage, folder, config = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
from jobs.cluster.deepspeed_build import build
build()
import deepspeed
from jobs.training.config import OptimConfig, ZeroConfig
from jobs.training.engine import Engine
from model.config import DiTConfig
from model.dit.network import DiT
from model.dit.tokens import Sample, pack

torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous-{stage}", rank=rank, world_size=2)
deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
engine = Engine(DiT(DiTConfig(**config)), OptimConfig(lr=1e-2), ZeroConfig(stage=stage), 2)

def held():
    gc.collect()
    tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
    tensors += [t.grad for t in tensors if t.is_leaf and t.grad is not None]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

packed = pack([Sample(torch.randn(4, 2, 4, 4), 8.0, torch.randn(3, 8))])
for _ in range(2):  # Adam makes its state in the first
    engine.backward(engine(**packed.model_inputs(torch.tensor([0.5]))).square().mean())
    backward = held()
    engine.step(1e-2)
if rank == 0:
    print("RESULT", json.dumps({"backward": backward, "step": held()}))
"""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_state_has_the_bytes_that_are_counted(stage, tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(stage), str(tmp_path), json.dumps(CONFIG)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [rank.communicate(timeout=180)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), outputs
    line = next(line for line in outputs[0].splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    said = training_memory(DiTConfig(**CONFIG), Sharding(stage, 2), tokens=16, text_tokens=3)
    state = said.weights + said.masters + said.moments + said.average
    assert said.traffic >= BUCKET
    # at ZeRO 1 and 2 the room to send from is there during the backward pass only, and at 2 it is gone when
    # that ends
    after_step = {1: state, 2: state, 3: state + said.gradients + BUCKET}[stage]
    after_backward = {1: state + said.gradients + BUCKET, 2: state + said.gradients, 3: after_step}[stage]
    assert found["step"] % BUCKET == pytest.approx(after_step % BUCKET, rel=0.02)
    assert found["backward"] % BUCKET == pytest.approx(after_backward % BUCKET, rel=0.02)
    assert [found[when] // BUCKET for when in ("step", "backward")] == [
        after_step // BUCKET,
        after_backward // BUCKET,
    ]
