"""DeepSpeed's compiled part, built once at set-up instead of inside somebody's first training run.

DeepSpeed compiles its CPU collectives on first use (30–95 s). Killed meanwhile it leaves a lock behind on
which every later run waits in silence; so the build has a folder of its own inside the environment, is made
by `make setup`, and stale locks are cleared. `python -m jobs.cluster.deepspeed_build` builds.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path


def extensions_dir() -> Path:
    """Where compiled extensions lie: TORCH_EXTENSIONS_DIR if set, else a folder of this Python
    environment."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(sys.prefix) / "torch_extensions")


def prepare_environment() -> None:
    """Settings that DeepSpeed reads at import. Call before importing it, in every process that does."""
    os.environ["TORCH_EXTENSIONS_DIR"] = str(extensions_dir())
    # ninja lies there, and `rushes` may run without an activated environment
    bin_dir = str(Path(sys.prefix) / "bin")
    if bin_dir not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = bin_dir + os.pathsep + os.environ.get("PATH", "")
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def build() -> None:
    """Compile what DeepSpeed needs on this machine; nothing to do where a GPU brings its own collectives.

    Only one process builds at a time; a torch lock that is found while we hold ours was left by a killed
    build.
    """
    prepare_environment()
    folder = extensions_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_trusted(folder)
    with os.fdopen(
        os.open(folder / ".rushes-build-lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w"
    ) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        from deepspeed.accelerator import get_accelerator

        if get_accelerator()._name != "cpu":
            return
        from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

        with suppress(FileNotFoundError):
            (folder / ShareMemCommBuilder.NAME / "lock").unlink()  # torch's, of this extension
        ShareMemCommBuilder().load(verbose=False)


def _check_trusted(folder: Path) -> None:
    """What is compiled there is run: nobody may have put it there who could not change this Python anyway.

    Raises:
        PermissionError: somebody may.
    """
    about = folder.stat()
    if about.st_uid not in (os.geteuid(), 0, Path(sys.prefix).stat().st_uid) or about.st_mode & stat.S_IWOTH:
        raise PermissionError(
            f"{folder} belongs to somebody else, or can be written to by everybody, so no compiled code is "
            "taken from there; set TORCH_EXTENSIONS_DIR to a folder of your own"
        )


def main() -> None:
    start_s = time.monotonic()
    build()
    print(f"DeepSpeed's extension is built in {extensions_dir()} ({time.monotonic() - start_s:.0f} s)")


if __name__ == "__main__":
    main()
