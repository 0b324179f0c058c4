"""`rushes passport`: all that is known of one clip.

In: a dataset, and a clip's id or the beginning of it. Out: identity, span, media, scores with their units and models, every
rule that was asked, copies, captions, and where its bytes lie.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from jobs.curation.config import PassportConfig
from jobs.run_folder import Run
from pipelines.dataset import open_dataset


def check(cfg: PassportConfig) -> None:
    """There is a dataset; the clip is looked for when the job runs."""
    open_dataset(cfg.dataset)


def run_folder(cfg: PassportConfig) -> Path:
    """Looking leaves nothing behind in the dataset."""
    return Path(tempfile.gettempdir()) / "rushes-passport"


def run(cfg: PassportConfig, run: Run) -> dict[str, Any]:
    """Print and return the passport.

    Raises:
        ValueError: no clip, or more than one, has an id that begins so.
    """
    from jobs.curation.passport import as_text, passport

    told = passport(open_dataset(cfg.dataset), cfg.clip)
    print(json.dumps(told, indent=2, ensure_ascii=False) if cfg.format == "json" else as_text(told))
    return told
