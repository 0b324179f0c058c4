"""Line 6: names in a dataset and in a training's folder that are nobody's, states that are none, and what is
on disk before it has its name.

In: a place. Out: cases. Stray names are passed over, nothing of the user's is deleted, and the state before a
damaged one is used.
"""

import json
import os
import re
import shutil
from pathlib import Path
from random import Random

from benchmarks.attacks.judging import ESCAPED
from benchmarks.attacks.material import TINY_VIDEO, newest_manifest
from benchmarks.attacks.place import Place
from benchmarks.attacks.registry import attack

_TRAIN = (
    "size=tiny", "model.width=32", "model.depth=2", "workers.num=1", "optim.schedule=constant",
    "budget.max_tokens=32",
    "budget.batches_per_step=1", "checkpoint_every=2", "ray.num_cpus=2",
)  # fmt: skip
_WITHIN_S = 240.0


@attack(line=6, quick=True)
def stray_names_among_manifests(place: Place, draw: Random) -> None:
    """What file managers, sync tools and people leave among manifests: each is passed over by every job."""
    dataset = place.material.copy_dataset(place.work / "ds")
    folder = newest_manifest(dataset).parent
    number = newest_manifest(dataset).stem
    data = newest_manifest(dataset).read_bytes()
    evil = json.dumps({**json.loads(data), "schema": 99}).encode()
    names = (
        f"._{number}.json", f"{number} (copy).json", f"{number}.json~", "000009.json.part", "+000009.json",
        "٠٠٠٠٠٩.json", "000_009.json",
        " 000009.json", "-000009.json", "000009.JSON", "0x9.json", "1e9.json", "9.json", "000009.json.json",
        ".000009.json.swp", "000009 .json",
        "００００９９.json", "000009\n.json", "000009\x1b[2J.json", "sub/000009.json", "nine.json", ".json",
        "000009..json", "caf\udce9.json",
    )  # fmt: skip
    for name in names:
        place.case(ascii(name)[1:-1].replace("/", "_"))
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(evil if name != f"._{number}.json" else b"\0\5\x16\7" + b"\0" * 100)
    for name, make in {
        "folder": lambda path: path.mkdir(),
        "fifo": os.mkfifo,
        "to_zero": lambda path: path.symlink_to("/dev/zero"),
    }.items():
        place.case(name)
        make(folder / f"{10 + len(name):06d}.json")
    for words in (
        ["inspect"],
        ["clips"],
        ["select"],
        ["report"],
        ["clean", "remove=true", "min_age_h=0", "old_manifests=true"],
        ["verify", "decode=false"],
    ):
        place.case(f"by_{words[0]}")
        done = place.rushes(words[0], f"dataset={dataset}", *words[1:], limit_s=60)
        place.hold(done.code == 0, f"{words[0]}: exit code {done.code}: {done.err[-200:]!a}")
    gone = [name for name in names if not (folder / name).exists()]
    place.hold(not gone, f"deleted: {gone!a}", kind=ESCAPED)


@attack(line=6)
def states_of_a_training_that_are_none(place: Place, draw: Random) -> None:
    """A training goes on in a folder with the user's own copies, a cut-off newest state, links and stray
    names."""
    training = place.work / "dit"
    shutil.copytree(place.material.training, training, symlinks=True)
    shutil.rmtree(training / "export")
    states = sorted((training / "checkpoints").glob("step_*"))
    newest, before = states[-1], states[-2]
    place.case("newest_cut_off")
    with (newest / "state.safetensors").open("rb+") as file:
        file.truncate((newest / "state.safetensors").stat().st_size // 2)
    users = (
        "step_00000002_backup",
        "step_00000001 (copy)",
        "step_",
        "step_000000002",
        "step_١",
        "step_00000000.old",
        "steps",
        "my step_00000001",
    )
    for name in users:
        place.case(ascii(name)[1:-1])
        (training / "checkpoints" / name).mkdir()
        (training / "checkpoints" / name / "mine.txt").write_text("mine")
    place.case("file")
    (training / "checkpoints" / "step_00000000").write_text("a file of the user's")
    place.case("ours_by_name_only")
    (training / "checkpoints" / "step_00000001").mkdir()
    (training / "checkpoints" / "step_00000001" / "notes.txt").write_text("mine")
    theirs = place.victim / "states"
    shutil.copytree(before, theirs / "step")
    steps = json.loads((before / "state.json").read_text())["step"] + 4
    words = [*_train(place, training), f"max_steps={steps}", "keep_checkpoints=1"]
    done = place.rushes(*words, limit_s=_WITHIN_S)
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}")
    place.hold(newest.name in done.said, "nothing is said of the state that can't be read")
    for name in (".step_00000012.partial", ".step_00000010.partial", "step_00000000_link"):
        case = place.case(f"link_{name}")
        (training / "checkpoints" / name).symlink_to(theirs)
    again = place.rushes(*words[:-2], f"max_steps={steps + 4}", "keep_checkpoints=1", limit_s=_WITHIN_S)
    # 2: a link is refused
    place.hold(again.code in (0, 2), f"exit code {again.code}: {again.err[-300:]!a}", case)
    for name in (*users, "step_00000001"):
        file = training / "checkpoints" / name / ("notes.txt" if name == "step_00000001" else "mine.txt")
        case = f"{place.name}/{'ours_by_name_only' if name == 'step_00000001' else ascii(name)[1:-1]}"
        place.hold(file.exists(), f"{file.parent.name} of the user's was deleted", case, ESCAPED)
    place.hold(
        (training / "checkpoints" / "step_00000000").exists(),
        "a file of the user's was deleted",
        f"{place.name}/file",
        ESCAPED,
    )


@attack(line=6)
def names_before_bytes(place: Place, draw: Random) -> None:
    """What gets its final name is on the disk before, and the folder after: as the kernel is told
    (strace)."""
    if shutil.which("strace") is None:
        place.skip("strace", "strace is not installed")
        return
    dataset = place.material.copy_dataset(place.work / "ds")
    checkpoint = place.material.copy_checkpoint(place.work / "c")
    for name, words in {
        "select": ["select", f"dataset={dataset}", "recipe.min.duration_s=1"],
        "report": ["report", f"dataset={dataset}", "out=page.html"],
        "generate": ["generate", f"checkpoint={checkpoint}", "out=k.mp4", *TINY_VIDEO],
        "export": ["export", f"dataset={dataset}", "out=all"],
    }.items():
        place.case(name)
        for line in _traced(place, words):
            place.harm("unmet", line)
    place.case("train")
    training = place.work / "dit"
    shutil.copytree(place.material.training, training, symlinks=True)
    steps = (
        json.loads((max((training / "checkpoints").glob("step_*")) / "state.json").read_text())["step"] + 2
    )
    words = [*_train(place, training), f"max_steps={steps}"]
    for line in _traced(place, words):
        place.harm("unmet", line)


def _train(place: Place, training: Path) -> list[str]:
    """The command that goes on with a copy of the material's training."""
    latents = json.loads((training / "settings.json").read_text())["latents"]
    return ["train", f"dataset={place.material.dataset}", f"out={training}", f"latents={latents}", *_TRAIN]


def _traced(place: Place, words: list[str]) -> list[str]:
    """Names in the working folder that were given to files whose bytes had not been flushed."""
    import sys

    trace = place.folder / "trace"
    calls = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,openat"
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-s",
        "4096",
        "-e",
        f"trace={calls}",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    done = place.run([*command, sys.executable, "-m", "jobs.cli.main", *words], limit_s=_WITHIN_S)
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}")
    found = unflushed(trace.read_text(errors="replace"), place.work)
    trace.unlink()
    return found


def unflushed(trace: str, below: Path) -> list[str]:
    """Of what strace tells of fsync, rename and link: which names were given below a folder to what had not
    been flushed.

    A folder is flushed once a file in it is, since what it holds has been renamed with it.

    Args:
        below: also the folder in which the command ran.
    """
    flushed: set[str] = set()
    bad = []
    for line in trace.splitlines():
        if found := re.search(r"\bf(?:data)?sync\(\d+<([^>]*)>", line):
            flushed.add(found[1])
        elif found := re.search(r"\b(?:rename|link)(?:at2?)?\((.*)\) += 0", line):
            names = re.findall(r'(?:AT_FDCWD|\d+)?(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', found[1])
            if len(names) != 2:
                continue
            # what isn't absolute is from there
            old, new = (str(below / folder / name) for folder, name in names)
            known = old in flushed or any(path.startswith(f"{old}/") for path in flushed)
            if Path(new).is_relative_to(below) and not known:
                name = Path(new).relative_to(below)
                if not any(part.startswith(".") for part in name.parts):  # such a name is nobody's to read
                    bad.append(f"{name} got its name before its bytes were flushed")
            flushed |= {new + path.removeprefix(old) for path in flushed if path.startswith(f"{old}/")} | (
                {new} if known else set()
            )
    return bad
