"""Curation with footage in one bucket and the dataset in another, over a good road and over a bad one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import main
from pipelines.dataset.reader import open_dataset
from pipelines.storage.open_store import open_store
from pipelines.storage.s3 import list_objects, split
from tests.support.footage import film, pan, write
from tests.support.s3_proxy import Faults, Proxy

HEIGHT, WIDTH = 48, 64
TRUTH = ("manifests/", "index/", "shards/", "sources/", "quarantine/")


@pytest.fixture(scope="module")
def module_s3(s3_server):
    """The server, in this process's environment for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        yield s3_server


@pytest.fixture(scope="module")
def footage(module_s3, tmp_path_factory):
    """URI of a prefix with two films, a copy and a note."""
    folder, bucket = tmp_path_factory.mktemp("footage"), module_s3.new_bucket()
    write(folder / "a.mp4", film(pan(1, 30, HEIGHT, WIDTH), pan(2, 20, HEIGHT, WIDTH)))
    write(folder / "b.mp4", film(pan(3, 30, HEIGHT, WIDTH, -1.0)))
    client = module_s3.client()
    for name, file in {"a.mp4": "a.mp4", "deep/b.mp4": "b.mp4", "deep/copy": "a.mp4"}.items():
        client.upload_file(str(folder / file), bucket, f"raw/{name}")
    client.put_object(Bucket=bucket, Key="raw/notes.txt", Body=b"shot on a sunny day")
    return f"s3://{bucket}/raw"


def curate(footage, dataset, **environment):
    """The command in a process and a Ray of its own: those of other tests don't know the server."""
    return subprocess.run(
        [
            sys.executable, "-m", "jobs.cli.main", "curate", f"footage={footage}", f"dataset={dataset}",
            "recipe=permissive",
            "recipe.min.duration_s=0.5", "ray.num_cpus=2",
        ],
        env=dict(os.environ) | environment, capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip


def content(dataset):
    store = open_store(dataset)
    return {key: store.read(key) for folder in TRUTH for key in store.list(folder)}


@pytest.fixture(scope="module")
def first(module_s3, footage, tmp_path_factory):
    """A dataset curated over the good road, and what that left on this machine's disk."""
    dataset, scratch = f"s3://{module_s3.new_bucket()}/films/dataset", tmp_path_factory.mktemp("scratch")
    curate(footage, dataset, TMPDIR=str(scratch))
    return dataset, [path for path in scratch.rglob("*") if path.is_file()], scratch


def test_footage_in_one_bucket_becomes_a_dataset_in_another(first, footage):
    dataset = open_dataset(first[0])
    sources = {
        row["uri"].removeprefix(footage): row["status"] for row in dataset.sources().table().to_pylist()
    }
    assert sources == {
        "/a.mp4": "video",
        "/deep/b.mp4": "video",
        "/deep/copy": "duplicate",
        "/notes.txt": "ignored",
    }
    assert len(list(dataset.kept())) == 3
    assert all(dataset.read(row)[4:8] == b"ftyp" for row in dataset.kept())


def test_nothing_stays_on_the_local_disk_but_the_bounded_cache_of_footage(first):
    allowed = ("ray", "rushes-footage-")  # Ray's own logs and sockets, and the cache
    left = [path for path in first[1] if not path.relative_to(first[2]).parts[0].startswith(allowed)]
    assert left == []


def test_a_run_leaves_its_config_log_and_ledger_in_the_dataset(first):
    keys = list(open_store(first[0]).list("runs/"))
    assert sorted(Path(key).name for key in keys) == ["config.yaml", "ledger.json", "log", "metrics.json"]
    bucket, prefix = split(f"{first[0]}/runs/")
    there = {f"runs/{item.key.removeprefix(prefix)}" for item in list_objects(bucket, prefix)}
    assert there == set(keys), "nothing lies there that a store hides, where rushes clean would not look"
    assert not any(
        os.environ["AWS_SECRET_ACCESS_KEY"].encode() in open_store(first[0]).read(key) for key in keys
    ), "no secret is written down"


def test_over_a_bad_road_everything_is_the_same_byte_for_byte(first, footage, module_s3):
    """503s, delays, connections cut in the middle of what is sent and of what is answered: one in five
    requests."""
    faults = Faults(busy=0.07, slow=0.03, cut_request=0.05, cut_answer=0.05, slow_s=0.1)
    proxy = Proxy(module_s3.port, faults, seed=1).start()
    dataset = f"s3://{module_s3.new_bucket()}/films/dataset"
    try:
        curate(footage, dataset, AWS_ENDPOINT_URL_S3=proxy.endpoint)
    finally:
        proxy.stop()
    assert all(proxy.did[fault] for fault in ("busy", "slow", "cut_request", "cut_answer")), proxy.did
    assert content(dataset) == content(first[0])


def test_other_jobs_take_a_dataset_in_s3_and_say_what_is_wrong(first, tmp_path, capsys):
    dataset = first[0]
    assert main.main(["clips", f"dataset={dataset}", "source=deep/b.mp4"]) == 0
    assert (
        main.main(["export", f"dataset={dataset}", "source=a.mp4", "at_s=1.3", f"out={tmp_path / 'a.mp4'}"])
        == 0
    )
    assert main.main(["export", f"dataset={dataset}", f"out={tmp_path / 'clips'}"]) == 0
    names = [path.name.rpartition("_")[0] for path in sorted((tmp_path / "clips").iterdir())]
    assert names == ["a_0m00.00s", "a_0m01.20s", "b_0m00.00s"]
    assert main.main(["inspect", f"dataset={dataset}"]) == 0
    clip = next(open_dataset(dataset).kept())["clip_id"]
    assert main.main(["passport", f"dataset={dataset}", f"clip={clip}"]) == 0
    assert main.main(["report", f"dataset={dataset}"]) == 0
    (page,) = (key for key in open_store(dataset).list("runs/") if key.endswith("report.html"))
    assert f"report: {dataset}/{page}" in capsys.readouterr().out
    assert main.main(["inspect", f"dataset={dataset[:-1]}"]) == 2
    assert f"did you mean '{dataset}'?" in capsys.readouterr().err
