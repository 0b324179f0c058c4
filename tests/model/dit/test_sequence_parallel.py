"""Two processes with half of the tokens each give what one gives: velocities and gradients."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from model.dit.sequence_parallel import SequenceParallel
from model.dit.tokens import pack
from tests.model.dit.test_dit import MIXED, TIMES, made, tiny

BATCHES = {"mixed": (MIXED, TIMES), "an odd number of tokens": (made((5, 2, 2), texts=(4,)), TIMES[:1])}


def passes(dit, samples, times) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    dit.zero_grad()
    v = dit(**pack(samples).model_inputs(times))
    weights = torch.randn(v.shape, generator=torch.Generator().manual_seed(5))
    (v * weights).sum().backward()
    return v.detach(), {name: p.grad for name, p in dit.named_parameters()}


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    dit = tiny().train()
    dit.parallel = SequenceParallel()
    made_here = {}
    for name, (samples, times) in BATCHES.items():
        v, gradients = passes(dit, samples, times)
        for gradient in gradients.values():
            dist.all_reduce(gradient)
        made_here[name] = (v, gradients)
    torch.save(made_here, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_two_processes_are_one(tmp_path):
    mp.spawn(worker, args=(free_port(), str(tmp_path)), nprocs=2)
    for name, (samples, times) in BATCHES.items():
        v, gradients = passes(tiny().train(), samples, times)
        for rank in range(2):
            got_v, got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name]
            torch.testing.assert_close(got_v, v, atol=1e-5, rtol=1e-5)
            for key, gradient in gradients.items():
                torch.testing.assert_close(
                    got[key], gradient, atol=1e-5 * gradient.abs().max().item(), rtol=1e-5
                )


def test_what_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(dist, "get_rank", lambda group=None: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda group=None: 3)
    dit = tiny()  # two heads
    dit.parallel = SequenceParallel()
    with pytest.raises(ValueError, match="2 heads can't be shared by 3 processes"):
        dit(**pack(MIXED).model_inputs(TIMES))
    with pytest.raises(ValueError, match="2 tokens can't be shared by 3 processes"):
        dit.parallel.scatter(torch.zeros(2, 4))
    assert dit.parallel.counts(8) == [3, 3, 2]
