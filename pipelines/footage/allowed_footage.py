"""The footage that the user passed → which URIs in a dataset's rows may be opened.

In: footage as `find_footage` takes it, and the URI of a row. Out: whether it may be opened. A dataset is
untrusted: its rows name the source of each clip, but a source is opened only if the user passed it as
footage.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.footage import s3_listing
from pipelines.footage.list_file import URI, is_list
from pipelines.footage.listing import find_footage
from pipelines.storage import s3
from pipelines.storage.open_store import local_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FootageRoot:
    """One footage root that the user passed: a folder, file, glob, list or prefix. `uri_column` applies to
    lists."""

    footage: str
    uri_column: str = URI

    def contains(self, uri: str, through_links: bool) -> bool:
        """See `Given.opens`."""
        if s3.is_s3(uri):
            return self._holds_object(uri)
        try:
            path = local_path(uri, what="uri")
        except ValueError:
            return False
        if not path.is_absolute() or ".." in path.parts:
            return False
        if self._folder is not None:
            lexical = through_links and any(path.is_relative_to(name) for name in self._folder)
            return lexical or Path(os.path.realpath(path)).is_relative_to(self._folder[1])
        return str(path) in self._listed if through_links else os.path.realpath(path) in self._real

    def _holds_object(self, uri: str) -> bool:
        if not s3.is_s3(self.footage) or is_list(self.footage):
            return uri in self._listed
        try:
            (bucket, key), (wanted_bucket, wanted) = s3.split(self.footage), s3.split(uri)
        except ValueError:
            return False
        if bucket != wanted_bucket or not wanted or any(part in (".", "..") for part in wanted.split("/")):
            return False
        if glob.has_magic(key) and s3_listing.compile_glob(key).fullmatch(wanted):
            return True
        return wanted == key or wanted.startswith(key if not key or key.endswith("/") else f"{key}/")

    @cached_property
    def _folder(self) -> tuple[Path, Path] | None:
        """A folder of this machine, as it was given and where it really is."""
        if s3.is_s3(self.footage):
            return None
        path = local_path(self.footage, what="footage")
        return (path.absolute(), Path(os.path.realpath(path))) if os.path.isdir(path) else None

    @cached_property
    def _listed(self) -> frozenset[str]:
        """What a list, a glob or a file names; nothing of a folder or a prefix, which need not be gone
        through."""
        if self._folder is not None or (s3.is_s3(self.footage) and not is_list(self.footage)):
            return frozenset()
        try:
            return frozenset(
                source.uri for source in find_footage(self.footage, uri_column=self.uri_column).sources
            )
        except (OSError, ValueError) as error:  # a list of another day may be gone
            logger.info("footage=%s: %s", self.footage, error)
            return frozenset()

    @cached_property
    def _real(self) -> frozenset[str]:
        return frozenset(os.path.realpath(uri) for uri in self._listed if not s3.is_s3(uri))


@dataclass(frozen=True)
class AllowedFootage:
    """All footage roots that the user passed.

    Args:
        through_links: follow links out of a folder, as curation does; else a file counts as where it really
        is.
    """

    roots: Sequence[FootageRoot]
    through_links: bool = False

    def allows(self, uri: str) -> bool:
        """Whether a row's URI lies in the footage that the user passed. Sends no request to S3 except to read
        a list."""
        return any(root.contains(uri, self.through_links) for root in self.roots)


def allowed_footage(footage: str | None, uri_column: str = URI) -> AllowedFootage:
    """The allowed footage of one key of a job; empty if the key is null.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an unknown scheme, or a list that can't be read.
    """
    return AllowedFootage(() if footage is None else (FootageRoot(footage, uri_column),))
