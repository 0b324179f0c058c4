"""Keys of the environment, and keys in addresses, are in nothing that a job prints or writes, nor in what a
cluster is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli.compose import ConfigError, compose
from jobs.cli.registry import JOBS
from jobs.cli.submit import _EXCLUDED
from jobs.cluster.connect import _s3_env, _worker_env
from tests.support.footage import pan, write

CANARY = "canary/Nm7+2b0cQ9"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0000",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": f"{CANARY}-session",
    "HF_TOKEN": f"{CANARY}-hub",
    "OPENAI_API_KEY": f"{CANARY}-api",
    "RAY_AUTH_TOKEN": f"{CANARY}-ray",
}
LIST = f"""uri,text
walk.mp4,a walk of ${{oc.env:AWS_SECRET_ACCESS_KEY}}
https://b.example/a.mp4?X-Amz-Signature={CANARY}&X-Amz-Credential=x,
s3://somebody:{CANARY}@bucket/b.mp4,
gone.mp4,
"""


def rushes(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.cli.main", *arguments]
    environ = {**os.environ, **KEYS, "HOME": "/nonexistent"}  # nor does anything need a home
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environ)


def test_nothing_that_is_printed_or_written_holds_a_key(tmp_path):
    write(tmp_path / "walk.mp4", pan(1, 24, 48, 64), fps=16)
    (tmp_path / "list.csv").write_text(LIST)
    dataset = tmp_path / "dataset"
    done = [
        rushes(
            *("curate", f"footage={tmp_path / 'list.csv'}", f"dataset={dataset}", "recipe=permissive"),
            *("recipe.min.duration_s=0.5", "scores.text=false", "scores.nsfw=false"),
        ),
        rushes("inspect", f"dataset={dataset}"),
        rushes("report", f"dataset={dataset}", f"out={tmp_path / 'report' / 'r.html'}"),
        rushes("clips", f"dataset={dataset}", "format=json", "columns=clip_id,source_text"),
    ]
    for one in done:
        assert one.returncode == 0, one.stderr
        assert CANARY not in one.stdout + one.stderr
    assert "a walk of ${oc.env:AWS_SECRET_ACCESS_KEY}" in done[-1].stdout
    assert "2 unreadable" in done[1].stdout
    written = [
        path for folder in (dataset, tmp_path / "report") for path in folder.rglob("*") if path.is_file()
    ]
    assert {"log", "config.yaml", "r.html"} <= {path.name for path in written}
    assert [path for path in written if CANARY.encode() in content(path)] == []


def content(path: Path) -> bytes:
    """Of a file; of a table, its cells, as its bytes are compressed."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    import pyarrow.parquet as pq

    return repr(pq.read_table(path).to_pylist()).encode()


@pytest.mark.parametrize(
    ("job", "typed"),
    [
        ("curate", ["footage=s3://somebody:hunter2@bucket/f", "dataset=d"]),
        ("curate", ["footage=f", "dataset=https://b.example/d?X-Amz-Signature=hunter2"]),
        ("curate", ["footage=f", "dataset=d", "ray.address=ray://user:hunter2@host:10001"]),
        ("train", ["dataset=d", "out=o", "model.x=http://user:hunter2@host/"]),
        ("encode", ["dataset=d", "vae=https://hunter2@hub.example/vae"]),
    ],
)
def test_an_address_with_a_key_in_it_is_refused_and_not_repeated(job, typed):
    with pytest.raises(ConfigError, match="holds a key or password, which would be written down") as raised:
        compose(JOBS[job], typed)
    assert "hunter2" not in str(raised.value)


def test_a_sentence_is_no_address_whatever_it_says():
    prompt = "http://user:hunter2@host"
    assert compose(JOBS["generate"], ["checkpoint=c", "out=o.mp4", f"prompt={prompt}"]).cfg.prompt == prompt


@pytest.mark.parametrize(
    "option", ["seed=ray://a:hunter2@h", "+seed=s3://a:hunter2@h", "sed=s3://a:hunter2@h"]
)
def test_whatever_else_is_wrong_with_it_is_said_without_the_key(option):
    done = rushes("train", "dataset=d", "out=o", option)
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


def test_a_dashboards_address_with_a_key_is_refused():
    done = rushes("submit", "inspect", "dataset=d", "ray.address=http://user:hunter2@127.0.0.1:9")
    assert done.returncode == 2
    assert "ray.address=http://***@127.0.0.1:9 holds a key" in done.stderr


def test_workers_are_told_where_s3_is_and_no_keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    told = _worker_env() | _s3_env()
    assert told["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:8333"
    assert not any(CANARY in value for value in told.values())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{CANARY}@127.0.0.1:8333")
    with pytest.raises(ValueError, match=r"AWS_ENDPOINT_URL_S3=.* holds a key"):
        _s3_env()


def test_of_the_folder_of_the_packages_a_cluster_gets_the_packages_and_nothing_else(tmp_path):
    """As Ray packs it, and looks at each file."""
    import zipfile

    from ray._private.runtime_env.packaging import create_package

    folder = tmp_path / "checkout"
    for name in (
        ".env",
        "notes.txt",
        "jobs/cli/main.py",
        "jobs/curation/page.html",
        "jobs/__pycache__/main.pyc",
        "pipelines/recipes/a.yaml",
        "keys/jobs/id",
        "site/x.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    create_package(str(folder), tmp_path / "package.zip", include_gitignore=True, excludes=_EXCLUDED)
    packed = {name for name in zipfile.ZipFile(tmp_path / "package.zip").namelist() if not name.endswith("/")}
    assert packed == {"jobs/cli/main.py", "jobs/curation/page.html", "pipelines/recipes/a.yaml"}
