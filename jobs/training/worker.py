"""What each training worker does: the same loop for every task.

In: a config, inside the process group that Ray Train made. Out: in the run's folder metrics.jsonl,
tensorboard/, checkpoints/, export/. A step is a function of its number: which micro-batches, on which rank,
with which noise. So a run that is killed goes on from its newest checkpoint as if it had not been.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jobs.cluster.deepspeed_build import build
from jobs.training.checkpoint_files import latest_checkpoint
from jobs.training.config import TrainingConfig
from jobs.training.exports import EXPORT, FAILED_CLIPS, METRICS
from jobs.training.metrics import read_metrics
from jobs.training.optimizer import learning_rate
from jobs.training.run_lock import lock_run
from jobs.training.tasks import task_for
from pipelines.batches.planner import MicroBatch, Step, assign_to_ranks, iterate_steps
from pipelines.durable import write_text
from pipelines.even_sample import even_sample
from pipelines.precision import autocast

logger = logging.getLogger(__name__)

_READ_AHEAD = 2
_HANDOVER_S = 30.0  # for the workers of a training that was just stopped
_MOST_EMPTY_STEPS = 20  # in a row, of which no clip can be read: then it is not the clips


def train(cfg: TrainingConfig) -> None:
    """The loop of one worker; Ray Train calls it on each."""
    threads = max(1, int(cfg.workers.cpus))
    torch.set_num_threads(threads)
    build()  # finds it built, or waits for the worker of this machine that builds it
    import deepspeed

    from jobs.training import checkpoint
    from jobs.training.engine import Engine

    rank, world = dist.get_rank(), dist.get_world_size()
    deepspeed.init_distributed(
        dist_backend="nccl" if cfg.workers.gpu else "gloo", auto_mpi_discovery=False, verbose=False
    )
    out = Path(cfg.out)
    _log_to(out, rank)
    if rank == 0:
        lock_run(out, _HANDOVER_S)
    dist.barrier()  # nobody reads the newest state while another training may still write
    task = task_for(cfg)
    network = task.build()
    engine = Engine(network, cfg.optim, cfg.zero, world)
    state = latest_checkpoint(out)
    start = checkpoint.load(engine, state) if state else 0
    recorder = MetricsLogger(out, start) if rank == 0 else None
    # holds the moving average while it is looked at; whole at any ZeRO stage
    judge = task.build().to(engine.device)
    parameters = sum(p.numel() for p in judge.parameters())
    logger.info(
        "rank %d of %d, %d parameters, ZeRO %d, from step %d", rank, world, parameters, cfg.zero.stage, start
    )
    facts = {
        "parameters": parameters,
        "world": world,
        "zero_stage": cfg.zero.stage,
        "precision": cfg.precision,
        "max_steps": cfg.max_steps,
    }

    if start == 0:
        _validate(task, engine, judge, 0, recorder)
    steps = islice(iterate_steps(task.items(), cfg.seed, start, cfg.budget), max(0, cfg.max_steps - start))
    began_s, seen_samples, seen_tokens, empty, sums = time.monotonic(), 0, 0, 0, _Sums()
    for step, epoch, batches, loaded in _read_ahead(task, steps, rank, world):
        samples = _sum_over_ranks(sum(len(own.items) for own, _ in loaded if own), engine.device)
        empty = 0 if samples else empty + 1
        if empty == _MOST_EMPTY_STEPS:
            raise ValueError(
                f"step {step}: no clip of {empty} steps could be read, such as "
                f"{next(iter(task.failed_clips.values()), '')}"
            )
        for own, data in loaded:
            with autocast(engine.device.type, cfg.precision):
                loss, figures = task.loss(engine, data, engine.device, step)
            # ZeRO averages over ranks; every sample of the step shall count the same, on whichever rank it is
            engine.backward(loss * (world / samples if own and own.items else 0.0))
            if own and own.items:
                sums.add(loss=float(loss.detach()), samples=len(own.items), **figures)
            sums.add(slots=1, idle=0 if own else 1)
        lr = learning_rate(step, cfg.max_steps, cfg.optim)
        norm = engine.step(lr)
        if not torch.isfinite(torch.tensor(norm)):
            raise FloatingPointError(
                f"step {step}: the gradient is not finite; lower optim.lr, or use precision=fp32. The "
                "newest checkpoint is kept"
            )
        seen_samples += samples
        seen_tokens += sum(i.tokens for b in batches for i in b.items)
        done = step + 1
        last = done == cfg.max_steps
        if done % cfg.log_every == 0 or last:
            totals = sums.over_ranks(engine.device)
            elapsed_s = time.monotonic() - began_s
            _write_unread(task, out, rank)
            if recorder:
                shares = {
                    k: v / totals.get("samples", 1)
                    for k, v in totals.items()
                    if k not in ("samples", "slots", "idle")
                }
                recorder.write(
                    done,
                    {**shares, "lr": lr, "grad_norm": norm, "epoch": epoch,
                        "idle_share": totals["idle"] / totals["slots"],
                     "samples_per_s": seen_samples / elapsed_s, "tokens_per_s": seen_tokens / elapsed_s},
                )  # fmt: skip
            sums = _Sums()
        if done % cfg.validate_every == 0 or last:
            _validate(task, engine, judge, done, recorder)
        if done % cfg.sample_every == 0 or last:
            _show(task, engine, judge, done, recorder)
        if done % cfg.checkpoint_every == 0 or last:
            checkpoint.save(engine, out, done, facts, cfg.keep_checkpoints)
    average = {name: tensor.clone() for name, tensor in engine.ema()}
    if rank == 0:
        task.export(average, out / EXPORT, {**facts, "steps": max(start, cfg.max_steps)})
        assert recorder is not None
        recorder.close()
    dist.barrier()
    import ray.train

    ray.train.report({"step": cfg.max_steps})


def _read_ahead(task: Any, steps: Iterator[tuple[int, int, Step]], rank: int, world: int) -> Iterator[tuple]:
    """Steps with this rank's micro-batches loaded, read in a thread while the one before is computed.

    An idle slot reads the step's first micro-batch, to go through the network with weight zero: ZeRO counts
    backward passes, and ZeRO 3 wants the same modules called everywhere.
    """

    def read(step: tuple[int, int, Step]) -> tuple:
        number, epoch, batches = step
        slots: list[tuple[MicroBatch | None, Any]] = []
        for own in assign_to_ranks(batches, world)[rank]:
            readable, data = task.load(own or batches[0], epoch)
            slots.append((readable if own else None, data))
        return number, epoch, batches, slots

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(read, step) for step in islice(steps, _READ_AHEAD)]
        while waiting:
            ready = waiting.pop(0).result()
            waiting += [pool.submit(read, step) for step in islice(steps, 1)]
            yield ready


def _sum_over_ranks(count: int, device: torch.device) -> int:
    total = torch.tensor(count, device=device)
    dist.all_reduce(total)
    return int(total)


def _write_unread(task: Any, out: Path, rank: int) -> None:
    """Which clips could not be read so far, on any rank; a collective."""
    everywhere: list[dict[str, str] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, dict(task.failed_clips))
    if rank == 0:
        unread = {clip_id: why for one in everywhere for clip_id, why in (one or {}).items()}
        path = out / FAILED_CLIPS
        path.unlink(missing_ok=True)
        if unread:
            write_text(path, json.dumps(unread, indent=2, sort_keys=True) + "\n")


class _Sums:
    """Running sums of figures by name, added up over ranks when asked."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self.values[name] = self.values.get(name, 0.0) + value

    def over_ranks(self, device: torch.device) -> dict[str, float]:
        everywhere: list[dict[str, float] | None] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, self.values)
        names = sorted({name for values in everywhere if values for name in values})
        return {name: sum((values or {}).get(name, 0.0) for values in everywhere) for name in names}


def _load_average(engine: Any, judge: torch.nn.Module) -> None:
    """Copy the moving average into the network that is looked at; a collective."""
    own = dict(judge.named_parameters())
    with torch.no_grad():
        for name, tensor in engine.ema():
            own[name].copy_(tensor)
    judge.eval()


def _validate(
    task: Any, engine: Any, judge: torch.nn.Module, step: int, recorder: MetricsLogger | None
) -> None:
    """Held-out figures of the moving average; windows are spread over ranks."""
    _load_average(engine, judge)
    sums = _Sums()
    items = even_sample(task.held_out(), task.cfg.validate_windows)
    for item in items[dist.get_rank() :: dist.get_world_size()]:
        with torch.no_grad():
            for name, (total, count) in task.validate(judge, item, engine.device).items():
                sums.add(**{f"{name}\tsum": total, f"{name}\tcount": count})
    totals = sums.over_ranks(engine.device)
    names = sorted({name.split("\t")[0] for name in totals})
    if recorder and names:
        recorder.write(
            step, {f"val_{n}": totals[f"{n}\tsum"] / max(totals[f"{n}\tcount"], 1e-12) for n in names}
        )


def _show(task: Any, engine: Any, judge: torch.nn.Module, step: int, recorder: MetricsLogger | None) -> None:
    """Pictures of the moving average, made by rank 0 while the others wait."""
    _load_average(engine, judge)
    if recorder:
        with torch.no_grad():
            recorder.log_images(step, task.sample_images(judge, engine.device))
    dist.barrier()


class MetricsLogger:
    """Rank 0's notebook: a JSON line per entry, and the same in TensorBoard."""

    def __init__(self, out: Path, start: int):
        from torch.utils.tensorboard import SummaryWriter

        self._path = out / METRICS
        if self._path.exists():  # what is beyond the checkpoint that we go on from will be written again
            kept = [entry for entry in read_metrics(out) if entry["step"] <= start] if start else []
            write_text(self._path, "".join(f"{json.dumps(entry)}\n" for entry in kept))
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start or None)

    def write(self, step: int, figures: dict[str, float]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "time_s": time.time(), **figures}) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def log_images(self, step: int, named: dict[str, Any]) -> None:
        for name, picture in named.items():
            self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


def _log_to(out: Path, rank: int) -> None:
    """Each worker's own log lies with the run, not in a folder of Ray's."""
    from jobs.cli.terminal_text import LogFormatter

    handler = logging.FileHandler(out / f"worker_{rank}.log", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(LogFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logger.info("pid %d", os.getpid())
