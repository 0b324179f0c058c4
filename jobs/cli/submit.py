"""`rushes submit <job> key=value … ray.address=http://host:8265`: the same job, run as a Ray job on a
cluster.

In: a job's command line. Out: its logs, followed here, and its exit code. The submission id is the job and
the hash of its configuration, so that submitting the same thing twice is one job: the second time its logs
are followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jobs.cli.compose import ConfigError, compose
from jobs.cli.fields import ConfigKey, keys
from jobs.cli.help import job_help
from jobs.cli.registry import SUBMIT_SUMMARY, job_named
from jobs.cli.terminal_text import printable_message
from jobs.cluster.connect import PACKAGES, project_root
from jobs.cluster.failures import one_line_message
from jobs.cluster.ray_address import check_dashboard
from pipelines.redact import check_no_secret
from pipelines.storage.open_store import local_path

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ADDRESS = "ray.address"
_READY_WITHIN_S = 180.0  # the agent of a busy machine takes more than one minute
_LOOKED_AT_EVERY_S = 2.0
# Of the folder that the packages lie in nothing else goes to the cluster, whatever it is: notes, keys, an
# environment. Ray asks for the folder itself too, as ".".
_EXCLUDED = [
    "/[!.]*",
    "/.?*",
    *(f"!/{name}{below}" for name in PACKAGES for below in ("", "/**")),
    "__pycache__",
    "*.mp4",
    "*.safetensors",
]


def run(arguments: list[str]) -> int:
    """Submit and follow; returns 0 when the job succeeded, 1 when it failed or the cluster did not take it.

    Raises:
        ValueError: wrong usage, or no cluster answers.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        print(f"usage: {SUBMIT_SUMMARY.partition(': ')[2]}\n\n{SUBMIT_SUMMARY}")
        return 0
    job, rest = job_named(arguments[0]), arguments[1:]
    if "--help" in rest or "-h" in rest:
        print(job_help(job, []), end="")
        return 0
    address = next((a.partition("=")[2] for a in rest if a.startswith(f"{ADDRESS}=")), None)
    if not address:
        raise ConfigError(f"submit needs {ADDRESS}=http://host:8265, the dashboard of a running cluster")
    check_no_secret(ADDRESS, address)
    known = {k.path: k for k in keys(job.config_class())}
    overrides = [_absolute(a, known) for a in rest if not a.startswith(f"{ADDRESS}=")]
    if ADDRESS in known:
        overrides.append(f"{ADDRESS}=auto")  # inside the cluster
    composed = compose(job, overrides)
    submission_id = f"{job.name}-{hashlib.sha256(composed.yaml.encode()).hexdigest()[:16]}"
    try:
        return _submit(address, submission_id, _entrypoint(["-m", "jobs.cli.main", job.name, *overrides]))
    except Exception as error:  # of Ray's, whose classes are not imported before they are needed
        from ray.exceptions import RayError

        if not isinstance(error, RuntimeError | RayError):
            raise
        print(f"rushes: submit failed: {printable_message(one_line_message(error))}", file=sys.stderr)
        return 1


def _entrypoint(arguments: list[str]) -> str:
    """A shell line: this very Python where the cluster has it too (one machine, a shared file system), else
    the cluster's own."""
    own = shlex.quote(sys.executable)
    return (
        f"if [ -x {own} ]; then exec {own} {shlex.join(arguments)}; else exec python "
        f"{shlex.join(arguments)}; fi"
    )


def _absolute(override: str, known: Mapping[str, ConfigKey]) -> str:
    """The job runs in a folder of Ray's: paths must not depend on this one."""
    name, equals, value = override.partition("=")
    if not (equals and name in known and known[name].path_like) or "://" in value:
        return override
    return f"{name}={local_path(value, what=name).absolute()}"


def _submit(address: str, submission_id: str, entrypoint: str) -> int:
    from ray.job_submission import JobStatus, JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(
            logging.ERROR
        )  # they tell of every file that is packed, and every socket that closes
    try:
        check_dashboard(address)
        client = JobSubmissionClient(address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{ADDRESS}={address}: {error}") from error
    known = {j.submission_id: j.status for j in client.list_jobs()}
    if known.get(submission_id) in (JobStatus.FAILED, JobStatus.STOPPED):
        client.delete_job(submission_id)  # jobs go on where they stopped, so trying again is the same job
        del known[submission_id]
    if submission_id in known:
        print(f"submit: {submission_id} is there already ({known[submission_id]}); following it", flush=True)
    else:
        runtime_env = {"working_dir": str(project_root()), "excludes": _EXCLUDED}
        _when_ready(
            lambda: client.submit_job(
                entrypoint=entrypoint, submission_id=submission_id, runtime_env=runtime_env
            )
        )
        print(f"submit: {submission_id} on {address}", flush=True)
    return asyncio.run(_follow(client, submission_id))


def _when_ready(submit: Callable[[], object]) -> None:
    """Submit, and again while the cluster is still starting: its dashboard answers before its job agent does.

    Raises:
        RuntimeError: what the cluster says.
    """
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            submit()
            return
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline_s:
                raise RuntimeError(f"the cluster took no job: {error}") from error
        print("submit: waiting for the cluster's job agent", flush=True)
        time.sleep(_LOOKED_AT_EVERY_S)  # nothing to wait on: the agent announces itself to the cluster only


async def _follow(client: JobSubmissionClient, submission_id: str) -> int:
    """Show the job's log as it grows, and say how the job ended. Where the log can't be followed (a proxy
    that passes no websockets, a dashboard that was started again), the rest of it is shown once the job has
    ended.
    """
    import aiohttp

    shown = 0
    try:
        async for lines in client.tail_job_logs(submission_id):
            _show(lines)
            shown += len(lines)
    except (aiohttp.ClientError, RuntimeError, OSError) as error:
        print(
            f"submit: the log can't be followed ({printable_message(str(error))}); the job goes on, and its "
            "log is shown when it ends",
            flush=True,
        )
        while not client.get_job_status(submission_id).is_terminal():
            await asyncio.sleep(_LOOKED_AT_EVERY_S)
        _show(client.get_job_logs(submission_id)[shown:])
    status = client.get_job_status(submission_id)
    print(f"submit: {submission_id} {status}", flush=True)
    return 0 if status.name == "SUCCEEDED" else 1


def _show(lines: str) -> None:
    sys.stdout.write(lines)
    sys.stdout.flush()
