"""Whether a job may write where it was told to: in a folder of this machine, and over nothing that another
job made.

In: a key and what the user gave for it. Out: nothing, or why not.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from jobs.training.exports import SETTINGS
from pipelines.storage.s3 import is_s3
from pipelines.untrusted import read_object

_OF_OTHERS = {
    SETTINGS: "a training",
    "manifests": "a dataset",
    "workflow": "a workflow (rushes run)",
    "pipeline.json": "a trained model",
}


def check_local(key: str, out: str) -> None:
    """Raises ValueError if it isn't a path of this machine: a folder with the name of the URI would be
    made."""
    if is_s3(out) or "://" in out:
        raise ValueError(
            f"{key}={out}: this job writes to a path of this machine; give one, and copy what it makes "
            "where you want it"
        )


def check_free(key: str, out: str, own: Collection[str] = ()) -> None:
    """What a job writes has common names, and would take the place of another's.

    Args:
        own: names that are no sign of another job.

    Raises:
        ValueError: as `check_local`, or the folder is that of a training, a dataset, a workflow or a model.
    """
    check_local(key, out)
    for name, what in _OF_OTHERS.items():
        if name not in own and (Path(out) / name).exists():
            raise ValueError(
                f"{key}={out} is the folder of {what}, whose files would be written over; give another"
            )


def check_note(out: Path) -> None:
    """The JSON beside a generated video takes the place of another such note only.

    Raises:
        ValueError: something else has its name.
    """
    note = out.with_suffix(".json")
    if not note.exists():
        return
    try:
        ours = {"prompt", "seed"} <= read_object(note).keys()
    except (ValueError, OSError):
        ours = False
    if not ours:
        raise ValueError(
            f"out={out}: {note} would be written over, and it is no note of a generated video; give another "
            "name"
        )
