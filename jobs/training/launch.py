"""Starts the workers of a training on Ray, shows how far they are, and brings back how it ended.

In: a training config. Out: the run's folder, filled by the workers; the figures of its first and last
entries.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cli import interruption
from jobs.cli.fields import with_absolute_paths
from jobs.cli.progress import Bar, progress
from jobs.cli.run_folder import Run
from jobs.cluster.connect import check_fits, connect, missing_resources, resources
from jobs.cluster.failures import is_permanent, one_line_message, with_type
from jobs.training.checkpoint_files import latest_checkpoint, read_step
from jobs.training.config import TrainingConfig
from jobs.training.exports import FAILED_CLIPS, SETTINGS
from jobs.training.metrics import read_metrics, summary
from jobs.training.out_folder import check_free
from jobs.training.resume import check_resume, resolve_precision, resume_notes, settings
from jobs.training.run_lock import wait_until_free
from pipelines.durable import write_text

logger = logging.getLogger(__name__)
_PATIENCE_S, _WAITING_S = 15.0, 60.0  # after which it is said what a cluster is waited for, and said again
_ENDING_S = 20.0  # that workers may take to end


def check_launch(cfg: TrainingConfig) -> None:
    """What both trainings need: an `out` that can be written by workers and goes on as it began, and room for
    the workers.

    Raises:
        ValueError: what is wrong, and what to do.
    """
    check_free("out", cfg.out, own=(SETTINGS,))
    check_resume(cfg)
    check_fits(cfg.ray, "workers.num", cfg.workers.num, cfg.workers.cpus, cfg.workers.gpu)


def fit(cfg: TrainingConfig, run: Run, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Train to `max_steps`, from the newest checkpoint in `out` if there is one.

    Args:
        notes: what else is to be said before it begins.

    Raises:
        RuntimeError: workers failed for what would fail again, or died more often than
        `workers.max_failures`.
    """
    out = Path(cfg.out).absolute()
    cfg, precision = resolve_precision(cfg)
    run.say(f"{run.job} {precision}")
    for line in (*notes, *resume_notes(cfg)):
        run.say(f"{run.job}: {line}")
    write_text(out / SETTINGS, json.dumps(settings(cfg), indent=2, sort_keys=True) + "\n")
    cfg = with_absolute_paths(cfg)
    with connect(cfg.ray):
        _say_waiting(cfg, run, _lacking(cfg))
        with progress(run.job, total=cfg.max_steps, unit="steps") as bar:
            _fit_with_restarts(cfg, run, out, bar)
    unread = _unread(out)
    if unread:
        run.say(
            f"{run.job}: {len(unread)} clips could not be read and were left out, such as "
            f"{next(iter(unread.values()))}"
        )
        run.say(
            f"{run.job}: all of them are in {out / FAILED_CLIPS}; look at the dataset with: rushes verify "
            f"dataset={cfg.dataset}"
        )
    return summary(out) | {"precision": precision.name, "clips_unread": len(unread)}


def _unread(out: Path) -> dict[str, str]:
    path = out / FAILED_CLIPS
    return json.loads(path.read_text()) if path.exists() else {}


def _fit_with_restarts(cfg: TrainingConfig, run: Run, out: Path, bar: Bar) -> None:
    """Fit; again from the newest state where workers died, but not where the same would fail again."""
    allowed = cfg.workers.max_failures
    for failures in itertools.count():
        failure = _fit_and_watch(cfg, run, out, bar)
        if failure is None:
            return
        logger.error("%s", failure.story)
        if failure.is_permanent or 0 <= allowed <= failures:
            raise RuntimeError(failure.line)
        state = latest_checkpoint(out)
        of = "" if allowed < 0 else f" of {allowed}"
        run.say(
            f"{run.job}: {failure.line}; starting again from step {read_step(state) if state else 0} "
            f"({failures + 1}{of})"
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a fit failed. `is_permanent` if the same would fail again."""

    line: str
    story: str
    is_permanent: bool


def _trainer(cfg: TrainingConfig, job: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from jobs.cluster.rendezvous import torch_config

    return TorchTrainer(
        _train_worker,
        train_loop_config={"cfg": cfg},
        torch_config=torch_config("nccl" if cfg.workers.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=cfg.workers.num,
            use_gpu=cfg.workers.gpu,
            resources_per_worker={"CPU": cfg.workers.cpus} | ({"GPU": 1} if cfg.workers.gpu else {}),
        ),
        run_config=RunConfig(
            name=f"{job}-{hashlib.sha256(cfg.out.encode()).hexdigest()[:12]}",
            storage_path=str(Path(cfg.out) / "ray"),
            failure_config=FailureConfig(max_failures=0),  # Ray would start again whatever it was
        ),
    )


def _train_worker(config: dict[str, Any]) -> None:
    from jobs.training.worker import train

    train(config["cfg"])


def _fit_and_watch(cfg: TrainingConfig, run: Run, out: Path, bar: Bar) -> _Failure | None:
    """Fit in a Ray task and follow the workers' metrics here, where Ctrl-C arrives.

    In this process Ray Train would put its own handler in place of Ctrl-C's and end as if it had failed; in a
    thread of it, the thread would still speak with Ray when Ray has been left, and Ray then ends the process
    itself.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote(_fit).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    task = remote.remote(_trainer(cfg, run.job))
    say_s = time.monotonic() + _PATIENCE_S
    try:
        while not ray.wait([task], timeout=1.0)[0]:
            interruption.check()
            _show_newest(out, bar)
            if time.monotonic() >= say_s:
                say_s = time.monotonic() + _WAITING_S
                _say_waiting(cfg, run, _waited_for(cfg))
    except KeyboardInterrupt:
        ray.cancel(task, force=True)
        wait_until_free(out, _ENDING_S)  # its workers end a moment later, and may save a state until then
        _say_where_it_stopped(run, out)
        raise
    _show_newest(out, bar)
    return ray.get(task)


def _lacking(cfg: TrainingConfig) -> str | None:
    """What the cluster has too little of, whoever uses it."""
    there = resources(cfg.ray)
    assert there is not None, "we are connected"
    return missing_resources(there, cfg.workers.num, cfg.workers.cpus, cfg.workers.gpu)


def _waited_for(cfg: TrainingConfig) -> str | None:
    """What keeps workers from starting, if they have no place yet: a cluster may grow, or others may leave
    it."""
    import ray
    from ray.util import placement_group_table

    if all(group["state"] != "PENDING" for group in placement_group_table().values()):
        return None
    free, there = ray.available_resources(), ray.cluster_resources()
    names = ("CPU", "GPU") if cfg.workers.gpu else ("CPU",)
    parts = [f"{free.get(name, 0):g} of {there.get(name, 0):g} {name}s" for name in names]
    return _lacking(cfg) or (
        f"needs {cfg.workers.num * cfg.workers.cpus:g} CPUs, and {' and '.join(parts)} are free: others are "
        "at work"
    )


def _say_waiting(cfg: TrainingConfig, run: Run, short: str | None) -> None:
    if short is not None:
        run.say(
            f"{run.job} waits for the cluster: workers.num={cfg.workers.num} {short}; it starts when there "
            "are enough"
        )


def _say_where_it_stopped(run: Run, out: Path) -> None:
    entries, state = read_metrics(out), latest_checkpoint(out)
    reached, kept = entries[-1]["step"] if entries else 0, read_step(state) if state else 0
    run.say(
        f"{run.job}: stopped at step {max(reached, kept)}; the same command goes on from step {kept}, the "
        "last that was saved"
    )


def _fit(trainer: Any) -> _Failure | None:
    """What went wrong, if something did."""
    try:
        trainer.fit()
    except Exception as error:
        failed = sorted(getattr(error, "worker_failures", {}).items())
        if not failed:
            return _Failure(one_line_message(error), str(error), is_permanent(error))
        # Of several workers one failed first and the others lost it: who has an error of his own has the
        # cause.
        rank, first = next(((rank, one) for rank, one in failed if is_permanent(one)), failed[0])
        line = f"worker {rank}: {with_type(first)}"
        return _Failure(line, str(error), is_permanent(first))
    return None


def _show_newest(out: Path, bar: Bar) -> None:
    entries = read_metrics(out)
    if entries:
        loss = next((e["loss"] for e in reversed(entries) if "loss" in e), None)
        held = next((e["val_loss"] for e in reversed(entries) if "val_loss" in e), None)
        parts = [
            f"loss {loss:.4f}" if loss is not None else "",
            f"held out {held:.4f}" if held is not None else "",
        ]
        bar.update(entries[-1]["step"], note=", ".join(p for p in parts if p))
