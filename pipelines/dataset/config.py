"""Settings of shards. Light."""

from dataclasses import dataclass, field


@dataclass
class ShardConfig:
    """How kept clips of a bucket are packed into tars."""

    max_clips: int = field(default=1000, metadata={"doc": "most clips of a shard", "unit": "clips", "min": 1})
    max_bytes: int = field(
        default=512 * 1024**2,
        metadata={
            "doc": "size at which a shard is full, estimated from pixels and frames",
            "unit": "bytes",
            "min": 1,
        },
    )
