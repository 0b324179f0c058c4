"""What `rushes verify` can find, by the name of the check, and what is to be done then.

In: nothing. Out: the names of the checks, and a `Finding` with what, where and what to do.
"""

from dataclasses import dataclass

_RESTORE = "restore it from a copy, or see docs/upkeep.md: mending"
_TABLE = "restore the table from a copy, or curate its footage again into a new dataset"
_OURS = "nothing but a writer with a fault makes this: keep the dataset, and report it with verify.json"

CHECKS: dict[str, str] = {
    "manifest": "restore it from a copy, or remove it: the one before it is the dataset then",
    "table": _TABLE,
    "columns": _TABLE,
    "index": _OURS,
    "sources": _OURS,
    "quarantine": _OURS,
    "looks": _OURS,
    "duplicates": _OURS,
    "placement": _OURS,
    "shard": _RESTORE,
    "size": _RESTORE,
    "hash": _RESTORE,
    "members": _RESTORE,
    "passport": _RESTORE,
    "caption": _RESTORE,
    "shard id": _RESTORE,
    "decode": _RESTORE,
}
"""What to do about a finding, by its check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the manifest says: which check, where it is, and what exactly."""

    check: str
    where: str
    what: str

    @property
    def todo(self) -> str:
        return CHECKS[self.check]

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: {self.what}; {self.todo}"

    def as_row(self) -> dict[str, str]:
        return {"check": self.check, "where": self.where, "what": self.what, "todo": self.todo}


class UnsoundError(Exception):
    """A dataset is not what its manifest says. The first line of the message says how often."""
