"""A local Ray is its run's alone: on loopback, behind a token, in a closed folder, without a home."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cluster.config import RayConfig
from jobs.cluster.connect import connect
from jobs.cluster.local_ray import _LONGEST_FOLDER, _PREFIX, _private_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# as the kernel writes 127.0.0.1 and ::ffff:127.0.0.1
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}

# In a process of its own: one Ray a process, and this one may have that of the other tests.
STARTED = """
import json, os, stat, urllib.error, urllib.request
from pathlib import Path

import grpc, psutil

from jobs.cluster.connect import connect
from jobs.cluster.config import RayConfig
from jobs.cluster.ray_address import check_answers

def listening(pids):
    "(address in hexadecimal, port) of each socket of these processes that takes connections or packets"
    own = set()
    for pid in pids:
        files = Path(f"/proc/{pid}/fd").iterdir()
        own |= {os.readlink(fd) for fd in files if fd.is_symlink() and os.path.lexists(fd)}
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] in ("0A", "07") and f"socket:[{parts[9]}]" in own:
                yield parts[1].split(":")

def http(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
    except Exception as error:
        return None  # no HTTP

def asked(port, token):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(
                b"", timeout=5, metadata=(("authorization", f"Bearer {token}"),)
            )
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

def add(config):
    import torch
    import torch.distributed as dist
    sum_ = torch.ones(1)
    dist.all_reduce(sum_)
    found = sorted({where for where, _ in listening([os.getpid()])})
    Path(config["out"], str(dist.get_rank())).write_text(json.dumps([float(sum_), found]))
    dist.barrier()

def trained(folder):
    "of each of two workers: the sum that they made together, and what it listens on meanwhile"
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from jobs.cluster.rendezvous import torch_config
    storage = RunConfig(storage_path=str(folder / "storage"), name="x")
    workers = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1})
    TorchTrainer(
        add,
        train_loop_config={"out": str(folder)},
        torch_config=torch_config("gloo"),
        scaling_config=workers,
        run_config=storage,
    ).fit()
    return [json.loads((folder / str(rank)).read_text()) for rank in range(2)]

with connect(RayConfig(num_cpus=2)):
    import ray
    tokens = ray.get(ray.remote(lambda: os.environ["RAY_AUTH_TOKEN"]).remote())
    address, port = ray.get_runtime_context().gcs_address.split(":")
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = list(listening([one.pid for one in processes]))
    folder = Path(ray._private.worker._global_node.get_session_dir_path()).parent.parent
    written = [path for path in folder.rglob("*") if path.is_file() and tokens.encode() in path.read_bytes()]
    told = {
        "address": address,
        "addresses": sorted({where for where, _ in sockets}),
        "http": sorted({
            str(http(int(p, 16), path))
            for _, p in sockets
            for path in ("/", "/metrics", "/api/jobs/", "/api/version")
        }),
        "without": asked(port, ""), "other": asked(port, "f" * 64), "own": asked(port, tokens),
        "mode": oct(stat.S_IMODE(folder.stat().st_mode)), "folder": str(folder),
        "written": len(written), "in_command": sum(tokens in " ".join(one.cmdline()) for one in processes),
        "here": [name for name in os.environ if name.startswith("RAY_AUTH")],
        "names": " ".join(" ".join(one.cmdline()) for one in processes),
    }
    check_answers(f"{address}:{port}")
    told["workers"] = trained(Path(os.environ["TMPDIR"]))
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a Ray is like that a run starts whose user has no home, and meant another token for a cluster."""
    temporary = tmp_path_factory.mktemp("t")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "HOME"))}
    environ |= {"HOME": "/nonexistent", "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STARTED]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_everything_of_it_listens_on_loopback_only(told):
    assert told["address"] == "127.0.0.1"
    assert told["addresses"]
    assert set(told["addresses"]) <= LOOPBACK


def test_it_answers_nobody_without_its_token(told):
    assert told["without"] == told["other"] == "UNAUTHENTICATED"
    assert told["own"] == "OK"
    assert "401" in told["http"]
    assert not any(code.startswith("2") for code in told["http"])


def test_training_workers_on_it_find_each_other_and_listen_on_loopback_only(told):
    for total, addresses in told["workers"]:
        assert total == 2
        assert set(addresses) <= LOOPBACK


def test_its_token_is_in_no_file_and_no_command_and_no_longer_in_this_process(told):
    assert (told["written"], told["in_command"], told["here"]) == (0, 0, [])


def test_its_folder_is_closed_and_goes_with_it(told):
    assert told["mode"] == "0o700"
    assert not Path(told["folder"]).exists()


def test_it_starts_nothing_that_looks_for_a_cloud(told):
    assert "raylet" in told["names"]
    assert "dashboard.py" not in told["names"]
    assert "monitor.py --logs-dir" not in told["names"]


def test_its_sockets_find_a_folder_whose_path_is_short_enough(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    made = _private_folder()
    try:
        assert str(made).startswith(f"/tmp/{_PREFIX}")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        session = made / "r" / "session_2026-01-31_12-00-00_123456_1234567" / "sockets" / "plasma_store"
        assert len(str(session)) - len(str(made)) + _LONGEST_FOLDER <= 107
    finally:
        made.rmdir()


def test_without_such_a_folder_it_says_what_to_set(monkeypatch):
    monkeypatch.setattr("jobs.cluster.local_ray._LONGEST_FOLDER", 5)
    with pytest.raises(OSError, match="set RAY_TMPDIR to one that can be written, with a short path"):
        _private_folder()


@pytest.fixture
def no_ray(monkeypatch):
    """As if this process had none, and what there may be of other tests is left alone."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr("jobs.cluster.local_ray.read_environment", lambda: None)
    monkeypatch.setattr("jobs.cluster.local_ray._children", set)


def test_a_local_ray_that_does_not_come_up_in_its_time_is_started_again(no_ray, monkeypatch, capfd):
    import ray

    attempts = []

    def busy(**how):
        attempts.append(how)
        if len(attempts) < 3:
            raise Exception("The current node timed out during startup. This could happen because …")

    monkeypatch.setattr(ray, "init", busy)
    with connect(RayConfig(num_cpus=1)):
        pass
    assert len(attempts) == 3
    said = capfd.readouterr().err
    assert "trying again (2 of 5)" in said
    assert "trying again (3 of 5)" in said


def test_what_is_wrong_with_a_local_ray_otherwise_is_not_tried_again(no_ray, monkeypatch):
    import ray

    def broken(**how):
        raise ValueError("num_cpus must be positive")

    monkeypatch.setattr(ray, "init", broken)
    with pytest.raises(ValueError, match="must be positive"), connect(RayConfig(num_cpus=1)):
        pass
