"""Line 3: links in datasets, caches, scratch and run folders that lead out; folders that another user made
before.

In: a place. Out: cases. The victim's folder holds files with the names and ages that our commands look for;
none of them is listed, opened, written or deleted.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.attacks.judging import ESCAPED
from benchmarks.attacks.names import links
from benchmarks.attacks.place import NOBODY, Place
from benchmarks.attacks.registry import attack

_CLEAN = ("remove=true", "min_age_h=0", "old_manifests=true", "stages=true")
_FOLDERS = (
    "index",
    "looks",
    "sources",
    "quarantine",
    "shards",
    "stages",
    "runs",
    ".scratch",
    "latents",
    "texts",
    "captions",
)
_OLD_S = 1_500_000_000


@attack(line=3, quick=True)
def links_inside_a_dataset(place: Place, draw: Random) -> None:
    """In each folder of a dataset, links of every kind to the victim's, under names that are a dataset's
    own."""
    theirs = _tempting(place.victim / "data", draw)
    dataset = place.material.copy_dataset(place.work / "ds")
    for folder in _FOLDERS:
        (dataset / folder).mkdir(exist_ok=True)
        for name, make in links(dataset / folder / _name_in(folder, draw), theirs / folder, draw).items():
            place.case(f"{folder}_{name}")
            at = dataset / folder / _name_in(folder, draw)
            links(at, theirs / folder, draw)[name]()
            assert make
    bucket = next((dataset / "shards").glob("*_*"), None)
    for number, (folder, file) in enumerate(
        (("shards", "t.tar"), ("index", "t.parquet"), ("manifests", "t.json"))
    ):
        place.case(f"file_{folder}")
        target = next((theirs / folder).rglob(f"*.{file.partition('.')[2]}"))
        at = (bucket if folder == "shards" and bucket else dataset / folder) / target.name
        if not at.exists():
            at.symlink_to(target)
        assert number >= 0
    for words in (
        ["clean", *_CLEAN],
        ["verify", "decode=false"],
        ["inspect"],
        ["report"],
        ["select"],
        ["clean", *_CLEAN],
    ):
        place.rushes(words[0], f"dataset={dataset}", *words[1:])


@attack(line=3)
def folders_of_a_dataset_that_are_links(place: Place, draw: Random) -> None:
    """A folder of a dataset is itself a link to the victim's."""
    for folder in (*_FOLDERS, "manifests"):
        place.case(f"{folder}_clean")
        theirs = _tempting(place.victim / f"data_{folder.strip('.')}", draw)
        dataset = place.material.copy_dataset(place.work / f"ds_{folder.strip('.')}")
        if (dataset / folder).exists():
            shutil.copytree(dataset / folder, theirs / folder, dirs_exist_ok=True)
            shutil.rmtree(dataset / folder)
        draw.choice([*links(dataset / folder, theirs / folder, draw).values()])()
        place.rushes("clean", f"dataset={dataset}", *_CLEAN)
        if folder in ("runs", ".scratch", "stages", "manifests"):
            place.case(f"{folder}_select")
            place.rushes("select", f"dataset={dataset}", "recipe.min.duration_s=0.1")


@attack(line=3, quick=True)
def folders_for_temporary_files(place: Place, draw: Random) -> None:
    """Run folders and caches in /tmp that somebody made before: as links, as theirs, as open to all, with
    links inside."""
    mine = f"rushes-{os.getuid()}"
    dataset = place.material.copy_dataset(place.work / "ds")

    def link(at: Path) -> None:
        at.symlink_to(place.victim)

    def inner_link(at: Path) -> None:
        at.mkdir(mode=0o700)
        (at / "inspect").symlink_to(place.victim)

    def file_links(at: Path) -> None:
        (at / "inspect").mkdir(parents=True, mode=0o700)
        (at / "inspect" / "config.yaml").symlink_to(place.victim / "secret.txt")
        (at / "inspect" / "log").symlink_to(place.victim / "deep" / "notes.json")

    def pipes(at: Path) -> None:
        (at / "inspect").mkdir(parents=True, mode=0o700)
        os.mkfifo(at / "inspect" / "log")

    def open_to_all(at: Path) -> None:
        (at / "inspect").mkdir(parents=True)
        for path in (at, at / "inspect"):
            path.chmod(0o777)
        (at / "inspect" / "config.yaml").symlink_to(place.victim / "secret.txt")

    def theirs(at: Path) -> None:
        open_to_all(at)
        for path in (at, at / "inspect"):
            os.chown(path, NOBODY, NOBODY)

    def a_file(at: Path) -> None:
        at.write_text("not a folder")

    ways: dict[str, Callable[[Path], None]] = {
        "link": link, "inner_link": inner_link, "file_links": file_links, "pipes": pipes,
        "open_to_all": open_to_all, "a_file": a_file,
    }  # fmt: skip
    if os.geteuid() == 0:
        ways["theirs"] = theirs
    else:
        place.skip("theirs", "only root can make another user's folder")
    place.tmp.chmod(0o1777)
    for name, make in ways.items():
        place.case(name)
        make(place.tmp / mine)
        done = place.rushes("inspect", f"dataset={dataset}", limit_s=30)
        place.hold(done.code in (0, 1, 2), f"exit code {done.code}")
        shared = place.tmp / mine / "inspect"
        if name in ("open_to_all", "theirs"):
            place.hold(
                not (shared / "log").exists(), "a log was written into a folder that others may write to"
            )
        _away(place.tmp / mine)


@attack(line=3)
def caches_of_somebody_else(place: Place, draw: Random) -> None:
    """The cache of footage, as a link, as another user's, or open to all: what lies in it is not taken for
    footage."""
    made = (
        "import sys; from pathlib import Path; from pipelines.footage.cache import node_cache\ndef "
        "fetch(path): path.write_bytes(b'theirs')\nwith node_cache().held('name', 6, fetch) as path: "
        "assert path.read_bytes() == b'theirs', 'another content'\n"
    )
    cache = place.tmp / f"rushes-footage-{os.getuid()}"
    place.tmp.chmod(0o1777)
    outer = place.victim / "cache"
    outer.mkdir()
    for name, make in {
        "link": lambda: cache.symlink_to(outer),
        "open_to_all": lambda: (cache.mkdir(), cache.chmod(0o777)),
        "theirs": lambda: (cache.mkdir(), os.chown(cache, NOBODY, NOBODY)),
        "links_inside": lambda: (
            cache.mkdir(mode=0o700),
            [(cache / f"{n:02x}.lock").symlink_to(outer / "new") for n in range(256)],
        ),
    }.items():
        if name == "theirs" and os.geteuid():
            place.skip(name, "only root can make another user's folder")
            continue
        place.case(name)
        make()
        done = place.run([sys.executable, "-c", made], may_fail=True, limit_s=60)
        refused = done.code != 0 and ("Error" in done.err)
        if name in ("open_to_all", "theirs", "link"):
            place.hold(refused, "it was used")
        _away(cache)


@attack(line=3)
def files_that_are_written_over_links(place: Place, draw: Random) -> None:
    """Where a command writes a file, a link to the victim's lies: the link may go, what it leads to stays."""
    dataset = place.material.copy_dataset(place.work / "ds")
    note = place.victim / "note.json"
    note.write_text(json.dumps({"prompt": "x", "seed": 0}))
    cases: dict[str, tuple[str, list[str]]] = {
        "report": ("report.html", ["report", f"dataset={dataset}", "out=report.html"]),
        "report_inside": ("ds/report.html", ["report", f"dataset={dataset}"]),
        "export": ("all/x", ["export", f"dataset={dataset}", "out=all", "replace=true"]),
        "generate": ("k.mp4",
            ["generate", f"checkpoint={place.material.training}", "out=k.mp4", "prompt=x", "width=64",
                "height=48", "steps=1", "duration_s=0"]),
        "generate_note": ("l.json",
            ["generate", f"checkpoint={place.material.training}", "out=l.mp4", "prompt=x", "width=64",
                "height=48", "steps=1", "duration_s=0"]),
    }  # fmt: skip
    for name, (at, words) in cases.items():
        place.case(name)
        path = place.work / at
        path.parent.mkdir(exist_ok=True)
        if name == "export":
            names = place.rushes("export", f"dataset={dataset}", "out=first").code
            assert names == 0
            for file in (place.work / "first").iterdir():
                (path.parent / file.name).symlink_to(place.victim / "film.mp4")
        else:
            path.symlink_to(note if name == "generate_note" else place.victim / "secret.txt")
        # generate looks whether the note is one of its own: that it reads it is right.
        place.rushes(*words, guard=[place.victim / "deep"] if name == "generate_note" else None)
        place.hold(
            "seed" in note.read_text() and "canary" not in note.read_text(),
            "the victim's note is another",
            kind=ESCAPED,
        )


@attack(line=3)
def two_runs_in_one_folder(place: Place, draw: Random) -> None:
    """Two runs begin in the same second, each as process 1 of a container: each has a folder of its own."""
    frozen = place.work / "frozen"
    frozen.mkdir()
    (frozen / "sitecustomize.py").write_text(
        "import os, time\n_gmtime = time.gmtime\n"
        "time.gmtime = lambda s=None: _gmtime(1_700_000_000 if s is None else s)\nos.getpid = lambda: 1\n"
    )
    dataset = place.material.copy_dataset(place.work / "ds")
    known = {path.name for path in (dataset / "runs").iterdir()} if (dataset / "runs").is_dir() else set()
    for words in (["select", "recipe.min.duration_s=0.1"], ["clean"], ["report"]):
        place.case(f"{words[0]}_one_after_another")
        for _ in range(2):
            place.rushes(
                words[0],
                f"dataset={dataset}",
                *words[1:],
                env={"PYTHONPATH": f"{frozen}:{place.environment['PYTHONPATH']}"},
            )
        new = {path.name for path in (dataset / "runs").iterdir() if words[0] in path.name} - known
        place.hold(len(new) == 2, f"two runs of {words[0]} have {len(new)} folders")
    place.case("at_once_in_namespaces")
    if os.geteuid():
        place.skip("at_once_in_namespaces", "only root may make a namespace of processes")
        return
    before = {path.name for path in (dataset / "runs").iterdir()}
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        sys.executable,
        "-m",
        "jobs.cli.main",
        "verify",
        f"dataset={dataset}",
    ]
    dones = []
    # Only the first is judged by `place`, whose files are one's own; the second is there to be in its way.
    import subprocess

    second = subprocess.Popen(
        command, cwd=place.work, env={k: v for k, v in place.environment.items() if v is not None},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ended = threading.Thread(target=lambda: dones.append(second.wait()))
    ended.start()
    place.run(command)
    ended.join(60)
    new = {path.name for path in (dataset / "runs").iterdir()} - before
    if new:  # of a job that keeps its runs in the dataset
        place.hold(len(new) == 2, f"two runs at once have {len(new)} folders")


def _tempting(folder: Path, draw: Random) -> Path:
    """A folder like a dataset's, whose files nobody's manifest names; old enough to be cleaned away."""
    hexes = lambda count: "".join(draw.choice("0123456789abcdef") for _ in range(count))  # noqa: E731
    names = {
        "index": f"{hexes(32)}.parquet", "looks": f"{hexes(32)}.parquet", "sources": f"{hexes(32)}.parquet",
        "quarantine": f"{hexes(32)}.parquet",
        "shards": f"16x9_240_1s/{hexes(16)}.tar", "stages": f"shards/{hexes(16)}/{hexes(16)}.parquet",
        "runs": "20200101T000000-select-1/log",
        ".scratch": f"{hexes(8)}/object", "latents": f"{hexes(16)}/x.tar",
        "texts": f"{hexes(16)}/x.safetensors", "captions": "x.parquet",
        "manifests": "000000.json",
    }  # fmt: skip
    for part, name in names.items():
        path = folder / part / name
        path.parent.mkdir(parents=True)
        path.write_text("private")
        os.utime(path, (_OLD_S, _OLD_S))
        os.utime(path.parent, (_OLD_S, _OLD_S))
    return folder


def _name_in(folder: str, draw: Random) -> str:
    """A name that a link in a dataset's folder may have so that our commands look behind it."""
    number = draw.randrange(1 << 32)
    return {"shards": f"16x9_{number}_5s", "runs": f"20200101T000000-select-{number}"}.get(
        folder, f"{number:016x}"
    )


def _away(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
