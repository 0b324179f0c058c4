"""Line 7: a decoder that a file has taken over, in the real child of a real job: what it reaches.

In: a place. Out: a case for each attempt (`hostile_decoder.py`), for each way in which a job decodes: in its
own process, on a worker of Ray, as root and as somebody without rights.
"""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from benchmarks.attacks import hostile_decoder
from benchmarks.attacks.judging import ESCAPED, LEAKED, UNMET
from benchmarks.attacks.material import QUICK_CURATION
from benchmarks.attacks.place import NOBODY, ROOT, Place
from benchmarks.attacks.registry import attack

_HARMLESS = frozenset(("ran", "outlive_its_server"))
_WITHIN_S = 180.0


@attack(line=7, quick=True)
def a_decoder_taken_over(place: Place, draw: Random) -> None:
    """In the job's own process."""
    _taken_over(place, "here", ())


@attack(line=7)
def a_decoder_taken_over_on_ray(place: Place, draw: Random) -> None:
    """On a worker of a local Ray."""
    _taken_over(place, "ray", ("ray.num_cpus=2",))


@attack(line=7)
def a_decoder_of_nobody_taken_over(place: Place, draw: Random) -> None:
    """In a job of a user who has no special rights."""
    if os.geteuid():
        place.skip("nobody", "only root can be another user")
        return
    _taken_over(place, "nobody", (), NOBODY)


def _taken_over(place: Place, how: str, words: tuple[str, ...], user: int | None = None) -> None:
    cases = {name: place.case(f"{how}_{name}") for name in hostile_decoder.ATTEMPTS}
    footage = place.work / "footage"
    shutil.copytree(place.material.footage, footage)
    (footage / "notes.txt").write_text("not the file that is decoded")
    dataset = place.work / "ds"
    for name in ("bait", "rights"):
        (place.victim / name).write_text("x")
    (place.tmp / "others").write_text("x")
    site = place.work / "site"
    site.mkdir()
    with _sockets(place) as (path, abstract):
        aims = {
            "token": next(iter(place.secrets)), "credentials": str(place.home / ".aws" / "credentials"),
            "secret": str(place.victim / "secret.txt"),
            "neighbour": str(footage / "notes.txt"), "dataset": str(dataset),
            "temporary": str(place.tmp / "others"),
            "port": place.address.rpartition(":")[2], "socket": str(path), "abstract": abstract,
        }  # fmt: skip
        if user is not None:  # the same rights as its caller: only the child's own walls keep it out
            for given in (place.victim, *place.victim.rglob("*")):
                os.chown(given, user, user)
        (site / "sitecustomize.py").write_text(hostile_decoder.SITE.format(root=str(ROOT), aims=aims))
        before = len(place.harms)
        done = place.rushes(
            "curate", f"footage={footage}", f"dataset={dataset}", *QUICK_CURATION, *words,
            env={"PYTHONPATH": f"{site}:{ROOT}"}, user=user, limit_s=_WITHIN_S,
        )  # fmt: skip
        del place.harms[before:]  # told again below, each by its attempt
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}")
    said = _messages(dataset) if done.code == 0 else ""
    reached = {name for part in said.split("reached: ")[1:] for name in part.partition(" end")[0].split()}
    for name, case in cases.items():
        place.hold(
            "ran" in reached,
            f"the hostile code did not run, so nothing is known: {said[:200]!a}",
            case,
            UNMET,
        )
        if name in reached - _HARMLESS:
            means = name in hostile_decoder.MEANS
            kind = LEAKED if name in hostile_decoder.LEAKS else UNMET if means else ESCAPED
            place.harm(kind, f"it reached {name}", case)
    place.asked.clear()


def _messages(dataset: Path) -> str:
    from pipelines.dataset.reader import open_dataset

    return json.dumps([row["message"] for row in open_dataset(str(dataset)).quarantine().table().to_pylist()])


@contextmanager
def _sockets(place: Place) -> Iterator[tuple[Path, str]]:
    """Sockets of this machine at which somebody answers, one with a path and one without, as Ray has them."""
    path, abstract = place.tmp / "socket", f"rushes-attack-{place.name}-{os.getpid()}"
    servers = []
    for address in (str(path), f"\0{abstract}"):
        server = socket.socket(socket.AF_UNIX)
        server.bind(address)
        server.listen(64)
        servers.append(server)
    path.chmod(0o777)

    def answer(server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    for server in servers:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
    try:
        yield path, abstract
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
