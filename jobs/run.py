"""`rushes run`: the workflow from footage to videos. What is up to date is skipped; what failed or was
stopped is gone on with.

In: footage and a config for every job. Out: a folder with a dataset, a VAE, a DiT, videos, report.html and
metrics.json.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from jobs.cli.build_config import as_yaml
from jobs.cli.fields import keys, value_at
from jobs.cli.registry import JOBS
from jobs.cli.run_folder import Run, open_run
from jobs.cli.run_records import read_record, write_record
from jobs.cluster.connect import check_fits, check_gpu, connect
from jobs.training.out_folder import check_local
from jobs.workflow.config import WIRED, RunConfig
from jobs.workflow.graph import Node, NodeOutput, node_fingerprint, nodes, up_to_date
from pipelines.footage.listing import find_footage


def check(cfg: RunConfig) -> None:
    """The footage is there, nothing was given that the workflow itself decides, and every job finds the
    processors that it was told to use: the last would say so after hours."""
    for key in keys(RunConfig):
        if key.default == WIRED and value_at(cfg, key.path) != WIRED:
            raise ValueError(
                f"{key.path} is decided by the workflow; leave it out and give footage= and out="
            )
    check_local("out", cfg.out)
    first = nodes(cfg)[0]
    JOBS["curate"].module().check(first.config({}, first.folder("")))
    for job, workers in (("train_vae", cfg.train_vae.workers), ("train", cfg.train.workers)):
        check_fits(cfg.ray, f"{job}.workers.num", workers.num, workers.cpus, workers.gpu)
    check_fits(cfg.ray, "encode.workers", cfg.encode.workers, 1, cfg.encode.gpu)
    check_gpu(cfg.evaluate.gpu, "evaluate.gpu")


def run_folder(cfg: RunConfig) -> Path:
    return Path(cfg.out)


def run(cfg: RunConfig, run: Run) -> dict[str, Any]:
    """Run every node that is not up to date, in order."""
    out = Path(cfg.out)
    made: dict[str, NodeOutput] = {}
    results: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    with _OneRay(cfg) as ray:
        for node in nodes(cfg):
            key = _key(cfg, node, made)
            folder = node.folder(key)
            record = read_record(out, node.job)
            if up_to_date(node, key, record):
                assert record is not None
                run.say(f"{node.job}: up to date")
            else:
                record = _execute(node, made, key, folder, run, ray)
                write_record(out, node.job, record)
            made[node.job] = NodeOutput(record["path"], record["result"], record["digest"])
            results[node.job], seconds[node.job] = record["result"], record["seconds"]
    metrics = {
        # null where nothing was held out
        "vae_psnr_db": results["train_vae"].get("val_psnr_db_last"),
        "val_loss_first": results["train"].get("val_loss_first"),
        "val_loss_last": results["train"].get("val_loss_last"),
        "retrieval_share": results["evaluate"]["retrieval_share"],
        "precision": {job: result["precision"] for job, result in results.items() if "precision" in result},
        "seconds": sum(seconds.values()),
        "seconds_of": seconds,
    }
    run.write_json("metrics.json", metrics)
    _farewell(run, made)
    return metrics


def _key(cfg: RunConfig, node: Node, made: dict[str, NodeOutput]) -> str:
    """A node's fingerprint; the graph's only input from outside is the footage, so curation's holds its
    listing."""
    listing = (
        dataclasses.asdict(find_footage(cfg.footage, cfg.curate.limit, cfg.curate.uri_column))
        if node.job == "curate"
        else None
    )
    return node_fingerprint(node, node.config(made, ""), made, listing)


def _execute(
    node: Node, made: dict[str, NodeOutput], key: str, folder: str, run: Run, ray: _OneRay
) -> dict[str, Any]:
    """Run one node in this process, with a log of its own."""
    config, module, began_s = node.config(made, folder), JOBS[node.job].module(), time.monotonic()
    module.check(config)
    ray.start()
    try:
        with open_run(node.job, module.run_folder(config), as_yaml(config)) as own:
            result = module.run(config, own)
    finally:
        run.log_here()
    seconds = time.monotonic() - began_s
    return {
        "fingerprint": key,
        "digest": node.digest(folder, result),
        "path": folder,
        "result": result,
        "seconds": seconds,
    }


def _farewell(run: Run, made: dict[str, NodeOutput]) -> None:
    for what, job in (("dataset", "curate"), ("VAE", "train_vae"), ("DiT", "train"), ("videos", "evaluate")):
        run.say(f"  {what:<8} {made[job].path}")
    run.say(f"  {'report':<8} {run.folder / 'report.html'}")


class _OneRay:
    """One Ray for all nodes, started by the first that isn't up to date: a workflow with nothing to do starts
    none."""

    def __init__(self, cfg: RunConfig):
        self._connection = connect(cfg.ray)
        self._started = False

    def __enter__(self) -> _OneRay:
        return self

    def start(self) -> None:
        if not self._started:
            self._connection.__enter__()
            self._started = True

    def __exit__(self, *error: Any) -> None:
        if self._started:
            self._connection.__exit__(*error)
