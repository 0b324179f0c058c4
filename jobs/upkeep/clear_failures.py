"""Rows of the quarantine → their committed failures are taken back, so that the next run tries again.

In: the rows to try again, and the fingerprints of what they would be tried with. Out: nothing of them is left
in `stages/`; what succeeded stays. Stopped in the middle, whatever is left is taken back by the next.
"""

from collections.abc import Iterable
from typing import Any

from jobs.curation.fingerprints import Fingerprints
from pipelines.dataset.schema import CAPTIONS, table
from pipelines.dataset.stages import Stage
from pipelines.ids import fingerprint
from pipelines.records import Quarantined, Source
from pipelines.storage.base import Store


def forget_source(source: Source, video_id: str | None, store: Store, prints: Fingerprints) -> None:
    """Take back why a source could not be processed, wherever that was.

    Args:
        source: as it is now.
        video_id: as the quarantine has it; None if its bytes could not be read.
    """
    stages = [Stage(store, "identify", prints.identify)]
    units = [fingerprint([source.uri, source.size_bytes, source.etag])]
    if video_id is not None:
        stages += [Stage(store, "probe", prints.probe), Stage(store, "clips", prints.clips)]
        units += [video_id, video_id]
        for name, print_ in prints.measured.items():
            stage = Stage(store, name, print_)
            for unit in stage.units(f"{video_id}/"):
                stages.append(stage)
                units.append(unit)
    for stage, unit in zip(stages, units, strict=True):
        if isinstance(stage.lookup(unit), Quarantined):
            stage.forget(unit)


def forget_clips(clip_ids: Iterable[str], store: Store, prints: Fingerprints) -> None:
    """Take back why clips could not be captioned or cut."""
    wanted = set(clip_ids)
    if not wanted:
        return
    captions = Stage(store, "captions", prints.captions)
    for unit, rows in _with_failures(captions, wanted):
        good = [row for row in rows if not (row["reason"] and row["clip_id"] in wanted)]
        if good:  # before the others are taken back: what is finished is finished at every moment
            captions.commit(
                fingerprint(sorted([row["clip_id"], row["shown"]] for row in good)), table(good, CAPTIONS)
            )
        captions.forget(unit)
    for stage in (Stage(store, "shards", prints.shards), Stage(store, "cut", prints.cut)):
        for unit, _ in _with_failures(stage, wanted):
            stage.forget(unit)


def _with_failures(stage: Stage, clip_ids: set[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Units in which one of the clips failed, with all their rows."""
    found = []
    for unit in sorted(stage.units()):
        outcome = stage.lookup(unit)
        rows = [] if outcome is None or isinstance(outcome, Quarantined) else outcome.to_pylist()
        if any(row["reason"] and row["clip_id"] in clip_ids for row in rows):
            found.append((unit, rows))
    return found
