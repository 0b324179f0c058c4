"""A job on a cluster that is there already: by ray.address, and submitted as a Ray job."""

import subprocess
import sys

from tests.footage import pan, write


def rushes(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jobs.main", *arguments], capture_output=True, text=True, timeout=240, check=False
    )


def test_a_job_runs_on_the_cluster_at_ray_address(shared_ray, tmp_path):
    write(tmp_path / "footage.mp4", pan(1, 24, 48, 64), fps=16)
    done = rushes(
        "curate", f"footage={tmp_path / 'footage.mp4'}", f"dataset={tmp_path / 'dataset'}", "recipe=permissive", "recipe.min.duration_s=0.5",
        f"ray.address={shared_ray.address}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kept 1" in done.stdout


def test_a_cluster_that_is_not_there_is_said_to_be_missing(tmp_path):
    write(tmp_path / "footage.mp4", pan(1, 8, 48, 64), fps=16)
    done = rushes(
        "submit", "curate", f"footage={tmp_path}", f"dataset={tmp_path / 'd'}", "ray.address=http://127.0.0.1:9"
    )
    assert done.returncode == 2
    assert "ray.address=http://127.0.0.1:9: no Ray dashboard answers there" in done.stderr


def test_a_submitted_job_is_followed_to_its_end_and_submitted_once(shared_ray, tiny_run):
    command = [
        "submit",
        "inspect",
        f"dataset={tiny_run.out / 'dataset'}",
        "format=json",
        f"ray.address={shared_ray.dashboard}",
    ]
    first = rushes(*command)
    assert first.returncode == 0, first.stderr + first.stdout
    assert '"clips_kept": 3' in first.stdout
    assert "SUCCEEDED" in first.stdout
    again = rushes(*command)
    assert again.returncode == 0
    assert "is there already" in again.stdout


def test_a_submitted_job_that_fails_exits_with_1(shared_ray, tmp_path):
    done = rushes("submit", "inspect", f"dataset={tmp_path / 'none'}", f"ray.address={shared_ray.dashboard}")
    assert done.returncode == 1
    assert "no dataset is there" in done.stdout
    assert "FAILED" in done.stdout
