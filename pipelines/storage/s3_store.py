"""A dataset in S3: `s3://bucket/prefix`, with the same laws as a folder.

In: keys and bytes or files. Out: the same, whole or not at all. Publishing is a conditional put
(`If-None-Match: *`), of which the server lets exactly one succeed; a server that takes no notice of the
condition is refused. Every put carries a mark of its own, so that a writer whose connection was cut before
the answer can tell whether the object that is there now is its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.storage import s3
from pipelines.storage.base import Entry, check_bytes, checked_key, is_key
from pipelines.untrusted import parse_object

logger = logging.getLogger(__name__)

PART_BYTES = 16 * 1024**2
WHOLE_BYTES = 64 * 1024**2  # larger objects go up in parts
_MOST_PARTS = 9_000  # S3 takes 10,000
_THREADS = 4  # parts at once: with PART_BYTES, 64 MiB of memory
_MARK = "writer"
_PROBES, _CLAIMS = ".probe/", ".claims/"
_HIDDEN = (_PROBES, _CLAIMS)

_proven: set[tuple[str, str]] = set()
_proven_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Upload(Entry):
    """An incomplete multipart upload."""

    upload_id: str = ""


class S3Store:
    """Objects are keys under a prefix. Holds no connection, so that it may travel to other processes."""

    def __init__(self, uri: str):
        self.bucket, prefix = s3.split(uri)
        prefix = prefix.strip("/")
        self.uri = f"s3://{self.bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def _key(self, key: str) -> str:
        checked_key(key)
        return self._prefix + key

    def _uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._prefix}{key}"

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """See `Store.put_new`.

        Large objects go up in parts. Their last step is conditional too, but not every server decides it in
        one stroke (SeaweedFS lets two that come together both succeed), so it is claimed first by a small
        conditional put, which names the upload: a second writer completes the first one's upload rather than
        its own, and nobody waits for a writer that died.

        Raises:
            ValueError: the server takes no notice of `If-None-Match`.
            OSError: see `s3.in_words`.
        """
        self._key(key)
        self._prove_conditions()
        size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size_bytes <= WHOLE_BYTES:
            return self._put(key, content if isinstance(content, bytes) else content.read_bytes())
        return not self.exists(key) and self._put_in_parts(key, content, size_bytes)

    def _put(self, key: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        mark = uuid.uuid4().hex
        try:
            s3.request_with_retries(
                lambda c: c.put_object(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    Body=data,
                    ContentMD5=_md5(data),
                    IfNoneMatch="*",
                    Metadata={_MARK: mark},
                ),
                self._uri(key),
            )
        except ClientError as error:
            if s3.status(error) != 412:
                raise
            return self._mark_of(key) == mark  # then the answer to our own was lost, and it was sent again
        return True

    def _mark_of(self, key: str) -> str | None:
        try:
            head = s3.request_with_retries(
                lambda c: c.head_object(Bucket=self.bucket, Key=self._key(key)), self._uri(key)
            )
        except FileNotFoundError:
            return None
        return head["Metadata"].get(_MARK)

    def _put_in_parts(self, key: str, content: bytes | Path, size_bytes: int) -> bool:
        mark = uuid.uuid4().hex
        where = {"Bucket": self.bucket, "Key": self._key(key)}
        started = s3.request_with_retries(
            lambda c: c.create_multipart_upload(**where, Metadata={_MARK: mark}), self._uri(key)
        )
        upload = where | {"UploadId": started["UploadId"]}
        try:
            parts = self._upload_parts(key, upload, content, size_bytes)
            self._complete_claimed(key, {"upload": upload["UploadId"], "parts": parts, "mark": mark})
            won = self._mark_of(key) == mark
        except BaseException:
            self._abort(key, upload)
            raise
        if not won:
            self._abort(key, upload)
        return won

    def _upload_parts(
        self, key: str, upload: dict[str, str], content: bytes | Path, size_bytes: int
    ) -> list[str]:
        """The ETags of all parts, in order."""
        part_bytes = max(PART_BYTES, -(-size_bytes // _MOST_PARTS))
        stopped = threading.Event()

        def send(number: int) -> str:
            if stopped.is_set():
                raise InterruptedError(f"{self._uri(key)}: another part failed")
            data = _piece(content, number * part_bytes, part_bytes)
            answer = s3.request_with_retries(
                lambda c: c.upload_part(**upload, PartNumber=number + 1, Body=data, ContentMD5=_md5(data)),
                self._uri(key),
            )
            return answer["ETag"]

        with ThreadPoolExecutor(_THREADS) as pool:
            sent = [pool.submit(send, number) for number in range(-(-size_bytes // part_bytes))]
            try:
                return [part.result() for part in sent]
            except BaseException:
                stopped.set()
                raise

    def _complete_claimed(self, key: str, own: dict[str, Any]) -> None:
        """Make an object of whichever upload has the claim; afterwards there is one."""
        claim = _CLAIMS + hashlib.sha256(key.encode()).hexdigest()
        while not self.exists(key):
            claimed = own if self._put(claim, json.dumps(own).encode()) else self._read_claim(claim)
            completed = claimed is not None and self._complete(key, claimed)
            if claimed is own and not completed and not self.exists(key):
                raise OSError(
                    f"{self._uri(key)}: its upload was discarded while it was under way; run it again"
                )
            self.delete(claim)  # done with; or its upload was discarded, and the next to claim goes on

    def _read_claim(self, claim: str) -> dict[str, Any] | None:
        try:
            return parse_object(self.read(claim), self._uri(claim))
        except FileNotFoundError:  # done with by now
            return None

    def _complete(self, key: str, claimed: dict[str, Any]) -> bool:
        """False: there is no such upload any more."""
        from botocore.exceptions import ClientError

        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(claimed["parts"])]
        try:
            s3.request_with_retries(
                lambda c: c.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=self._key(key),
                    UploadId=claimed["upload"],
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                ),
                self._uri(key),
            )
        except ClientError as error:
            if s3.status(error) != 412:
                raise
        except FileNotFoundError:
            return False
        return True

    def _abort(self, key: str, upload: dict[str, str]) -> None:
        try:
            s3.request_with_retries(
                lambda c: c.abort_multipart_upload(**upload), self._uri(key), s3.SHORT_RETRY_TIMEOUT_S
            )
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning(
                "an upload to %s stays incomplete (%s); rushes clean removes it", self._uri(key), error
            )

    def _prove_conditions(self) -> None:
        """Put an object twice, once per process: without conditional puts nothing here would be exactly
        once."""
        with _proven_lock:
            if (s3.endpoint(), self.bucket) in _proven:
                return
            probe = _PROBES + uuid.uuid4().hex
            first, second = self._put(probe, b"first"), self._put(probe, b"second")
            self.delete(probe)
            if not first or second:
                raise ValueError(
                    f"{self.uri}: S3 at {s3.endpoint()} takes no notice of If-None-Match, so two writers "
                    "would overwrite each other; use a server with conditional puts (AWS, MinIO, Ceph, "
                    "SeaweedFS and others in newer versions)"
                )
            _proven.add((s3.endpoint(), self.bucket))

    def exists(self, key: str) -> bool:
        try:
            s3.request_with_retries(
                lambda c: c.head_object(Bucket=self.bucket, Key=self._key(key)), self._uri(key)
            )
        except FileNotFoundError:
            return False
        return True

    def read(self, key: str, most_bytes: int | None = None) -> bytes:
        pieces, read = [], 0
        for piece in s3.stream(self.bucket, self._key(key)):
            pieces.append(piece)
            read += len(piece)
            check_bytes(key, self.uri, read, most_bytes)
        return b"".join(pieces)

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        return b"".join(s3.stream(self.bucket, self._key(key), offset, offset + size))

    def fetch(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            for piece in s3.stream(self.bucket, self._key(key)):
                file.write(piece)

    def list(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[Entry]:
        for item in s3.list_objects(self.bucket, self._prefix + prefix):
            key = item.key.removeprefix(self._prefix)
            if is_key(key) and not key.startswith(_HIDDEN):
                yield Entry(key, item.size_bytes, item.modified_s)

    def strays(self, prefix: str) -> Iterator[tuple[str, str]]:
        for item in s3.list_objects(self.bucket, self._prefix + prefix):
            key = item.key.removeprefix(self._prefix)
            if not key.endswith("/") and not is_key(key):
                yield key, "no name of a file beneath a folder"

    def delete(self, key: str) -> None:
        s3.request_with_retries(
            lambda c: c.delete_object(Bucket=self.bucket, Key=self._key(key)), self._uri(key)
        )

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        before = time.time() - older_than_s
        markers: dict[str, str] = {}
        while True:
            page = s3.request_with_retries(partial(self._uploads, markers), self.uri)
            for found in page.get("Uploads", ()):
                if found["Initiated"].timestamp() < before:
                    yield self._upload(found)
            if not page.get("IsTruncated"):
                break
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        for folder in _HIDDEN:  # what a writer that died left of its own bookkeeping
            for item in s3.list_objects(self.bucket, self._prefix + folder):
                if item.modified_s < before:
                    yield Entry(item.key.removeprefix(self._prefix), item.size_bytes, item.modified_s)

    def _uploads(self, after: dict[str, str], client: Any) -> Any:
        """One page of the uploads that have not ended."""
        return client.list_multipart_uploads(Bucket=self.bucket, Prefix=self._prefix, **after)

    def _parts(self, upload: dict[str, Any], after: int, client: Any) -> Any:
        """One page of the parts of an upload."""
        return client.list_parts(
            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumberMarker=after
        )

    def _upload(self, found: dict[str, Any]) -> _Upload:
        size_bytes, marker = 0, 0
        while True:
            try:
                page = s3.request_with_retries(partial(self._parts, found, marker), self.uri)
            except FileNotFoundError:  # completed since it was listed
                break
            size_bytes += sum(part["Size"] for part in page.get("Parts", ()))
            if not page.get("IsTruncated"):
                break
            marker = page["NextPartNumberMarker"]
        key = found["Key"].removeprefix(self._prefix)
        return _Upload(key, size_bytes, found["Initiated"].timestamp(), upload_id=found["UploadId"])

    def stray_scratch(self) -> Iterator[str]:
        return iter(())  # it is on the machines that work

    def discard(self, entry: Entry) -> None:
        if isinstance(entry, _Upload):
            self._abort(
                entry.key, {"Bucket": self.bucket, "Key": self._key(entry.key), "UploadId": entry.upload_id}
            )
        else:
            assert entry.key.startswith(_HIDDEN), f"{entry.key} is no abandoned work"
            self.delete(entry.key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="rushes-") as folder:
            yield Path(folder)


def _md5(data: bytes) -> str:
    """Content-MD5, by which a server refuses a body that was damaged on its way."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _piece(content: bytes | Path, offset: int, size: int) -> bytes:
    if isinstance(content, bytes):
        return content[offset : offset + size]
    with content.open("rb") as file:
        file.seek(offset)
        return file.read(size)
