"""Line 11: full disks, read-only ones, rights that are missing, readers who go away: a line, exit 1, and the
same command goes on.

In: a place. Out: cases. A full disk is a small one of memory, mounted inside the place; only root can do
that.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.attacks.material import QUICK_CURATION, TINY_VIDEO, newest_manifest, settings_of
from benchmarks.attacks.place import NOBODY, Done, Place
from benchmarks.attacks.registry import attack
from pipelines.ids import sha256_file

_PROGRESS = re.compile(r"(?!rushes)[a-z_]+: .*\d+/\d")


@attack(line=11, quick=True)
def disks_that_are_full(place: Place, draw: Random) -> None:
    """Curation, reports, exports and videos onto a disk that is full; then there is room, and the same
    command goes on."""
    if os.geteuid():
        place.skip("full", "only root can make a small disk")
        return
    reference = place.work / "reference"
    place.rushes(
        "curate",
        f"footage={place.material.footage}",
        f"dataset={reference}",
        *QUICK_CURATION,
        case=place.case("room"),
    )
    names = _content(reference)
    for size_kib in (draw.randint(16, 40), draw.randint(60, 120), draw.randint(150, 400)):
        place.case(f"curate_{size_kib}_kib")
        with _disk(place, f"d{size_kib}", size_kib) as disk:
            words = ["curate", f"footage={place.material.footage}", f"dataset={disk}/ds", *QUICK_CURATION]
            done = place.rushes(*words)
            if done.code != 0:
                _said_in_a_line(place, done, 1)
            _grow(disk)
            again = place.rushes(*words)
            place.hold(again.code == 0, f"with room: exit code {again.code}: {again.err[-200:]!a}")
            place.hold(
                again.code != 0 or _content(disk / "ds") == names,
                "with room it made another dataset than undisturbed",
            )
    for name, words in {
        "report": ["report", f"dataset={reference}", "out=FULL/page.html"],
        "export": ["export", f"dataset={reference}", "out=FULL/all"],
        "generate": ["generate", f"checkpoint={place.material.training}", "out=FULL/k.mp4", *TINY_VIDEO],
    }.items():
        place.case(name)
        with _disk(place, f"f{name}", 8) as disk:
            (disk / "filler").write_bytes(b"")
            with (disk / "filler").open("wb") as filler, _until_full():
                filler.write(b"x" * (1 << 20))
            words = [word.replace("FULL", str(disk)) for word in words]
            done = place.rushes(*words)
            place.hold(done.code == 1, f"exit code {done.code}")
            _said_in_a_line(place, done, 1)
            (disk / "filler").unlink()
            _grow(disk)
            place.hold(place.rushes(*words).code == 0, "with room it does not go on")
            strays = [path.name for path in disk.rglob("*") if path.name.startswith(".") and path.is_file()]
            place.hold(not strays, f"left behind: {strays}")
    place.case("temporary_files")
    with _disk(place, "tmp_full", 4) as disk:
        done = place.rushes("inspect", f"dataset={reference}", env={"TMPDIR": str(disk)})
        place.hold(done.code in (0, 1), f"exit code {done.code}")


@attack(line=11)
def trainings_on_disks_that_are_full(place: Place, draw: Random) -> None:
    """Latents and trainings onto a disk that is full now and then; with room, the same command makes what an
    undisturbed one makes."""
    if os.geteuid():
        place.skip("full", "only root can make a small disk")
        return
    dataset = place.material.copy_dataset(place.work / "dataset")
    shutil.rmtree(dataset / "latents")
    shutil.rmtree(dataset / "texts")
    jobs = {
        "encode": ["encode", "dataset=DISK/ds", f"vae={place.material.vae}", *settings_of("encode")],
        "train": ["train", f"dataset={place.material.dataset}", "out=DISK/out", *settings_of("train")],
        "train_vae": [
            "train_vae",
            f"dataset={place.material.dataset}",
            "out=DISK/out",
            *settings_of("train_vae"),
        ],
    }
    for name, words in jobs.items():
        room = _size_kib(dataset) if name == "encode" else 0
        for more_kib in (draw.randint(4, 40), draw.randint(200, 2000)):
            place.case(f"{name}_{more_kib}_kib")
            with _disk(place, f"{name}{more_kib}", room + more_kib) as disk:
                if name == "encode":
                    shutil.copytree(dataset, disk / "ds", symlinks=True)
                asked = [word.replace("DISK", str(disk)) for word in words]
                done = place.rushes(*asked, limit_s=200)
                if done.code != 0:
                    _said_in_a_line(place, done, 1)
                _grow(disk)
                again = place.rushes(*asked, limit_s=200)
                place.hold(again.code == 0, f"with room: exit code {again.code}: {again.err[-200:]!a}")
                if name != "encode" and again.code == 0:
                    sound = place.material.vae if name == "train_vae" else place.material.training
                    place.hold(
                        _weights(disk / "out") == _weights(sound), "with room it trained to other weights"
                    )


@attack(line=11, quick=True)
def rights_that_are_missing(place: Place, draw: Random) -> None:
    """Datasets, outputs and temporary folders that may not be written to, or not be read, by somebody without
    our rights."""
    if os.geteuid():
        place.skip("rights", "only root can be another user")
        return
    checkpoint = place.material.copy_checkpoint(place.work / "c")
    for name, words in {
        "curate_read_only": ["curate", f"footage={place.material.film}", "dataset=DS", *QUICK_CURATION],
        "curate_new": ["curate", f"footage={place.material.film}", "dataset=DS/new/ds", *QUICK_CURATION],
        "select": ["select", "dataset=DS", "recipe.min.duration_s=1"],
        "requeue": ["requeue", "dataset=DS"],
        "clean": ["clean", "dataset=DS", "remove=true"],
        "report": ["report", "dataset=DS"],
        "report_out": ["report", "dataset=DS", "out=DS/x.html"],
        "export": ["export", "dataset=DS", "out=DS/all"],
        "generate": ["generate", f"checkpoint={checkpoint}", "out=DS/k.mp4", *TINY_VIDEO],
        "train": ["train", "dataset=DS", "out=DS/dit"],
    }.items():
        place.case(name)
        dataset = place.material.copy_dataset(place.work / name)
        # `run` hands the place over to the user; what he must not write to is outside of it.
        locked = place.folder / f"locked_{name}"
        shutil.move(dataset, locked)
        _rights(locked, 0o555, 0o444)
        done = place.rushes(*[word.replace("DS", str(locked)) for word in words], user=NOBODY)
        place.hold(done.code in (1, 2), f"exit code {done.code}")
        _said_in_a_line(place, done, None)
        _rights(locked, 0o755, 0o644)
    for name, part in {
        "manifests": "manifests",
        "manifest": "manifests/*.json",
        "index": "index/*.parquet",
        "shards": "shards",
        "sources": "sources",
    }.items():
        locked = place.material.copy_dataset(place.folder / f"unread_{name}")
        _rights(locked, 0o777, 0o644)
        for path in locked.glob(part):
            path.chmod(0)
        for job in ("inspect", "verify", "report"):
            place.case(f"unread_{name}_{job}")
            done = place.rushes(job, f"dataset={locked}", user=NOBODY)
            needed = name != "shards" or job != "inspect"
            place.hold(
                done.code in ((1, 2) if needed and name != "sources" else (0, 1, 2))
                or (name == "shards" and job == "report"),
                f"exit code {done.code}",
            )
            if done.code:
                _said_in_a_line(place, done, None)
        _rights(locked, 0o755, 0o644)
    place.case("temporary_folder")
    closed = place.folder / "closed"
    closed.mkdir(mode=0o555)
    open_dataset = place.material.copy_dataset(place.folder / "open")
    _rights(open_dataset, 0o755, 0o644)
    done = place.rushes("inspect", f"dataset={open_dataset}", user=NOBODY, env={"TMPDIR": str(closed)})
    place.hold(done.code in (0, 1, 2), f"exit code {done.code}")
    if done.code:
        _said_in_a_line(place, done, None)


@attack(line=11, quick=True)
def readers_that_go_away(place: Place, draw: Random) -> None:
    """`rushes … | head`, a closed or full standard output: it ends quietly, or says so in a line."""
    dataset = place.material.copy_dataset(place.work / "ds")
    rushes = f"{sys.executable} -m jobs.cli.main"
    for name, words in {
        "inspect": f"inspect dataset={dataset}",
        "inspect_json": f"inspect dataset={dataset} format=json",
        "clips": f"clips dataset={dataset} format=csv",
        "help": "curate --help",
        "overview": "--help",
        "cfg": "generate checkpoint=c out=o.mp4 prompt=x --cfg",
        "passport": f"passport dataset={dataset} source=wide.mp4 at_s=0.5",
        "verify": f"verify dataset={dataset} decode=false",
        "curate": f"curate footage={place.material.film} dataset=ds_pipe {' '.join(QUICK_CURATION)}",
    }.items():
        tries = {
            "head": f"{rushes} {words} | head -c {draw.randint(1, 20)}",
            "true": f"{rushes} {words} | true",
            "closed": f"{rushes} {words} >&-",
            "full": f"{rushes} {words} > /dev/full",
        }
        for how, line in tries.items():
            if how == "true" and name not in ("inspect", "curate"):
                continue
            place.case(f"{name}_{how}")
            script = f"set -o pipefail; {line}"
            done = place.run(["bash", "-c", script], limit_s=90)
            wanted = (0, 1) if how in ("full", "closed") else (0,)
            place.hold(done.code in wanted, f"exit code {done.code}: {done.err[-200:]!a}")
            lines = [line for line in done.err.splitlines() if line.strip() and not _PROGRESS.match(line)]
            place.hold(len(lines) <= (how in ("full", "closed")), f"it says {lines!a}"[:300])


def _said_in_a_line(place: Place, done: Done, code: int | None) -> None:
    """The end is told as one line that begins with `rushes:`, behind lines of progress."""
    lines = [line for line in done.err.splitlines() if line.strip() and not _PROGRESS.match(line)]
    told = len(lines) == 1 and lines[0].startswith("rushes: ")
    place.hold(told, f"not one line: {lines!a}"[:400])
    place.hold(code is None or done.code == code, f"exit code {done.code}")


def _content(dataset: Path) -> list[str]:
    """Names of what the newest manifest names: they are hashes of what is in it."""
    import json

    manifest = json.loads(newest_manifest(dataset).read_text())
    return sorted([shard["sha256"] for shard in manifest["shards"]] + manifest["index"])


def _weights(run: Path) -> dict[str, str]:
    """Hashes of what a training exported."""
    export = run / "export"
    return {
        str(path.relative_to(export)): sha256_file(path) for path in sorted(export.rglob("*.safetensors"))
    }


def _size_kib(folder: Path) -> int:
    """What it takes on a disk of memory, which gives out pages of four KiB."""
    return sum(-(-path.lstat().st_size // 4096) * 4 for path in folder.rglob("*"))


@contextmanager
def _disk(place: Place, name: str, size_kib: int) -> Iterator[Path]:
    """A small disk of memory, mounted in the place."""
    at = place.folder / name
    at.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,nr_inodes=4096", "none", str(at)], check=True
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def _grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != 28:
            raise


def _rights(folder: Path, folders: int, files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(folders if path.is_dir() else files)
