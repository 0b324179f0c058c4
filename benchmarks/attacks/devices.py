"""Line 4: what is named as footage and is no regular file: pipes, devices, sockets, folders, loops, a
terabyte of nothing.

In: a place. Out: cases. However it is named (list, folder, glob, alone, by a dataset's rows), the job ends by
itself, what is sound is taken, and the rest is accounted for.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random

from benchmarks.attacks.material import QUICK_CURATION, quarantined, rewrite
from benchmarks.attacks.names import ODD_FILES, no_paths, paths_to
from benchmarks.attacks.place import NOBODY, Place
from benchmarks.attacks.readers import READING_S, Reading
from benchmarks.attacks.registry import attack

_WITHIN_S = 90.0


@attack(line=4, quick=True)
def a_list_of_what_is_no_file(place: Place, draw: Random) -> None:
    """One list that names everything, beside a sound film: in JSON lines, which can hold any text, and as
    plain text."""
    odd = _odd_files(place.work / "odd", draw)
    rows = {name: str(path) for name, path in odd.items()}
    rows |= {f"path_{name}": uri for name, uri in no_paths(draw).items()}
    good = str(place.material.film)
    for suffix in ("jsonl", "txt"):
        some = {name: uri for name, uri in rows.items() if suffix == "jsonl" or not set("\n\0") & set(uri)}
        cases = {name: place.case(f"{suffix}_{name}") for name in some}
        path = place.work / f"list.{suffix}"
        lines = [json.dumps({"uri": uri}) if suffix == "jsonl" else uri for uri in (good, *some.values())]
        path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
        dataset = place.work / f"ds_{suffix}"
        done = place.rushes(
            "curate",
            f"footage={path}",
            f"dataset={dataset}",
            *QUICK_CURATION,
            limit_s=_WITHIN_S,
            typed="a line\n" * 100,
        )
        place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}")
        if done.code == 0:
            _account(place, dataset, {cases[name]: str(path) for name, path in odd.items()}, good)


@attack(line=4, quick=True)
def a_folder_of_what_is_no_film(place: Place, draw: Random) -> None:
    """A folder, and a glob over it, with odd files that are called like films, and others that have to be
    looked into."""
    footage = place.work / "footage"
    odd = _odd_files(footage, draw)
    plain = _odd_files(footage / "plain", draw, suffix="")
    shutil.copy(place.material.film, footage / "good.mp4")
    for how, named in (("folder", str(footage)), ("glob", f"{footage}/**/*")):
        cases = {place.case(f"{how}_{name}"): str(path) for name, path in odd.items()}
        cases |= {place.case(f"{how}_plain_{name}"): str(path) for name, path in plain.items()}
        dataset = place.work / f"ds_{how}"
        done = place.rushes(
            "curate", f"footage={named}", f"dataset={dataset}", *QUICK_CURATION, limit_s=_WITHIN_S
        )
        place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}")
        if done.code == 0:
            _account(place, dataset, cases, str(footage / "good.mp4"), listed=False)


@attack(line=4)
def one_odd_thing_alone(place: Place, draw: Random) -> None:
    """footage= is the odd thing itself, or a list that is one; also what is no path."""
    readings = []
    for suffix in ("mp4", "txt", "csv", "parquet", "jsonl"):
        for name, path in _odd_files(place.work / suffix, draw, suffix=f".{suffix}").items():
            if name != "sparse" or suffix == "mp4":
                readings.append(Reading(place.case(f"{suffix}_{name}"), "footage", str(path)))
    for name, uri in no_paths(draw).items():
        if uri not in ("/", "/tmp") and not name.startswith("surrogate"):
            readings.append(Reading(place.case(f"path_{name}"), "footage", uri))
    place.read(readings, most_cpu_s=READING_S, may_ask=True)


@attack(line=4)
def one_odd_thing_by_command(place: Place, draw: Random) -> None:
    """The same with the command, for those that a reader may wait for."""
    odd = _odd_files(place.work / "odd", draw)
    for name in ("fifo", "to_zero", "sparse", "socket"):
        place.case(name)
        done = place.rushes(
            "curate", f"footage={odd[name]}", f"dataset=ds_{name}", *QUICK_CURATION, limit_s=_WITHIN_S
        )
        place.hold(done.code in (0, 1, 2), f"exit code {done.code}")


@attack(line=4, quick=True)
def rows_of_tables_that_name_devices(place: Place, draw: Random) -> None:
    """Sources and quarantine of a foreign dataset name pipes and devices: `requeue` looks again, and ends."""
    odd = _odd_files(place.work / "odd", draw)
    dataset = place.material.copy_dataset(place.work / "ds")
    cases = {name: place.case(name) for name in odd}
    bad = quarantined({str(path): "it was not there" for path in odd.values()})
    sources = [
        {"uri": str(path), "size_bytes": 1 << 20, "etag": "mtime-1", "status": "quarantined"}
        for path in odd.values()
    ]
    rewrite(dataset, sources=lambda rows: rows + sources)
    rewrite(dataset, lambda manifest: manifest.update(quarantine=manifest["sources"]))
    rewrite(dataset, quarantine=lambda rows: bad)
    # Where nobody gives the footage, nothing is opened that only the dataset names, and that is said.
    refused = place.rushes("requeue", f"dataset={dataset}", limit_s=_WITHIN_S)
    place.hold(refused.code == 1, f"exit code {refused.code} without footage=", cases["fifo"])
    done = place.rushes("requeue", f"dataset={dataset}", f"footage={place.work / 'odd'}", limit_s=_WITHIN_S)
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}", cases["fifo"])


@attack(line=4)
def footage_that_changes_while_it_is_read(place: Place, draw: Random) -> None:
    """A film becomes a pipe, a device or a link after it was listed."""
    import threading
    import time

    for name in ("fifo", "to_zero", "loop", "sparse"):
        place.case(name)
        footage = place.work / name
        footage.mkdir()
        for number in range(6):
            shutil.copy(place.material.film, footage / f"f{number}.mp4")
            with (footage / f"f{number}.mp4").open("ab") as file:
                file.write(bytes([number]))  # no copies of each other

        def swap(pid: int, footage: Path = footage, name: str = name) -> None:
            def later() -> None:
                dataset = place.work / f"ds_{name}"
                until = time.monotonic() + 30
                while not list(dataset.glob("runs/*/log")) and time.monotonic() < until:
                    time.sleep(0.02)
                for path in sorted(footage.iterdir())[1:]:
                    path.unlink()
                    ODD_FILES[name](path)

            threading.Thread(target=later, daemon=True).start()

        done = place.rushes(
            "curate",
            f"footage={footage}",
            f"dataset=ds_{name}",
            *QUICK_CURATION,
            limit_s=_WITHIN_S,
            meanwhile=swap,
        )
        place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}")


@attack(line=4)
def lists_with_every_way_to_write_a_path(place: Place, draw: Random) -> None:
    """A list of the user's may name a film in many ways: each is a row, and none is two."""
    footage = place.work / "films"
    footage.mkdir()
    shutil.copy(place.material.film, footage / "a.mp4")
    ways = paths_to(footage / "a.mp4", place.work, draw)
    readings = []
    for name, uri in ways.items():
        case = place.case(name)
        path = place.work / f"{name}.jsonl"
        path.write_text(json.dumps({"uri": uri}) + "\n")
        readings.append(Reading(case, "footage", str(path)))
    place.read(readings)


@attack(line=4)
def odd_files_of_another_user(place: Place, draw: Random) -> None:
    """Somebody without our rights curates a folder in which some things can't be read, entered or opened."""
    import os

    if os.geteuid():
        place.skip("another_user", "only root can be another user")
        return
    footage = place.work / "foot"
    odd = _odd_files(footage, draw)
    for name in ("secret", "noenter", "fine"):
        (footage / name).mkdir()
        shutil.copy(place.material.film, footage / name / f"{name}.mp4")
    cases = {place.case(name): str(path) for name, path in odd.items()}
    locked = {place.case(name): footage / name for name in ("secret", "noenter")}
    (footage / "noenter").chmod(0o444)
    (footage / "secret").chmod(0)
    done = place.rushes(
        "curate",
        f"footage={footage}",
        f"dataset={place.work}/ds",
        *QUICK_CURATION,
        user=NOBODY,
        limit_s=_WITHIN_S,
    )
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}")
    if done.code == 0:
        named = {case: str(path) for case, path in locked.items()}
        _account(place, place.work / "ds", cases | named, str(footage / "fine" / "fine.mp4"), listed=False)


def _odd_files(folder: Path, draw: Random, suffix: str = ".mp4") -> dict[str, Path]:
    """One of each kind, in an order of this draw."""
    folder.mkdir(parents=True)
    names = draw.sample(sorted(ODD_FILES), len(ODD_FILES))
    for name in names:
        ODD_FILES[name](folder / f"{name}{suffix}")
    return {name: folder / f"{name}{suffix}" for name in names}


def _account(place: Place, dataset: Path, odd: Mapping[str, str], good: str, listed: bool = True) -> None:
    """Each odd thing is in the tables, by its case, or in a folder below it; and the sound film is a
    video."""
    from pipelines.dataset.reader import open_dataset

    opened = open_dataset(str(dataset))
    status = {row["uri"]: row["status"] for row in opened.sources().table().to_pylist()}
    bad = {row["source_uri"] for row in opened.quarantine().table().to_pylist()}
    place.hold(status.get(good) == "video", f"the sound film beside it is {status.get(good)}")
    for case, path in odd.items():
        known = [uri for uri in {*status, *bad} if uri == path or uri.startswith(f"{path}/")]
        is_folder = Path(path).is_dir() and not listed and "secret" not in path and "noenter" not in path
        place.hold(bool(known) or is_folder, f"{Path(path).name} is in no table", case)
        place.hold(
            not any(status.get(uri) == "video" for uri in known), f"{Path(path).name} is a video", case
        )
