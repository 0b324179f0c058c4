"""Finished work: stages/<stage>/<fingerprint>/<unit>.parquet, so that nothing is done twice.

In: what a stage found for one unit (a video, a stretch of one, a batch of clips, a planned shard), or why it
could not. Out: the same, in any later run with the same fingerprint. Committed rows are the truth: of two
workers that finish one unit, the second takes the first one's rows.
"""

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipelines.dataset.schema import QUARANTINE, check_names
from pipelines.fault_injection import kill_point
from pipelines.ids import fingerprint
from pipelines.records import Quarantined
from pipelines.storage.base import Store
from pipelines.storage.parquet import parquet_bytes, read_parquet
from pipelines.untrusted import TABLE_BYTES

logger = logging.getLogger(__name__)

_UNIT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\.parquet")
_OUTCOME = b"outcome"
_QUARANTINED = b"quarantined"


class Stage:
    """The finished units of one stage under one fingerprint."""

    def __init__(self, store: Store, name: str, stage_fingerprint: str):
        self.name = name
        self.fingerprint = stage_fingerprint
        self._store = store
        self._folder = f"stages/{name}/{stage_fingerprint}/"

    def lookup(self, unit: str) -> pa.Table | Quarantined | None:
        """The committed rows of a unit; None if there are none or they can't be read, in which case the unit
        is computed again."""
        return self._read(self._key(unit))

    def commit(self, unit: str, outcome: pa.Table | Quarantined) -> pa.Table | Quarantined:
        """Commit the outcome of a unit and return the committed one: this, or the one that another worker
        committed first."""
        if isinstance(outcome, Quarantined):
            rows = pa.Table.from_pylist([asdict(outcome)], schema=QUARANTINE)
            outcome_table = rows.replace_schema_metadata({_OUTCOME: _QUARANTINED})
        else:
            outcome_table = outcome
        data = parquet_bytes(outcome_table)
        key = self._key(unit)
        kill_point(f"{self.name}:before")
        truth = None
        while truth is None:
            if self._store.put_new(key, data):
                truth = _outcome(data)
            elif (truth := self._read(key)) is None:
                self._store.delete(key)  # cut off by a copy or a disk: it says nothing, and is in the way
        kill_point(f"{self.name}:after")
        return truth

    def commit_rows(self, unit: str, rows: pa.Table) -> pa.Table:
        """As `commit`, of a stage that puts nothing in quarantine."""
        truth = self.commit(unit, rows)
        assert not isinstance(truth, Quarantined), f"{self.name} quarantines nothing, and {unit} is"
        return truth

    def forget(self, unit: str) -> None:
        """Delete the committed outcome of a unit, so that the next run computes it again. Used for transient
        failures."""
        self._store.delete(self._key(unit))

    def rows(self) -> list[dict[str, Any]]:
        """All committed rows of all units, in the order of the units; quarantined units left out."""
        outcomes = (self._read(key) for key in self._keys(self._folder))
        return [row for outcome in outcomes if isinstance(outcome, pa.Table) for row in outcome.to_pylist()]

    def units(self, folder: str = "") -> set[str]:
        """Names of all finished units in a folder of them, quarantined ones too."""
        names = (key.removeprefix(self._folder) for key in self._keys(self._folder + folder))
        return {name.removesuffix(".parquet") for name in names}

    def _keys(self, folder: str) -> Iterator[str]:
        """Keys whose name has the form of a unit; other files in the folder are ignored."""
        return (key for key in self._store.list(folder) if _UNIT.fullmatch(key.removeprefix(self._folder)))

    def _read(self, key: str) -> pa.Table | Quarantined | None:
        try:
            data = self._store.read(key, TABLE_BYTES)
        except FileNotFoundError:
            return None
        try:
            return _outcome(data)
        except (pa.ArrowException, OSError, ValueError) as error:
            logger.warning("%s of %s can't be read and is done again: %s", key, self._store.uri, error)
            return None

    def _key(self, unit: str) -> str:
        return f"{self._folder}{unit}.parquet"


def rows_of(store: Store, key: str, columns: Collection[str]) -> list[dict[str, Any]]:
    """The rows that were committed under a key, with those of the columns that they have; of no certain
    stage.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it can't be read.
    """
    return read_parquet(store.read(key, TABLE_BYTES), columns).to_pylist()


def _outcome(data: bytes) -> pa.Table | Quarantined:
    rows = read_parquet(data)
    check_names(rows)
    if (rows.schema.metadata or {}).get(_OUTCOME) == _QUARANTINED:
        return Quarantined(**rows.to_pylist()[0])
    return rows


def stage_fingerprint(version: int, settings: Any, *upstream: str, weights: str = "") -> str:
    """What the work of a stage depends on: its explicit version, its settings, its weights, the stages before
    it."""
    return fingerprint([version, settings, list(upstream), weights])
