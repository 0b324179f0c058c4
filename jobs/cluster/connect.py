"""Connects to Ray: a local instance that lives as long as the job, or a running cluster.

In: a RayConfig. Out: a block in which `ray` is connected, with this project's code importable on every
worker.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.cluster.config import RayConfig
from jobs.cluster.deepspeed_build import extensions_dir
from jobs.cluster.local_ray import local_ray
from jobs.cluster.ray_address import check_answers
from pipelines import fault_injection
from pipelines.redact import check_no_secret

PACKAGES = ("pipelines", "recaption", "model", "jobs", "conf")
_S3_ENVIRONMENT = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


def project_root() -> Path:
    """The folder that holds the five packages: a checkout, or site-packages."""
    return Path(__file__).resolve().parents[2]


def _worker_env() -> dict[str, str]:
    env = {
        "TORCH_EXTENSIONS_DIR": str(extensions_dir()),
        "TOKENIZERS_PARALLELISM": "false",  # forked tokenizers warn and may deadlock
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
    }
    return env | fault_injection.environment()


def _s3_env() -> dict[str, str]:
    """Where a cluster's workers find S3. Never keys: a job's environment is shown by Ray's dashboard, and
    workers of a cluster have credentials of their own.

    Raises:
        ValueError: an address has a password in it.
    """
    env = {name: os.environ[name] for name in _S3_ENVIRONMENT if name in os.environ}
    for name, value in env.items():
        check_no_secret(name, value)
    return env


@contextmanager
def connect(cfg: RayConfig) -> Iterator[None]:
    """Connect to Ray for the length of a block; a Ray that was there before stays, one that is started here
    is stopped.

    Raises:
        ConnectionError: the cluster at `ray.address` does not answer, or not to those who have no token of
        it.
        RuntimeError: a local Ray did not start, however often it was tried.
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
    with (
        local_ray(cfg.num_cpus, {"env_vars": _worker_env()}) if cfg.address is None else _cluster(cfg.address)
    ):
        _quiet_data()
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place, which exits at once
        yield


def resources(cfg: RayConfig) -> dict[str, float] | None:
    """CPUs and GPUs of the Ray that a job would run on, as Ray counts them; None if that is a cluster that we
    are not connected to yet.
    """
    import ray

    if ray.is_initialized():
        return {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")}
    if cfg.address is not None:
        return None
    import torch

    return {
        "CPU": float(cfg.num_cpus or len(os.sched_getaffinity(0))),
        "GPU": float(torch.cuda.device_count()),
    }


def check_gpu(gpu: bool, key: str = "gpu") -> None:
    """Whether a job that runs in this process finds the GPU that it was told to use.

    Args:
        key: that says so, as the user typed it.

    Raises:
        ValueError: it doesn't.
    """
    if not gpu:
        return
    import torch

    if not torch.cuda.is_available():
        raise ValueError(f"{key}=true, and this machine has no GPU that PyTorch can use; leave it out")


def check_fits(cfg: RayConfig, key: str, num: int, cpus: float, gpu: bool) -> None:
    """Whether so many workers find a place on a local Ray, which never grows.

    Args:
        key: that says how many, as the user typed it.

    Raises:
        ValueError: they don't; Ray would wait for ever.
    """
    there = resources(cfg)
    if there is None or (short := missing_resources(there, num, cpus, gpu)) is None:
        return
    raise ValueError(f"{key}={num} {short}; ask for less, or name a larger cluster with ray.address=")


def missing_resources(there: dict[str, float], num: int, cpus: float, gpu: bool) -> str | None:
    """A message with the requested and available resources; None if they suffice."""
    if gpu and there["GPU"] < num:
        return f"with a GPU each needs {num} GPU{'s' * (num > 1)}, and there {_is(there['GPU'], 'GPU')}"
    if there["CPU"] + 1e-6 < num * cpus:
        return f"with {cpus:g} CPUs each needs {num * cpus:g} CPUs, and there {_is(there['CPU'], 'CPU')}"
    return None


def _is(count: float, what: str) -> str:
    return f"is {'1' if count else 'no'} {what}" if count in (0, 1) else f"are {count:g} {what}s"


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connect to a running cluster for the length of a block, or say at once why not."""
    import ray
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    # A cluster need not have this version installed, or any: the code travels with the job.
    code = [str(project_root() / name) for name in PACKAGES]
    runtime_env = {"env_vars": _worker_env() | _s3_env(), "py_modules": code}
    try:
        check_answers(address)
        maybe_enable_token_auth_if_token_available(
            warn_if_disabled=False
        )  # without it a token is not shown, however right
        ray.init(address=address, log_to_driver=False, configure_logging=False, runtime_env=runtime_env)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ConnectionError(f"ray.address={address}: {error}") from error
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
    context.raise_original_map_exception = True  # in its own words, which would be lost on the way
