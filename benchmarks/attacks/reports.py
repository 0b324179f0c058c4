"""Line 5: rows, records and texts of a foreign dataset or run that name files elsewhere, addresses, or HTML.

In: a place. Out: cases. Many hostile rows share one dataset. Nothing that they name is opened or asked for;
where the user gives a folder of footage, nothing behind links out of it.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.attacks.judging import UNMET
from benchmarks.attacks.material import Row, quarantined, rewrite
from benchmarks.attacks.names import ODD_FILES, paths_to
from benchmarks.attacks.place import Place
from benchmarks.attacks.registry import attack

_WITHIN_S = 60.0
_LOOKERS = ("report", "inspect", "clips", "passport", "verify", "export")


@attack(line=5, quick=True)
def rows_that_name_what_is_elsewhere(place: Place, draw: Random) -> None:
    """Rejected clips of films that lie elsewhere, of objects in S3, of pipes and devices."""
    for kind, uris in _uris(place, draw).items():
        dataset = place.material.copy_dataset(place.work / f"ds_{kind}")
        for name in uris:
            place.case(f"{kind}_{name}")
        _claim(dataset, list(uris.values()), (place.victim / "film.mp4").stat().st_size)
        for name in _LOOKERS if kind == "paths" else ("report", "export"):
            first = place.case(f"{kind}_by_{name}")
            more = {
                "passport": ["clip=0"],
                "verify": ["decode=false"],
                "export": [f"out=all_{kind}", "status=rejected"],
            }
            done = place.rushes(name, f"dataset={dataset}", *more.get(name, []), limit_s=_WITHIN_S)
            # verify says that the tables don't agree; of several clips that begin so, passport and export
            # want to know which.
            fine = {"verify": (0, 1), "passport": (0, 2), "export": (0, 2)}.get(name, (0,))
            place.hold(done.code in fine, f"exit code {done.code}: {done.err[-200:]!a}", first)


@attack(line=5, quick=True)
def a_root_with_links_out_of_it(place: Place, draw: Random) -> None:
    """The user gives a root of footage, and rows name what lies behind links out of it, or is no file."""
    if "footage=" not in place.rushes("report", "--help", case="help").out.replace("footage ", "footage="):
        place.skip("root", "report takes no footage=")
        return
    root = place.work / "root"
    root.mkdir()
    (root / "folder").symlink_to(place.victim)
    (root / "film.mp4").symlink_to(place.victim / "film.mp4")
    (root / "chained.mp4").symlink_to("film.mp4")
    (root / "inner").mkdir()
    (root / "inner" / "up").symlink_to("../../../victim")
    for name, make in ODD_FILES.items():
        make(root / f"{name}.mp4")
    names = ["folder/film.mp4", "film.mp4", "chained.mp4", "inner/up/film.mp4", "../../victim/film.mp4"]
    names += [f"{name}.mp4" for name in ODD_FILES]
    for name in names:
        place.case(name.replace("/", "_"))
    dataset = place.material.copy_dataset(place.work / "ds")
    uris = [str(root / name) for name in names] + [f"{root}-other/film.mp4", f"{root}/../../victim/film.mp4"]
    _claim(dataset, uris, (place.victim / "film.mp4").stat().st_size)
    done = place.rushes("report", f"dataset={dataset}", f"footage={root}", limit_s=_WITHIN_S, may_list=True)
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}")


@attack(line=5)
def rows_that_are_decided_again(place: Place, draw: Random) -> None:
    """Deciding and trying again on a foreign dataset: what its rows name elsewhere is not packed into
    shards."""
    uris = {
        "absolute": str(place.victim / "film.mp4"),
        "file_uri": f"file://{place.victim}/film.mp4",
        "s3": "s3://bucket/film.mp4",
    }
    for command in ("select", "requeue"):
        for name, uri in uris.items():
            place.case(f"{command}_{name}")
            dataset = place.material.copy_dataset(place.work / f"{command}_{name}")
            size = (place.victim / "film.mp4").stat().st_size
            if command == "select":
                _claim(dataset, [uri], size)
                words = ["recipe=permissive"]
            else:
                source = {"uri": uri, "size_bytes": size, "etag": "mtime-1", "status": "quarantined"}
                rewrite(dataset, sources=lambda rows, source=source: [*rows, source])
                rewrite(dataset, lambda manifest: manifest.update(quarantine=manifest["sources"]))
                rewrite(dataset, quarantine=lambda rows, uri=uri: quarantined({uri: "gone"}))
                words = []
            place.rushes(command, f"dataset={dataset}", *words, limit_s=_WITHIN_S)


@attack(line=5)
def records_that_name_folders_elsewhere(place: Place, draw: Random) -> None:
    """The folder of a foreign workflow, whose records say that its dataset, trainings and videos lie
    elsewhere."""
    made = place.material.folder / "run"
    for job in ("train", "train_vae", "evaluate", "encode", "curate"):
        place.case(job)
        run = place.work / f"run_{job}"
        shutil.copytree(made / "workflow", run / "workflow", ignore=shutil.ignore_patterns("report"))
        for path in (run / "workflow").glob("*.json"):
            record = json.loads(path.read_text())
            name = Path(record["path"]).name
            if not (run / name).exists():
                shutil.copytree(record["path"], run / name, symlinks=True)
            record["path"] = str(run / name)
            if path.stem == job:
                theirs = place.victim / f"{job}_{name}"
                shutil.move(run / name, theirs)
                record["path"] = str(theirs)
                for metrics in theirs.rglob("metrics.json*"):
                    secret = place.secret(f"the victim's {metrics.name}")
                    metrics.write_text(metrics.read_text().replace('"step', f'"{secret}": 1, "step', 1))
            path.write_text(json.dumps(record))
        place.rushes("report", f"run={run}", limit_s=_WITHIN_S)


@attack(line=5, quick=True)
def texts_that_are_html(place: Place, draw: Random) -> None:
    """Names, captions, reasons and messages that end a script, an attribute or a comment: the page shows
    them, and is one."""
    tries = {
        "script": "<script>alert('{0}')</script>", "end_script": "</script><script>alert('{0}')</script>",
        "comment": "--><script>alert('{0}')</script>",
        "attribute": "\" onmouseover=\"alert('{0}')\" x=\"", "attribute_single": "' onerror='alert(\"{0}\")'",
        "image": "<img src=x onerror=alert('{0}')>",
        "template": "{{{{ ''.__class__.__mro__ }}}}{0}",
        "statement": "{{% for x in range(9**9) %}}{0}{{% endfor %}}", "uri": "javascript:alert('{0}')",
        "cdata": "]]><script>alert('{0}')</script>", "style": "</style><script>alert('{0}')</script>",
        "json": "\\u003c/script\\u003e<script>alert('{0}')</script>",
        "title": "</title><script>alert('{0}')</script>", "svg": "<svg/onload=alert('{0}')>",
        "frame": "<iframe src={1}/{0}>", "link": "<link rel=stylesheet href={1}/{0}>",
    }  # fmt: skip
    dataset = place.material.copy_dataset(place.work / "ds")
    texts = {}
    for name, text in tries.items():
        place.case(name)
        texts[name] = text.format(f"mark{draw.randrange(10**9)}", place.address)

    def rows(index: list[Row]) -> list[Row]:
        made = []
        for number, (name, text) in enumerate(texts.items()):
            row = dict(index[number % len(index)])
            made.append(
                {
                    **row, "clip_id": f"{number:032x}", "source_uri": f"/films/{text}.mp4",
                    "caption_short": text, "caption_dense": text,
                    "source_text": text, "source_license": text, "source_dataset": text,
                    "reject_reasons": [text], "status": "rejected",
                    "tag_subject": [text], "caption_model": text, "codec": text, "duplicate_kind": text,
                    "start_kind": text, "cut_why": text,
                    "score_gaps": [{"score": "aesthetic", "why": text}],
                }
            )  # fmt: skip
            assert name
        return index + made

    everything = "".join(texts.values())

    def manifest(known: dict) -> None:
        known["recipe"] |= {"name": everything}
        known["captions"] |= {"captioner": everything}
        known["quarantine"] = known["sources"]

    rewrite(dataset, index=rows)
    rewrite(dataset, manifest)
    rewrite(dataset, quarantine=lambda old: quarantined({f"/films/{text}": text for text in texts.values()}))
    out = place.work / "page.html"
    done = place.rushes("report", f"dataset={dataset}", f"out={out}", limit_s=_WITHIN_S)
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-200:]!a}")
    page = out.read_text() if out.exists() else ""
    for name, text in texts.items():
        raw = text in page and name not in ("uri", "template", "statement")
        place.hold(not raw, f"{text!a} stands in the page as it is", f"{place.name}/{name}", UNMET)
    place.hold("method-wrapper" not in page and "<class" not in page, "a text was taken for a template")


def _uris(place: Place, draw: Random) -> dict[str, dict[str, str]]:
    """Where rows say that their film is, by kind."""
    film = place.victim / "film.mp4"
    outside = place.work / "odd"
    outside.mkdir()
    odd = {"zero": "/dev/zero"}
    for name, make in ODD_FILES.items():
        make(outside / f"{name}.mp4")
        odd[f"odd_{name}"] = str(outside / f"{name}.mp4")
    (outside / "soft.mp4").symlink_to(film)
    return {
        "paths": {**paths_to(film, place.work, draw), "soft_link": str(outside / "soft.mp4")},
        "odd": odd,
        "s3": {
            "object": "s3://bucket/film.mp4",
            "upper": "S3://bucket/film.mp4",
            "dots": "s3://bucket/../other/film.mp4",
            "keys": "s3://AKIA:key@bucket/film.mp4",
            "empty": "s3://",
        },
        "others": {
            "http": f"{place.address}/film.mp4",
            "concat": f"concat:{film}|{film}",
            "subfile": f"subfile,,start,0,end,0,,:{film}",
            "gopher": f"gopher://{place.address.removeprefix('http://')}/x",
        },
    }


def _claim(dataset: Path, uris: Sequence[str], size_bytes: int) -> None:
    """Have a dataset say that it rejected a clip of each of these sources, whose length is that of the
    victim's film."""

    def index(rows: list[Row]) -> list[Row]:
        like = next(row for row in rows if row["source_uri"].endswith("wide.mp4"))
        kept = [row for row in rows if row is not like]
        return kept + [
            {**like, "clip_id": f"{number:032x}", "source_uri": uri, "status": "rejected",
                "reject_reasons": ["duration_s"], "shard": None}
            for number, uri in enumerate(uris)
        ]  # fmt: skip

    def sources(rows: list[Row]) -> list[Row]:
        like = next(row for row in rows if row["uri"].endswith("wide.mp4"))
        return rows + [{**like, "uri": uri, "size_bytes": size_bytes} for uri in uris]

    rewrite(dataset, index=index, sources=sources)
