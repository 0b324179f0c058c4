"""`rushes submit <job> key=value … ray.address=http://host:8265`: the same job, run as a Ray job on a cluster.

In: a job's command line. Out: its logs, followed here, and its exit code. The submission id is the job and the hash of its
configuration, so that submitting the same thing twice is one job: the second time its logs are followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import sys

from jobs.cluster import project_root
from jobs.compose import ConfigError, compose
from jobs.fields import keys
from jobs.help import job_help
from jobs.registry import SUBMIT_SUMMARY, job_named

ADDRESS = "ray.address"
_EXCLUDED = [".git", ".venv", "demo", "runs", "tests", "benchmarks", "docs", "**/__pycache__", ".cache", "*.mp4", "*.safetensors"]


def main(arguments: list[str]) -> int:
    """Submit and follow; returns 0 when the job succeeded, 1 when it failed.

    Raises:
        ValueError: wrong usage.
        ConnectionError: no cluster answers.
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
    overrides = [a for a in rest if not a.startswith(f"{ADDRESS}=")]
    if any(k.path == ADDRESS for k in keys(job.config_class())):
        overrides.append(f"{ADDRESS}=auto")  # inside the cluster
    composed = compose(job, overrides)
    submission_id = f"{job.name}-{hashlib.sha256(composed.yaml.encode()).hexdigest()[:16]}"
    return _submit(address, submission_id, ["python", "-m", "jobs.main", job.name, *overrides])


def _submit(address: str, submission_id: str, command: list[str]) -> int:
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"{ADDRESS}={address}: no Ray dashboard answers there ({error}); `ray start --head` prints its address") from error
    known = {j.submission_id: j.status for j in client.list_jobs()}
    if known.get(submission_id) in (JobStatus.FAILED, JobStatus.STOPPED):
        client.delete_job(submission_id)  # jobs go on where they stopped, so trying again is the same job
        del known[submission_id]
    if submission_id in known:
        print(f"submit: {submission_id} is there already ({known[submission_id]}); following it", flush=True)
    else:
        runtime_env = {"working_dir": str(project_root()), "excludes": _EXCLUDED}
        client.submit_job(entrypoint=shlex.join(command), submission_id=submission_id, runtime_env=runtime_env)
        print(f"submit: {submission_id} on {address}", flush=True)
    return asyncio.run(_follow(client, submission_id))


async def _follow(client, submission_id: str) -> int:
    from ray.job_submission import JobStatus

    async for lines in client.tail_job_logs(submission_id):
        sys.stdout.write(lines)
        sys.stdout.flush()
    status = client.get_job_status(submission_id)
    print(f"submit: {submission_id} {status}", flush=True)
    return 0 if status == JobStatus.SUCCEEDED else 1
