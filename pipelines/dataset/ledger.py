"""The account of a run: everything that came in must have come out somewhere, exactly once.

In: counts. Out: the ledger as JSON-able rows, or `LedgerError` if it does not balance, and then the job
fails.
"""

from dataclasses import asdict, dataclass


class LedgerError(Exception):
    """A source or clip was lost or counted twice: a bug in this project, not a fault of the footage."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """sources = videos + duplicates + ignored + quarantined; clips = kept + rejected + quarantined."""

    sources: int
    videos: int
    duplicates: int
    ignored: int
    sources_quarantined: int
    clips: int
    clips_kept: int
    clips_rejected: int
    clips_quarantined: int

    def check(self) -> None:
        """Raises LedgerError unless both equations hold."""
        out = self.videos + self.duplicates + self.ignored + self.sources_quarantined
        if self.sources != out:
            raise LedgerError(
                f"{self.sources} sources came in, but {self.videos} videos + {self.duplicates} duplicates + "
                f"{self.ignored} ignored + {self.sources_quarantined} quarantined = {out} came out"
            )
        out = self.clips_kept + self.clips_rejected + self.clips_quarantined
        if self.clips != out:
            raise LedgerError(
                f"{self.clips} clips were made, but {self.clips_kept} kept + {self.clips_rejected} rejected "
                f"+ {self.clips_quarantined} quarantined = {out} are accounted for"
            )

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
