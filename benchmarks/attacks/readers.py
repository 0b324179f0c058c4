"""Foreign files, read as our commands read them, each in a fork that can be killed: many in the time that one
command starts.

In: readings as JSON, in a file. Out: in another, a line of JSON for each, that says how it ended, what it
took of processors and memory. What is called here is what `rushes` calls; a few files of each kind are tried
with the command itself as well.

    python -m benchmarks.attacks.readers readings.json told.json
"""

import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

BOMB_S = 2.0
"""Seconds of processors within which too much is refused."""
READING_S = 15.0
"""After so many seconds a reading is killed: as many processes share a machine, that is no measure of what it
takes."""
MOST_BYTES = 1536 * 1024**2  # resident, the libraries' 700 MiB among them
_MOST_ADDRESSES = 4 * 1024**3  # beyond what the process has when it begins
_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing to read: `what` is of `READERS`, `where` a path or a name, `more` what else the function
    takes."""

    case: str
    what: str
    where: str
    more: str = ""


def _pipeline(where: str, more: str) -> None:
    from jobs.generation.pipeline import Pipeline, read_facts
    from jobs.training.exports import find_export

    folder = find_export("pipeline", where, "checkpoint")
    read_facts(folder)
    Pipeline(folder, text=more or None).texts(["a kite"])


def _dit(where: str, more: str) -> None:
    from model.checkpoint.weights import load_dit

    load_dit(where)


def _vae(where: str, more: str) -> None:
    from model.checkpoint.weights import load_vae

    load_vae(where)


def _text(where: str, more: str) -> None:
    from model.text.registry import text_encoder

    encoder = text_encoder(where)
    encoder.fingerprint  # noqa: B018
    encoder.encode(["a kite"])


def _adapter(where: str, more: str) -> None:
    from model.checkpoint.lora import load_lora
    from model.checkpoint.weights import load_dit

    load_lora(load_dit(more), where)


def _dataset(where: str, more: str) -> None:
    from jobs.inspect import describe

    describe(where)


def _footage(where: str, more: str) -> None:
    from pipelines.footage.listing import find_footage

    find_footage(where)


READERS: dict[str, Callable[[str, str], None]] = {
    "pipeline": _pipeline,
    "dit": _dit,
    "vae": _vae,
    "text": _text,
    "adapter": _adapter,
    "dataset": _dataset,
    "footage": _footage,
}


def main() -> None:
    readings = [Reading(**one) for one in json.loads(Path(sys.argv[1]).read_text())]
    _load({one.what for one in readings})
    with open(sys.argv[2], "w") as told:  # not on the console, where what is read may print as well
        for one in readings:
            print(json.dumps({"case": one.case, **_read(one)}), file=told, flush=True)


def _load(what: set[str]) -> None:
    """What the functions import, before the first fork: it is part of a command's bare start."""
    if what & {"pipeline", "dit", "vae", "adapter", "text"}:
        import safetensors.torch
        import torch

        import jobs.generation.pipeline
        import model.text.registry  # noqa: F401

        torch.set_num_threads(1)
        assert safetensors.torch
    if what & {"pipeline", "text"}:
        import open_clip
        import transformers

        for lazy in (transformers.AutoModel, transformers.AutoTokenizer, open_clip.create_model):
            assert lazy
    if "vae" in what:
        import diffusers

        assert diffusers.AutoencoderKLWan
    if "adapter" in what:
        import peft

        assert peft.LoraConfig
    if what & {"dataset", "footage"}:
        import jobs.inspect
        import pipelines.footage.listing  # noqa: F401

        assert jobs.inspect


def _read(one: Reading) -> dict[str, Any]:
    receiver, sender = os.pipe()
    begun = monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(receiver)
        os.setpgid(0, 0)
        try:
            told = _tried(one)
            os.write(sender, json.dumps(told).encode())
        finally:
            os._exit(0)
    os.close(sender)
    pidfd = os.pidfd_open(pid)
    ready, _, _ = select.select([pidfd], [], [], READING_S)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    with os.fdopen(receiver, "rb") as pipe:
        said = pipe.read()
    told = json.loads(said) if said else {"kind": "nothing", "type": "", "message": ""}
    return {
        **told,
        "late": not ready,
        "signal": os.WTERMSIG(status) if ready and os.WIFSIGNALED(status) else 0,
        "seconds": monotonic() - begun,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def _tried(one: Reading) -> dict[str, str]:
    """How it ended: `well`; `line`, an error that `rushes` shows as a line; or `other`."""
    with open("/proc/self/status") as file:
        size = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (size + _MOST_ADDRESSES, size + _MOST_ADDRESSES))
    try:
        READERS[one.what](one.where, one.more)
    except BaseException as error:
        in_a_line = (
            isinstance(error, ValueError | OSError | EOFError) or type(error).__name__ == "SafetensorError"
        )
        message = str(error)[:_MESSAGE].encode(errors="backslashreplace").decode()
        return {
            "kind": "line" if in_a_line else "other",
            "type": type(error).__name__,
            "message": ascii(message),
        }
    return {"kind": "well", "type": "", "message": ""}


if __name__ == "__main__":
    main()
