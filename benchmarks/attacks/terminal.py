"""Line 10: control characters in names and texts, through every command and every error: shown escaped, on
the console and in logs.

In: a place. Out: a case for each command with all of them; the judge looks at the console, and this at the
logs.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

from benchmarks.attacks.judging import raw_controls
from benchmarks.attacks.material import QUICK_CURATION, TINY_VIDEO, Row, edit_json, quarantined, rewrite
from benchmarks.attacks.names import CONTROLS, hostile_text
from benchmarks.attacks.place import Done, Place
from benchmarks.attacks.registry import attack

_FORGED = "\nrushes: all is well"


@attack(line=10, quick=True)
def texts_of_a_dataset(place: Place, draw: Random) -> None:
    """Every text of a foreign dataset has control characters in it."""
    dataset = place.material.copy_dataset(place.work / "ds")
    texts = [*CONTROLS.values(), *(hostile_text(draw) for _ in range(10))]

    def rows(index: list[Row]) -> list[Row]:
        made = []
        for number, text in enumerate(texts):
            row = {
                **index[number % len(index)], "clip_id": f"{number:032x}",
                "source_uri": f"/films/{text}/{text}.mp4", "caption_short": text,
                "caption_dense": text, "source_text": text, "source_license": text, "source_dataset": text,
                "tag_subject": [text],
                "codec": text, "camera": text, "bucket": text, "cut_why": text, "caption_model": text,
                "cut_sound": text,
                "score_gaps": [{"score": text, "why": text}],
                "score_models": [{"source": text, "model": text}], "start_kind": text,
            }  # fmt: skip
            row |= (
                {"status": "rejected", "reject_reasons": [text], "duplicate_kind": text} if number % 2 else {}
            )
            made.append({name: value for name, value in row.items() if name in index[0]})
        return index + made

    everything = "".join(CONTROLS.values())

    def manifest(known: dict) -> None:
        known["recipe"] |= {"name": everything, "rules": [{"score": everything, "min": 0.5}]}
        known["captions"] |= {"captioner": everything}
        known["quarantine"] = known["sources"]
        known["shards"][0]["bucket"] += everything

    rewrite(
        dataset,
        index=rows,
        sources=lambda old: old + [{**old[0], "uri": f"/films/{text}", "why": text} for text in texts],
    )
    rewrite(dataset, manifest)
    rewrite(
        dataset, quarantine=lambda old: quarantined({f"/films/{text}.mp4": f"why: {text}" for text in texts})
    )
    some = f"{1:032x}"
    for name, words in {
        "inspect": ["inspect"], "clips": ["clips", "status=rejected"],
        "clips_wide": ["clips", "columns=source,captions,status"], "passport": ["passport", f"clip={some}"],
        "passport_kept": ["passport", f"clip={0:032x}"], "verify": ["verify", "decode=false"],
        "report": ["report"], "export": ["export", "out=all"],
        "requeue": ["requeue"], "select": ["select", "recipe.min.duration_s=0.4"], "clean": ["clean"],
        "ambiguous": ["passport", "clip=0"],
        "by_source": ["passport", "source=mp4"],
    }.items():  # fmt: skip
        place.case(name)
        _judge(place, place.rushes(words[0], f"dataset={dataset}", *words[1:], limit_s=90))


@attack(line=10, quick=True)
def names_of_footage(place: Place, draw: Random) -> None:
    """Footage whose names a terminal would obey; sound, broken, ignored, and missing."""
    footage = place.work / "footage"
    footage.mkdir()
    for number, (name, text) in enumerate(CONTROLS.items()):
        place.case(name)
        plain = text.replace("/", "_").encode(errors="surrogateescape")[:200]
        kind = number % 3
        path = Path(str(footage), plain.decode(errors="surrogateescape") + ("mp4" if kind == 2 else ".mp4"))
        path.write_bytes(
            place.material.film.read_bytes() + bytes([number]) if kind == 0 else b"no film at all"
        )
    listed = place.work / "list.jsonl"
    rows = [{"uri": str(path)} for path in footage.iterdir()] + [
        {"uri": f"gone/{text}.mp4", "text": text} for text in CONTROLS.values()
    ]
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, uri in (("folder", footage), ("list", listed)):
        place.case(f"curate_{name}")
        _judge(
            place,
            place.rushes("curate", f"footage={uri}", f"dataset={place.work}/ds_{name}", *QUICK_CURATION),
        )
    for job in ("inspect", "clips", "verify", "report", "requeue"):
        place.case(f"by_{job}")
        _judge(place, place.rushes(job, f"dataset={place.work}/ds_list"))


@attack(line=10, quick=True)
def errors_that_repeat_what_was_typed(place: Place, draw: Random) -> None:
    """Names that are not there, keys that are none, values that don't fit: the error says them escaped."""
    text = "".join(CONTROLS.values()) + hostile_text(draw)
    short = CONTROLS["title"] + CONTROLS["c1"] + CONTROLS["rlo"] + _FORGED
    for name, words in {
        "footage": ["curate", f"footage=/nope{text}", "dataset=x"],
        "dataset": ["inspect", f"dataset=nope{text}"],
        "key": ["inspect", "dataset=x", f"{short}=1"],
        "no_key": ["inspect", f"{short}"],
        "job": [short],
        "option": ["inspect", f"--{short}"],
        "value": ["generate", "checkpoint=c", "out=o.mp4", "prompt=x", f"seed={short}"],
        "list": ["requeue", "dataset=x", f"reasons=[{short}]"],
        "checkpoint": ["generate", f"checkpoint=nope{text}", "out=o.mp4", "prompt=x"],
        "out": ["generate", f"checkpoint={place.material.training}", f"out=o{short}", "prompt=x"],
        "prompt_cfg": ["generate", "checkpoint=c", "out=o.mp4", f"prompt={text}", "--cfg"],
        "experiment": ["train", "dataset=x", "out=y", f"experiment={short}"],
        "scheme": ["inspect", f"dataset=foo{short}://x"],
        "ray": ["curate", f"footage={place.material.footage}", "dataset=x", f"ray.address={short}"],
        "encoder": [
            "generate",
            f"checkpoint={place.material.training}",
            "out=o.mp4",
            "prompt=x",
            f"text_encoder={short}",
        ],
        "columns": ["clips", f"dataset={place.material.dataset}", f"columns={short}"],
        "clip": ["passport", f"dataset={place.material.dataset}", f"clip={short}"],
        "source": ["clips", f"dataset={place.material.dataset}", f"source={short}"],
        "submit": ["submit", short],
        "submit_address": ["submit", "curate", "footage=x", "dataset=y", f"ray.address=http://{short}:1"],
        "recipe": ["curate", "footage=x", "dataset=y", f"recipe={short}"],
        "completion": ["--completion", short],
        "sweep": ["generate", "-m", "checkpoint=c", f"out={short}.mp4", "prompt=x"],
    }.items():
        place.case(name)
        _judge(place, place.rushes(*words, limit_s=60))


@attack(line=10)
def texts_of_models(place: Place, draw: Random) -> None:
    """Checkpoints and adapters whose names, settings and tensors have control characters."""
    text = "".join(CONTROLS.values()) + hostile_text(draw)
    for name, change in {
        "encoder": lambda c: edit_json(c / "pipeline.json", text_encoder=text),
        "version": lambda c: edit_json(c / "pipeline.json", format_version=text),
        "setting": lambda c: edit_json(c / "dit" / "config.json", config={text: 1}),
        "kind": lambda c: edit_json(c / "dit" / "config.json", kind=text),
        "class": lambda c: edit_json(c / "vae" / "config.json", _class_name=text),
        "flow": lambda c: edit_json(c / "pipeline.json", flow={text: 1}),
        "tensor": _tensors_named(text),
        "json": lambda c: (c / "pipeline.json").write_text("{" + text),
    }.items():
        place.case(name)
        folder = place.material.copy_checkpoint(place.work / name)
        change(folder)
        _judge(place, place.rushes("generate", f"checkpoint={folder}", "out=o.mp4", *TINY_VIDEO, limit_s=60))


def _tensors_named(text: str):
    def change(checkpoint: Path) -> None:
        import numpy as np
        from safetensors.numpy import save_file

        save_file({text: np.zeros(1, np.float32)}, checkpoint / "dit" / "model.safetensors")

    return change


def _judge(place: Place, done: Done) -> None:
    """The console has been looked at; no line of it may be forged, and no log has what a terminal would
    obey."""
    forged = [line for line in done.said.splitlines() if line == _FORGED.strip()]
    place.hold(not forged, "a line of the console is forged by a name")
    for path in _logs((place.work, place.tmp)):
        text = path.read_bytes().decode(errors="surrogateescape")
        if controls := raw_controls(text):
            place.harm("unmet", f"raw {', '.join(controls)} in {path.relative_to(place.folder)}")
        place.hold(_FORGED not in text, f"a line of {path.relative_to(place.folder)} is forged by a name")
        path.write_text("")  # so that the next command is not blamed for it


def _logs(folders: Iterable[Path]) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*log")
        if path.is_file() and not path.is_symlink()
    ]
