"""Config dataclasses that several jobs share. Light: read by `rushes --help`."""

from dataclasses import dataclass, field


@dataclass
class RayConfig:
    """Which Ray a job runs on."""

    address: str | None = field(
        default=None,
        metadata={
            "doc": (
                "a running cluster (ray://host:10001, host:6379 or auto); null starts a local Ray, if "
                "there is enough to do, and stops it"
            )
        },
    )
    num_cpus: int | None = field(
        default=None,
        metadata={
            "doc": (
                "CPUs of a local Ray, which is then started for small work, too; null takes all of the "
                "machine"
            ),
            "unit": "cores",
            "min": 1,
        },
    )
    stall_s: float = field(
        default=60.0,
        metadata={
            "doc": "when nothing moves for so long, a stage of curation says what it waits for",
            "unit": "s",
            "min": 1,
        },
    )
