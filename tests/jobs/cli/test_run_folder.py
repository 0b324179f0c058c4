"""Every run has a folder to itself, wherever it runs, and none that somebody else has prepared."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.cli import run_folder
from jobs.cli.main import DONE, WRONG_USAGE, main
from jobs.cli.run_folder import new_run_folder, open_run, scratch_run_folder
from pipelines.storage.open_store import open_store

CONFIG = "job: test\n"
NOBODY = 65534


@pytest.fixture
def in_containers(monkeypatch):
    """Every process is process 1, and all start in one second."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    clock = SimpleNamespace(strftime=lambda *args: "20260101T000000", gmtime=time.gmtime, time=lambda: 0.0)
    monkeypatch.setattr(run_folder, "time", clock)


@pytest.fixture(params=["folder", "s3"])
def dataset(request, tmp_path):
    return (
        str(tmp_path / "dataset")
        if request.param == "folder"
        else f"s3://{request.getfixturevalue('s3').new_bucket()}/d"
    )


def test_two_runs_never_share_a_folder_in_containers_either(dataset, in_containers):
    with ThreadPoolExecutor(8) as pool:
        runs = list(
            pool.map(lambda k: open_run("curate", new_run_folder(dataset, "curate"), f"k: {k}\n"), range(8))
        )
    assert len({run.uri for run in runs}) == len({run.folder for run in runs}) == 8
    for number, run in enumerate(runs):
        with run:
            run.write_json("ledger.json", number)
    store = open_store(dataset)
    found = sorted(key for key in store.list("runs/") if key.endswith("config.yaml"))
    assert sorted(store.read(key).decode() for key in found) == [f"k: {k}\n" for k in range(8)]
    assert all(key.startswith("runs/20260101T000000-curate-") for key in found)
    assert {int(store.read(key.replace("config.yaml", "ledger.json"))) for key in found} == set(range(8))


def test_a_folder_that_is_there_is_never_taken_even_if_chance_says_so(dataset, in_containers, monkeypatch):
    tokens = iter(["same", "same", "same", "other"])
    monkeypatch.setattr(run_folder, "secrets", SimpleNamespace(token_hex=lambda n: next(tokens)))
    first = open_run("curate", new_run_folder(dataset, "curate"), CONFIG)
    second = open_run("curate", new_run_folder(dataset, "curate"), CONFIG)
    assert (first.uri.rpartition("-")[2], second.uri.rpartition("-")[2]) == ("00000same", "00000other")


@pytest.mark.parametrize("to", ["/", "../home", "{home}"])
def test_a_runs_folder_that_leads_out_is_refused(tmp_path, to):
    home, dataset = tmp_path / "home", tmp_path / "dataset"
    home.mkdir()
    dataset.mkdir()
    (dataset / "runs").symlink_to(to.format(home=home))
    before = set(os.listdir("/"))
    with pytest.raises(PermissionError, match=r"runs is a link to .*, out of"):
        open_run("curate", new_run_folder(str(dataset), "curate"), CONFIG)
    assert not list(home.iterdir())
    assert set(os.listdir("/")) == before


def test_a_job_that_only_looks_has_a_private_folder_that_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ready = tmp_path / f"rushes-{os.getuid()}"
    ready.mkdir(mode=0o777)
    (ready / "inspect").symlink_to("/")
    with open_run("inspect", scratch_run_folder("inspect"), CONFIG) as one:
        with open_run("inspect", scratch_run_folder("inspect"), CONFIG) as two:
            assert one.folder != two.folder
            assert two.folder.stat().st_mode & 0o777 == 0o700
            assert (two.folder / "log").exists()
        assert not two.folder.exists()
    with pytest.raises(RuntimeError), open_run("inspect", scratch_run_folder("inspect"), CONFIG) as failed:
        raise RuntimeError("for the log")
    assert "for the log" in failed.log.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([ready.name, failed.folder.name])


HOLD = (
    "import sys, time; from pathlib import Path; from jobs.cli.run_folder import open_run; "
    "open_run('evaluate', Path(sys.argv[1]), ''); print('held', flush=True); time.sleep(60)"
)


def test_a_folder_that_the_user_names_has_one_run_at_a_time(tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        config = (out / "config.yaml").read_bytes()
        with pytest.raises(
            ValueError, match=f"another run writes into {out}; wait until it ends, or give another folder"
        ):
            open_run("evaluate", out, CONFIG)
        assert (out / "config.yaml").read_bytes() == config
        process.kill()
    with open_run("evaluate", out, CONFIG):
        pass
    with open_run("evaluate", out, CONFIG) as again:
        assert again.folder == out


def link(out):
    (out.parent / "home").mkdir()
    out.symlink_to("home")


def writable(out):
    out.mkdir()
    out.chmod(0o777)


def of_another(out):
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)


def with_a_link(*below):
    def made(out):
        path = out.joinpath(*below)
        path.parent.mkdir(parents=True)
        (out.parent / "home").mkdir()
        path.symlink_to(out.parent / "home")

    return made


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (link, "out is a link to home"),
        (writable, "can be written to by everybody"),
        (of_another, "belongs to somebody else"),
        (lambda out: out.write_text(""), "is no folder"),
        (with_a_link("log"), "log is a link to .*, out of"),
        (with_a_link("config.yaml"), "config.yaml is a link to .*, out of"),
        (with_a_link("export", "dit"), "dit is a link to .*, out of"),
        (with_a_link("checkpoints", "step_00000001", "state.json"), "state.json is a link to .*, out of"),
    ],
)  # fmt: skip
def test_a_folder_that_somebody_else_has_prepared_is_refused_in_one_line(tmp_path, made, why):
    out = tmp_path / "out"
    made(out)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=why) as caught:
        open_run("train", out, CONFIG)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_that_stay_in_a_runs_folder_are_fine(tmp_path):
    (tmp_path / "out" / "export-1").mkdir(parents=True)
    (tmp_path / "out" / "export").symlink_to("export-1")
    with open_run("train", tmp_path / "out", CONFIG) as run:
        assert run.folder == tmp_path / "out"


def test_inspect_leaves_nothing_behind(mixed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["inspect", f"dataset={mixed}"]) == DONE
    assert not list(tmp_path.iterdir())
    assert main(["verify", f"dataset={tmp_path}"]) == WRONG_USAGE
    assert "no dataset is there" in capsys.readouterr().err


def test_a_generated_videos_run_lies_beside_it_and_is_new(tmp_path):
    from jobs.generate import run_folder as of_generate
    from jobs.generation.config import GenerateConfig

    cfg = GenerateConfig(checkpoint="c", prompt="p", out=str(tmp_path / "v.mp4"))
    one, two = of_generate(cfg), of_generate(cfg)
    assert one != two
    assert Path(one).parent == tmp_path / "runs"
