"""Starts the workers of a training on Ray, shows how far they are, and brings back how it ended.

In: a training config. Out: the run's folder, filled by the workers; the figures of its first and last entries.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from jobs import interruption
from jobs.cluster import connect
from jobs.progress import Bar, progress
from jobs.run_folder import Run
from jobs.training.config import TrainingConfig
from jobs.training.names import METRICS, SETTINGS

# What may differ between a run and its continuation: none of it changes what a step computes.
_FREE = (
    "out",
    "workers",
    "zero",
    "ray",
    "log_every",
    "validate_every",
    "validate_windows",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "max_steps",
    "license",
    "recompute",
    "attention",
    "compile",
)


def settings(cfg: TrainingConfig) -> dict[str, Any]:
    """What a step's result depends on."""
    return {k: v for k, v in dataclasses.asdict(cfg).items() if k not in _FREE}


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def check_continues(cfg: TrainingConfig) -> None:
    """A run is gone on with under its own settings only.

    Raises:
        ValueError: naming what differs.
    """
    path = Path(cfg.out) / SETTINGS
    if not path.exists():
        return
    then, now = _flat(json.loads(path.read_text())), _flat(json.loads(json.dumps(settings(cfg))))
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            raise ValueError(
                f"out={cfg.out} holds a run with {key}={then.get(key)}, and this one has {now.get(key)}; give it back, or another out="
            )


def fit(cfg: TrainingConfig, run: Run) -> dict[str, Any]:
    """Train to `max_steps`, from the newest checkpoint in `out` if there is one.

    Raises:
        RuntimeError: workers failed more often than `workers.max_failures`.
    """
    out = Path(cfg.out).absolute()
    (out / SETTINGS).write_text(json.dumps(settings(cfg), indent=2, sort_keys=True) + "\n")
    cfg = dataclasses.replace(cfg, out=str(out), dataset=_absolute(cfg.dataset))
    with connect(cfg.ray):
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        trainer = TorchTrainer(
            _train_worker,
            train_loop_config={"cfg": cfg},
            torch_config=TorchConfig(backend="nccl" if cfg.workers.gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=cfg.workers.num,
                use_gpu=cfg.workers.gpu,
                resources_per_worker={"CPU": cfg.workers.cpus} | ({"GPU": 1} if cfg.workers.gpu else {}),
            ),
            run_config=RunConfig(
                name=f"{run.job}-{hashlib.sha256(str(out).encode()).hexdigest()[:12]}",
                storage_path=str(out / "ray"),
                failure_config=FailureConfig(max_failures=cfg.workers.max_failures),
            ),
        )
        with progress(run.job, total=cfg.max_steps, unit="steps") as bar:
            _fit_and_watch(trainer, out, bar)
    return summary(out)


def _train_worker(config: dict[str, Any]) -> None:
    from jobs.training.worker import train

    train(config["cfg"])


def _absolute(uri: str) -> str:
    """Workers have a working folder of their own."""
    return uri if "://" in uri else str(Path(uri).absolute())


def _fit_and_watch(trainer: Any, out: Path, bar: Bar) -> None:
    """Fit in a Ray task and follow the workers' metrics here, where Ctrl-C arrives.

    In this process Ray Train would put its own handler in place of Ctrl-C's and end as if it had failed; in a thread of it,
    the thread would still speak with Ray when Ray has been left, and Ray then ends the process itself.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(_fit).remote(trainer)
    try:
        while not ray.wait([task], timeout=1.0)[0]:
            interruption.check()
            _show_newest(out, bar)
    except KeyboardInterrupt:
        ray.cancel(task, force=True)
        raise
    _show_newest(out, bar)
    failure = ray.get(task)
    if failure:
        raise RuntimeError(failure)


def _fit(trainer: Any) -> str | None:
    """What went wrong, if something did."""
    try:
        trainer.fit()
    except Exception as error:
        return _what_failed(error)
    return None


def _what_failed(error: BaseException) -> str:
    """The first worker's own words, without Ray's traceback around them."""
    for rank, failure in sorted(getattr(error, "worker_failures", {}).items()):
        cause = getattr(failure, "_base_exc", failure)
        return f"worker {rank}: {type(cause).__name__}: {cause}"
    return str(error)


def _show_newest(out: Path, bar: Bar) -> None:
    entries = read_metrics(out)
    if entries:
        loss = next((e["loss"] for e in reversed(entries) if "loss" in e), None)
        held = next((e["val_loss"] for e in reversed(entries) if "val_loss" in e), None)
        parts = [f"loss {loss:.4f}" if loss is not None else "", f"held out {held:.4f}" if held is not None else ""]
        bar.update(entries[-1]["step"], note=", ".join(p for p in parts if p))


def read_metrics(out: Path) -> list[dict[str, float]]:
    """Entries of a run's metrics.jsonl; the last line may be half written."""
    path = out / METRICS
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def summary(out: Path) -> dict[str, Any]:
    """First and last held-out figures, and the last scalars."""
    entries = read_metrics(out)
    result: dict[str, Any] = {"steps": entries[-1]["step"] if entries else 0}
    for entry in entries:
        for name, value in entry.items():
            if name.startswith("val_"):
                result.setdefault(f"{name}_first", value)
                result[f"{name}_last"] = value
            elif name in ("loss", "samples_per_s", "tokens_per_s", "idle_share"):
                result[name] = value
    return result
