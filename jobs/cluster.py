"""The door to Ray: a local one that is started and stopped with the job, or a running cluster.

In: a RayConfig. Out: a block in which `ray` is connected, with this project's code importable on every worker.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.config import RayConfig
from jobs.deepspeed_build import extensions_dir
from pipelines import drill

_PACKAGES = ("pipelines", "recaption", "model", "jobs", "conf")
_S3_ENVIRONMENT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")
_OBJECT_STORE_BYTES = 512 * 1024**2  # rows and captions travel through it, never video


def project_root() -> Path:
    """The folder that holds the five packages: a checkout, or site-packages."""
    return Path(__file__).resolve().parent.parent


def _worker_env() -> dict[str, str]:
    env = {
        "TORCH_EXTENSIONS_DIR": str(extensions_dir()),
        "TOKENIZERS_PARALLELISM": "false",  # forked tokenizers warn and may deadlock
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
    }
    # Never keys: a job's environment is shown by Ray's dashboard. Workers of a cluster have credentials of their own.
    env |= {name: os.environ[name] for name in _S3_ENVIRONMENT if name in os.environ}
    return env | drill.environment()


@contextmanager
def connect(cfg: RayConfig) -> Iterator[None]:
    """Connect to Ray for the length of a block; a Ray that was there before stays, one that is started here is stopped.

    Raises:
        ConnectionError: the cluster at `ray.address` does not answer.
    """
    on_sigterm = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # keep CUDA_VISIBLE_DEVICES on CPU workers; silences a warning
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    logger = logging.getLogger("ray")
    logger.handlers.clear()
    logger.propagate = True  # into the run's log; without handlers of its own it would print to the console
    runtime_env: dict = {"env_vars": _worker_env()}
    if cfg.address is None:
        # Ray's C++ part writes its errors to this process's stderr, above all one about actors of Ray Data that is none of ours.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        ray.init(
            num_cpus=cfg.num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            runtime_env=runtime_env,
        )
    else:
        # A cluster need not have this version installed, or any: the code travels with the job.
        runtime_env["py_modules"] = [str(project_root() / name) for name in _PACKAGES]
        try:
            ray.init(address=cfg.address, log_to_driver=False, configure_logging=False, runtime_env=runtime_env)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"ray.address={cfg.address}: no Ray answers there ({error}); start one or leave the key out for a local Ray"
            ) from error
    _quiet_data()
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place, which exits at once
    try:
        yield
    finally:
        ray.shutdown()


def _quiet_data() -> None:
    """Ray Data's own bars and banners would break ours; what it logs goes into the run's log."""
    from ray.data import DataContext

    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
