"""Killed with SIGKILL and run again, curation makes what it makes undisturbed. The long version is
benchmarks/kill_curate.py."""

import signal
import tempfile
from pathlib import Path

import pytest

from pipelines.fault_injection import Drill, has_killed, write_drill
from tests.support.killing import Ground, truth

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def ground(shared_ray):
    with tempfile.TemporaryDirectory(
        prefix="rk-", ignore_cleanup_errors=True
    ) as folder:  # short: Ray's sockets lie below
        yield Ground(Path(folder), shared_ray.address)


@pytest.fixture(scope="module")
def rehearsal(ground):
    return ground.rehearse()


def killed_run(ground, place, name, nth, victim, own_ray=False):
    """The exit code of a run in which somebody is killed at a boundary."""
    token = name.replace(":", "-")
    file = write_drill(Drill(name, nth, victim, token), place)
    ended = ground.run(place, own_ray, file=file)
    assert has_killed(place / token), f"nobody came to {name}:\n{ended.said}"
    return ended.code


def test_a_run_whose_worker_dies_goes_on_by_itself(ground, rehearsal):
    with ground.place() as place:
        # the tar is there, the rows are not
        assert killed_run(ground, place, "shard:after", 1, "worker") == 0
        assert truth(place / "dataset") == rehearsal.truth


def test_killed_again_and_again_it_makes_in_the_end_what_it_makes_undisturbed(ground, rehearsal):
    with ground.place() as place:
        assert killed_run(ground, place, "signals:after", 2, "ray", own_ray=True) == KILLED
        assert killed_run(ground, place, "clips:after", 1, "driver") == KILLED
        assert killed_run(ground, place, "shard:before", 1, "driver") == KILLED
        assert killed_run(ground, place, "manifest:before", 1, "driver") == KILLED
        assert truth(place / "dataset") == ""
        last = ground.run(place)
        assert last.code == 0, last.said
        assert truth(place / "dataset") == rehearsal.truth
        assert ground.run(place).code == 0
        assert [path.name for path in (place / "dataset" / "manifests").iterdir()] == ["000001.json"]


def test_the_footage_has_what_could_go_wrong(rehearsal):
    passed = {name for name, _ in rehearsal.by_workers + rehearsal.by_driver}
    stages = (
        "identify",
        "probe",
        "signals",
        "quality",
        "looks",
        "clips",
        "captions",
        "shards",
        "tables",
        "manifest",
    )
    assert passed >= {f"{name}:{side}" for name in (*stages, "shard") for side in ("before", "after")}
    assert ("signals:after", 8) in rehearsal.by_workers  # videos of several units
